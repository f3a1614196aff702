"""A NAS-Bench-101 table in the form of the official API: plain numbers by module hash."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from benchmarks import catalog
from benchmarks.importers.nasbench101 import table_name
from benchmarks.importers.nasbench101_columns import (
    HASHES,
    PARAMETERS,
    QUANTITIES,
    RUNS,
    VERTICES,
    halfway_name,
    metric_name,
)
from benchmarks.importers.nasbench101_records import stated_cell
from benchmarks.store import read_fields, read_header, read_table
from benchmarks.table import TableEvaluator
from crlso.errors import TableError, UnknownNameError, UserError
from crlso.protocols import FloatArray

OFFICIAL_NAMES: Final = ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
"""The API's words for :data:`QUANTITIES`."""


class OutOfDomainError(UserError):
    """The cell, or the number of epochs, is outside the benchmark."""


@final
class MissingModuleError(OutOfDomainError, KeyError):
    """A cell of the space, or a module hash, that the table does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError's own text would stand in quotes


@final
class OfficialData:
    """Rows of a table by module hash; columns are read when they are first asked for.

    Args:
        path: The table file.

    Raises:
        TableError: Damaged, or not made of a NAS-Bench-101 file.
    """

    def __init__(self, path: Path) -> None:
        self._table, header = read_table(path, whole=False)
        self._fields = read_fields(path)
        if not {*HASHES, VERTICES} <= set(self._fields):
            raise TableError(
                f"table {header.name!r} does not come from a file of NAS-Bench-101; import one with:"
                " crlso bench import nasbench_full.tfrecord"
            )
        self.epochs: tuple[int, ...] = tuple(header.details["epochs"])
        self._halfway: Mapping[str, list[float]] = header.details["halfway_epoch"]
        words = np.stack([self._fields[name] for name in HASHES], axis=1).astype(">u4")
        self._hashes = words.view("S16").ravel()
        self._order = np.argsort(self._hashes)
        self._sizes = self._fields[VERTICES].astype(np.int64)
        self._kept: dict[str, FloatArray] = {}

    def __len__(self) -> int:
        return len(self._hashes)

    def hashes(self) -> Iterator[str]:
        """All module hashes, in the order of the file that the table was made of."""
        for row in range(len(self)):
            yield self._hashes[row : row + 1].tobytes().hex()

    def row(self, module_hash: str) -> int:
        """The row of a module.

        Raises:
            MissingModuleError: The table does not hold it.
        """
        try:
            packed = bytes.fromhex(module_hash)
        except (ValueError, TypeError):
            packed = b""
        if len(packed) == 16:
            place = int(np.searchsorted(self._hashes, np.bytes_(packed), sorter=self._order))
            if place < len(self):
                row = int(self._order[place])
                if self._hashes[row : row + 1].tobytes() == packed:
                    return row
        raise MissingModuleError(
            f"table {self._table.name!r} does not hold module {module_hash!r} ({len(self):,} modules)"
        )

    def fixed(self, row: int) -> dict[str, Any]:
        """What does not depend on a training."""
        matrix, operations = stated_cell(self._table.codes[row], int(self._sizes[row]))
        return {
            "module_adjacency": matrix,
            "module_operations": operations,
            "trainable_parameters": int(self._table.column(PARAMETERS)[row]),
        }

    def runs(self, row: int, epochs: int) -> list[dict[str, float]]:
        """All trainings of so many epochs, in the order of the file; empty where there is none."""
        found = []
        for run in range(RUNS):
            values = {}
            for quantity, name in zip(QUANTITIES, OFFICIAL_NAMES, strict=True):
                values[f"halfway_{name}"] = float(self._field(halfway_name(quantity, epochs, run))[row])
                values[f"final_{name}"] = float(self._table.column(metric_name(quantity, epochs, run))[row])
            if not all(np.isnan(value) for value in values.values()):
                found.append(values)
        return found

    def computed(self, row: int) -> dict[int, list[dict[str, float]]]:
        """All trainings by epochs."""
        return {epochs: runs for epochs in self.epochs if (runs := self.runs(row, epochs))}

    def halfway_epochs(self, epochs: int) -> list[float]:
        """The smallest and the largest epoch at which the second of three evaluations was made."""
        return self._halfway[str(epochs)]

    def _field(self, name: str) -> FloatArray:
        if name not in self._kept:
            self._kept[name] = self._fields[name]
        return self._kept[name]


@final
class FixedStatistics(Mapping[str, dict[str, Any]]):
    """What is fixed, by module hash."""

    def __init__(self, data: OfficialData) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[str]:
        return self._data.hashes()

    def __getitem__(self, module_hash: str) -> dict[str, Any]:
        return self._data.fixed(self._data.row(module_hash))


@final
class ComputedStatistics(Mapping[str, dict[int, list[dict[str, float]]]]):
    """All trainings, by module hash."""

    def __init__(self, data: OfficialData) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[str]:
        return self._data.hashes()

    def __getitem__(self, module_hash: str) -> dict[int, list[dict[str, float]]]:
        return self._data.computed(self._data.row(module_hash))


def table_file(table: str | os.PathLike[str] | TableEvaluator) -> Path:
    """The table file behind a name, a path, a table or the official file that it was made of.

    Raises:
        UserError: There is none; says how to make it.
    """
    if isinstance(table, TableEvaluator):
        path = None if table.name in catalog.BUILT_IN else catalog.table_path(table.name)
        if path is None or read_table(path, whole=False)[0].fingerprint != table.fingerprint:
            raise UserError(f"table {table.name!r} is not in the data folder under its name; give its path")
        return path
    text = os.fspath(table)
    if text.endswith(".tfrecord"):
        return _imported(Path(text))
    if text in catalog.BUILT_IN:
        raise UserError(f"table {text!r} is none of NAS-Bench-101")
    path = catalog.table_path(text)
    if path is None:
        raise UnknownNameError("benchmark table", text, catalog.available())
    return path


def _imported(file: Path) -> Path:
    """The table that an official file became, by the file's name and length (it is not read)."""
    path = catalog.user_path(table_name(file))
    if path.is_file():
        header = read_header(path)
        same = not file.is_file() or str(file.stat().st_size) == header.source.get("file bytes")
        if header.source.get("file") == file.name and same:
            return path
    raise TableError(
        f"{file} has not been imported yet; do it once, then this call works: crlso bench import {file}"
    )
