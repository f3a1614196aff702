"""Official formats by name, and which of them a file is in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks.catalog import user_path
from benchmarks.importers import nasbench101
from benchmarks.importers.format import Format, Source
from benchmarks.store import read_table
from benchmarks.table import TableEvaluator
from crlso.errors import TableError, UnknownNameError

FORMATS: Mapping[str, Format] = MappingProxyType({found.name: found for found in (nasbench101.FORMAT,)})
"""All official formats."""


def recognise(path: Path) -> Format | None:
    """The official format that a file or folder is in; ``None`` for a CSV, Parquet or unknown file.

    Raises:
        TableError: There is no such file.
    """
    if not path.exists():
        raise TableError(f"there is no file {path}")
    return next((candidate for candidate in FORMATS.values() if candidate.recognises(path)), None)


def import_official(
    path: Path,
    *,
    name: str | None = None,
    format_name: str | None = None,
    force: bool = False,
    progress: bool = False,
) -> TableEvaluator:
    """Convert an official file once; from then on the table opens in milliseconds.

    Args:
        path: The official file or folder.
        name: Name of the table; by default the format's own.
        format_name: One of :data:`FORMATS`; by default the one that is recognised.
        force: Replace a table of the same name.
        progress: Whether to show a progress bar.

    Raises:
        TableError: No such file, no known format, damaged, or refused because it is more than data.
        UnknownNameError: No such format.
        RunError: The data folder can not be written.
    """
    if format_name is not None and format_name not in FORMATS:
        raise UnknownNameError("format", format_name, FORMATS)
    found = recognise(path) if format_name is None else FORMATS[format_name]
    if found is None:
        listed = "; ".join(f"{key}: {value.what}" for key, value in FORMATS.items())
        raise TableError(f"{path} is in no official format that is known ({listed})")
    target = user_path(found.table(path) if name is None else name)
    if target.exists() and not force:
        raise TableError(
            f"table {target.stem!r} exists already ({target}); --force replaces it, --name takes another name"
        )
    found.convert(Source(path, target, target.stem, progress))
    return read_table(target, whole=False)[0]
