"""Import of CSV and Parquet: what comes in comes out again, and each mistake is one clear line."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import benchmarks
from benchmarks import catalog
from benchmarks.catalog import BUILT_IN
from benchmarks.directions import guess_direction
from benchmarks.exporting import export_table
from benchmarks.importing import ImportOptions, import_table
from benchmarks.reading import read_raw
from crlso.errors import RunError, TableError, UnknownNameError, UserError
from crlso.protocols import Codes, SearchSpace
from crlso.spaces import get_space
from tests.benchmarks.samples import random_table, write_csv

DECLARATION = """\
space: edge_cell
name: tiny
nodes: 3
operations: [none, skip_connect, conv, pool]
"""
HEADER = "arch,accuracy,latency\n"
GOOD = ["|conv~0|+|none~0|pool~1|", "|pool~0|+|none~0|pool~1|", "|skip_connect~0|+|conv~0|conv~1|"]


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    path = tmp_path / "tiny.yaml"
    path.write_text(DECLARATION)
    return get_space(path)


@pytest.fixture
def codes(space: SearchSpace) -> Codes:
    return np.concatenate(list(space.enumerate()))


def write(tmp_path: Path, text: str, name: str = "mine.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_declared_space_with_its_csv_is_found_again_by_name(
    tmp_path: Path, space: SearchSpace, codes: Codes
) -> None:
    columns = random_table(64)
    file = write_csv(tmp_path / "mine.csv", space, codes, columns)
    imported = import_table(file, space, options=ImportOptions(units={"latency": "ms"}))
    (tmp_path / "tiny.yaml").unlink()  # the table carries the declaration
    table = benchmarks.load("mine")
    assert benchmarks.available() == (*BUILT_IN, "mine")
    assert table.support is None
    assert table.space.name == "tiny"
    np.testing.assert_array_equal(table.codes, codes)
    for name, values in columns.items():
        np.testing.assert_array_equal(table.column(name), values)
    assert table.metrics["latency"].direction == "min"
    assert table.metrics["latency"].unit == "ms"
    assert imported.reasons == {"accuracy": "'accuracy' in its name", "latency": "'latency' in its name"}
    assert table.fingerprint["file"] == "mine.csv"
    assert benchmarks.load(imported.path).fingerprint == table.fingerprint


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_export_and_import_give_the_same_numbers(
    tmp_path: Path, space: SearchSpace, codes: Codes, ending: str
) -> None:
    columns = random_table(40)
    columns["accuracy"][5] = np.nan
    first = import_table(
        write_csv(tmp_path / "a.csv", space, codes[:40], columns),
        space,
        options=ImportOptions(allow_missing=True),
    ).table
    path = tmp_path / f"out{ending}"
    export_table(first, path)
    second = import_table(path, space, options=ImportOptions(allow_missing=True)).table
    np.testing.assert_array_equal(first.codes, second.codes)
    for name in first.metrics:
        np.testing.assert_array_equal(first.column(name), second.column(name))
    with pytest.raises(TableError, match="--force"):
        export_table(first, path)
    export_table(first, path, force=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", HEADER.replace(",", "\t") + f"{GOOD[0]}\t1\t2\n"),
        ("t.csv", HEADER.replace(",", ";") + f"{GOOD[0]};1;2\n"),
        ("t.csv", "\ufeff" + HEADER + f"{GOOD[0]},1,2\n"),
        ("t.csv", HEADER.replace("\n", "\r\n") + f"\r\n{GOOD[0]}, 1 ,2e0\r\n\r\n"),
        ("t.csv", "Genotype,accuracy,latency\n" + f'"{GOOD[0]}",1,2'),
    ],
    ids=["tabs", "semicolons", "byte order mark", "windows", "other name"],
)
def test_common_forms_of_csv_are_read(tmp_path: Path, space: SearchSpace, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    table = import_table(path, space).table
    assert table.evaluate(space.parse(GOOD[0])[None], metrics=["accuracy", "latency"]).iloc[0].tolist() == [
        1,
        2,
    ]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content.encode()))
    again = import_table(packed, space, force=True)
    assert again.path.name == "t.parquet"
    np.testing.assert_array_equal(again.table.codes, table.codes)


def test_parquet_of_other_number_types(tmp_path: Path, space: SearchSpace) -> None:
    frame = pd.DataFrame(
        {
            "cell": pd.Series(GOOD).astype("category"),
            "hits": np.array([1, 2, 3], dtype=np.int32),
            "score": pd.array([1.5, None, 2.5], dtype="Float32"),
        }
    )
    frame.to_parquet(tmp_path / "types.parquet")
    with pytest.raises(TableError, match="row 2: column 'score' has no value"):
        import_table(tmp_path / "types.parquet", space)
    table = import_table(tmp_path / "types.parquet", space, options=ImportOptions(allow_missing=True)).table
    np.testing.assert_array_equal(table.column("hits"), [1, 2, 3])
    np.testing.assert_array_equal(table.column("score"), [1.5, np.nan, 2.5])


def test_columns_are_chosen_and_left_out_openly(tmp_path: Path, space: SearchSpace) -> None:
    file = write(tmp_path, f"arch,note,accuracy,x,code\n{GOOD[0]},fine,1,2,3\n")
    with pytest.raises(TableError, match="can not be named 'code'"):
        import_table(file, space)
    with pytest.raises(
        TableError, match=r"line 2: column 'note' holds 'fine', not a number.*--ignore 'note'"
    ):
        import_table(file, space, options=ImportOptions(ignore=["code"]))
    imported = import_table(file, space, options=ImportOptions(ignore=["note", "code"], minimize=["x"]))
    assert imported.left_out == ("note", "code")
    assert imported.reasons == {"accuracy": "'accuracy' in its name", "x": "stated"}
    assert imported.table.metrics["x"].direction == "min"
    chosen = import_table(file, space, options=ImportOptions(metrics=["x"]), force=True)
    assert list(chosen.table.metrics) == ["x"]
    assert chosen.reasons == {"x": "assumed"}


def rows(*lines: str) -> str:
    return HEADER + "".join(f"{line}\n" for line in lines)


BAD = {
    "empty file": ("", "is empty"),
    "no rows": (HEADER, "holds no rows"),
    "no architecture column": (
        "name,accuracy\na,1\n",
        r"no architecture column \(arch, .*its columns: 'name', 'acc.*--arch-column",
    ),
    "two architecture columns": (
        "arch,genotype,accuracy\na,a,1\n",
        r"several .*\(arch, genotype\).*--arch-column",
    ),
    "no metric": (f"arch\n{GOOD[0]}\n", "no metric column"),
    "same column twice": (f"arch,a,a\n{GOOD[0]},1,2\n", "two columns are named 'a'"),
    "column without a name": (f",arch,a\n0,{GOOD[0]},1\n", "a column has no name.*row index"),
    "short row": (rows(f"{GOOD[0]},1,2", f"{GOOD[1]},1"), "line 3: 2 fields, but the header has 3"),
    "text in a metric": (
        rows(f"{GOOD[0]},1,2", f"{GOOD[1]},fast,2"),
        "line 3: column 'accuracy' holds 'fast', not a number",
    ),
    "underscore": (rows(f"{GOOD[0]},1_000,2"), "line 2: column 'accuracy' holds '1_000'"),
    "empty metric": (
        rows(f"{GOOD[0]},1,2", f"{GOOD[1]},,2"),
        r"line 3: column 'accuracy' has no value \(1 of 2 rows\); --allow-missing",
    ),
    "NaN": (rows(f"{GOOD[0]},nan,2"), "line 2: column 'accuracy' has no value"),
    "infinity": (rows(f"{GOOD[0]},1,-inf"), "line 2: column 'latency' holds an infinity"),
    "unknown operation": (
        rows(f"{GOOD[0]},1,2", "|conv~0|+|none~0|plop~1|,1,2"),
        "line 3, column 'arch': character 17 .*plop",
    ),
    "not an architecture": (rows("hello,1,2"), "line 2, column 'arch': "),
    "no architecture": (rows(",1,2"), "line 2, column 'arch': "),
    "same row twice": (
        rows(f"{GOOD[0]},1,2", f"{GOOD[1]},1,2", f"{GOOD[0]},1,2"),
        "lines 2 and 4 hold the same architecture with equal values; 1 such",
    ),
    "conflicting rows": (
        rows(f"{GOOD[0]},1,2", "", f"{GOOD[0]},1,3", f"{GOOD[0]},1,2"),
        r"lines 2 and 4 .* with conflicting values \(latency: 2.0 and 3.0\); 2 such",
    ),
    "open quote": (HEADER + '"|conv', "line 2: "),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_and_leaves_nothing(tmp_path: Path, space: SearchSpace, case: str) -> None:
    text, message = BAD[case]
    file = write(tmp_path, text)
    with pytest.raises(TableError, match=message) as caught:
        import_table(file, space)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert benchmarks.available() == tuple(BUILT_IN)


def test_infinities_are_refused_even_where_values_may_miss(tmp_path: Path, space: SearchSpace) -> None:
    with pytest.raises(TableError, match="infinity"):
        import_table(
            write(tmp_path, rows(f"{GOOD[0]},inf,2")), space, options=ImportOptions(allow_missing=True)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ImportOptions(arch_column="cell"), r"no column 'cell' \(--arch-column\); its columns: 'arch', 'acc"),
        (
            ImportOptions(metrics=["loss"]),
            r"no metric column 'loss' \(--metric\); it has: 'accuracy', 'latency'",
        ),
        (ImportOptions(ignore=["loss"]), r"'loss' \(--ignore\)"),
        (ImportOptions(ignore=["accuracy", "latency"]), "no metric column beside"),
        (ImportOptions(minimize=["loss"]), r"'loss' \(--minimize\)"),
        (ImportOptions(maximize=["loss"]), r"'loss' \(--maximize\)"),
        (ImportOptions(units={"loss": "s"}), r"'loss' \(--unit\)"),
        (ImportOptions(maximize=["latency"], minimize=["latency"]), "both --maximize and --minimize"),
    ],
)
def test_options_that_name_what_is_not_there(
    tmp_path: Path, space: SearchSpace, options: ImportOptions, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        import_table(write(tmp_path, rows(f"{GOOD[0]},1,2")), space, options=options)


def test_an_architecture_column_of_numbers(tmp_path: Path, space: SearchSpace) -> None:
    pd.DataFrame({"arch": [1, 2], "x": [1.0, 2.0]}).to_parquet(tmp_path / "n.parquet")
    with pytest.raises(TableError, match="does not hold texts"):
        import_table(tmp_path / "n.parquet", space)
    pd.DataFrame({"arch": GOOD[:2], "x": [True, False]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(TableError, match=r"'x' is no column of numbers .bool.*--ignore"):
        import_table(tmp_path / "b.parquet", space)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"x", "known endings: .csv"),
        ("a.csv", b"arch,\xff\n", "not UTF-8 text .byte 5"),
        ("a.csv.gz", b"not packed", "damaged"),
        ("a.csv.gz", gzip.compress(b"arch,accuracy\n" * 50, mtime=0)[:-12], "damaged"),
        ("a.parquet", b"PAR1 but not really PAR1", "not a readable Parquet file"),
    ],
)
def test_files_of_the_wrong_kind(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_raw(tmp_path / name)


def test_a_missing_file_and_a_folder(tmp_path: Path, space: SearchSpace) -> None:
    with pytest.raises(TableError, match="there is no file"):
        import_table(tmp_path / "none.csv", space)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RunError, match="is a folder"):
        import_table(tmp_path / "folder.csv", space)


def test_an_imported_table_is_replaced_on_demand_only(tmp_path: Path, space: SearchSpace) -> None:
    import_table(write(tmp_path, rows(f"{GOOD[0]},1,2")), space)
    file = write(tmp_path, rows(f"{GOOD[0]},5,6"))
    with pytest.raises(TableError, match=r"'mine' exists already .*--force .*--name"):
        import_table(file, space)
    assert benchmarks.load("mine").optimum("accuracy") == 1
    with pytest.raises(TableError, match="not a number"):
        import_table(write(tmp_path, rows(f"{GOOD[0]},five,6")), space, force=True)
    assert benchmarks.load("mine").optimum("accuracy") == 1
    import_table(write(tmp_path, rows(f"{GOOD[0]},5,6")), space, force=True)
    assert benchmarks.load("mine").optimum("accuracy") == 5


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_loses_nothing(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = import_table(write(tmp_path, rows(f"{GOOD[0]},1,2")), space).path
    before = path.read_bytes()

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match=r"mine\.parquet"):
        import_table(write(tmp_path, rows(f"{GOOD[0]},5,6")), space, force=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "nasbench201", "a b", "-x"])
def test_names_that_can_not_be(tmp_path: Path, space: SearchSpace, name: str) -> None:
    with pytest.raises(TableError, match=r"can not name a table|built-in"):
        import_table(write(tmp_path, rows(f"{GOOD[0]},1,2")), space, name=name)


def test_unknown_tables_are_named_beside_the_known(tmp_path: Path, space: SearchSpace) -> None:
    import_table(write(tmp_path, rows(f"{GOOD[0]},1,2")), space)
    with pytest.raises(UnknownNameError, match=r"known: .*mine, .*nasbench201"):
        benchmarks.load("nasbench102")
    with pytest.raises(UnknownNameError):
        benchmarks.load("two words")
    with pytest.raises(TableError, match="there is no table file"):
        benchmarks.load(tmp_path / "none.parquet")
    with pytest.raises(TableError, match="crlso bench import"):
        benchmarks.load(tmp_path / "mine.csv")


def test_the_list_of_tables_shows_a_damaged_one(tmp_path: Path, space: SearchSpace) -> None:
    path = import_table(write(tmp_path, rows(f"{GOOD[0]},1,2")), space).path
    (path.parent / "bad.parquet").write_bytes(path.read_bytes()[:100])
    builtin, *others, bad, mine = catalog.entries()
    assert all(entry.built_in for entry in (builtin, *others))
    assert builtin.header is not None
    assert builtin.header.rows == 15_625
    assert bad.header is None
    assert "damaged" in bad.problem
    assert mine.header is not None
    assert [metric.name for metric in mine.header.metrics] == ["accuracy", "latency"]


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("cifar10_valid_acc200_mean", "max"),
        ("cifar10/valid_accuracy@200", "max"),
        ("valAcc", "max"),
        ("F1", "max"),
        ("test_error", "min"),
        ("trainTime", "min"),
        ("hwnas_cifar10_edgegpu_energy", "min"),
        ("trainable_parameters", "min"),
        ("flops2", "min"),
        ("accuracy_per_energy_loss", "min"),
        ("something", "max"),
        ("miscellaneous", "max"),  # holds no word of cost, only its letters
    ],
)
def test_directions_by_name(name: str, direction: str) -> None:
    assert guess_direction(name)[0] == direction


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=64))
def test_all_floats_survive_csv(values: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    space = get_space("toy64")
    codes = np.concatenate(list(space.enumerate()))[: len(values)]
    folder = tmp_path_factory.mktemp("floats")
    file = write_csv(folder / "f.csv", space, codes, {"x": np.array(values)})
    np.testing.assert_array_equal(read_raw(file).floats("x"), values)


def test_parquet_with_long_identifiers(space: SearchSpace, codes: Codes, tmp_path: Path) -> None:
    archs = [space.format(code) for code in codes]
    frame = pd.DataFrame({"arch": archs, "accuracy": random_table(len(codes))["accuracy"]})
    frame["identifier"] = 2**53 + 1 + frame.index.to_numpy()
    frame.to_parquet(tmp_path / "ids.parquet")
    with pytest.raises(TableError, match=r"'identifier'.*digits"):
        import_table(tmp_path / "ids.parquet", space)
    imported = import_table(tmp_path / "ids.parquet", space, options=ImportOptions(ignore=["identifier"]))
    assert list(imported.table.metrics) == ["accuracy"]


def test_digits_of_other_scripts_are_no_numbers(space: SearchSpace, tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER}{GOOD[0]},\u0661\u0662,1\n")
    with pytest.raises(TableError, match="accuracy"):
        import_table(path, space)
