"""Rows of numbers that wait on the disk until they are needed, so that memory does not grow with a file."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from crlso.protocols import FloatArray
from crlso.runs.files import disk_errors

_HELD: Final = 1 << 17  # numbers kept in memory before they are written: 1 MiB


@final
class Spool:
    """Rows of ``width`` doubles, put in ascending order and taken in any; NaN where none was put.

    The file has no name: it is gone with the process, however that ends.

    Args:
        folder: Where there is room on the disk.
        width: Numbers per row.

    Raises:
        RunError: The disk is full or read-only.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self._folder = folder
        self._width = width
        self._held = array("d")
        self._written = 0
        with disk_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (closed in __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._file.close()

    def __len__(self) -> int:
        return self._written + len(self._held) // self._width

    def put(self, row: int, values: Sequence[float]) -> None:
        """Keep ``[width]`` numbers as row ``row``, which lies behind all rows put before.

        Raises:
            ValueError: It does not, or there are not ``width`` numbers.
        """
        gap = row - len(self)
        if gap < 0 or len(values) != self._width:
            raise ValueError(f"row {row} of {len(values)} numbers after {len(self)} rows of {self._width}")
        if gap:
            self._held.extend([np.nan] * (gap * self._width))
        self._held.extend(values)
        if len(self._held) >= _HELD:
            self._flush()

    def take(self, rows: NDArray[np.integer]) -> FloatArray:
        """``[..., width]`` the numbers of rows ``[...]``; NaN for -1 and for rows that were not put."""
        self._flush()
        taken = np.full((*rows.shape, self._width), np.nan)
        there = (rows >= 0) & (rows < self._written)
        wanted = np.unique(rows[there])
        if len(wanted) == 0:
            return taken
        # Neighbouring rows are read at once.
        starts = np.flatnonzero(np.diff(wanted, prepend=wanted[0] - 2) != 1)
        read = np.empty((len(wanted), self._width))
        size = 8 * self._width
        for start, stop in zip(starts, [*starts[1:], len(wanted)], strict=True):
            with disk_errors(self._folder):
                data = os.pread(self._file.fileno(), (stop - start) * size, int(wanted[start]) * size)
            read[start:stop] = np.frombuffer(data).reshape(-1, self._width)
        taken[there] = read[np.searchsorted(wanted, rows[there])]
        return taken

    def _flush(self) -> None:
        if not self._held:
            return
        rows = len(self._held) // self._width
        data = memoryview(self._held).cast("B")
        with disk_errors(self._folder):
            done = 0
            while done < len(data):
                done += self._file.write(data[done:])
        data.release()
        self._written += rows
        self._held = array("d")
