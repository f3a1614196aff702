"""Reads single trainings of a NAS-Bench-201 or NATS-Bench table: what the views of their APIs stand on."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from benchmarks.catalog import BUILT_IN, available, table_path
from benchmarks.store import read_fields, read_table
from benchmarks.trials import SPLITS, Trial
from crlso.errors import TableError, UnknownNameError
from crlso.protocols import FloatArray
from crlso.spaces import codes as code_tools

_OFFICIAL_SUFFIXES = (".pth", ".pbz2")
_EPOCHS = re.compile(r"(.+)/epochs@(\d+)/seed(\d+)")


@final
class StoredTrials:
    """The trainings in a table, by official number of the architecture.

    Numbers after the last epoch come from whole columns, which are kept; curves are read by row groups.

    Args:
        name_or_path: Name of an imported table, or path of a table file.

    Raises:
        TableError: Not such a table; for an official file the message has the command that imports it.
    """

    def __init__(self, name_or_path: str | os.PathLike[str]) -> None:
        path = _find(os.fspath(name_or_path))
        self.path = path
        self._table, header = read_table(path, whole=False)
        self._fields = read_fields(path)
        self._cache: dict[str, FloatArray | None] = {}
        if "schedules" not in header.details:
            raise TableError(
                f"table {header.name!r} was not imported from NAS-Bench-201 or NATS-Bench files: it has no"
                " single trainings"
            )
        self.space = self._table.space
        self.datasets: Mapping[str, list[str]] = header.details["schedules"]
        self.splits: Mapping[str, Mapping[str, list[str]]] = header.details["splits"]
        self._networks: Mapping[str, Mapping[str, Any]] = header.details["networks"]
        index = self._fields["index"].astype(np.int64)
        self._rows = {int(number): row for row, number in enumerate(index)}
        self.archs = self._archs(header.details["order"])
        self._seeds: dict[tuple[str, str], list[int]] = {}
        names = {int(hp): hp for hp in self.datasets}
        ours = {Trial("1", key, 0).field("epochs").partition("/")[0]: key for key, _ in SPLITS}
        for name in header.fields:
            if match := _EPOCHS.fullmatch(name):
                key = names[int(match[2])], ours[match[1]]
                self._seeds.setdefault(key, []).append(int(match[3]))

    def _archs(self, order: list[int] | None) -> list[str]:
        """The official texts by number."""
        codes = self._table.codes
        if order is not None:
            codes = code_tools.unravel(np.array(order), self.space.cardinalities)
        return [self.space.format(code) for code in codes]

    @property
    def indexes(self) -> list[int]:
        """Official numbers of the architectures with results, rising."""
        return sorted(self._rows)

    def __contains__(self, index: object) -> bool:
        return index in self._rows

    def seeds(self, index: int, hp: str, dataset: str) -> list[int]:
        """Seeds with which an architecture was trained, in the record's order."""
        trials = [Trial(hp, dataset, seed) for seed in self._seeds.get((hp, dataset), ())]
        trained = [trial for trial in trials if self.value(index, trial.field("epochs")) is not None]
        return [trial.seed for trial in sorted(trained, key=lambda trial: self._place(index, trial))]

    def _place(self, index: int, trial: Trial) -> tuple[float, int]:
        """What the trainings of an architecture are sorted by; most have no stated position: by seed."""
        return self.value(index, trial.field("position")) or 0.0, trial.seed

    def value(self, index: int, name: str) -> float | None:
        """A metric or field; ``None`` where the table has no number."""
        if name not in self._cache:
            if name in self._table.metrics:
                self._cache[name] = self._table.column(name)
            else:
                self._cache[name] = self._fields.get(name)
        column = self._cache[name]
        if column is None:
            return None
        number = float(column[self._rows[index]])
        return None if math.isnan(number) else number

    def curve(self, index: int, name: str) -> list[float] | None:
        """Numbers by epoch, NaN where there is none; ``None`` where the table has no such curve at all."""
        if name not in self._table.curves:
            return None
        row = self._rows[index]
        values: list[float] = self._table.curve(name, self._table.codes[row][None])[0].tolist()
        return values

    def network(self, index: int, dataset: str) -> dict[str, Any]:
        """What the official record says of the network."""
        arch = self.archs[index]
        stated = dict(self._networks[dataset])
        sized = {"channels": arch} if "genotype" in stated else {}
        return stated | sized | {"arch_str": arch}


def _find(name: str) -> Path:
    """The table file of a name or path."""
    if name in BUILT_IN:
        raise TableError(
            f"the built-in table {name!r} has no single trainings with curves, which this API answers from:"
            " import an official file (docs/benchmarks.md says where it is)"
        )
    if name.endswith(_OFFICIAL_SUFFIXES) or Path(name).is_dir():
        if not Path(name).exists():
            raise TableError(f"there is no file {name}; this takes the name of an imported table")
        raise TableError(f"{name} is an official file: convert it once with: crlso bench import {name}")
    path = table_path(name)
    if path is None:
        raise UnknownNameError("benchmark table", name, available())
    return path
