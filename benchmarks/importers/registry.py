"""Official formats by name, and which of them a file is in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.catalog import SUFFIX, claimed_path, load
from benchmarks.surrogate.evaluator import SurrogateEvaluator
from benchmarks.table import TableEvaluator
from crlso.errors import TableError, UnknownNameError
from crlso.runs.files import disk_errors


@dataclass(frozen=True)
class Source:
    """What is to be imported, and where to.

    Attributes:
        path: The official file or folder.
        target: The table file to write; it appears whole or not at all.
        name: Name of the table.
        progress: Whether to show a progress bar (on a terminal only).
        unverified: Whether a file with a published name may have another digest than the published one.
    """

    path: Path
    target: Path
    name: str
    progress: bool = False
    unverified: bool = False


@dataclass(frozen=True)
class Format:
    """One official format.

    Attributes:
        name: What ``--format`` takes.
        table: Name of the table where none is stated.
        what: One line: which files of which benchmark.
        recognises: Whether a path looks like this format, by names and first bytes alone.
        convert: Reads all of it and writes the table.
        suffix: Of the file that it writes: a table's or a surrogate's.
    """

    name: str
    table: Callable[[Path], str]
    what: str
    recognises: Callable[[Path], bool]
    convert: Callable[[Source], None]
    suffix: str = SUFFIX


def formats() -> Mapping[str, Format]:
    """All official formats by name."""
    # Here, not above: the modules of the formats import the classes of this one.
    from benchmarks.importers import hw_nas_bench, nasbench101, nasbench201, nasbench301, nats_bench

    found = (
        nats_bench.FORMAT,
        nasbench201.FORMAT,
        nasbench101.FORMAT,
        nasbench301.FORMAT,
        hw_nas_bench.FORMAT,
    )
    return MappingProxyType({each.name: each for each in found})


def recognise(path: Path) -> Format | None:
    """The official format that a file or folder is in; ``None`` for a CSV, Parquet or unknown file.

    Raises:
        TableError: There is no such file.
    """
    _check_exists(path)
    return next((candidate for candidate in formats().values() if candidate.recognises(path)), None)


def import_official(
    path: Path,
    *,
    name: str | None = None,
    format_name: str | None = None,
    force: bool = False,
    progress: bool = False,
    unverified: bool = False,
) -> TableEvaluator | SurrogateEvaluator:
    """Convert an official file once; from then on the table opens in milliseconds.

    Args:
        path: The official file or folder.
        name: Name of the table; by default the format's own.
        format_name: One of :func:`formats`; by default the one that is recognised.
        force: Replace a table of the same name.
        progress: Whether to show a progress bar.
        unverified: Import a file of a published name although its digest is not the published one.

    Raises:
        TableError: No such file, no known format, damaged, or refused because it is more than data.
        UnknownNameError: No such format.
        RunError: The data folder can not be written.
    """
    known = formats()
    if format_name is not None and format_name not in known:
        raise UnknownNameError("format", format_name, known)
    _check_exists(path)
    found = recognise(path) if format_name is None else known[format_name]
    if found is None:
        listed = "; ".join(f"{key}: {value.what}" for key, value in known.items())
        raise TableError(f"{path} is in no official format that is known ({listed})")
    with claimed_path(found.table(path) if name is None else name, found.suffix, force=force) as target:
        found.convert(Source(path, target, target.stem, progress, unverified))
    return load(target)


def _check_exists(path: Path) -> None:
    with disk_errors(path):
        if not path.exists():
            raise TableError(f"there is no file {path}")
        if not (path.is_file() or path.is_dir()):
            raise TableError(f"{path} is neither a file nor a folder")
