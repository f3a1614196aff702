"""Reading of foreign tables: CSV and Parquet as named columns, every row with the place where it stands."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crlso.errors import TableError
from crlso.protocols import FloatArray
from crlso.runs.files import disk_errors

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})


@dataclass(frozen=True)
class RawTable:
    """A file's columns as they came.

    Attributes:
        path: The file.
        sha256: Of the whole file.
        texts: Columns of texts (all columns of a CSV).
        numbers: Columns of numbers (Parquet only); missing values are NaN.
        kinds: Columns that are neither, with what they are.
        names: All columns, in the file's order.
        places: For each row the number of its line (CSV) or row (Parquet), from 1.
        unit: ``"line"`` or ``"row"``: what ``places`` counts.
    """

    path: Path
    sha256: str
    texts: Mapping[str, Sequence[str | None]]
    numbers: Mapping[str, FloatArray]
    kinds: Mapping[str, str]
    names: tuple[str, ...]
    places: NDArray[np.int64]
    unit: str

    def place(self, row: int) -> str:
        """Where row ``row`` (from 0) stands, as ``line 7``."""
        return f"{self.unit} {self.places[row]}"

    def floats(self, name: str) -> FloatArray:
        """``[n]`` a column as numbers; missing values are NaN.

        Raises:
            TableError: Text or an infinity; the message says where, and how to leave the column out.
        """
        if name in self.kinds:
            raise TableError(
                f"{self.path}: column {name!r} is no column of numbers ({self.kinds[name]}); "
                f"leave it out with --ignore {name!r}"
            )
        if name in self.numbers:
            values = self.numbers[name]
        else:
            texts = self.texts[name]
            values = np.empty(len(texts), dtype=np.float64)
            for row, text in enumerate(texts):
                try:
                    values[row] = _number(text)
                except ValueError:
                    raise TableError(
                        f"{self.path}, {self.place(row)}: column {name!r} holds {text!r}, not a number; "
                        f"mend it, or leave the column out with --ignore {name!r}"
                    ) from None
        if (infinite := np.flatnonzero(np.isinf(values))).size:
            raise TableError(
                f"{self.path}, {self.place(int(infinite[0]))}: column {name!r} holds an infinity; "
                "write a missing value as an empty field (--allow-missing)"
            )
        return values


def read_raw(path: Path) -> RawTable:
    """Read a CSV (``.csv``, ``.tsv``, also ``.gz``) or Parquet file.

    Raises:
        TableError: No such file, another kind of file, damaged, or without a row.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise TableError(
            f"{path}: can not tell what kind of file this is; known endings: {', '.join(SUFFIXES)}"
        )
    with disk_errors(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise TableError(f"there is no file {path}") from error
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix.lower() == ".parquet":
        table = _read_parquet(path, data, digest)
    else:
        table = _read_csv(path, data, digest)
    if len(table.places) == 0:
        raise TableError(f"{path} holds no rows")
    if not all(table.names):
        raise TableError(f"{path}: a column has no name; if it is a row index, write the file without it")
    repeated = sorted({name for name in table.names if table.names.count(name) > 1})
    if repeated:
        raise TableError(f"{path}: two columns are named {repeated[0]!r}; rename one")
    return table


def _number(text: str | None) -> float:
    """A number of a CSV field; NaN where it is missing.

    Raises:
        ValueError: Not a number.
    """
    text = (text or "").strip()
    if text.lower() in _MISSING:
        return math.nan
    if "_" in text or not text.isascii():  # Python alone reads 1_000, and digits of all scripts
        raise ValueError
    return float(text)


def _read_csv(path: Path, data: bytes, digest: str) -> RawTable:
    try:
        text = (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except (OSError, EOFError, zlib.error) as error:
        raise TableError(f"{path} is damaged: {error}") from error
    header = text.partition("\n")[0]
    separators = "\t" if ".tsv" in path.suffixes else ",;\t"
    separator = next((mark for mark in separators if mark in header), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    places: list[int] = []
    names: tuple[str, ...] | None = None
    try:
        line = 1
        for fields in reader:
            if fields and names is None:
                names = tuple(field.strip() for field in fields)
            elif fields and names is not None:
                if len(fields) != len(names):
                    raise TableError(
                        f"{path}, line {line}: {len(fields)} fields, but the header has {len(names)}"
                    )
                rows.append(fields)
                places.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{path}, line {reader.line_num}: {error}") from error
    if names is None:
        raise TableError(f"{path} is empty")
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return RawTable(
        path=path,
        sha256=digest,
        texts=dict(zip(names, columns, strict=True)),
        numbers={},
        kinds={},
        names=names,
        places=np.array(places, dtype=np.int64),
        unit="line",
    )


def _read_parquet(path: Path, data: bytes, digest: str) -> RawTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts: dict[str, Sequence[str | None]] = {}
    numbers: dict[str, FloatArray] = {}
    kinds: dict[str, str] = {}
    try:
        # One thread: a refusal while others still read has ended the process.
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        for name, column in zip(table.column_names, table.columns, strict=True):
            kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                texts[name] = column.cast(pa.string()).to_pylist()
            elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
                try:
                    floats = column.cast(pa.float64()).fill_null(math.nan)
                except pa.ArrowInvalid:  # as of long identifiers
                    kinds[name] = f"{kind} of more digits than a float64 holds"
                else:
                    numbers[name] = np.asarray(floats.to_numpy(), dtype=np.float64)
            else:
                kinds[name] = str(kind)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise TableError(f"{path} is not a readable Parquet file ({reason})") from error
    return RawTable(
        path=path,
        sha256=digest,
        texts=texts,
        numbers=numbers,
        kinds=kinds,
        names=tuple(table.column_names),
        places=np.arange(1, table.num_rows + 1),
        unit="row",
    )
