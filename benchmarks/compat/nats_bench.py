"""`nats_bench` 1.8 over a table of ours: `create`, `NATStopology`, `NATSsize`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, final

from benchmarks.compat.meta_api import MetaAPI, lists_of, matrix_of
from benchmarks.compat.results import ArchResults, Dialect, Info, ResultsCount
from crlso.errors import TableError
from crlso.spaces import get_space
from crlso.spaces.nasbench201 import OPERATIONS, nasbench201

NATS_BENCH_SSS_NAMEs = ("sss", "size")
NATS_BENCH_TSS_NAMEs = ("tss", "topology")
NATS_BENCH_API_VERSIONs = [f"v1.{minor}" for minor in range(9)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class _NATS(MetaAPI):
    """What the two official classes share."""

    _dialect = Dialect(mean=_mean, total=sum, mend_costs=True)
    _name: str
    _epochs: int
    _space: str
    _table: str

    def __init__(
        self,
        file_path_or_dict: str | os.PathLike[str] | None = None,
        fast_mode: bool = False,
        verbose: bool = True,
    ) -> None:
        table = self._table if file_path_or_dict is None else file_path_or_dict
        super().__init__(table, verbose)
        if self._store.space.name != self._space:
            raise TableError(
                f"{table} holds architectures of {self._store.space.name}, not of {self._space};"
                " create(...) takes 'tss' for topology and 'sss' for sizes"
            )
        self.fast_mode = fast_mode
        self.evaluated_indexes = set(self._store.indexes)

    @property
    def search_space_name(self) -> str:
        """``topology`` or ``size``."""
        return self._name

    @property
    def archive_dir(self) -> None:
        """Officially the folder that single records are read from; a table is one file."""
        return None

    @property
    def full_train_epochs(self) -> int:
        """Epochs of the longest schedule."""
        return self._epochs

    @property
    def full_epochs_in_paper(self) -> int:
        """The same."""
        return self._epochs

    @property
    def is_size(self) -> bool:
        """Whether architectures are sizes."""
        return self._name == "size"

    @property
    def is_topology(self) -> bool:
        """Whether architectures are cells."""
        return self._name == "topology"

    def simulate_train_eval(
        self, arch: Any, dataset: str, iepoch: int | None = None, hp: str = "12", account_time: bool = True
    ) -> tuple[float, float, float, float]:
        """Validation accuracy of one random training, latency, its cost in seconds, and seconds so far.

        Warns where the benchmark has no validation accuracy after this epoch: test images are in the answer.
        """
        answer: tuple[float, float, float, float] = self._simulate(arch, dataset, iepoch, hp, account_time)
        return answer

    def find_best(  # noqa: PLR0917 (the official order of arguments)
        self,
        dataset: str,
        metric_on_set: str,
        flop_max: float | None = None,
        param_max: float | None = None,
        hp: str = "12",
        enforce_all: bool | None = None,
    ) -> tuple[int, float | None]:
        """Number and mean accuracy of the best architecture within limits."""
        del enforce_all  # all architectures are at hand
        return self._best(dataset, metric_on_set, flop_max, param_max, hp)

    def _simulated_latency(self, index: int, dataset: str, hp: str) -> Any:
        return self.get_latency(index, dataset, hp)

    def _comment(self, dataset: str, hp: str) -> Info:
        trained = {"cifar10-valid": "half of the training images", "cifar10": "all training images"}
        if dataset not in trained:
            return {}
        # The official answer has a text under this key too; this one says the same in our words.
        return {
            "comment": f"trained on {trained[dataset]} of CIFAR-10 for {hp} epochs: train-* is measured on "
            "these, test-* on the test images; *-per-time is seconds per epoch, *-all-time seconds in all"
        }


@final
class NATStopology(_NATS):
    """The official class of the topology space, over a table that was imported from ``NATS-tss-*`` files.

    Args:
        file_path_or_dict: Name of the table, or path of a table file; ``None``: ``nats_tss``.
        fast_mode: Taken for compatibility: every table is fast.
        verbose: Taken for compatibility; nothing is printed.
    """

    _name, _epochs, _space, _table = "topology", 200, "nasbench201", "nats_tss"

    def get_unique_str(self, arch: Any) -> str:
        """The official name of the architecture's class."""
        code = self._store.space.parse(self.arch(self.query_index_by_arch(arch)))
        return nasbench201().official_names(code)[0]

    @staticmethod
    def str2lists(arch_str: str) -> list[tuple[tuple[str, int], ...]]:
        """``(operation, source)`` pairs of each node."""
        return lists_of(arch_str)

    @staticmethod
    def str2matrix(arch_str: str, search_space: Sequence[str] = OPERATIONS) -> Any:
        """Matrix ``[4, 4]`` of operation numbers."""
        return matrix_of(arch_str, search_space)


@final
class NATSsize(_NATS):
    """The official class of the size space, over a table that was imported from ``NATS-sss-*`` files.

    Args:
        file_path_or_dict: Name of the table, or path of a table file; ``None``: ``nats_sss``.
        fast_mode: Taken for compatibility: every table is fast.
        verbose: Taken for compatibility; nothing is printed.
    """

    _name, _epochs, _space, _table = "size", 90, "nats_size", "nats_sss"

    def _shown_splits(self, dataset: str) -> list[tuple[str, str]]:
        if dataset == "cifar10-valid":
            return [("valid", "x-valid"), ("test", "ori-test")]
        return super()._shown_splits(dataset)


def create(
    file_path_or_dict: str | os.PathLike[str] | None,
    search_space: str,
    fast_mode: bool = False,
    verbose: bool = True,
) -> NATStopology | NATSsize:
    """The view of a table as the official function makes it of a file.

    Args:
        file_path_or_dict: Name of the table, or path of a table file; ``None``: ``nats_tss`` or ``nats_sss``.
        search_space: ``tss`` or ``topology``, ``sss`` or ``size``.
        fast_mode: Taken for compatibility: every table is fast.
        verbose: Taken for compatibility; nothing is printed.

    Raises:
        UserError: No such space or table, or a table of the other space.
    """
    if search_space in NATS_BENCH_TSS_NAMEs:
        return NATStopology(file_path_or_dict, fast_mode, verbose)
    if search_space in NATS_BENCH_SSS_NAMEs:
        return NATSsize(file_path_or_dict, fast_mode, verbose)
    known = ", ".join((*NATS_BENCH_TSS_NAMEs, *NATS_BENCH_SSS_NAMEs))
    raise TableError(f"invalid search space {search_space!r}; known: {known}")


def version() -> str:
    """The official version whose answers these are."""
    return NATS_BENCH_API_VERSIONs[-1]


def search_space_info(main_tag: str, aux_tag: str | None) -> dict[str, Any]:
    """What the official function says of a space.

    Raises:
        TableError: No such space.
    """
    topology = {"op_names": list(OPERATIONS), "num_nodes": 4}
    if main_tag == "nas-bench-201" and aux_tag is None:
        return topology
    if main_tag == "nats-bench" and aux_tag in NATS_BENCH_TSS_NAMEs:
        return topology
    if main_tag == "nats-bench" and aux_tag in NATS_BENCH_SSS_NAMEs:
        space = get_space("nats_size")
        return {"candidates": [8 * (i + 1) for i in range(8)], "num_layers": len(space.cardinalities)}
    raise TableError(
        f"unknown tags {main_tag!r}, {aux_tag!r}; known: nas-bench-201, nats-bench with tss or sss"
    )


__all__ = [
    "ArchResults",
    "NATS_BENCH_API_VERSIONs",
    "NATS_BENCH_SSS_NAMEs",
    "NATS_BENCH_TSS_NAMEs",
    "NATSsize",
    "NATStopology",
    "ResultsCount",
    "create",
    "search_space_info",
    "version",
]
