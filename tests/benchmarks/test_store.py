"""The table file: what is written is read again, and no damage goes unnoticed."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.store import Header, read_header, read_table, write_table
from crlso.errors import RunError, TableError
from crlso.protocols import Metric
from crlso.spaces import get_space, space_to_dict
from tests.benchmarks.samples import random_table

SPACE = get_space("toy64")
METRICS = (
    Metric("accuracy", "max", "%", "so good"),
    Metric("latency", "min", "ms", "so slow; ünï"),
    Metric("a.b", "max", "", "dots"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    codes = np.concatenate(list(SPACE.enumerate()))[:40]
    columns = random_table(40) | {"a.b": np.full(40, np.nan)}
    header = Header("mine", space_to_dict(SPACE), METRICS, 40, {"file": "x"}, "test/1", "a test")
    write_table(tmp_path / "new" / "mine.parquet", header, SPACE, codes, columns)
    return tmp_path / "new" / "mine.parquet"


def test_all_of_it_comes_back(path: Path) -> None:
    table, header = read_table(path)
    assert header == read_header(path)
    assert header.metrics == METRICS
    assert header.rows == len(table) == 40
    assert dict(table.metrics) == {metric.name: metric for metric in METRICS}
    np.testing.assert_array_equal(table.column("latency"), random_table(40)["latency"])
    assert np.isnan(table.column("a.b")).all()
    assert table.fingerprint["file"] == "x"


def test_any_program_reads_the_file(path: Path) -> None:
    frame = pd.read_parquet(path)
    assert list(frame.columns) == ["arch", "code", "accuracy", "latency", "a.b"]
    table, _ = read_table(path)
    assert [SPACE.parse(text).tolist() for text in frame["arch"]] == table.codes.tolist()


def test_the_same_table_gives_the_same_bytes(path: Path) -> None:
    table, header = read_table(path)
    again = path.with_name("again.parquet")
    write_table(again, header, SPACE, table.codes, {name: table.column(name) for name in table.metrics})
    assert again.read_bytes() == path.read_bytes()


def test_every_cut_is_noticed(path: Path) -> None:
    data = path.read_bytes()
    for length in (*range(0, len(data), 97), len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(TableError, match=r"damaged|not a table file"):
            read_table(path)


def test_a_flipped_bit_is_noticed_or_harmless(path: Path) -> None:
    data = path.read_bytes()
    table, header = read_table(path)
    noticed = 0
    rng = np.random.default_rng(0)
    for place in rng.integers(len(data), size=400):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            found, head = read_table(path)
        except TableError:
            noticed += 1
            continue
        # Not everything is content: texts for readers, statistics, padding. What counts is unchanged.
        assert head == header
        np.testing.assert_array_equal(found.codes, table.codes)
        for name in table.metrics:
            np.testing.assert_array_equal(found.column(name), table.column(name))
    assert noticed > 100


def test_a_changed_number_is_noticed(path: Path) -> None:
    raw = pq.read_table(path)
    metadata = pq.read_metadata(path).metadata
    values = raw.column("accuracy").to_numpy().copy()
    values[7] += 1e-9
    changed = raw.set_column(2, "accuracy", pa.array(values))
    pq.write_table(
        changed.replace_schema_metadata({k: v for k, v in metadata.items() if b"crlso" in k}), path
    )
    with pytest.raises(TableError, match="does not fit its checksum"):
        read_table(path)


def test_another_format_version_is_named(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"format": 2,', b'"format": 7,'))
    with pytest.raises(TableError, match="format 7: this version reads format 2"):
        read_table(path)


def test_a_parquet_file_of_others_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pd.DataFrame({"x": [1.0]}).to_parquet(path)
    for read in (read_table, read_header):
        with pytest.raises(TableError, match="crlso bench import"):
            read(path)


def test_reserved_column_names_are_refused(tmp_path: Path) -> None:
    header = Header("mine", space_to_dict(SPACE), (Metric("code", "max", "", "x"),), 1)
    codes = np.concatenate(list(SPACE.enumerate()))[:1]
    with pytest.raises(TableError, match="can not be named 'code'"):
        write_table(tmp_path / "t.parquet", header, SPACE, codes, {"code": np.zeros(1)})


def test_a_null_is_damage(path: Path) -> None:
    raw = pq.read_table(path)
    metadata = pq.read_metadata(path).metadata
    values = pa.array([None, *raw.column("accuracy").to_pylist()[1:]])
    changed = raw.set_column(2, "accuracy", values)
    pq.write_table(
        changed.replace_schema_metadata({k: v for k, v in metadata.items() if b"crlso" in k}), path
    )
    with pytest.raises(TableError, match="a value is null"):
        read_table(path)


def test_a_file_that_may_not_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(RunError, match="permission denied"):
        read_table(path)
    with pytest.raises(TableError):
        read_header(path.parent)


def test_metrics_whose_names_begin_alike(tmp_path: Path) -> None:
    names = ("a", "a.b", "code.x", "a/b", "[bold]a")
    metrics = tuple(Metric(name, "max", "", "x") for name in names)
    codes = np.concatenate(list(SPACE.enumerate()))[:2]
    columns = {name: np.array([i, i + 0.5]) for i, name in enumerate(names)}
    write_table(tmp_path / "t.parquet", Header("t", space_to_dict(SPACE), metrics, 2), SPACE, codes, columns)
    table, _ = read_table(tmp_path / "t.parquet")
    for name in names:
        np.testing.assert_array_equal(table.column(name), columns[name])
