"""The columns of a table file, read one at a time and only when they are asked for.

A table with learning curves can be a gigabyte; a question about it needs a few columns. Importing this module
imports neither torch nor pandas.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import TableError, UserError
from crlso.protocols import FloatArray
from crlso.runs.files import explain_os_error

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

HEADER_KEY = b"crlso.table"
COLUMNS_KEY = b"crlso.columns"
DIGEST_KEY = b"crlso.sha256"
STORED_FLOAT = np.dtype("<f8")
_PIECES = 64  # curves of one row group that are kept: some 100 MB at most


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turns whatever reading a file of wrong bytes raises into one :class:`TableError`."""
    import pyarrow as pa

    try:
        yield
    except UserError:
        raise
    # Wrong bytes surface as errors of Arrow (its OSError has no errno), of decoding or of look-ups by name.
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, FileNotFoundError):
            raise TableError(f"there is no table file {path}") from error
        if isinstance(error, OSError) and (explained := explain_os_error(error, path)) is not None:
            raise explained from error
        reason = (str(error).splitlines() or [""])[0][:120]
        raise TableError(f"table file {path} is damaged ({reason}); import or build it again") from error


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file whose pages are checked as they are read.

    No prefetch: idle buffers of a thread pool would cost more than they save.
    """
    import pyarrow.parquet as pq

    # Absolute: Arrow takes a path with a colon that is not there for an address.
    return pq.ParquetFile(path.absolute(), page_checksum_verification=True, pre_buffer=False)


@final
class FileColumns(Mapping[str, FloatArray]):
    """Number columns of a table file by name: ``[n]``, or ``[n, length]`` for a curve.

    A column is read when it is first asked for, and its SHA-256 is compared with the one that the file
    states. The file stays open, so that it can be replaced or removed meanwhile; a copy in another process
    opens it again and refuses one that has changed.

    Args:
        path: The table file.
        columns: For each name here the name of the column in the file.
        lengths: Numbers per row of the columns that are curves.
        digests: SHA-256 of each column of the file.
        identity: The digest that the whole file states.
    """

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, str],
        lengths: Mapping[str, int],
        digests: Mapping[str, str],
        identity: str,
    ) -> None:
        self._path = path
        self._columns = dict(columns)
        self._lengths = dict(lengths)
        self._digests = dict(digests)
        self._identity = identity
        self._file: pq.ParquetFile | None = None
        self._starts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._pieces: OrderedDict[tuple[str, int], FloatArray] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_pieces": OrderedDict()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, name: str) -> FloatArray:
        column = self._columns[name]
        with damage(self._path):
            table = self._open().read(columns=[column], use_threads=False)
            values = flat(table.column(column), STORED_FLOAT)
            if hashlib.sha256(values.data).hexdigest() != self._digests[column]:
                raise ValueError(f"column {name!r} does not fit its checksum")
        return self._shaped(name, values)

    def row(self, name: str, row: int) -> FloatArray:
        """``[length]`` one row of a curve, without reading the others (pages are checked by their CRC)."""
        column = self._columns[name]
        with damage(self._path):
            file = self._open()
            group = int(np.searchsorted(self._starts, row, side="right")) - 1
            piece = self._pieces.get((column, group))
            if piece is None:
                table = file.read_row_group(group, columns=[column], use_threads=False)
                piece = self._shaped(name, flat(table.column(column), STORED_FLOAT))
                self._pieces[column, group] = piece
                if len(self._pieces) > _PIECES:
                    self._pieces.popitem(last=False)
            else:
                self._pieces.move_to_end((column, group))
            values: FloatArray = piece[row - self._starts[group]]
        return values

    def _shaped(self, name: str, values: FloatArray) -> FloatArray:
        return values if name not in self._lengths else values.reshape(-1, self._lengths[name])

    def _open(self) -> pq.ParquetFile:
        if self._file is None:
            file = open_parquet(self._path)
            stated = (file.metadata.metadata or {}).get(DIGEST_KEY, b"").decode()
            if stated != self._identity:
                raise TableError(f"table file {self._path} was replaced while it was in use; run this again")
            counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
            self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
            self._file = file
        return self._file


def flat(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of a column of numbers, of fixed-width bytes or of lists, as one flat array of ``dtype``.

    Straight from the buffers: Arrow's own conversion imports pandas, which costs 0.3 s and 50 MB.

    Raises:
        ValueError: A value is null.
    """
    import pyarrow as pa

    parts = []
    for stored in column.chunks:
        if stored.null_count:
            raise ValueError("a value is null")
        chunk = stored.flatten() if pa.types.is_list(stored.type) else stored
        if chunk.null_count:
            raise ValueError("a value is null")
        width = chunk.type.bit_width // 8
        data = memoryview(chunk.buffers()[1])[chunk.offset * width : (chunk.offset + len(chunk)) * width]
        parts.append(np.frombuffer(data, dtype=dtype))
    return np.concatenate(parts) if len(parts) != 1 else parts[0]
