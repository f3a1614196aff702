"""Tables by name: the built-in ones and those in the user's data folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks import analog_nasbench, nas_bench_graph, nasbench201
from benchmarks.folders import data_folder
from benchmarks.packaged import PackagedTable
from benchmarks.store import Header, read_header, read_table
from benchmarks.table import TableEvaluator
from crlso.errors import TableError, UnknownNameError, UserError

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
    own = sorted(path.stem for path in folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(path.stem))
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
            found.append(Entry(name, False, read_header(user_path(name))))
        except UserError as error:
            found.append(Entry(name, False, None, str(error)))
    return tuple(found)


def load(name_or_path: str | os.PathLike[str]) -> TableEvaluator:
    """A table by its name, or from a table file of ours.

    Args:
        name_or_path: ``nasbench201``, the name of an imported table, or a path (with a folder, or ending in
            ``.parquet``).

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
    return read_table(path, whole=False)[0]


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
    return read_header(stored_path(name_or_path))


def table_path(name_or_path: str) -> Path | None:
    """The file behind a name or path that is not built in; ``None`` where there is none of that name.

    Raises:
        TableError: A file in another format, which has to be imported first.
    """
    path = Path(name_or_path)
    if path.suffix == SUFFIX or path.name != name_or_path:
        if path.suffix in {".csv", ".gz", ".tsv"}:
            raise TableError(f"{path} is not a table file yet: crlso bench import {path} --space SPACE")
        return path
    if not _NAME.fullmatch(name_or_path):
        return None
    own = user_path(name_or_path)
    return own if own.is_file() else None


def user_path(name: str) -> Path:
    """Where an imported table of this name lies.

    Raises:
        TableError: The name can not be the name of a table.
    """
    if not _NAME.fullmatch(name):
        raise TableError(
            f"{name!r} can not name a table: letters, digits, '.', '_' and '-', a letter or digit first"
        )
    if name in BUILT_IN:
        raise TableError(f"{name!r} is a built-in table; choose another name (--name)")
    return data_folder() / f"{name}{SUFFIX}"
