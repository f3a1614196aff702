"""What the columns of a NAS-Bench-101 table are called and mean, for the importer and the official view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from crlso.protocols import Metric

QUANTITIES: Final = ("train_time", "train_accuracy", "valid_accuracy", "test_accuracy")
"""What an evaluation measures, in the order of the format's fields 2 to 5."""
RUNS: Final = 3
"""Trainings of a cell per number of epochs."""
PARAMETERS: Final = "trainable_parameters"
VERTICES: Final = "vertices"
"""Field: size of the matrix that the file states for a cell."""
HASHES: Final = ("hash0", "hash1", "hash2", "hash3")
"""Fields: the module hash, 32 bits each, the first digits in ``hash0``."""

_UNITS = ("s", "fraction", "fraction", "fraction")
_DIRECTIONS = ("min", "max", "max", "max")
_MEANINGS = (
    "seconds of training (without evaluation)",
    "accuracy on a fixed 10,000 of the 40,000 training images, in [0, 1]",
    "accuracy on the 10,000 held-out validation images, in [0, 1]",
    "accuracy on the 10,000 test images, in [0, 1]",
)


def metric_name(quantity: str, epochs: int, run: int | None = None) -> str:
    """``cifar10/valid_accuracy@108``, the mean of the runs, or with ``/run0`` one of them."""
    return f"cifar10/{quantity}@{epochs}" + ("" if run is None else f"/run{run}")


def halfway_name(quantity: str, epochs: int, run: int) -> str:
    """Field: what the one evaluation within a training gave."""
    return f"halfway_{quantity}@{epochs}/run{run}"


def extra_name(number: int, epochs: int, run: int) -> str:
    """Field: a double of the last evaluation that the message does not declare (energy in EC-NAS)."""
    return f"final_field{number}@{epochs}/run{run}"


def table_metrics(budgets: Sequence[int]) -> tuple[Metric, ...]:
    """All metrics of a table with trainings of these numbers of epochs."""
    count = Metric(PARAMETERS, "min", "", "trainable parameters of the network, as the file states")
    return (*(metric for epochs in budgets for metric in _of_budget(epochs)), count)


def _of_budget(epochs: int) -> Iterator[Metric]:
    for quantity, direction, unit, what in zip(QUANTITIES, _DIRECTIONS, _UNITS, _MEANINGS, strict=True):
        for run in (None, *range(RUNS)):
            which = f"mean of the runs that there are (up to {RUNS})" if run is None else f"run {run}"
            yield Metric(
                metric_name(quantity, epochs, run),
                "max" if direction == "max" else "min",
                unit,
                f"CIFAR-10, trained for {epochs} epochs on 40,000 images, at the end: {what}; {which}",
            )
