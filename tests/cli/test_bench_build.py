"""`crlso bench build` as a user meets it, with real trainings of two-node cells."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import benchmarks
from benchmarks.folders import DATA_VARIABLE
from crlso.cli.main import app

SPACE = "space: edge_cell\nname: two\nnodes: 2\noperations: [none, skip_connect, nor_conv_1x1]\n"
SMALL = ("--limit", "130,60,60", "--channels", "4", "--stages", "1", "--epochs", "1,2", "--seeds", "2")


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "tables"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.yaml").write_text(SPACE)


def crlso(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def build(name: str, *words: str) -> Any:
    options = (*SMALL, "--jobs", "1", "--json", *words)
    return json.loads(crlso("bench", "build", "two.yaml", "--name", name, "--all", *options))


def fails(*words: str) -> str:
    result = CliRunner().invoke(app, ("bench", "build", *words))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def assert_same(a: str, b: str) -> None:
    """Two tables are equal bit for bit, measured times left out."""
    one, two = benchmarks.load(a), benchmarks.load(b)
    np.testing.assert_array_equal(one.codes, two.codes)
    assert (list(one.metrics), list(one.curves)) == (list(two.metrics), list(two.curves))
    for name in one.metrics:
        assert "time" in name or one.column(name).tobytes() == two.column(name).tobytes(), name
    for name in one.curves:
        assert "time" in name or one.curve(name).tobytes() == two.curve(name).tobytes(), name


def test_a_table_from_training_to_search() -> None:
    told = build("mine")
    assert (told["architectures"], told["whole_space"]) == (3, True)
    assert (told["trainings"], told["done_now"], told["failed"]) == (12, 12, 0)
    assert build("mine")["done_now"] == 0
    assert "mine" in crlso("bench", "list")
    assert "digits/valid_accuracy@2" in crlso("bench", "info", "mine")
    assert "whole; 3 architectures" in crlso("bench", "verify", "mine")
    answer = json.loads(crlso("bench", "query", "mine", "|nor_conv_1x1~0|", "--json"))
    # stem 9 * 4 + 8, convolution 16 + 8, last normalisation 8, classifier 50
    assert answer["metrics"]["digits/params"]["value"] == pytest.approx(126e-6)
    single = [answer["metrics"][f"digits/valid_accuracy@2/seed{seed}"]["value"] for seed in (0, 1)]
    assert answer["metrics"]["digits/valid_accuracy@2"]["value"] == pytest.approx(sum(single) / 2)
    options = ("--metric", "digits/valid_accuracy@2", "--method", "random", "--budget", "3", "--json")
    found = json.loads(crlso("search", "--bench", "mine", *options))
    assert found["best"]["value"] == benchmarks.load("mine").optimum("digits/valid_accuracy@2")


def test_parallel_and_killed_it_gives_the_same_table(tmp_path: Path) -> None:
    build("whole")
    command = [sys.executable, "-m", "crlso.cli.main", "bench", "build", "two.yaml", "--name", "killed"]
    command += ["--all", *SMALL, "--jobs", "2"]
    journal = tmp_path / "tables" / "killed.building" / "trainings.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    kept = journal.read_bytes().count(b"\n")
    assert not (tmp_path / "tables" / "killed.parquet").exists()
    assert build("killed")["done_now"] <= 12 - kept
    assert_same("killed", "whole")
    assert not journal.parent.exists()


@pytest.fixture
def interrupts_are_heard() -> Iterator[None]:
    """A background job hands ignored signals on to its children; a signal with a handler it does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts_are_heard")
def test_ctrl_c_is_one_line_and_keeps_what_is_done(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crlso.cli.main", "bench", "build", "two.yaml", "--name", "t", "--all"]
    command += [*SMALL, "--seeds", "200", "--jobs", "1", "--json"]
    journal = tmp_path / "tables" / "t.building" / "trainings.jsonl"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not journal.exists() or not journal.read_bytes().count(b"\n"):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert told.strip() == "interrupted; the finished trainings are kept, the same command again goes on"
    assert journal.read_bytes().endswith(b"\n")


def test_a_sample_of_darts() -> None:
    words = ("--sample", "2", "--limit", "130,60,60", "--channels", "2", "--cells", "2", "--epochs", "1")
    told = json.loads(crlso("bench", "build", "darts", "--name", "d", *words, "--jobs", "1", "--json"))
    assert (told["space"], told["architectures"], told["trainings"]) == ("darts", 2, 2)
    table = benchmarks.load("d")
    # At least the stem, six filters of 9 weights with normalisation, and the classifier of 4 * 8 values.
    assert (table.column("digits/params") * 1e6 > 54 + 12 + 330).all()
    assert np.isfinite(table.column("digits/valid_accuracy@1")).all()


def test_divergence_is_stated_and_missing() -> None:
    told = build("wild", "--learning-rate", "1e30")
    assert told["failed"] == 12
    assert math.isnan(benchmarks.load("wild").column("digits/test_accuracy@1")[0])
    text = crlso(
        *("bench", "build", "two.yaml", "--name", "wild", "--all", *SMALL, "--learning-rate", "1e30")
    )
    assert "12 trainings (0 of them now), 12 of them diverged and are missing" in text


def test_a_sample_says_before_the_work_what_it_is() -> None:
    words = ("two.yaml", "--name", "part", "--sample", "2", *SMALL, "--jobs", "1")
    result = CliRunner().invoke(app, ("bench", "build", *words))
    assert result.exit_code == 0, result.output
    assert "part: 2 architectures, 2 of them to be trained, 8 trainings; 8 left to do" in result.stderr
    assert "part: 2 architectures of two (a part of up to 3)" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("two.yaml",), "--all"),
        (("two.yaml", "--all", "--sample", "2"), "one of them"),
        (("two.yaml", "--all", "--data", "mnist"), "no data set 'mnist': give a name (digits, "),
        (("two.yaml", "--all", "--data", "idx", "--data-path", "."), "there is no train-images-idx3-ubyte"),
        (("two.yaml", "--all", "--epochs", "4,x"), "--epochs '4,x'"),
        (("two.yaml", "--all", "--epochs", "4,2"), "increasing"),
        (("two.yaml", "--all", "--seeds", "none"), "--seeds 'none'"),
        (("two.yaml", "--all", "--limit", "5"), "--limit '5'; write three numbers"),
        (("two.yaml", "--all", "--shrink", "3"), "do not divide into blocks of 3x3"),
        (("two.yaml", "--all", "--channels", "0"), "channels must be 1 or more"),
        (("two.yaml", "--all", "--device", "tpu"), "can not compute on device 'tpu'"),
        (("two.yaml", "--all", "--engine", "slurm"), "unknown engine 'slurm'; known: local, ray"),
        (("two.yaml", "--all", "--address", "auto"), "needs --engine ray"),
        (("two.yaml", "--all", "--jobs", "0"), "--jobs must be 1 or more"),
        (
            ("two.yaml", "--sample", "2", "--sample-seed", "-1"),
            "seed of the sample must be 0 or more, got -1",
        ),
        (("two.yaml", "--sample", "9" * 30), "up to 1,048,576"),
        (("two.yaml", "--all", "--seeds", "99999999999"), "99,999,999,999 seeds; at most 100,000"),
        (("two.yaml", "--all", "--seeds", "9" * 5000), "write a number (30)"),
        (("nasbench201", "--all", "--seeds", "2000"), "trainings are too many"),
        (("two.yaml", "--all", "--epochs", "9" * 5000), "write whole numbers"),
        (("two.yaml", "--all", "--epochs", "9" * 18), "epochs must be 100,000 or fewer"),
        (("two.yaml", "--all", "--epochs", "9" * 20), "write whole numbers"),
        (("two.yaml", "--all", "--limit", f"1,1,{'9' * 5000}"), "write whole numbers"),
        (("two.yaml", "--all", "--limit", "1,1,1"), "training needs two images or more"),
        (("two.yaml", "--all", "--channels", "99999999"), "up to 4096 channels; 99999999 in the first of 2"),
        (("two.yaml", "--all", "--cells", "100000"), "cells per stage must be 100 or fewer"),
        (("two.yaml", "--all", "--stages", "40"), "up to 4096 channels"),
        (("two.yaml", "--all", "--stages", "5"), "images of 8x8 can have up to 4 stages"),
        (("two.yaml", "--all", "--device", "meta"), "can not compute on device 'meta'"),
        (("two.yaml", "--all", "--unique", "official"), "unknown rule of sameness"),
        (("two.yaml", "--sample", "4"), "more than the 3 different architectures"),
        (("nasbench101", "--all"), "'nasbench101' is a NASBench101Space"),
        (("darts", "--sample", "2", "--stages", "2"), "networks of darts have 3"),
        (("darts", "--sample", "2", "--channels", "5"), "channels must be even"),
        (("darts", "--sample", "2", "--data", "digits", "--shrink", "8"), "needs 3 pixels or more"),
        (("darts", "--all"), "too many"),
        (("three.yaml", "--all"), "cannot read the space declaration"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    told = fails(*words, "--name", "t")
    assert message in told
    assert len(told) < 300
    assert not (tmp_path / "tables").exists()


def test_names_that_are_taken(tmp_path: Path) -> None:
    build("mine")
    assert "--force" in fails("two.yaml", "--name", "mine", "--all", *SMALL, "--batch", "32")
    assert "built-in table" in fails("two.yaml", "--name", "nasbench201", "--all")
    assert build("mine", "--batch", "32", "--force")["done_now"] == 12


def test_a_corrupt_image_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (tmp_path / "shapes" / f"{part}-{kind}-ubyte.gz").write_bytes(b"\x1f\x8b\x08 torn")
    words = ("--data", "idx", "--data-path", "shapes")
    assert "is damaged (gzip" in fails("two.yaml", "--name", "t", "--all", *words)
