"""A table as a plain CSV or Parquet file: one text column ``arch``, one column of numbers per metric."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from benchmarks.store import ARCH_COLUMN, read_header
from benchmarks.table import TableEvaluator
from crlso.errors import TableError
from crlso.runs.files import write_aside


def export_table(table: TableEvaluator, path: Path, *, force: bool = False) -> None:
    """Write all rows in the table's order; importing the file again gives the same numbers.

    A missing value is an empty field in CSV and NaN in Parquet.

    Args:
        table: What to write.
        path: Ends in ``.csv`` or ``.parquet``.
        force: Replace a file that is there.

    Raises:
        TableError: Another ending, no such folder, the file exists, or it is one of our tables.
        RunError: The disk is full or the folder can not be written.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise TableError(f"{path}: export writes .csv or .parquet")
    if not path.parent.is_dir():
        raise TableError(f"there is no folder {path.parent}")
    if path.exists() and not force:
        raise TableError(f"{path} exists already; --force replaces it")
    if path.exists() and _is_table(path):
        raise TableError(f"{path} is a table with its header, which an export has not; choose another file")
    names = list(table.metrics)
    archs = [table.space.format(code) for code in table.codes]
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        content = pa.table({ARCH_COLUMN: archs, **{name: table.column(name) for name in names}})
        with write_aside(path) as file:
            pq.write_table(content, file, compression="zstd")
        return
    columns = [[_text(value) for value in table.column(name).tolist()] for name in names]
    with write_aside(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([ARCH_COLUMN, *names])
        writer.writerows(zip(archs, *columns, strict=True))


def _is_table(path: Path) -> bool:
    try:
        read_header(path)
    except TableError:
        return False
    return True


def _text(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return "" if math.isnan(value) else repr(value)
