"""`crlso embed` as a user meets it: train, encode, decode, check, and every mistake in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from benchmarks.folders import DATA_VARIABLE
from crlso.cli.main import app
from crlso.spaces import get_space

SPACE = "space: edge_cell\nname: tiny\nnodes: 3\noperations: [none, skip_connect, conv, pool]\n"
ARCH = "|conv~0|+|none~0|pool~1|"
DIM = 4
SHORT = ("--steps", "3", "--dim", str(DIM), "--labels", "20")
WEIGHTS = "weights.safetensors"


def embed(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["embed", *map(str, words)], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def ok(*words: object) -> str:
    status, out, err = embed(*words)
    assert (status, err) == (0, "")
    return out


def data(*words: object) -> Any:
    return json.loads(ok(*words, "--json"))


def fails(*words: object) -> str:
    status, out, err = embed(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an imported table (``tiny``, and ``part`` of it) and a model of it, ``model``."""
    folder = tmp_path_factory.mktemp("embed")
    (folder / "tiny.yaml").write_text(SPACE)
    space = get_space(folder / "tiny.yaml")
    codes = np.concatenate(list(space.enumerate()))
    rows = [f"{space.format(code)},{code @ [4, 2, 1]},1" for code in codes]
    (folder / "tiny.csv").write_text("\n".join(["arch,latency,constant", *rows]) + "\n")
    (folder / "part.csv").write_text("\n".join(["arch,latency,constant", *rows[::2]]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATA_VARIABLE, str(folder / "data"))
        for name in ("tiny", "part"):
            words = ["bench", "import", f"{folder / name}.csv", "--space", str(folder / "tiny.yaml")]
            result = CliRunner().invoke(app, [*words, "--minimize", "latency", "--minimize", "constant"])
            assert result.exit_code == 0, result.stderr
        ok(
            "train",
            "--bench",
            "tiny",
            "--metric",
            "latency",
            *SHORT,
            "--steps",
            60,
            "--out",
            folder / "model",
        )
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(folder / "data"))
    monkeypatch.chdir(folder)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(folder / "model", tmp_path / "copy"))


@pytest.mark.parametrize("verb", ["train", "encode", "decode", "check"])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    assert f"Example: crlso embed {verb}" in ok(verb, "--help")


def test_train_on_a_space_alone(tmp_path: Path) -> None:
    text = ok("train", "--space", "toy64", *SHORT, "--out", tmp_path / "deep" / "model")
    assert "with 0 labels" in text
    assert "performance head  " not in text
    assert "heads without labels are untrained" in text
    assert text.splitlines()[-1] == f"model: {tmp_path / 'deep' / 'model'}"
    answer = data("encode", tmp_path / "deep" / "model", "/".join(["skip_connect"] * 3))
    assert answer[0]["predicted_loss"] is None
    assert "predicted" not in ok("encode", tmp_path / "deep" / "model", "/".join(["skip_connect"] * 3))


def test_train_on_a_table() -> None:
    text = ok("train", "--bench", "tiny", "--metric", "latency", *SHORT, "--out", "again")
    assert "with 20 labels" in text
    assert "performance head      Spearman" in text
    assert "heads without labels" not in text


def test_train_as_json() -> None:
    words = ("train", "--bench", "part", "--metric", "latency", *SHORT, "--held-out", 0.2, "--out", "other")
    answer = data(*words)
    assert answer.keys() == {"model", "labels", "cpu_seconds", "quality", "convexity"}
    assert answer["model"] == "other"
    assert answer["labels"] == 20
    quality = answer["quality"]
    # The command decodes, so that what it decodes is valid; and 10 % of 64 can not be 1,000 different ones.
    assert quality["valid"] == quality["valid_before_repair"] == 1.0
    assert 0 < quality["unique_codes"] <= 0.064
    assert -1 <= quality["spearman"] <= 1
    again = data(*words)
    assert again["quality"] == quality
    assert data(*words, "--seed", 1)["quality"] != quality


def test_labels_that_are_all_the_same_have_no_rank_correlation() -> None:
    answer = data("train", "--bench", "tiny", "--metric", "constant", *SHORT, "--out", "constant")
    assert answer["quality"]["spearman"] is answer["quality"]["kendall"] is None


def test_no_labels_of_a_table() -> None:
    words = ("--bench", "tiny", "--metric", "latency", *SHORT, "--labels", 0, "--steps", 0, "--out", "none")
    assert data("train", *words)["labels"] == 0


def test_encode_then_decode(folder: Path) -> None:
    space = get_space(folder / "tiny.yaml")
    archs = [space.format(code) for code in next(space.enumerate())]
    rows = data("encode", "model", *archs)
    assert [row["arch"] for row in rows] == archs
    # Latencies are ranked the right way round: small ones have small losses.
    losses = np.array([row["predicted_loss"] for row in rows])
    latency = np.array([space.parse(arch) @ [4, 2, 1] for arch in archs])
    assert np.corrcoef(losses, latency)[0, 1] > 0.5
    points = [" ".join(map(repr, row["z"])) for row in rows[:5]]
    decoded = data("decode", "model", *(word for point in points for word in ("--z", point)))
    assert [row["z"] for row in decoded] == [row["z"] for row in rows[:5]]
    assert all(row["arch"] in archs for row in decoded)
    assert ok("decode", "model", "--z", points[0].replace(" ", ",")) == decoded[0]["arch"] + "\n"
    printed = ok("encode", "model", archs[0]).splitlines()
    assert printed[0] == f"{archs[0]}  predicted loss {losses[0]:.4f}"
    assert [float(word) for word in printed[1].split()] == pytest.approx(rows[0]["z"], abs=5e-5)


def test_decode_draws_from_the_prior() -> None:
    text = ok("decode", "model", "--sample", 6)
    assert text == ok("decode", "model", "--sample", 6, "--seed", 0)
    answer = data("decode", "model", "--sample", 6, "--z", "0 0 0 0")
    assert answer[0]["z"] == [0.0] * DIM
    assert [row["arch"] for row in answer[1:]] == text.splitlines()
    assert data("decode", "model", "--sample", 1, "--seed", 1)[0]["z"] != answer[1]["z"]


def test_check_says_what_was_measured() -> None:
    text = ok("check", "model", "--pairs", 2000)
    assert "with 20 labels" in text
    assert text.splitlines()[-1] == "passed: all heads are convex and curved"
    answer = data("check", "model", "--pairs", 2000)
    assert answer["passed"] is True
    assert answer["bench"] == "tiny"
    assert answer["convexity"]["pairs"] == 2000
    assert answer["convexity"]["worst_violation"] <= answer["convexity"]["tolerance"]


@pytest.mark.parametrize("heads", [slice(None), 3], ids=["all", "one"])
def test_check_rejects_flat_heads(copy: Path, heads: slice | int) -> None:
    weights = load_file(copy / WEIGHTS)
    ours = [name for name in weights if name.startswith("heads.")]
    assert ours
    for name in ours:
        weights[name][heads] = 0.0
    save_file(weights, copy / WEIGHTS)
    status, out, err = embed("check", copy, "--pairs", 1000)
    assert (status, err) == (1, "")
    assert out.splitlines()[-1] == "failed: a head is convex and FLAT"
    status, out, err = embed("check", copy, "--pairs", 1000, "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["passed"] is False


def test_in_processes_of_their_own(folder: Path, tmp_path: Path) -> None:
    """Two at once: a training, and a mistake."""
    model = str(tmp_path / "model")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "crlso.cli.main", "embed", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for words in (
            ("train", "--space", "toy64", *SHORT, "--out", model, "--json"),
            ("encode", str(folder / "model"), "|conv~0|+|none~0|poll~1|"),
        )
    ]
    (out, err), (nothing, mistake) = (process.communicate(timeout=120) for process in running)
    assert err == ""
    assert json.loads(out)["model"] == model
    assert [process.returncode for process in running] == [0, 2]
    assert (nothing, mistake.count("\n")) == ("", 1)
    assert mistake.startswith("error: ")
    assert "poll" in mistake


TABLE = ("--bench", "tiny", "--metric", "latency")
TRAIN_MISTAKES: dict[str, tuple[tuple[object, ...], str]] = {
    "neither bench nor space": ((), "either --bench TABLE with --metric NAME, or --space SPACE"),
    "both": ((*TABLE, "--space", "toy64"), "either --bench TABLE with --metric NAME, or --space SPACE"),
    "bench without metric": (("--bench", "tiny"), "crlso bench info tiny"),
    "space with metric": (("--space", "toy64", "--metric", "latency"), "--metric needs --bench"),
    "unknown bench": (("--bench", "nope", "--metric", "latency"), "nasbench201, part, tiny"),
    "unknown metric": (("--bench", "tiny", "--metric", "nope"), "'nope'; known: constant, latency"),
    "unknown space": (
        ("--space", "nope"),
        "nasbench201, nats_size, toy64",
    ),
    "no such file": (("--space", "nope.yaml"), "nope.yaml"),
    "unknown target": ((*TABLE, "--target", "nope"), "known: logit, rank, raw"),
    "labels negative": ((*TABLE, "--labels", -1), "labels must be 0 or more"),
    "steps negative": ((*TABLE, "--steps", -1), "steps"),
    "beta negative": ((*TABLE, "--beta", -1), "--beta must be a number of 0 or more, got -1.0"),
    "beta no number": ((*TABLE, "--beta", "nan"), "--beta must be a number of 0 or more, got nan"),
    "beta endless": ((*TABLE, "--beta", "inf"), "--beta must be a number of 0 or more, got inf"),
    "no dimension": ((*TABLE, "--dim", 0), "latent_dim must be 1 or more, got 0"),
    "nothing held out": ((*TABLE, "--held-out", 0), "between 0 and 1, got 0.0"),
    "all held out": ((*TABLE, "--held-out", 1), "between 0 and 1, got 1.0"),
    "almost all held out": ((*TABLE, "--held-out", 0.999), "too few classes"),
    "seed negative": ((*TABLE, "--seed", -1), "seed -1; it must be 0 or more"),
}


@pytest.mark.parametrize("mistake", TRAIN_MISTAKES)
def test_train_mistakes(mistake: str, tmp_path: Path) -> None:
    words, message = TRAIN_MISTAKES[mistake]
    assert message in fails("train", "--out", tmp_path / "model", *SHORT, *words)
    assert not (tmp_path / "model" / "model.json").exists()


def test_no_number_is_said_before_anything_runs(tmp_path: Path) -> None:
    status, out, err = embed("train", "--space", "toy64", "--steps", "many", "--out", tmp_path / "model")
    assert (status, out) == (2, "")
    assert "--steps" in err
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [("file", "is a file, not a folder"), ("file/model", "is a file"), ("/proc/model", "can not make")],
)
def test_no_place_for_the_model_is_said_before_the_training(
    out: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    # So many steps would take a week.
    assert message in fails("train", "--space", "toy64", "--steps", 10**9, "--out", out)


DECODE_MISTAKES: dict[str, tuple[tuple[object, ...], str]] = {
    "nothing": ((), "give latent points with --z, or a number with --sample"),
    "too short": (("--z", "1 2"), "--z has 2 numbers; this model's latent space has 4 dimensions"),
    "too long": (("--z", "0 0 0 0", "--z", "1,2,3,4,5"), "--z has 5 numbers"),
    "empty": (("--z", ""), "--z has 0 numbers"),
    "words": (("--z", "a b c d"), "--z 'a b c d' is no list of numbers"),
    "not a number": (("--z", "nan 0 0 0"), "must be finite"),
    "infinite": (("--z", "0 0 1e400 0"), "must be finite"),
    "infinite as float32": (("--z", "0 0 1e39 0"), "must be finite"),
    "negative sample": (("--sample", -1), "--sample must be 0 or more, got -1"),
    "negative seed": (("--sample", 1, "--seed", -1), "seed -1"),
    "endless seed": (("--sample", 1, "--seed", 2**64), "below 2^63"),
}


@pytest.mark.parametrize("mistake", DECODE_MISTAKES)
def test_decode_mistakes(mistake: str) -> None:
    words, message = DECODE_MISTAKES[mistake]
    assert message in fails("decode", "model", *words)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("|conv~0|+|none~0|pooh~1|", "character 17 of '|conv~0|+|none~0|pooh~1|': expected one of none, "),
        ("|conv~0|", "'|conv~0|'"),
        ("", "''"),
    ],
)
def test_encode_points_at_what_is_wrong(arch: str, message: str) -> None:
    assert message in fails("encode", "model", ARCH, arch)


def test_check_mistakes() -> None:
    assert "--pairs must be 2 or more, got 1" in fails("check", "model", "--pairs", 1)


def tear(file: Path, keep: float) -> None:
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no directory": (shutil.rmtree, "`crlso embed train` makes one"),
    "empty directory": (lambda d: [file.unlink() for file in d.iterdir()], "`crlso embed train` makes one"),
    "a file": (lambda d: (shutil.rmtree(d), d.write_text("")), "can not be read"),
    "torn description": (lambda d: tear(d / "model.json", 0.5), "damaged"),
    "other description": (lambda d: (d / "model.json").write_text('{"format": 1}'), "damaged"),
    "torn weights": (lambda d: tear(d / WEIGHTS, 0.5), "weights"),
    "no weights": (lambda d: (d / WEIGHTS).unlink(), "weights"),
    "other weights": (lambda d: save_file({"x": torch.zeros(1)}, d / WEIGHTS), "do not fit"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_models(damage: str, copy: Path) -> None:
    action, message = DAMAGES[damage]
    action(copy)
    for verb, words in {"encode": (ARCH,), "decode": ("--sample", 1), "check": ()}.items():
        error = fails(verb, copy, *words)
        assert message in error
        assert str(copy) in error
