"""Benchmark tables on disk: one Parquet file each, with a header that says what every column is.

Columns of the file: ``arch`` (text, for readers in any language), ``code`` (the same architecture as
little-endian int16, so that loading parses nothing), one float64 column per metric, then ``field:NAME``
(numbers that only the views of official APIs need) and ``curve:NAME`` (lists of float64, a learning curve
per row). The Parquet metadata carries the header as JSON under ``crlso.table``, the SHA-256 of every column
under ``crlso.columns``, and the SHA-256 of both under ``crlso.sha256``: a file that was cut, torn or changed
by hand is noticed before a number of it is used. Importing this module imports neither torch nor pandas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.columns import (
    COLUMNS_KEY,
    DIGEST_KEY,
    HEADER_KEY,
    STORED_FLOAT,
    FileColumns,
    damage,
    flat,
    open_parquet,
)
from benchmarks.folders import make_folder
from benchmarks.table import Curve, TableEvaluator
from crlso.errors import TableError
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Metric, SearchSpace
from crlso.runs.files import write_aside
from crlso.spaces import space_from_dict

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 2
ARCH_COLUMN = "arch"
CODE_COLUMN = "code"
RESERVED_COLUMNS = (ARCH_COLUMN, CODE_COLUMN)
FIELD, CURVE = "field:", "curve:"
_STORED_CODE = np.dtype("<i2")
_GROUP_BYTES = 64 << 20  # numbers of one row group: what a reader of single rows has to decode at most


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
        verified: How it was made sure that the source is whole and the publisher's; empty where that was not
            possible.
        curves: The arrays over epochs, in the file's order.
        fields: Names of the columns that only official views read.
        details: Plain data that official views need.
    """

    name: str
    space: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    rows: int
    source: Mapping[str, str] = field(default_factory=dict)
    importer: str = ""
    description: str = ""
    verified: str = ""
    curves: tuple[Curve, ...] = ()
    fields: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

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
            raise TableError(
                f"table format {version!r}: this version reads format {FORMAT_VERSION} only; import it again"
            )
        fields["metrics"] = tuple(Metric(**metric) for metric in fields["metrics"])
        fields["curves"] = tuple(Curve(**curve) for curve in fields["curves"])
        fields["fields"] = tuple(fields["fields"])
        return cls(**fields)


@dataclass(frozen=True)
class Block:
    """Some rows of a table.

    Attributes:
        codes: ``[m, d]``.
        columns: For metrics and fields ``[m]``, for curves ``[m, length]``; by column name in the file. What
            is not there is missing (NaN).
    """

    codes: Codes
    columns: Mapping[str, FloatArray]


def write_table(
    path: Path,
    header: Header,
    space: SearchSpace,
    codes: Codes,
    columns: Mapping[str, FloatArray],
    *,
    curves: Mapping[str, FloatArray] | None = None,
) -> None:
    """Write a table file aside and rename it; the old file stays until the new one is whole.

    Args:
        path: The file; its folder is made where it is missing.
        header: What the file says about itself; its metrics and curves name the columns.
        space: Gives the text form of the codes.
        codes: ``[n, d]``.
        columns: For each metric ``[n]`` numbers.
        curves: For each curve ``[n, length]`` numbers.

    Raises:
        RunError: The disk is full or the folder can not be written.
        TableError: A metric has the name of one of our own columns.
    """
    arrays = dict(columns) | {f"{CURVE}{name}": values for name, values in (curves or {}).items()}
    step = group_rows(header)

    def blocks() -> Iterator[Block]:
        for start in range(0, len(codes), step):
            part = slice(start, start + step)
            yield Block(codes[part], {name: values[part] for name, values in arrays.items()})

    write_blocks(path, header, space, blocks())


def group_rows(header: Header) -> int:
    """Rows of one row group: many for a narrow table, few where each row holds long curves."""
    width = len(header.metrics) + len(header.fields) + sum(curve.length for curve in header.curves)
    return max(64, min(65_536, _GROUP_BYTES // (8 * max(1, width))))


def write_blocks(path: Path, header: Header, space: SearchSpace, blocks: Iterator[Block]) -> int:
    """Write a table file from blocks of rows, one row group each, so that only one is in memory.

    Args:
        path: The file; its folder is made where it is missing.
        header: What the file says about itself; its number of rows is set to what came.
        space: Gives the text form of the codes.
        blocks: One or more.

    Returns:
        The number of rows.

    Raises:
        RunError: The disk is full or the folder can not be written.
        TableError: A metric has the name of one of our own columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for metric in header.metrics:
        if metric.name in RESERVED_COLUMNS or metric.name.startswith((FIELD, CURVE)):
            raise TableError(
                f"a metric can not be named {metric.name!r} (our own column); rename it in the file"
            )
    lengths = column_lengths(header)
    schema = _schema(lengths, 2 * len(space.cardinalities))
    floats = [name if length is None else f"{name}.list.element" for name, length in lengths.items()]
    digests = {name: hashlib.sha256() for name in (CODE_COLUMN, *lengths)}
    rows = 0
    make_folder(path.parent)
    with write_aside(path) as file:
        # Metrics are mostly distinct numbers: dictionaries would only cost time and space. Arrow's copy
        # of the schema is left out, so that the header stands in the file once.
        writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=floats,
            write_page_checksum=True,
            store_schema=False,
        )
        with writer:
            for block in blocks:
                stored = np.ascontiguousarray(block.codes, dtype=_STORED_CODE)
                digests[CODE_COLUMN].update(stored.data)
                arrays = [_texts(space, block.codes), _binary(stored)]
                for name, length in lengths.items():
                    values = _numbers(block.columns.get(name), len(stored), length)
                    digests[name].update(values.data)
                    arrays.append(_array(values, length))
                writer.write_table(pa.table(arrays, schema=schema), row_group_size=max(1, len(stored)))
                rows += len(stored)
            head = replace(header, rows=rows).to_json()
            listed = json.dumps({name: digest.hexdigest() for name, digest in digests.items()}).encode()
            writer.add_key_value_metadata(
                {HEADER_KEY: head, COLUMNS_KEY: listed, DIGEST_KEY: _identity(head, listed).encode()}
            )
    return rows


def read_header(path: Path) -> Header:
    """The header of a table file; the numbers are not read (and so not checked).

    Raises:
        TableError: Not one of our table files, or damaged.
    """
    import pyarrow.parquet as pq

    with damage(path):
        return _header(path, pq.read_metadata(path).metadata)[0]


def read_table(path: Path, *, whole: bool = True) -> tuple[TableEvaluator, Header]:
    """The table of a file, checked against the digests in it.

    Args:
        path: The file.
        whole: ``True``: read and check all metrics now. ``False``: each when it is first asked for, which
            opens tables of any size in milliseconds. Curves are always read when asked for.

    Raises:
        TableError: Not one of our table files, damaged, or of another format version.
    """
    with damage(path):
        file = open_parquet(path)
        header, digests, identity = _header(path, file.metadata.metadata)
        table = file.read(columns=[CODE_COLUMN], use_threads=False)
        width = table.schema.field(CODE_COLUMN).type.byte_width // _STORED_CODE.itemsize
        stored = flat(table.column(CODE_COLUMN), _STORED_CODE).reshape(-1, width)
        if hashlib.sha256(stored.data).hexdigest() != digests[CODE_COLUMN] or len(stored) != header.rows:
            raise ValueError("column 'code' does not fit its checksum")
        lengths = column_lengths(header)
        if missing := [name for name in lengths if name not in digests]:
            raise ValueError(f"column {missing[0]!r} has no checksum")
    names = {metric.name: metric.name for metric in header.metrics}
    curves = {curve.name: f"{CURVE}{curve.name}" for curve in header.curves}
    sizes = {curve.name: curve.length for curve in header.curves}
    evaluator = TableEvaluator(
        header.name,
        space_from_dict(header.space),
        stored.astype(CODE_DTYPE),
        FileColumns(path, names, {}, digests, identity),
        {metric.name: metric for metric in header.metrics},
        fingerprint={"sha256": identity, "importer": header.importer, **header.source},
        curves={curve.name: curve for curve in header.curves},
        curve_columns=FileColumns(path, curves, sizes, digests, identity),
    )
    if whole:
        for name in names:
            evaluator.column(name)
    return evaluator, header


def read_fields(path: Path) -> Mapping[str, FloatArray]:
    """The columns that only official views need, by name, each read when it is asked for.

    Raises:
        TableError: Not one of our table files, or damaged.
    """
    with damage(path):
        header, digests, identity = _header(path, open_parquet(path).metadata.metadata)
    return FileColumns(path, {name: f"{FIELD}{name}" for name in header.fields}, {}, digests, identity)


def verify_table(path: Path) -> Header:
    """Read a whole table file, curves and texts included, and check all of it.

    Raises:
        TableError: Something does not fit; the message says what.
    """
    evaluator, header = read_table(path)
    for name in evaluator.curves:
        evaluator.curve(name)
    for values in read_fields(path).values():
        del values
    with damage(path):
        texts = open_parquet(path).read(columns=[ARCH_COLUMN], use_threads=False).column(ARCH_COLUMN)
        for row, (text, code) in enumerate(zip(texts, evaluator.codes, strict=True)):
            if text.as_py() != evaluator.space.format(code):
                raise ValueError(f"row {row}: the text of the architecture does not fit its code")
    return header


def column_lengths(header: Header) -> dict[str, int | None]:
    """All number columns of the file in its order; the length of curves, ``None`` for single numbers."""
    columns: dict[str, int | None] = {metric.name: None for metric in header.metrics}
    columns |= {f"{FIELD}{name}": None for name in header.fields}
    columns |= {f"{CURVE}{curve.name}": curve.length for curve in header.curves}
    return columns


def _schema(lengths: Mapping[str, int | None], code_width: int) -> pa.Schema:
    import pyarrow as pa

    def kind(length: int | None) -> pa.DataType:
        if length is None:
            return pa.float64()
        return pa.list_(pa.field("element", pa.float64(), nullable=False), length)

    return pa.schema(
        [
            pa.field(ARCH_COLUMN, pa.string(), nullable=False),
            pa.field(CODE_COLUMN, pa.binary(code_width), nullable=False),
            *(pa.field(name, kind(length), nullable=False) for name, length in lengths.items()),
        ]
    )


def _texts(space: SearchSpace, codes: Codes) -> pa.Array:
    import pyarrow as pa

    return pa.array([space.format(code) for code in codes], type=pa.string())


def _binary(codes: NDArray[np.int16]) -> pa.Array:
    import pyarrow as pa

    width = codes.itemsize * codes.shape[1]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(codes), [None, pa.py_buffer(codes)])


def _numbers(values: FloatArray | None, rows: int, length: int | None) -> FloatArray:
    """Contiguous numbers of one column; missing ones are NaN."""
    shape = (rows,) if length is None else (rows, length)
    if values is None:
        return np.full(shape, np.nan, dtype=STORED_FLOAT)
    if values.shape != shape:
        raise ValueError(f"a column has shape {values.shape}, not {shape}")
    return np.ascontiguousarray(values, dtype=STORED_FLOAT)


def _array(values: FloatArray, length: int | None) -> pa.Array:
    import pyarrow as pa

    if length is None:
        return pa.array(values)
    kind = pa.list_(pa.field("element", pa.float64(), nullable=False), length)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind)


def _header(path: Path, metadata: Mapping[bytes, bytes] | None) -> tuple[Header, Mapping[str, str], str]:
    """Header of a file, the digests of its columns, and the digest of both."""
    if not metadata or HEADER_KEY not in metadata:
        raise TableError(
            f"{path} is not a table file of ours; make it one with: crlso bench import {path} --space ..."
        )
    header = Header.from_json(metadata[HEADER_KEY])
    head, listed = metadata[HEADER_KEY], metadata[COLUMNS_KEY]
    identity = metadata[DIGEST_KEY].decode()
    if _identity(head, listed) != identity:
        raise ValueError("its header does not fit its checksum")
    return header, json.loads(listed), identity


def _identity(head: bytes, listed: bytes) -> str:
    """SHA-256 over header and the digests of all columns; how Parquet packs them does not matter."""
    return hashlib.sha256(head + b"\n" + listed).hexdigest()
