"""Any CSV or Parquet file with an architecture column becomes a table that `--bench NAME` finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.catalog import claimed_path
from benchmarks.directions import Direction, guess_direction
from benchmarks.reading import SUFFIXES, RawTable, read_raw
from benchmarks.store import RESERVED_COLUMNS, Header, read_table, write_table
from benchmarks.table import TableEvaluator
from crlso.errors import ArchitectureError, TableError, UserError
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Metric, SearchSpace
from crlso.spaces import space_to_dict
from crlso.spaces.darts import DARTSSpace
from crlso.spaces.genotype import CELLS, genotype_from_cells

IMPORTER = "crlso.import/1"
ARCH_NAMES = ("arch", "architecture", "arch_str", "arch_string", "genotype", "cell")
"""Names by which the architecture column is found (in any case)."""
_INDEX_NAMES = ("row", "index", "idx", "id")  # of columns that may only number the rows


@dataclass(frozen=True)
class ImportOptions:
    """How to read a file.

    Attributes:
        arch_column: The architecture column; ``None``: the one that has one of :data:`ARCH_NAMES`, or for the
            space ``darts`` also two columns ``normal`` and ``reduce`` with a cell each.
        metrics: The metric columns; empty: all others that do not only number the rows. They must be numbers.
        ignore: Columns to leave out.
        maximize: Metrics of which more is better.
        minimize: Metrics of which less is better; those in neither go by their names.
        units: Unit of a metric, by its name.
        allow_missing: Whether a metric may be missing (empty or NaN) in some rows.
    """

    arch_column: str | None = None
    metrics: Sequence[str] = ()
    ignore: Sequence[str] = ()
    maximize: Sequence[str] = ()
    minimize: Sequence[str] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    allow_missing: bool = False


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
        table: The table, as it was read back from its file.
        path: The file.
        arch_column: The column that held the architectures (``normal, reduce`` where they were two).
        reasons: For each metric why its direction is what it is.
        left_out: Columns of the file that are not in the table.
    """

    table: TableEvaluator
    path: Path
    arch_column: str
    reasons: Mapping[str, str]
    left_out: tuple[str, ...]


def import_table(
    file: Path,
    space: SearchSpace,
    *,
    name: str | None = None,
    options: ImportOptions | None = None,
    force: bool = False,
) -> Imported:
    """Read a foreign file, check every row, and store it under a name in the user's data folder.

    Nothing is stored unless all of it is right; a table that is replaced stays until the new one is whole.

    Args:
        file: CSV or Parquet.
        space: What the architectures belong to.
        name: Name of the table; by default the file's name without its ending.
        options: Columns, directions, units.
        force: Replace a table of the same name.

    Raises:
        TableError: The file does not fit; the message says where and what to do.
        RunError: The data folder can not be written.
    """
    with claimed_path(_table_name(file) if name is None else name, force=force) as path:
        return _import(file, space, path, options or ImportOptions())


def _import(file: Path, space: SearchSpace, path: Path, options: ImportOptions) -> Imported:
    raw = read_raw(file)
    arch_columns = _arch_columns(raw, options.arch_column, space)
    metrics, reasons = _metrics(raw, arch_columns, options)
    columns = {metric.name: raw.floats(metric.name) for metric in metrics}
    if not options.allow_missing:
        _refuse_missing(raw, columns)
    codes = _codes(raw, arch_columns, space)
    _refuse_duplicates(raw, codes, columns)
    header = Header(
        name=path.stem,
        space=space_to_dict(space),
        metrics=tuple(metrics),
        rows=len(codes),
        source={"file": file.name, "file sha256": raw.sha256},
        importer=IMPORTER,
        description=f"imported from {file.name}",
    )
    write_table(path, header, space, codes, columns)
    left_out = tuple(name for name in raw.names if name not in arch_columns and name not in columns)
    return Imported(read_table(path)[0], path, ", ".join(arch_columns), reasons, left_out)


def _table_name(file: Path) -> str:
    """The file's name without the ending that says what kind of file it is."""
    ending = max((end for end in SUFFIXES if file.name.lower().endswith(end)), key=len, default="")
    if stem := file.name[: len(file.name) - len(ending)]:
        return stem
    raise TableError(f"{str(file)!r} is not the name of a file")


def _arch_columns(raw: RawTable, stated: str | None, space: SearchSpace) -> tuple[str, ...]:
    """The architecture column; of a DARTS genotype perhaps two, a cell in each."""
    listed = ", ".join(map(repr, raw.names))
    if stated is not None:
        if stated not in raw.names:
            raise TableError(f"{raw.path} has no column {stated!r} (--arch-column); its columns: {listed}")
        found = [stated]
    else:
        found = [name for name in raw.names if name.lower() in ARCH_NAMES]
    if not found and isinstance(space, DARTSSpace) and all(cell in raw.texts for cell in CELLS):
        return CELLS
    if not found:
        raise TableError(
            f"{raw.path} has no architecture column ({', '.join(ARCH_NAMES)}); its columns: {listed}; "
            "name it with --arch-column"
        )
    if len(found) > 1:
        raise TableError(
            f"{raw.path} has several architecture columns ({', '.join(found)}); choose with --arch-column"
        )
    if found[0] not in raw.texts:
        raise TableError(
            f"{raw.path}: column {found[0]!r} does not hold texts; name another with --arch-column"
        )
    return (found[0],)


def _metrics(
    raw: RawTable, arch_columns: Sequence[str], options: ImportOptions
) -> tuple[list[Metric], dict[str, str]]:
    """What each metric column is, and why its direction."""
    others = [name for name in raw.names if name not in arch_columns]
    for option, names in (("--metric", options.metrics), ("--ignore", options.ignore)):
        _refuse_unknown(raw, option, names, others)
    if options.metrics:
        chosen = [name for name in others if name in options.metrics]
    else:
        chosen = [name for name in others if not _numbers_rows(raw, name)]
    chosen = [name for name in chosen if name not in options.ignore]
    if not chosen:
        raise TableError(f"{raw.path} has no metric column beside {', '.join(map(repr, arch_columns))}")
    _refuse_unknown(raw, "--maximize", options.maximize, chosen)
    _refuse_unknown(raw, "--minimize", options.minimize, chosen)
    _refuse_unknown(raw, "--unit", options.units, chosen)
    if both := sorted(set(options.maximize) & set(options.minimize)):
        raise UserError(f"metric {both[0]!r} stands under both --maximize and --minimize")
    metrics, reasons = [], {}
    for name in chosen:
        if name in RESERVED_COLUMNS:
            raise TableError(
                f"{raw.path}: a metric can not be named {name!r}; rename the column or --ignore it"
            )
        direction: Direction
        if name in options.maximize or name in options.minimize:
            direction, reason = ("max" if name in options.maximize else "min"), "stated"
        else:
            direction, reason = guess_direction(name)
        metrics.append(
            Metric(name, direction, options.units.get(name, ""), f"column {name!r} of {raw.path.name}")
        )
        reasons[name] = reason
    return metrics, reasons


def _numbers_rows(raw: RawTable, name: str) -> bool:
    """Whether a column says no more than which row it is: 0, 1, 2, ... or 1, 2, 3, ..."""
    if name.lower() not in _INDEX_NAMES or name in raw.kinds:
        return False
    rows = np.arange(len(raw.places))
    if name in raw.numbers:
        return any(np.array_equal(raw.numbers[name], rows + first) for first in (0, 1))
    stated = [(text or "").strip() for text in raw.texts[name]]
    return any(stated == [str(row) for row in rows + first] for first in (0, 1))


def _refuse_unknown(raw: RawTable, option: str, names: Collection[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise TableError(
                f"{raw.path} has no metric column {name!r} ({option}); it has: {', '.join(map(repr, known))}"
            )


def _refuse_missing(raw: RawTable, columns: Mapping[str, FloatArray]) -> None:
    for name, values in columns.items():
        if (missing := np.flatnonzero(np.isnan(values))).size:
            raise TableError(
                f"{raw.path}, {raw.place(int(missing[0]))}: column {name!r} has no value "
                f"({missing.size} of {len(values)} rows); --allow-missing accepts this"
            )


def _codes(raw: RawTable, arch_columns: Sequence[str], space: SearchSpace) -> Codes:
    """``[n, d]`` the architectures."""
    parse = space.parse if len(arch_columns) == 1 else genotype_from_cells
    codes = np.empty((len(raw.places), len(space.cardinalities)), dtype=CODE_DTYPE)
    for row, texts in enumerate(zip(*(raw.texts[name] for name in arch_columns), strict=True)):
        try:
            codes[row] = parse(*(text or "" for text in texts))
        except ArchitectureError as error:
            where = f"column {', '.join(map(repr, arch_columns))}"
            raise TableError(f"{raw.path}, {raw.place(row)}, {where}: {error}") from error
    return codes


def _refuse_duplicates(raw: RawTable, codes: Codes, columns: Mapping[str, FloatArray]) -> None:
    """Each architecture once: which of two rows is right, only the user knows."""
    seen: dict[bytes, int] = {}
    repeats = [
        (first, row)
        for row, code in enumerate(codes)
        if (first := seen.setdefault(code.tobytes(), row)) != row
    ]
    if not repeats:
        return
    first, row = repeats[0]
    where = f"{raw.path}: {raw.unit}s {raw.places[first]} and {raw.places[row]} hold the same architecture"
    conflict = next(
        (
            f"{name}: {float(v[first])!r} and {float(v[row])!r}"
            for name, v in columns.items()
            if not _same(v[first], v[row])
        ),
        None,
    )
    values = "with equal values" if conflict is None else f"with conflicting values ({conflict})"
    raise TableError(f"{where} {values}; {len(repeats)} such rows in all; keep one row of each architecture")


def _same(a: float, b: float) -> bool:
    return bool(a == b or (np.isnan(a) and np.isnan(b)))
