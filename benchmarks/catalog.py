"""Tables and surrogates by name: the built-in ones and those in the user's data folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks import analog_nasbench, nas_bench_graph, nasbench201
from benchmarks.folders import data_folder, make_folder
from benchmarks.packaged import PackagedTable
from benchmarks.store import Header, read_header, read_table, verify_table
from benchmarks.surrogate.evaluator import SurrogateEvaluator
from benchmarks.surrogate.storage import SUFFIX as SURROGATE_SUFFIX
from benchmarks.surrogate.storage import read_surrogate, read_surrogate_header
from benchmarks.table import TableEvaluator
from crlso.errors import TableError, UnknownNameError, UserError
from crlso.runs.files import disk_errors

BUILT_IN: Mapping[str, PackagedTable] = MappingProxyType(
    {table.name: table for table in (nasbench201.TABLE, analog_nasbench.TABLE, nas_bench_graph.TABLE)}
)
"""Tables that need no file of the user's; some need an extra of ours to be installed."""

SUFFIX = ".parquet"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def available() -> tuple[str, ...]:
    """Names that :func:`load` knows: built-in tables first, then the user's in alphabetical order.

    A built-in table whose package is not installed is among them: loading it says what to install.
    """
    folder = data_folder()
    files = [path for suffix in (SUFFIX, SURROGATE_SUFFIX) for path in folder.glob(f"*{suffix}")]
    own = sorted({path.stem for path in files if _NAME.fullmatch(path.stem)})
    return (*BUILT_IN, *(name for name in own if name not in BUILT_IN))


@dataclass(frozen=True)
class Entry:
    """One line of the list of tables.

    Attributes:
        name: What :func:`load` takes.
        built_in: Whether it needs no file of the user's.
        header: What the table says about itself; ``None`` where its file is damaged.
        problem: Why the file can not be read; empty where it can.
        needs: The command that has to be run before :func:`load`; empty where nothing is missing.
    """

    name: str
    built_in: bool
    header: Header | None
    problem: str = ""
    needs: str = ""


def entries() -> tuple[Entry, ...]:
    """All tables of :func:`available` with what they hold; a damaged file is listed as such."""
    found = []
    for name in available():
        if name in BUILT_IN:
            found.append(Entry(name, True, BUILT_IN[name].header(), needs=BUILT_IN[name].needs()))
            continue
        try:
            found.append(Entry(name, False, table_header(name)))
        except UserError as error:
            found.append(Entry(name, False, None, str(error)))
    return tuple(found)


def load(name_or_path: str | os.PathLike[str]) -> TableEvaluator | SurrogateEvaluator:
    """A table or surrogate by its name, or from a file of ours.

    Args:
        name_or_path: ``nasbench201``, the name of an imported table or of a surrogate, or a path (with a
            folder, or ending in ``.parquet`` or ``.safetensors``).

    Raises:
        UnknownNameError: No table of this name; the message lists the names.
        TableError: The file is missing, damaged or not a table file of ours, or the package of a built-in
            table is not installed.

    Example:
        >>> table = load("nasbench201")
        >>> table.optimum("cifar10/valid_accuracy@200")  # doctest: +ELLIPSIS
        91.606...
    """
    text = os.fspath(name_or_path)
    if text in BUILT_IN:
        return BUILT_IN[text].load()
    path = table_path(text)
    if path is None:
        raise UnknownNameError("benchmark table", text, available())
    if path.suffix == SURROGATE_SUFFIX:
        return read_surrogate(path)[0]
    return read_table(path, whole=False)[0]


def load_table(name_or_path: str | os.PathLike[str]) -> TableEvaluator:
    """As :func:`load`, for what only a table can do: it holds measured values of a list of architectures.

    Raises:
        UnknownNameError, TableError: As :func:`load`, or it is a surrogate.
    """
    found = load(name_or_path)
    if isinstance(found, SurrogateEvaluator):
        raise TableError(f"{os.fspath(name_or_path)!r} is a surrogate; this needs a table")
    return found


def stored_path(name_or_path: str) -> Path:
    """The table file behind a name or path; of a built-in table, its file in the cache.

    Raises:
        UnknownNameError: No table of this name.
        TableError: A file in another format, which has to be imported first.
    """
    if name_or_path in BUILT_IN:
        return BUILT_IN[name_or_path].stored()
    path = table_path(name_or_path)
    if path is None:
        raise UnknownNameError("benchmark table", name_or_path, available())
    return path


def table_header(name_or_path: str) -> Header:
    """What a table says about itself.

    Raises:
        UnknownNameError: No table of this name.
        TableError: The file is missing, damaged or not a table file of ours.
    """
    if name_or_path in BUILT_IN:
        return BUILT_IN[name_or_path].header()
    path = stored_path(name_or_path)
    return read_surrogate_header(path) if path.suffix == SURROGATE_SUFFIX else read_header(path)


def verify_stored(path: Path) -> Header:
    """Read all of a table's or surrogate's file and check all of it.

    Raises:
        TableError: Something does not fit; the message says what.
    """
    return read_surrogate(path)[1] if path.suffix == SURROGATE_SUFFIX else verify_table(path)


def table_path(name_or_path: str) -> Path | None:
    """The file behind a name or path that is not built in; ``None`` where there is none of that name.

    Raises:
        TableError: A file in another format, which has to be imported first.
    """
    path = Path(name_or_path)
    foreign = path.suffix in {".csv", ".gz", ".tsv"}
    if path.suffix in (SUFFIX, SURROGATE_SUFFIX) or path.name != name_or_path or (foreign and path.is_file()):
        if foreign:
            raise TableError(f"{path} is not a table file yet: crlso bench import {path} --space SPACE")
        return path
    if not _NAME.fullmatch(name_or_path):
        return None
    paths = (user_path(name_or_path, suffix) for suffix in (SUFFIX, SURROGATE_SUFFIX))
    return next((path for path in paths if path.is_file()), None)


def new_path(name: str, suffix: str = SUFFIX, *, force: bool = False) -> Path:
    """Where a new table or surrogate of this name is to be written.

    Raises:
        TableError: The name is taken (a file of the same kind may be replaced with ``force``).
    """
    path = user_path(name, suffix)
    for taken in (user_path(name, SUFFIX), user_path(name, SURROGATE_SUFFIX)):
        if taken != path and taken.exists():
            raise TableError(f"{name!r} is the name of {taken} already; --name takes another name")
    if path.exists() and not force:
        raise TableError(
            f"table {name!r} exists already ({path}); --force replaces it, --name takes another name"
        )
    return path


@contextmanager
def claimed_path(name: str, suffix: str = SUFFIX, *, force: bool = False) -> Iterator[Path]:
    """As :func:`new_path`, and until the block ends no other process can make a table of this name.

    Raises:
        TableError: The name is taken, or another process is making a table of this name.
        RunError: The data folder can not be written.
    """
    from filelock import FileLock, Timeout

    path = new_path(name, suffix, force=force)
    make_folder(path.parent)
    marker = path.with_name(f".{name}.lock")
    lock = FileLock(marker)
    try:
        with disk_errors(marker):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise TableError(
            f"another process is making a table {name!r}; wait for it, or take another name (--name)"
        ) from error
    try:
        yield new_path(name, suffix, force=force)  # again: it may have come meanwhile
    finally:
        with suppress(OSError):
            marker.unlink()
        lock.release()


def user_path(name: str, suffix: str = SUFFIX) -> Path:
    """Where an imported table of this name lies, or with another suffix a surrogate.

    Raises:
        TableError: The name can not be the name of a table.
    """
    if not _NAME.fullmatch(name):
        raise TableError(
            f"{name!r} can not name a table: letters, digits, '.', '_' and '-', a letter or digit first"
        )
    if name.endswith((SUFFIX, SURROGATE_SUFFIX)):
        raise TableError(f"{name!r} can not name a table: it ends as a file does; leave the ending away")
    if name in BUILT_IN:
        raise TableError(f"{name!r} is a built-in table; choose another name (--name)")
    return data_folder() / f"{name}{suffix}"
