"""Benchmark tables on disk: one Parquet file each, with a header that says what every column is.

Columns of the file: ``arch`` (text, for readers in any language), ``code`` (the same architecture as
little-endian int16, so that loading parses nothing), then one float64 column per metric. The Parquet metadata
carries the header as JSON under ``crlso.table`` and the SHA-256 of header, codes and numbers under
``crlso.sha256``: a file that was cut, torn or changed by hand is noticed before a number of it is used.
Importing this module imports neither torch nor pandas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.folders import make_folder
from benchmarks.table import TableEvaluator
from crlso.errors import TableError, UserError
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Metric, SearchSpace
from crlso.runs.files import explain_os_error, write_aside
from crlso.spaces import space_from_dict

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1
ARCH_COLUMN = "arch"
CODE_COLUMN = "code"
RESERVED_COLUMNS = (ARCH_COLUMN, CODE_COLUMN)
_HEADER_KEY = b"crlso.table"
_DIGEST_KEY = b"crlso.sha256"
_STORED_CODE = np.dtype("<i2")
_STORED_FLOAT = np.dtype("<f8")


@dataclass(frozen=True)
class Header:
    """What a table file says about itself.

    Attributes:
        name: Name of the table.
        space: Declaration of the space (:func:`crlso.spaces.space_to_dict`).
        metrics: What each column is, in the file's order.
        rows: Number of architectures.
        source: Where the numbers come from: file names and their SHA-256, package versions.
        importer: What made the file and the version of that code.
        description: One sentence for the list of tables.
    """

    name: str
    space: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    rows: int
    source: Mapping[str, str] = field(default_factory=dict)
    importer: str = ""
    description: str = ""

    def to_json(self) -> bytes:
        """The header as it stands in the file; the same header always gives the same bytes."""
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Header:
        """The header of a file.

        Raises:
            TableError: A format that this version does not read.
            ValueError, KeyError, TypeError: Not a header.
        """
        fields = json.loads(data)
        version = fields.pop("format")
        if version != FORMAT_VERSION:
            raise TableError(f"table format {version!r}: this version reads format {FORMAT_VERSION} only")
        fields["metrics"] = tuple(Metric(**metric) for metric in fields["metrics"])
        return cls(**fields)


def write_table(
    path: Path, header: Header, space: SearchSpace, codes: Codes, columns: Mapping[str, FloatArray]
) -> None:
    """Write a table file aside and rename it; the old file stays until the new one is whole.

    Args:
        path: The file; its folder is made where it is missing.
        header: What the file says about itself; its metrics name the columns.
        space: Gives the text form of the codes.
        codes: ``[n, d]``.
        columns: For each metric ``[n]`` numbers.

    Raises:
        RunError: The disk is full or the folder can not be written.
        TableError: A metric has the name of one of our own columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for metric in header.metrics:
        if metric.name in RESERVED_COLUMNS:
            raise TableError(
                f"a metric can not be named {metric.name!r} (our own column); rename it in the file"
            )
    stored = np.ascontiguousarray(codes, dtype=_STORED_CODE)
    width = stored.itemsize * stored.shape[1]
    arrays: dict[str, pa.Array] = {
        ARCH_COLUMN: pa.array([space.format(code) for code in codes], type=pa.string()),
        CODE_COLUMN: pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(stored), [None, pa.py_buffer(stored)]
        ),
    }
    for metric in header.metrics:
        arrays[metric.name] = pa.array(np.ascontiguousarray(columns[metric.name], dtype=_STORED_FLOAT))
    head = header.to_json()
    digest = _digest(head, stored, [columns[metric.name] for metric in header.metrics])
    table = pa.table(arrays)
    make_folder(path.parent)
    with write_aside(path) as file:
        # Metrics are mostly distinct numbers: dictionaries would only cost time and space. Arrow's copy
        # of the schema is left out, so that the header stands in the file once.
        writer = pq.ParquetWriter(
            file,
            table.schema,
            compression="zstd",
            use_dictionary=False,
            write_page_checksum=True,
            store_schema=False,
        )
        with writer:
            writer.write_table(table)
            writer.add_key_value_metadata({_HEADER_KEY: head, _DIGEST_KEY: digest.encode()})


def read_header(path: Path) -> Header:
    """The header of a table file; the numbers are not read (and so not checked).

    Raises:
        TableError: Not one of our table files, or damaged.
    """
    import pyarrow.parquet as pq

    with _damage(path):
        return _header(path, pq.read_metadata(path).metadata)[0]


def read_table(path: Path) -> tuple[TableEvaluator, Header]:
    """The table of a file, checked against the digest in it.

    Raises:
        TableError: Not one of our table files, damaged, or of another format version.
    """
    import pyarrow.parquet as pq

    with _damage(path):
        # One thread and no prefetch: the files are small, and idle buffers of a thread pool are not.
        file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
        header, head, digest = _header(path, file.metadata.metadata)
        names = [metric.name for metric in header.metrics]
        table = file.read(columns=[CODE_COLUMN, *names], use_threads=False)
        width = table.schema.field(CODE_COLUMN).type.byte_width // _STORED_CODE.itemsize
        stored = _flat(table.column(CODE_COLUMN), _STORED_CODE).reshape(-1, width)
        columns = {name: _flat(table.column(name), _STORED_FLOAT) for name in names}
        if _digest(head, stored, list(columns.values())) != digest:
            raise ValueError("its content does not fit its checksum")
    table_of = TableEvaluator(
        header.name,
        space_from_dict(header.space),
        stored.astype(CODE_DTYPE),
        columns,
        {metric.name: metric for metric in header.metrics},
        fingerprint={"sha256": digest, "importer": header.importer, **header.source},
    )
    return table_of, header


@contextmanager
def _damage(path: Path) -> Iterator[None]:
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


def _header(path: Path, metadata: Mapping[bytes, bytes] | None) -> tuple[Header, bytes, str]:
    """Header of a file, its bytes, and the digest that the file states."""
    if not metadata or _HEADER_KEY not in metadata:
        raise TableError(
            f"{path} is not a table file of ours; make it one with: crlso bench import {path} --space ..."
        )
    head = metadata[_HEADER_KEY]
    return Header.from_json(head), head, metadata[_DIGEST_KEY].decode()


def _flat(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of a fixed-width column as one flat array of ``dtype``.

    Straight from the buffers: Arrow's own conversion imports pandas, which costs 0.3 s and 50 MB.
    """
    width = column.type.bit_width // 8
    parts = []
    for chunk in column.chunks:
        if chunk.null_count:
            raise ValueError("a value is null")
        data = memoryview(chunk.buffers()[1])[chunk.offset * width : (chunk.offset + len(chunk)) * width]
        parts.append(np.frombuffer(data, dtype=dtype))
    return np.concatenate(parts)


def _digest(head: bytes, codes: NDArray[np.int16], columns: Iterable[FloatArray]) -> str:
    """SHA-256 over header, codes and numbers; how Parquet packs them does not matter."""
    digest = hashlib.sha256(head)
    digest.update(np.ascontiguousarray(codes, dtype=_STORED_CODE).data)
    for column in columns:
        digest.update(np.ascontiguousarray(column, dtype=_STORED_FLOAT).data)
    return digest.hexdigest()
