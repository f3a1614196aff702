"""Views of the official benchmark APIs over tables of ours: old scripts run after one changed import line.

>>> from benchmarks.compat import NASBench201API  # was: from nas_201_api import NASBench201API

They take the name or path of an imported table where the official ones take their file, and have the same
method names, arguments and returned numbers.
"""

from benchmarks.compat.nasbench101 import ModelSpec, NASBench, OutOfDomainError
from benchmarks.compat.nasbench201 import NASBench201API
from benchmarks.compat.nats_bench import NATSsize, NATStopology, create
from benchmarks.compat.warning import MisleadingAnswerWarning

__all__ = [
    "MisleadingAnswerWarning",
    "ModelSpec",
    "NASBench",
    "NASBench201API",
    "NATSsize",
    "NATStopology",
    "OutOfDomainError",
    "create",
]
