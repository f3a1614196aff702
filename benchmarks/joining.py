"""Tables of the same space put together: one table with the metrics of all.

So accuracy from one benchmark and latency from another can drive one search.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.builder import folder_aside, remove_leftover_folders
from benchmarks.catalog import claimed_path, load_table, table_header
from benchmarks.folders import make_folder
from benchmarks.store import CURVE, Block, Header, group_rows, read_table, write_blocks
from benchmarks.table import Curve, TableEvaluator
from crlso.errors import TableError, UserError
from crlso.protocols import FloatArray, Metric
from crlso.runs.files import disk_errors

IMPORTER = "crlso.join/1"


@dataclass(frozen=True)
class Part:
    """One table that goes into a joined one.

    Attributes:
        asked: The name or path that the user gave.
        table: The table.
        header: What its file says about it.
        prefix: What is put in front of the names of its metrics and curves, with a slash; empty: nothing.
    """

    asked: str
    table: TableEvaluator
    header: Header
    prefix: str = ""

    def name(self, name: str) -> str:
        """A metric's or curve's name in the joined table."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def metrics(self) -> list[Metric]:
        """The metrics under their names in the joined table."""
        return [replace(metric, name=self.name(metric.name)) for metric in self.table.metrics.values()]

    def curves(self) -> list[Curve]:
        """The curves under their names in the joined table."""
        return [replace(curve, name=self.name(curve.name)) for curve in self.table.curves.values()]


def join_tables(
    names: Sequence[str],
    *,
    name: str,
    keep_all: bool = False,
    prefixes: Mapping[str, str] | None = None,
    force: bool = False,
) -> TableEvaluator:
    """Join tables on their architectures and store the result among the user's tables.

    Rows are matched by the code of the architecture, never by their number; they come in the order of the
    first table. Curves are kept; columns that only views of official APIs read are not. The header says under
    ``details["joined"]`` how many architectures each table holds and how many of them are in the result.

    Args:
        names: Names or paths of two or more tables of one space.
        name: Name of the joined table.
        keep_all: ``False``: only architectures that all tables hold. ``True``: all of the first table, and
            what another one does not hold is missing (NaN).
        prefixes: For some of ``names`` a text that is put in front of the names of its metrics and curves,
            for tables that have names in common.
        force: Replace a table of the same name.

    Raises:
        UserError: Fewer than two tables, another space, the same metric twice, no architecture in common, a
            name that is taken, or what loading a table raises.
        RunError: The data folder can not be written.
    """
    prefixes = prefixes or {}
    if len(names) < 2:
        raise UserError(f"joining takes two or more tables, got {len(names)}")
    if unknown := sorted(set(prefixes) - set(names)):
        raise UserError(f"a prefix for {unknown[0]!r}, which is not among the tables {', '.join(names)}")
    if len(set(names)) < len(names):
        raise UserError(f"the same table twice: {', '.join(names)}")
    with claimed_path(name, force=force) as target:
        _join(names, target, name, keep_all=keep_all, prefixes=prefixes)
    return read_table(target, whole=False)[0]


def _join(
    names: Sequence[str], target: Path, name: str, *, keep_all: bool, prefixes: Mapping[str, str]
) -> None:
    parts = [Part(each, load_table(each), table_header(each), prefixes.get(each, "")) for each in names]
    _check(parts)
    found = np.stack([part.table.rows(parts[0].table.codes) for part in parts], axis=1)
    rows = found if keep_all else found[(found >= 0).all(axis=1)]
    if not len(rows):
        raise TableError(f"the tables {', '.join(names)} have no architecture in common")
    _write(target, name, parts, rows)


def _check(parts: Sequence[Part]) -> None:
    """All tables are of one space, and no name occurs twice."""
    first = parts[0]
    owners: dict[tuple[str, str], str] = {}
    for part in parts:
        if part.header.space != first.header.space:
            raise TableError(
                f"tables {first.asked!r} (space {first.table.space.name!r}) and {part.asked!r} "
                f"(space {part.table.space.name!r}) are not of one space"
            )
        names = [("metric", metric.name) for metric in part.metrics()]
        names += [("curve", curve.name) for curve in part.curves()]
        for kind, name in names:
            if (kind, name) in owners:
                raise TableError(
                    f"tables {owners[kind, name]!r} and {part.asked!r} both have a {kind} {name!r}; "
                    f"tell them apart with --prefix {part.asked}=TEXT"
                )
            owners[kind, name] = part.asked


def _write(target: Path, name: str, parts: Sequence[Part], rows: NDArray[np.intp]) -> None:
    """Write the rows, given by their numbers ``[n, parts]`` in the tables; -1 where a table has none."""
    header = _header(name, parts, rows)
    codes = parts[0].table.codes[rows[:, 0]]
    step = group_rows(header)
    columns: dict[str, FloatArray] = {}
    folder = folder_aside(target)
    make_folder(target.parent)
    remove_leftover_folders(target.parent)
    try:
        with disk_errors(target):
            folder.mkdir()
        for part, found in zip(parts, rows.T, strict=True):
            for metric in part.table.metrics:
                columns[part.name(metric)] = _taken(part.table.column(metric), found)
            # All curves of a large table would not fit into memory: each is put in order on the disk.
            for curve in part.table.curves:
                file = folder / f"{len(columns)}.npy"
                with disk_errors(target):
                    np.save(file, _taken(part.table.curve(curve), found), allow_pickle=False)
                columns[f"{CURVE}{part.name(curve)}"] = np.load(file, mmap_mode="r", allow_pickle=False)
        blocks = (
            Block(codes[i : i + step], {key: values[i : i + step] for key, values in columns.items()})
            for i in range(0, len(rows), step)
        )
        write_blocks(target, header, parts[0].table.space, blocks)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _taken(values: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
    """The values of some rows; NaN where a row is -1."""
    taken = np.array(values[rows], dtype=np.float64)
    taken[rows < 0] = np.nan
    return taken


def _header(name: str, parts: Sequence[Part], rows: NDArray[np.intp]) -> Header:
    """What the joined table says about itself: where all of it comes from, and whether that was verified."""
    names = [part.header.name for part in parts]
    # Two files may hold tables of one name.
    labels = [each if names.count(each) == 1 else f"{each} {i + 1}" for i, each in enumerate(names)]
    source: dict[str, str] = {}
    verified: list[str] = []
    for label, part in zip(labels, parts, strict=True):
        source |= {
            f"{label}: {key}": value for key, value in part.table.fingerprint.items() if key != "table"
        }
        if part.header.verified:
            verified.append(f"{label}: {part.header.verified}")
    return Header(
        name=name,
        space=parts[0].header.space,
        metrics=tuple(metric for part in parts for metric in part.metrics()),
        rows=len(rows),
        source=source,
        importer=IMPORTER,
        description=f"joined from {', '.join(labels)}",
        verified="; ".join(verified) if len(verified) == len(parts) else "",
        curves=tuple(curve for part in parts for curve in part.curves()),
        details={
            "joined": [
                {"table": label, "architectures": len(part.table), "kept": int(np.count_nonzero(found >= 0))}
                for label, part, found in zip(labels, parts, rows.T, strict=True)
            ]
        },
    )
