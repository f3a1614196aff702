"""Tables that come row by row."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import builder as building
from benchmarks.builder import TableBuilder
from benchmarks.store import Header, read_fields, read_table, verify_table
from benchmarks.table import Curve
from crlso.errors import TableError, UnknownNameError, UserError
from crlso.protocols import Metric
from crlso.runs.files import process_mark
from crlso.spaces import get_space, space_to_dict

SPACE = get_space("toy64")
CODES = np.concatenate(list(SPACE.enumerate()))
HEADER = Header("t", space_to_dict(SPACE), (Metric("a", "max", "%", "a"), Metric("b", "min", "", "b")), 0)


def build(path: Path, rows: int) -> dict[int, tuple[float, np.ndarray]]:
    """A table whose metric `b` and curve come late and not in every row."""
    rng = np.random.default_rng(0)
    given = {}
    with TableBuilder(path, SPACE) as builder:
        for row in range(rows):
            a, curve = float(rng.random()), rng.random(5)
            late = row % 3 == 2
            builder.add(
                CODES[row],
                metrics={"a": a} | ({"b": -a} if late else {}),
                fields={"f": 2 * a},
                curves={"a": curve} if late else {},
            )
            given[row] = a, curve
        assert builder.metrics == ("a", "b")
        assert builder.fields == ("f",)
        assert builder.curves == {"a": 5}
        builder.finish(replace(HEADER, fields=("f",), curves=(Curve("a", 5, "%", "a by epoch"),)))
    return given


@pytest.mark.parametrize("block_bytes", [1, 200, 1 << 20])
def test_rows_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(building, "_BLOCK_BYTES", block_bytes)
    given = build(tmp_path / "t.parquet", 20)
    assert verify_table(tmp_path / "t.parquet").rows == 20
    table, header = read_table(tmp_path / "t.parquet", whole=False)
    assert header.rows == len(table) == 20
    np.testing.assert_array_equal(table.codes, CODES[:20])
    np.testing.assert_array_equal(table.column("a"), [given[row][0] for row in range(20)])
    np.testing.assert_array_equal(read_fields(tmp_path / "t.parquet")["f"], 2 * table.column("a"))
    curves = table.curve("a")
    for row in range(20):
        known = row % 3 == 2
        expected = given[row][1] if known else np.full(5, np.nan)
        np.testing.assert_array_equal(curves[row], expected)
        np.testing.assert_array_equal(table.curve("a", CODES[row][None])[0], expected)
        assert np.isnan(table.column("b")[row]) == (not known)
    np.testing.assert_array_equal(table.curve("a", CODES[[5, 2, 5]]), curves[[5, 2, 5]])
    np.testing.assert_array_equal(table.curve("a", np.tile(CODES[:10], (9, 1))), np.tile(curves[:10], (9, 1)))
    assert list(tmp_path.iterdir()) == [tmp_path / "t.parquet"]


def test_unknown_curves_and_architectures_are_refused(tmp_path: Path) -> None:
    build(tmp_path / "t.parquet", 20)
    table, _ = read_table(tmp_path / "t.parquet")
    with pytest.raises(UnknownNameError, match="unknown curve 'b'; known: a"):
        table.curve("b")
    with pytest.raises(UserError, match="does not hold"):
        table.curve("a", CODES[20:21])


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(TableError, match="rows 0 and 1 are the same"),
        TableBuilder(tmp_path / "t", SPACE) as b,
    ):
        b.add(CODES[3], metrics={"a": 1})
        b.add(CODES[3], metrics={"a": 1})
    with (
        pytest.raises(TableError, match="'c' has 3 values, in the rows before 2"),
        TableBuilder(tmp_path / "t", SPACE) as b,
    ):
        b.add(CODES[3], metrics={}, curves={"c": np.zeros(2)})
        b.add(CODES[4], metrics={}, curves={"c": np.zeros(3)})
    with pytest.raises(TableError, match="no architecture"), TableBuilder(tmp_path / "t", SPACE) as b:
        b.finish(HEADER)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_the_living_keep_theirs(tmp_path: Path) -> None:
    script = (
        "import os, sys, numpy as np; from pathlib import Path; from crlso.spaces import get_space\n"
        "from benchmarks.builder import TableBuilder\n"
        f"b = TableBuilder(Path({str(tmp_path / 't')!r}), get_space('toy64')); b.__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    mine = tmp_path / f".aside-u{process_mark()}.d"
    mine.mkdir()
    # In another container the number of a living process means nothing here.
    elsewhere = tmp_path / re.sub(r"(u)-\d+@[0-9a-f]{8}", r"\1-999999999@00000000", mine.name)
    elsewhere.mkdir()
    build(tmp_path / "t.parquet", 3)
    assert set(tmp_path.iterdir()) == {mine, elsewhere, tmp_path / "t.parquet"}
