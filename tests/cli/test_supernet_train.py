"""`crlso supernet train`: what a search derived and what one has, resumed, mistakes in one line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import supernet
from crlso.cli.main import app
from tests.source import ROOT
from tests.supernet.train.small import CONVOLUTIONS, SKIPS

TOY = "avg_pool_3x3/nor_conv_3x3/nor_conv_3x3"
NASBENCH = ["--space", "nasbench201"]
SMALL = ["--limit", "64,64,64", "--channels", "4", "--set", "epochs=2", "--jobs", "1"]
ONE = [*NASBENCH, "--architecture", CONVOLUTIONS, *SMALL]


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["supernet", *words])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A search of one epoch that trains what it derives for two."""
    out = tmp_path_factory.mktemp("search") / "run"
    words = ["--limit", "64,64,64", "--channels", "4", "--jobs", "1", "--random", "0", "--seeds", "2"]
    changes = ["--set", "epochs=1", "--set", "batch=32", "--set", "training.epochs=2", "--json"]
    status, text, said = run("search", *NASBENCH, *words, *changes, "--out", str(out))
    assert status == 0, said
    return out, json.loads(text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("train") / "run"
    status, text, said = run(
        "train", *ONE, "--architecture", SKIPS, "--seeds", "2", "--json", "--out", str(out)
    )
    assert (status, said) == (0, "")
    return out, json.loads(text)


def test_what_a_search_derived_is_trained_as_the_search_does(
    searched: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Its data, sizes and settings: the very figures that the search's own training came to."""
    out = tmp_path / "run"
    status, text, said = run(
        "train", "--from", str(searched[0]), "--seeds", "2", "--jobs", "1", "--json", "--out", str(out)
    )
    assert status == 0, said
    entries = {entry["architecture"]: entry for entry in json.loads(text)["architectures"]}
    found = searched[1]["searches"]
    assert list(entries) == list(dict.fromkeys(search["architecture"] for search in found))
    for search in found:
        (training,) = [
            each for each in entries[search["architecture"]]["trainings"] if each["seed"] == search["seed"]
        ]
        for name in ("train_accuracy", "valid_accuracy", "test_accuracy"):
            assert training[name] == search["trained"][name]


def test_options_say_otherwise(searched: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    words = ["--set", "epochs=1", "--all-data", "--channels", "6", "--shrink", "2", "--jobs", "1", "--json"]
    status, text, said = run("train", "--from", str(searched[0]), *words, "--out", str(tmp_path / "run"))
    assert status == 0, said
    summary = json.loads(text)
    assert summary["network"] == "channels 6, cells 1, stages 2"
    assert summary["epochs"] == 1
    assert summary["data"].startswith("digits: 128 training, 0 validation, 64 test images of 1x4x4")


def test_what_is_said_of_it(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    status, text, said = run("train", *ONE, "--out", str(tmp_path / "run"))
    assert status == 0
    lines = said.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "architecture 0, seed 0, epoch 1/2",
        "architecture 0, seed 0, epoch 2/2",
    ]
    accuracy = trained[1]["architectures"][0]["trainings"][0]["test_accuracy"]
    assert f"test          {accuracy:.2f} %, one seed" in text
    assert "metric          digits/test_accuracy@2" in text


def test_the_same_command_does_nothing_again(trained: tuple[Path, dict[str, Any]]) -> None:
    words = [*ONE, "--architecture", SKIPS, "--seeds", "2", "--out", str(trained[0])]
    status, text, said = run("train", *words)
    assert (status, said) == (0, "")
    assert "over architectures, of each the mean over seeds:" in text
    status, text, _ = run("train", *words, "--json")
    assert json.loads(text) == trained[1]


def test_other_settings_are_refused(trained: tuple[Path, dict[str, Any]]) -> None:
    status, _, said = run("train", *ONE, "--out", str(trained[0]))
    assert status == 2
    assert "holds a run of other settings: architectures is" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, jobs: str) -> None:
    """Killed in the middle, with one training at a time or two; then one at a time."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    words = [*NASBENCH, "--architecture", CONVOLUTIONS, "--channels", "4", "--seeds", "2"]
    words += ["--limit", "400,100,100", "--set", "epochs=6", "--set", "augmentation=shift", "--out"]
    command = [
        sys.executable,
        "-m",
        "crlso.cli.main",
        "supernet",
        "train",
        *words,
        str(killed),
        "--jobs",
        "2",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    checkpoints = [killed / f"trainings/0/{seed}/checkpoint.pt" for seed in (0, 1)]
    try:
        deadline = time.monotonic() + 120
        while not any(file.exists() for file in checkpoints) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert any(file.exists() for file in checkpoints)
    assert not (killed / "summary.json").exists()
    for out in (killed, whole):
        status, _, said = run("train", *words, str(out), "--jobs", "1")
        assert status == 0, said
    for seed in ("0", "1"):
        one, other = killed / "trainings/0" / seed, whole / "trainings/0" / seed
        assert timeless(one) == timeless(other)
        a, b = (torch.load(folder / "weights.pt", weights_only=True) for folder in (one, other))
        assert all(torch.equal(a[name], b[name]) for name in a)
        results = [
            json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in (one, other)
        ]
        assert results[0] | {"seconds": 0} == results[1] | {"seconds": 0}


@pytest.mark.slow
def test_several_processes_train_one_network(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m"]
    command += ["crlso.cli.main", "supernet", "train", *ONE, "--seeds", "2", "--json", "--out", str(out)]
    first, again = (
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout for _ in range(2)
    )
    assert json.loads(first) == json.loads(again) == json.loads((out / "summary.json").read_text("utf-8"))
    assert [each["failed"] for each in json.loads(first)["architectures"][0]["trainings"]] == [False, False]


def timeless(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run("train", *ONE, "--out", str(out))[0] == 0
    folder = out / "trainings/0/0"
    (folder / "result.json").unlink()
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    status, _, said = run("train", *ONE, "--out", str(out))
    assert status == 2
    assert "checkpoint.pt is damaged; remove it to begin this training anew" in said
    assert len(said.strip().splitlines()) == 1


def test_the_network_as_the_documents_say(trained: tuple[Path, dict[str, Any]]) -> None:
    network = supernet.load_network(trained[0] / "trainings/1/1")
    assert network(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)).shape == (3, 10)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say --from DIR"),
        (["--from", "x", "--architecture", CONVOLUTIONS], "one of them"),
        (["--from", "nothing"], "no directory of `crlso supernet search`"),
        (["--from", "nothing", "--space", "darts"], "--space is for --architecture"),
        (["--architecture", CONVOLUTIONS], "nor is there a file of this name"),
        ([*NASBENCH, "--architecture", "EMPTY"], "holds no architecture"),
        ([*ONE, "--set", "epoch=3"], "unknown setting of training 'epoch'"),
        ([*ONE, "--set", "batch=1"], "batch 2 or more"),
        ([*ONE, "--shrink", "8", "--stages", "3"], "1x1 can have up to 1 stages"),
        ([*ONE, "--shrink", "3"], "do not divide into blocks"),
        ([*ONE, "--preset", "large"], "unknown preset 'large'"),
        ([*ONE, "--device", "tpu"], "choose cpu, cuda"),
        ([*ONE, "--data", "nothing"], "no data set"),
        ([*ONE, "--jobs", "0"], "--jobs must be 1 or more"),
        ([*ONE, "--seeds", "x"], "write a number"),
        (["--space", "darts", "--architecture", SKIPS], "nor is there a file"),
        (["--space", "toy64", "--architecture", TOY], "networks can be built for the space darts"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n", encoding="utf-8")
    words = [str(empty) if word == "EMPTY" else word for word in words]
    status, _, text = run("train", "--out", str(tmp_path / "run"), *words)
    assert status == 2, text
    assert said in text
    assert len(text.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_search_that_is_not_finished(
    searched: tuple[Path, dict[str, Any]], trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.yaml").write_bytes((searched[0] / "config.yaml").read_bytes())
    out = str(tmp_path / "run")
    status, _, said = run("train", "--from", str(unfinished), "--out", out)
    assert status == 2
    assert "the search with seed 0 in" in said
    assert "is not finished" in said
    status, _, said = run("train", "--from", str(trained[0]), "--out", out)
    assert status == 2
    assert "holds another kind of run" in said


def test_the_report_knows_it(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    words = ["report", str(trained[0]), "--out", str(tmp_path / "report.html"), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (training,) = json.loads(result.stdout)["trainings"]
    assert training["cells"] == [CONVOLUTIONS, SKIPS]
    assert len(training["plots"]) == 4
    accuracy = trained[1]["architectures"][1]["test_accuracy"]["mean"]
    assert f"{accuracy:.2f} ±" in (tmp_path / "report.html").read_text(encoding="utf-8")
