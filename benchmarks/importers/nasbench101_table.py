"""The table that NAS-Bench-101's trainings become: a row for each module hash, in the order of appearance."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.importers.nasbench101_columns import (
    HASHES,
    PARAMETERS,
    QUANTITIES,
    RUNS,
    VERTICES,
    extra_name,
    halfway_name,
    metric_name,
    table_metrics,
)
from benchmarks.importers.nasbench101_records import VALUES, Training
from benchmarks.spool import Spool
from benchmarks.store import FIELD, Block, Header, write_blocks
from crlso.errors import ArchitectureError, TableError
from crlso.protocols import CODE_DTYPE, FloatArray
from crlso.spaces import NASBench101Space, space_to_dict
from crlso.spaces.nasbench101 import from_record, from_records

IMPORTER: Final = "nasbench101 1"

_MOST_BUDGETS = 8  # different numbers of epochs
_MOST_EXTRAS = 32
_BLOCK_ROWS = 16_384


@final
class TrainingTable:
    """Takes trainings in any order and writes the table of their cells, which appears whole or not at all.

    Memory grows with the number of cells, of which the space has 423,624; what was measured waits on the
    disk. Use it as a context manager.

    Args:
        target: The table file to be; its folder exists.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._space = NASBench101Space()
        self._stack = ExitStack()
        self._rows: dict[str, int] = {}  # by module hash
        self._codes = bytearray()
        self._sizes = bytearray()  # vertices of the stated matrix
        self._parameters = array("d")
        self._cells = array("q")  # numbers of the two texts of the cell
        self._texts: dict[str, int] = {}
        self._unchecked: list[tuple[Training, bool, str]] = []  # with: is it a new row, where does it stand
        self._budgets: dict[int, int] = {}
        self._reached: dict[int, list[list[float]]] = {}
        self._records = array("i")  # [row, budget, run]: number of the record, -1 for none
        self._count = 0
        self._values = self._stack.enter_context(Spool(target.parent, 2 * len(VALUES)))
        self._extras: dict[int, Spool] = {}  # by field number
        self._extra_columns: dict[tuple[int, int], None] = {}  # epochs and field number

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def missing(self) -> int:
        """Trainings that the file would have if it held every run of every cell."""
        return len(self) * len(self._budgets) * RUNS - self._count

    def add(self, training: Training, record: int, where: str) -> None:
        """Take the training of a record.

        Args:
            training: What it says.
            record: Its number, larger than those before.
            where: The same for people; messages of :meth:`check` name it.

        Raises:
            TableError: It does not fit to those before.
        """
        row = self._row(training, where)
        first = (row * _MOST_BUDGETS + self._budget(training)) * RUNS
        runs = self._records[first : first + RUNS]
        if -1 not in runs:
            raise TableError(
                f"module {training.module} has more than {RUNS} runs of {training.epochs} epochs"
            )
        self._records[first + runs.index(-1)] = record
        self._count += 1
        self._values.put(record, training.values)
        for field, value in training.extras.items():
            self._extra_columns[training.epochs, field] = None
            self._extra(field).put(record, (value,))

    def check(self) -> None:
        """Compute the module hashes of the cells that came since the last check.

        Raises:
            TableError: One is not what its record states, or a cell is not of the space; says where.
        """
        if not self._unchecked:
            return
        texts = [(training.adjacency, training.operations) for training, _, _ in self._unchecked]
        try:
            codes = from_records(*zip(*texts, strict=True))
        except ArchitectureError:
            for cell, (_, _, where) in zip(texts, self._unchecked, strict=True):
                _refuse_cell(cell, where)
            raise
        hashes = self._space.hashes(codes)
        for code, computed, (training, new, where) in zip(codes, hashes, self._unchecked, strict=True):
            if training.module != computed:
                raise TableError(f"{where}: it states module hash {training.module}, its cell has {computed}")
            if new:
                self._codes += code.tobytes()
        self._unchecked = []

    def refuse_twins(self, path: Path) -> None:
        """No training may be there twice: a record that stands twice in the file would pass for another run.

        Args:
            path: The file that the trainings came from, for the message.

        Raises:
            TableError: Two runs of a cell have the same seconds and accuracies, halfway and at the end.
        """
        records = self._record_numbers()
        for start in range(0, len(records), _BLOCK_ROWS):
            for runs in records[start : start + _BLOCK_ROWS].transpose(1, 0, 2):
                values = self._values.take(runs)
                bits = values.view(np.int64)  # so that NaN equals NaN
                for one, other in combinations(range(RUNS), 2):
                    same = (bits[:, one] == bits[:, other]).all(axis=1) & (runs[:, one] >= 0)
                    twins = np.flatnonzero(same & (runs[:, other] >= 0))
                    if len(twins):
                        first, second = runs[twins[0], [one, other]] + 1
                        raise TableError(
                            f"{path}: records {first} and {second} are the same training; fetch it again"
                        )

    def write(self, name: str, source: Mapping[str, str], verified: str) -> None:
        """Write the table.

        Args:
            name: Name of the table.
            source: What the header says of the file that the trainings came from; its name under ``file``.
            verified: What makes sure that the file is whole.

        Raises:
            RunError: The disk is full.
        """
        budgets = sorted(self._budgets)
        halfway = [
            halfway_name(quantity, epochs, run)
            for epochs in budgets
            for quantity in QUANTITIES
            for run in range(RUNS)
        ]
        extras = [
            extra_name(field, epochs, run) for epochs, field in self._extra_columns for run in range(RUNS)
        ]
        header = Header(
            name=name,
            space=space_to_dict(self._space),
            metrics=table_metrics(budgets),
            rows=len(self),
            source=source,
            importer=IMPORTER,
            description=(
                f"NAS-Bench-101's cells on CIFAR-10: {', '.join(map(str, budgets))} epochs, up to {RUNS} runs"
                f" each; from {source['file']}"
            ),
            verified=verified,
            fields=(VERTICES, *HASHES, *halfway, *extras),
            # Epochs stand as texts: JSON has no other keys.
            details={
                "epochs": budgets,
                "halfway_epoch": {str(epochs): self._reached[epochs][0] for epochs in budgets},
                "final_epoch": {str(epochs): self._reached[epochs][1] for epochs in budgets},
            },
        )
        write_blocks(self._target, header, self._space, self._blocks(budgets))

    def _row(self, training: Training, where: str) -> int:
        """Row of the module, a new one where it was not there."""
        row = self._rows.setdefault(training.module, len(self._rows))
        matrix, operations = (
            self._texts.setdefault(text, len(self._texts))
            for text in (training.adjacency, training.operations)
        )
        cell = matrix << 32 | operations
        new = row == len(self._cells)
        if new:
            self._cells.append(cell)
            self._sizes.append(min(255, training.operations.count(",") + 1))
            self._parameters.append(training.parameters)
            self._records.extend([-1] * (_MOST_BUDGETS * RUNS))
        # A module may come in another drawing of the same network: the first one stays, as officially.
        if new or cell != self._cells[row]:
            self._unchecked.append((training, new, where))
        if training.parameters != self._parameters[row]:
            raise TableError(
                f"module {training.module} has {training.parameters:,} trainable parameters, in its first"
                f" record {int(self._parameters[row]):,}"
            )
        return row

    def _budget(self, training: Training) -> int:
        """Number of the training's epochs among those of the file; keeps what epochs were really reached."""
        budget = self._budgets.setdefault(training.epochs, len(self._budgets))
        if budget == _MOST_BUDGETS:
            raise TableError(f"trainings of more than {_MOST_BUDGETS} different numbers of epochs")
        ranges = self._reached.setdefault(training.epochs, [[value, value] for value in training.reached])
        for bounds, value in zip(ranges, training.reached, strict=True):
            if not bounds[0] <= value <= bounds[1]:
                bounds[:] = [min(bounds[0], value), max(bounds[1], value)]
        return budget

    def _extra(self, field: int) -> Spool:
        if field not in self._extras:
            if len(self._extras) == _MOST_EXTRAS:
                raise TableError(f"evaluations with more than {_MOST_EXTRAS} undeclared fields")
            self._extras[field] = self._stack.enter_context(Spool(self._target.parent, 1))
        return self._extras[field]

    def _record_numbers(self) -> NDArray[np.int32]:
        """``[rows, budgets, runs]`` numbers of the records; -1 where there is none."""
        return np.frombuffer(self._records, dtype=np.int32).reshape(-1, _MOST_BUDGETS, RUNS)

    def _blocks(self, budgets: Sequence[int]) -> Iterator[Block]:
        codes = np.frombuffer(self._codes, dtype=CODE_DTYPE).reshape(len(self), -1)
        sizes = np.frombuffer(self._sizes, dtype=np.uint8)
        parameters = np.frombuffer(self._parameters)
        words = np.frombuffer(bytes.fromhex("".join(self._rows)), dtype=">u4").reshape(-1, len(HASHES))
        records = self._record_numbers()
        for start in range(0, len(codes), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            columns: dict[str, FloatArray] = {
                PARAMETERS: parameters[part],
                FIELD + VERTICES: sizes[part].astype(np.float64),
            }
            for name, word in zip(HASHES, words[part].T, strict=True):
                columns[FIELD + name] = word.astype(np.float64)
            for epochs in budgets:
                columns |= self._columns(epochs, records[part, self._budgets[epochs]])
            yield Block(codes[part], columns)

    def _columns(self, epochs: int, records: NDArray[np.int32]) -> dict[str, FloatArray]:
        """Columns of trainings of so many epochs, from the numbers ``[m, runs]`` of their records."""
        columns: dict[str, FloatArray] = {}
        values = self._values.take(records)  # [m, runs, 2 * quantities]: halfway, then at the end
        there = records >= 0
        count = there.sum(axis=1)
        for i, quantity in enumerate(QUANTITIES):
            halfway, last = values[:, :, i], values[:, :, len(QUANTITIES) + i]
            total = np.where(there, last, 0.0).sum(axis=1)
            mean = np.full(len(total), np.nan)
            columns[metric_name(quantity, epochs)] = np.divide(total, count, out=mean, where=count > 0)
            for run in range(RUNS):
                columns[metric_name(quantity, epochs, run)] = last[:, run]
                columns[FIELD + halfway_name(quantity, epochs, run)] = halfway[:, run]
        for field, spool in self._extras.items():
            if (epochs, field) in self._extra_columns:
                extra = spool.take(records)[:, :, 0]
                columns |= {FIELD + extra_name(field, epochs, run): extra[:, run] for run in range(RUNS)}
        return columns


def _refuse_cell(cell: tuple[str, str], where: str) -> None:
    try:
        from_record(*cell)
    except ArchitectureError as error:
        raise TableError(f"{where}: {error}") from error
