"""NAS-Bench-101's official API over an imported table, without TensorFlow.

``from nasbench import api`` becomes ``from benchmarks.compat import nasbench101 as api``; methods, arguments
and returned numbers stay (reference: ``nasbench/api.py`` and ``nasbench/lib/model_spec.py`` of
github.com/google-research/nasbench). The file is imported once, with ``crlso bench import``.

Departures: without a seed the global random generator is left as it is (officially it is seeded anew); a cell
with too many vertices is an :class:`OutOfDomainError` (officially a ``TypeError``), and so is a matrix with
entries other than 0 and 1; a cell of the space that the table lacks is an error with words (and a
``KeyError``, as officially); ``evaluate`` and ``ModelSpec.visualize`` are not there.
"""

from __future__ import annotations

import os
import random
from collections.abc import KeysView, Mapping
from typing import Any, NoReturn, final

import numpy as np

from benchmarks.compat.nasbench101_data import (
    OFFICIAL_NAMES,
    ComputedStatistics,
    FixedStatistics,
    MissingModuleError,
    OfficialData,
    OutOfDomainError,
    table_file,
)
from benchmarks.compat.nasbench101_spec import ModelSpec
from benchmarks.compat.warning import warn_misleading
from benchmarks.importers.nasbench101_columns import RUNS, metric_name
from benchmarks.table import TableEvaluator
from crlso.errors import UserError
from crlso.spaces.nasbench101 import MAX_EDGES, OPERATIONS, VERTICES

__all__ = [
    "MissingModuleError",
    "ModelSpec",
    "NASBench",
    "OutOfDomainError",
    "build_config",
]


def build_config() -> dict[str, Any]:
    """The official settings, all with the values by which the benchmark was made."""
    return {
        "train_data_files": [],
        "valid_data_file": "",
        "test_data_file": "",
        "sample_data_file": "",
        "data_format": "channels_last",
        "num_labels": 10,
        "module_vertices": VERTICES,
        "max_edges": MAX_EDGES,
        "available_ops": list(OPERATIONS),
        "stem_filter_size": 128,
        "num_stacks": 3,
        "num_modules_per_stack": 3,
        "batch_size": 256,
        "train_epochs": 108,
        "train_seconds": 14_400.0,
        "learning_rate": 0.1,
        "lr_decay_method": "COSINE_BY_STEP",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "max_attempts": 5,
        "intermediate_evaluations": ["0.5"],
        "num_repeats": RUNS,
        "use_tpu": True,
        "tpu_iterations_per_loop": 100,
        "tpu_num_shards": 2,
    }


@final
class NASBench:
    """The official class over a table.

    Args:
        dataset_file: Name or path of an imported table, the table itself, or the ``.tfrecord`` file that it
            was imported from (it is not read again, and need not be there).
        seed: For the choice of runs by :meth:`query`; seeds Python's global generator, as officially.

    Raises:
        UserError: No such table, or not one of a NAS-Bench-101 file; says how to import one.

    Example:
        >>> nasbench = NASBench("nasbench101")  # doctest: +SKIP
        >>> spec = ModelSpec([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["input", "conv3x3-bn-relu", "output"])
        >>> nasbench.query(spec, epochs=108)["test_accuracy"]  # doctest: +SKIP
    """

    def __init__(
        self, dataset_file: str | os.PathLike[str] | TableEvaluator, seed: int | None = None
    ) -> None:
        self.config = build_config()
        self._data = OfficialData(table_file(dataset_file))
        self.valid_epochs: set[int] = set(self._data.epochs)
        self.fixed_statistics: Mapping[str, dict[str, Any]] = FixedStatistics(self._data)
        self.computed_statistics: Mapping[str, dict[int, list[dict[str, float]]]] = ComputedStatistics(
            self._data
        )
        self.history: dict[str, Any] = {}
        self.training_time_spent = 0.0
        self.total_epochs_spent = 0
        self._told: set[str] = set()
        if seed is not None:
            random.seed(seed)

    def query(self, model_spec: ModelSpec, epochs: int = 108, stop_halfway: bool = False) -> dict[str, Any]:
        """One of the three runs, by chance; its training time and epochs are added to the counters.

        Args:
            model_spec: The cell.
            epochs: One of the table's numbers of epochs.
            stop_halfway: Return what was measured halfway.

        Raises:
            OutOfDomainError: A cell or a number of epochs that the table does not hold.
        """
        if epochs not in self.valid_epochs:
            raise OutOfDomainError(
                f"invalid number of epochs {epochs}, must be one of {sorted(self.valid_epochs)}"
            )
        epochs = int(epochs)  # 108.0 is one of them too, and names of columns have no point
        row = self._row(model_spec)
        self._tell(
            "query",
            "query() returns one of three runs, by chance, so one cell has several answers; their mean is the"
            f" table's metric {metric_name('valid_accuracy', epochs)!r}, get_metrics_from_spec() gives all",
        )
        if stop_halfway and (reached := self._data.halfway_epochs(epochs)) != [epochs / 2] * 2:
            between = " to ".join(f"{value:g}" for value in sorted(set(reached)))
            self._tell(
                f"halfway {epochs}",
                f"'halfway' of {epochs} epochs is epoch {between} in this table, not {epochs / 2:g}; the"
                f" counter of epochs goes on by {epochs // 2}, as officially",
            )
        runs = self._data.runs(row, epochs)
        run = random.randint(0, RUNS - 1)
        if run >= len(runs):
            raise MissingModuleError(
                f"the table holds {len(runs)} runs of {epochs} epochs of this cell, and run {run} was drawn"
            )
        point = "halfway" if stop_halfway else "final"
        answer = self._data.fixed(row) | {name: runs[run][f"{point}_{name}"] for name in OFFICIAL_NAMES}
        self.training_time_spent += answer["training_time"]
        self.total_epochs_spent += epochs // 2 if stop_halfway else epochs
        return answer

    def is_valid(self, model_spec: ModelSpec) -> bool:
        """Whether the cell lies in the benchmark's space (a table of a part of it may lack it)."""
        try:
            self._check_spec(model_spec)
        except OutOfDomainError:
            return False
        return True

    def get_budget_counters(self) -> tuple[float, int]:
        """Seconds of training and epochs that :meth:`query` has spent."""
        return self.training_time_spent, self.total_epochs_spent

    def reset_budget_counters(self) -> None:
        """Set both counters to nothing."""
        self.training_time_spent = 0.0
        self.total_epochs_spent = 0

    def evaluate(self, model_spec: ModelSpec, model_dir: str) -> NoReturn:
        """Officially trains the cell anew, with TensorFlow on a TPU; not possible here.

        Raises:
            UserError: Always.
        """
        del model_spec, model_dir
        raise UserError("evaluate() trains, which needs the official package; query() looks results up")

    def hash_iterator(self) -> KeysView[str]:
        """All module hashes, in the order of the file."""
        return self.fixed_statistics.keys()

    def get_metrics_from_hash(
        self, module_hash: str
    ) -> tuple[dict[str, Any], dict[int, list[dict[str, float]]]]:
        """What is fixed of a module, and all its measurements: by epochs a list of runs.

        Raises:
            MissingModuleError: The table does not hold it.
        """
        row = self._data.row(module_hash)
        return self._data.fixed(row), self._data.computed(row)

    def get_metrics_from_spec(
        self, model_spec: ModelSpec
    ) -> tuple[dict[str, Any], dict[int, list[dict[str, float]]]]:
        """As :meth:`get_metrics_from_hash`, of a cell.

        Raises:
            OutOfDomainError: A cell that is outside the space, or that the table does not hold.
        """
        row = self._row(model_spec)
        return self._data.fixed(row), self._data.computed(row)

    def _row(self, model_spec: ModelSpec) -> int:
        self._check_spec(model_spec)
        return self._data.row(model_spec.hash_spec(OPERATIONS))

    def _check_spec(self, spec: ModelSpec) -> None:
        if not spec.valid_spec:
            raise OutOfDomainError("invalid spec: no path leads from input to output")
        if len(spec.ops) > VERTICES:
            raise OutOfDomainError(f"too many vertices: {len(spec.ops)} after pruning, at most {VERTICES}")
        if not np.isin(spec.matrix, (0, 1)).all():
            raise OutOfDomainError("the matrix has entries other than 0 and 1")
        if (edges := int(np.count_nonzero(spec.matrix))) > MAX_EDGES:
            raise OutOfDomainError(f"too many edges: {edges} after pruning, at most {MAX_EDGES}")
        if (spec.ops[0], spec.ops[-1]) != ("input", "output"):
            raise OutOfDomainError(
                f"operations must go from 'input' to 'output', got {spec.ops[0]!r} to {spec.ops[-1]!r}"
            )
        for name in spec.ops[1:-1]:
            if name not in OPERATIONS:
                raise OutOfDomainError(f"unknown operation {name!r}; known: {', '.join(OPERATIONS)}")

    def _tell(self, what: str, message: str) -> None:
        """Warn of something once."""
        if what not in self._told:
            self._told.add(what)
            warn_misleading(message)
