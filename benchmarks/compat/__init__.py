"""Views of the official benchmark APIs over tables of ours: old scripts run after one changed import line.

>>> from benchmarks.compat import NASBench201API  # was: from nas_201_api import NASBench201API

They take the name or path of an imported table where the official ones take their file, and have the same
method names, arguments and returned numbers. Tables are read only and hold no weights, so left out are

- methods that change stored numbers: ``reset_latency``, ``reset_pseudo_*``, ``reset_eval``, ``update*``;
- those that choose, read or write official files: ``reset_archive_dir``, ``reset_fast_mode``,
  ``load_state_dict``, ``create_from_state_dict``, ``pickle_load``, ``pickle_save``;
- trained weights: ``get_net_param`` answers ``None`` for them, ``reload`` is an error;
- ``ArchResults.debug_test``, and ``ArchResults.show`` of ``nas_201_api`` 2.1, which always fails there with
  a ``NameError`` (the API's own ``show`` is here).

Where there is no answer the views raise :class:`NoAnswerError`, a ``ValueError`` and a ``KeyError`` at once,
since the official packages raise now the one and now the other.
"""

from benchmarks.compat.errors import NoAnswerError
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
    "NoAnswerError",
    "OutOfDomainError",
    "create",
]
