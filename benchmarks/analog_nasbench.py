"""AnalogNAS-Bench: all NAS-Bench-201 cells trained anew on CIFAR-10, and what analog hardware does to them.

Benmeziane et al., "AnalogNAS-Bench: A NAS Benchmark for Analog In-Memory Computing" (arXiv 2506.18495). The
numbers come with the PyPI package ``analog-nasbench`` 0.1.3 (extra ``analog``). They are another training of
the same cells, by other people with other settings: never mix them with NAS-Bench-201's own test accuracy.

What the metrics are was read from the training script that the authors published (IBM/analog-nas,
``analognasbench``). It measures on test images after the *training* transform, a random crop and flip, in 25
passes whose mean is stored. The data agree: all but a few accuracies of digital networks are multiples of
1/250,000, and most are not multiples of 1/10,000. Numbers are kept as published, odd ones too: the cell of
six skip connections has 57.49 % after training on analog hardware and 87.49 % after a minute of drift.

Importing this module imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from benchmarks.packaged import PackagedTable, plain_data
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Metric

NAME = "analog_nasbench"
FILE = "data.anb"
PREFIX = "analog/cifar10/test_accuracy@200"

# Keys are NASLib's: operation numbers in its order (identity, zero, 3x3, 1x1, pooling), edges from the first
# node first. Ours are numbers of the official order, edges into the second node first.
_OPERATIONS = np.array([1, 0, 3, 2, 4], dtype=CODE_DTYPE)
_EDGES = [0, 1, 3, 2, 4, 5]  # place in the key of 0-1, 0-2, 1-2, 0-3, 1-3, 2-3

_DIGITAL = "CIFAR-10: trained on all 50,000 training images for 200 epochs"
_TESTED = "on the 10,000 test images, mean of 25 passes with random crops and flips"
_NOISY = f"{_DIGITAL}, then put onto simulated analog in-memory hardware (phase-change memory)"
_TRAINED = f"{_NOISY} and trained on with its noise"

_PLAIN = {
    "baseline_accuracy": ("digital", f"{_DIGITAL} in 32-bit floating point; {_TESTED}"),
    "ptq_accuracy": (
        "ptq",
        f"{_DIGITAL}, then quantised to 8 bits with ranges from the test images; {_TESTED}",
    ),
    "qat_accuracy": (
        "qat",
        f"{_DIGITAL}, then 20 epochs of quantisation-aware training (8 bits), its learning rate steered by"
        f" the test accuracy; {_TESTED}",
    ),
    "noisy_accuracy": ("analog_noisy", f"{_NOISY}; {_TESTED}"),
    "analog_accuracy": ("analog_trained", f"{_TRAINED}; {_TESTED}"),
}
"""For each field of a record the last part of the metric's name and what it is."""

_DRIFTING = {"baseline": ("analog_noisy", _NOISY), "analog": ("analog_trained", _TRAINED)}
_TIMES = {
    "60": ("60s", "1 minute"),
    "3600": ("1h", "1 hour"),
    "86400": ("1d", "1 day"),
    "2592000": ("30d", "30 days"),
}
"""Seconds of drift, in names and in words."""


def _convert(files: Mapping[str, bytes]) -> tuple[Codes, Mapping[str, FloatArray]]:
    from crlso.formats.emulated import DEFAULT, record_class

    classes = ("analognasbench.data.Architecture", "analognasbench.data.DriftMeasurement")
    records = plain_data(files, FILE, DEFAULT.also(*map(record_class, classes)))
    keys = np.array(list(records), dtype=CODE_DTYPE)
    fields = [record.state for record in records.values()]
    columns = {
        f"{PREFIX}/{name}": np.array([record[field] for record in fields])
        for field, (name, _) in _PLAIN.items()
    }
    for kind, (name, _) in _DRIFTING.items():
        for seconds, (time, _) in _TIMES.items():
            drifts = [record[f"{kind}_drift_{seconds}"].state for record in fields]
            columns[f"{PREFIX}/{name}_{time}"] = np.array([drift["value"] for drift in drifts])
            columns[f"{PREFIX}/{name}_{time}_std"] = np.array([drift["uncertainty"] for drift in drifts])
    return _OPERATIONS[keys[:, _EDGES]], columns


def _metrics() -> list[Metric]:
    metrics = [Metric(f"{PREFIX}/{name}", "max", "%", what) for name, what in _PLAIN.values()]
    for name, what in _DRIFTING.values():
        for time, words in _TIMES.values():
            drifted = f"{what}; test images (random crops and flips) after {words} of compensated drift"
            mean, deviation = f"{drifted}, mean of 25", f"{drifted}, standard deviation of 25"
            metrics += [
                Metric(f"{PREFIX}/{name}_{time}", "max", "%", mean),
                Metric(f"{PREFIX}/{name}_{time}_std", "min", "%", deviation),
            ]
    return metrics


TABLE = PackagedTable(
    name=NAME,
    description="AnalogNAS-Bench: NAS-Bench-201's cells trained anew on CIFAR-10; digital, quantised, analog",
    space="nasbench201",
    rows=15_625,
    metrics=tuple(_metrics()),
    package="analog-nasbench",
    version="0.1.3",
    folder="analognasbench",
    files=MappingProxyType({FILE: "85f3435b877aa2d36268d55ce07f6ff6d73643d17a840f1941745da5eb80db32"}),
    convert=_convert,
    importer="crlso.analog_nasbench/1",
    extra="analog",
)
"""The table as a built-in one."""
