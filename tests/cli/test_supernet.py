"""`crlso supernet`: search, resume, shared weights as a benchmark, mistakes in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from crlso.cli.main import app
from tests.source import ROOT

SMALL = ["--space", "nasbench201", "--limit", "64,64,64", "--set", "epochs=2", "--set", "batch=32"]
TRAINED = ["--set", "training.epochs=1", "--channels", "4", "--random", "2", "--jobs", "1"]


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("supernet") / "run"
    status, text = run("supernet", "search", *SMALL, *TRAINED, "--json", "--out", str(out))
    assert status == 0, text
    return out, json.loads(text)


def test_a_search_leaves_what_it_found(searched: tuple[Path, dict[str, object]]) -> None:
    out, summary = searched
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == summary
    (entry,) = summary["searches"]  # type: ignore[misc]
    assert entry["random"]["n"] == 2
    assert 0 <= entry["trained"]["test_accuracy"] <= 100
    # The derived cell's accuracy of the real table.
    assert (
        0
        < entry["table"]["values"]["cifar10/valid_accuracy@200"]
        <= entry["table"]["best"]["cifar10/valid_accuracy@200"]
    )
    assert len((out / "seeds/0/epochs.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_the_same_command_does_nothing_again(searched: tuple[Path, dict[str, object]]) -> None:
    out, summary = searched
    status, text = run("supernet", "search", *SMALL, *TRAINED, "--out", str(out))
    assert status == 0
    assert "epoch 1/2" not in text
    entry = summary["searches"][0]  # type: ignore[index]
    assert entry["architecture"] in text


@pytest.mark.parametrize("method", ["local", "random"])
def test_its_weights_are_a_benchmark(
    searched: tuple[Path, dict[str, object]], tmp_path: Path, method: str
) -> None:
    metric = ["--metric", "digits/shared_valid_accuracy", "--report", "digits/shared_test_accuracy"]
    status, text = run(
        "search", "--bench", f"shared:{searched[0]}", *metric, "--method", method, "--budget", "4", "--json"
    )
    assert status == 0, text
    assert json.loads(text)["evaluations"] == 4


def test_other_settings_are_refused(searched: tuple[Path, dict[str, object]]) -> None:
    status, text = run(
        "supernet", "search", *SMALL, *TRAINED, "--recipe", "milenas", "--out", str(searched[0])
    )
    assert status == 2
    assert "holds a run of other settings" in text
    assert len(text.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--recipe", "none"], "unknown recipe 'none'"),
        (["--data", "nothing"], "no data set"),
        (["--space", "toy64"], "networks"),
        (["--set", "epochs"], "write KEY=VALUE"),
        (["--set", "epoch=3"], "'epoch'"),
        (["--set", "batch=5000"], "more than the data has"),
        (["--device", "tpu"], "choose cpu, cuda"),
        (["--random", "x"], "write a number, or same-cost"),
        (["--stages", "3"], "have no stages"),
        (["--preset", "large"], "preset"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    status, text = run("supernet", "search", "--out", str(tmp_path / "run"), *words)
    assert status == 2, text
    assert said in text
    assert len(text.strip().splitlines()) == 1


def test_a_killed_search_goes_on_bit_for_bit(tmp_path: Path) -> None:
    words = ["supernet", "search", "--space", "nasbench201", "--channels", "4", "--no-train"]
    words += ["--limit", "256,256,64", "--set", "epochs=8", "--set", "batch=16", "--out"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "crlso.cli.main", *words, str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        deadline = time.monotonic() + 120
        while not (killed / "seeds/0/checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert (killed / "seeds/0/checkpoint.pt").exists()
    assert not (killed / "summary.json").exists()
    for out in (killed, whole):
        status, text = run(*words, str(out))
        assert status == 0, text
    assert sound(killed) == sound(whole)
    with (
        np.load(killed / "seeds/0/architecture.npz") as one,
        np.load(whole / "seeds/0/architecture.npz") as other,
    ):
        assert np.array_equal(one["shares"], other["shares"])


def sound(out: Path) -> list[dict[str, object]]:
    """The epochs without measured times."""
    lines = (out / "seeds/0/epochs.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if "seconds" not in k} for line in lines]


def test_a_damaged_checkpoint_is_one_line(searched: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(searched[0], copy)
    (copy / "seeds/0/checkpoint.pt").write_bytes(b"damaged")
    for words in (
        ["supernet", "search", *SMALL, *TRAINED, "--out", str(copy)],
        ["search", "--bench", f"shared:{copy}", "--metric", "digits/shared_valid_accuracy"],
    ):
        status, text = run(*words)
        assert status == 2
        assert "checkpoint.pt is damaged" in text
        assert len(text.strip().splitlines()) == 1


def test_no_supernet_there(tmp_path: Path) -> None:
    status, text = run("search", "--bench", f"shared:{tmp_path}", "--metric", "x")
    assert status == 2
    assert "no directory of `crlso supernet search`" in text


def test_recipes_are_listed() -> None:
    status, text = run("supernet", "recipes")
    assert status == 0
    assert "darts_2nd_exact" in text


def test_ways_to_compute_are_timed_side_by_side() -> None:
    small = ["--space", "nasbench201", "--preset", "small", "--set", "batch=4", "--set", "epochs=3"]
    words = ["--image", "1x8x8", "--images", "40", "--steps", "1"]
    status, text = run("supernet", "time", *small, *words, "--json")
    assert status == 0, text
    rows = json.loads(text)["steps"]
    assert [row["label"] for row in rows][:3] == ["reference", "+ channels last", "+ merged operations"]
    for row in rows:
        assert row["seconds"] > 0
        assert row["kernels"] is None
        # Three epochs of ten steps, each epoch measured.
        assert row["projected"] == pytest.approx(3 * (10 * row["seconds"] + row["measuring"]))
    status, text = run("supernet", "time", *small, *words, "--only", "merged")
    assert status == 0
    assert "+ merged operations" in text
    assert "reference" not in text


def test_a_recipe_is_timed_in_its_own_space() -> None:
    words = ["--preset", "small", "--set", "batch=4", "--channels", "2", "--cells", "3", "--image", "1x8x8"]
    status, text = run("supernet", "time", "--recipe", "fx_darts", *words, "--images", "40", "--steps", "1")
    assert status == 0, text
    assert "+ merged operations" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--image", "3x32"], "write CHANNELSxHEIGHTxWIDTH"),
        (["--only", "magic"], "is in no label"),
        (["--set", "precision=64-true"], "choose some of them with --only"),
        (["--images", "8"], "images a batch or more"),
        (["--device", "tpu"], "choose cpu, cuda"),
        (["--recipe", "none"], "unknown recipe"),
    ],
)
def test_mistakes_in_timing_are_one_line(words: list[str], said: str) -> None:
    status, text = run("supernet", "time", "--space", "nasbench201", *words)
    assert status == 2, text
    assert said in text
    assert len(text.strip().splitlines()) == 1
