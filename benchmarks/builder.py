"""Tables that come row by row: kept on the disk in blocks until all rows are there, then written as one file.

Which columns a foreign file holds is known only at its end, and all of it may not fit into memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.folders import make_folder
from benchmarks.store import CURVE, FIELD, Block, Header, write_blocks
from crlso.errors import TableError
from crlso.protocols import CODE_DTYPE, Code, FloatArray, SearchSpace
from crlso.runs.files import TEMPORARY_PREFIX, disk_errors, is_left_behind, process_mark

_BLOCK_BYTES = 64 << 20
_CODES = "codes"  # name of the codes among a block's arrays, which otherwise begin with "metric:" and so on
_METRIC = "metric:"

Number: TypeAlias = "float | FloatArray"


@final
class TableBuilder:
    """Takes rows one at a time and writes them as a table file, which appears whole or not at all.

    Use it as a context manager: on leaving, what it kept on the disk is removed; on entering, what killed
    processes left.

    Args:
        path: The table file to be.
        space: The space of the codes.

    Example::

        with TableBuilder(path, space) as builder:
            builder.add(code, metrics={"accuracy": 0.9}, curves={"accuracy": np.array([0.1, 0.9])})
            builder.finish(header)
    """

    def __init__(self, path: Path, space: SearchSpace) -> None:
        self._path = path
        self._space = space
        self._folder = folder_aside(path)
        self._rows: list[dict[str, Number]] = []
        self._codes: list[Code] = []
        self._seen: dict[bytes, int] = {}
        self._lengths: dict[str, int | None] = {}
        self._held = 0
        self._blocks: list[Path] = []

    def __enter__(self) -> Self:
        make_folder(self._path.parent)
        remove_leftover_folders(self._path.parent)
        with disk_errors(self._folder):
            self._folder.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        shutil.rmtree(self._folder, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that came so far, in the order of their first appearance."""
        return self._names(_METRIC)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that came so far."""
        return self._names(FIELD)

    @property
    def curves(self) -> Mapping[str, int]:
        """Length of each curve that came so far."""
        return {name: int(self._lengths[CURVE + name] or 0) for name in self._names(CURVE)}

    def add(
        self,
        code: Code,
        *,
        metrics: Mapping[str, float],
        fields: Mapping[str, float] | None = None,
        curves: Mapping[str, FloatArray] | None = None,
    ) -> None:
        """Take one architecture; what a later row does not have is missing there (NaN).

        Raises:
            TableError: The architecture came before, or a curve has another length than in the rows before.
            RunError: The disk is full.
        """
        row: dict[str, Number] = {_METRIC + name: float(value) for name, value in metrics.items()}
        row |= {FIELD + name: float(value) for name, value in (fields or {}).items()}
        row |= {CURVE + name: np.asarray(v, dtype=np.float64) for name, v in (curves or {}).items()}
        place = len(self._seen)
        if (first := self._seen.setdefault(np.asarray(code, dtype="<i2").tobytes(), place)) != place:
            raise TableError(
                f"rows {first} and {place} are the same architecture {self._space.format(code)!r}"
            )
        for name, value in row.items():
            length = len(value) if isinstance(value, np.ndarray) else None
            if self._lengths.setdefault(name, length) != length:
                raise TableError(
                    f"row {place}: {name.partition(':')[2]!r} has {length} values, in the rows before"
                    f" {self._lengths[name]}"
                )
            self._held += 8 * (length or 1)
        self._rows.append(row)
        self._codes.append(np.array(code, dtype=CODE_DTYPE))
        if self._held >= _BLOCK_BYTES:
            self._flush()

    def finish(self, header: Header) -> None:
        """Write all rows as the table file.

        Args:
            header: Its metrics, fields and curves choose the columns; its number of rows is set.

        Raises:
            TableError: No row came.
            RunError: The disk is full or the folder can not be written.
        """
        if not self._seen:
            raise TableError(f"no architecture with results was found for the table {self._path.stem!r}")
        if self._rows:
            self._flush()
        write_blocks(self._path, header, self._space, self._read())

    def _names(self, prefix: str) -> tuple[str, ...]:
        return tuple(name.removeprefix(prefix) for name in self._lengths if name.startswith(prefix))

    def _flush(self) -> None:
        arrays: dict[str, NDArray[np.generic]] = {_CODES: np.stack(self._codes)}
        names = {name: None for row in self._rows for name in row}
        for number, name in enumerate(names):
            length = self._lengths[name]
            shape = (len(self._rows),) if length is None else (len(self._rows), length)
            values = np.full(shape, np.nan)
            for i, row in enumerate(self._rows):
                if name in row:
                    values[i] = row[name]
            arrays[f"{number} {name}"] = values  # the number keeps names of archive members apart
        block = self._folder / f"{len(self._blocks):06d}.npz"
        with disk_errors(self._path):
            np.savez(block, **arrays)  # type: ignore[arg-type]  # names are ours, none is an option
        self._blocks.append(block)
        self._rows, self._codes, self._held = [], [], 0

    def _read(self) -> Iterator[Block]:
        for path in self._blocks:
            with np.load(path, allow_pickle=False) as arrays:
                columns = {
                    name.partition(" ")[2].removeprefix(_METRIC): arrays[name]
                    for name in arrays.files
                    if name != _CODES
                }
                yield Block(arrays[_CODES], columns)
            path.unlink()


def folder_aside(path: Path) -> Path:
    """Name of a folder beside ``path`` for what is needed only while that file is made."""
    return path.parent / f"{TEMPORARY_PREFIX}{path.name}{process_mark()}.d"


def remove_leftover_folders(folder: Path) -> None:
    """Remove what killed processes left of tables; what belongs to living processes stays.

    These are folders of :func:`folder_aside`, and files of :func:`~crlso.runs.files.write_aside`.
    """
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if not is_left_behind(leftover.name):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
