"""`NASBench201API` of `nas-bench-201` 2.1 over a table of ours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from benchmarks.compat.meta_api import MetaAPI, lists_of, matrix_of
from benchmarks.compat.results import ArchResults, Dialect, Info, ResultsCount
from crlso.spaces.nasbench201 import OPERATIONS

DEFAULT_TABLE = "nasbench201_v1_1"
NAS_BENCH_201_API_VERSION = "v2.0"  # what release 2.1 says of itself


def _mean(values: Sequence[float]) -> float:
    return np.mean(values)  # type: ignore[return-value]  # a NumPy number, as the official one


def _total(values: Sequence[float]) -> float:
    return np.sum(values)  # type: ignore[no-any-return]


@final
class NASBench201API(MetaAPI):
    """The official class, over a table that was imported from ``NAS-Bench-201-v1_*.pth`` or NATS-Bench files.

    Args:
        file_path_or_dict: Name of the table, or path of a table file; ``None``: ``nasbench201_v1_1``.
        verbose: Taken for compatibility; nothing is printed.
    """

    _dialect = Dialect(mean=_mean, total=_total, mend_costs=False)
    _joint = ", "

    def __init__(self, file_path_or_dict: str | os.PathLike[str] | None = None, verbose: bool = True) -> None:
        super().__init__(DEFAULT_TABLE if file_path_or_dict is None else file_path_or_dict, verbose)
        self.evaluated_indexes = self._store.indexes

    def simulate_train_eval(
        self, arch: Any, dataset: str, hp: str = "12", account_time: bool = True
    ) -> tuple[float, float, float, float]:
        """Validation accuracy of one random training, latency, its cost in seconds, and seconds so far."""
        answer: tuple[float, float, float, float] = self._simulate(arch, dataset, None, hp, account_time)
        return answer

    def find_best(
        self,
        dataset: str,
        metric_on_set: str,
        FLOP_max: float | None = None,  # noqa: N803 (the official name)
        Param_max: float | None = None,  # noqa: N803
        hp: str = "12",
    ) -> tuple[int, float | None]:
        """Number and mean accuracy of the best architecture within limits."""
        return self._best(dataset, metric_on_set, FLOP_max, Param_max, hp)

    @staticmethod
    def str2lists(arch_str: str) -> list[tuple[tuple[str, int], ...]]:
        """``(operation, source)`` pairs of each node."""
        return lists_of(arch_str)

    @staticmethod
    def str2matrix(arch_str: str, search_space: Sequence[str] = OPERATIONS) -> Any:
        """Matrix ``[4, 4]`` of operation numbers."""
        return matrix_of(arch_str, search_space)

    def _simulated_latency(self, index: int, dataset: str, hp: str) -> Any:
        del hp  # the official class asks for the schedule of 12 epochs, whatever was simulated
        return self.get_latency(index, dataset)


__all__ = [
    "DEFAULT_TABLE",
    "NAS_BENCH_201_API_VERSION",
    "ArchResults",
    "Info",
    "NASBench201API",
    "ResultsCount",
]
