"""What a supernet search leaves goes on: its cells through the latent space, its weights to every method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from crlso.cli.main import app
from crlso.latent.storage import load
from crlso.protocols import Codes
from crlso.spaces import get_space

TINY = ("--limit", "32,32,32", "--set", "epochs=1", "--set", "batch=16", "--no-train")
SIZES = {"nasbench201": ("--channels", "4"), "darts": ("--channels", "2", "--cells", "3")}
METRIC = ("--metric", "digits/shared_valid_accuracy", "--report", "digits/shared_test_accuracy")
# Few steps, but all that the method does: 4 random architectures, then rounds with a model.
CRLSO = ("initial=4", "round=3", "pretrain_steps=10", "round_steps=3", "starts=4")


def answer(*words: object) -> Any:
    """What a command prints as JSON."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onwards")


def searched(folder: Path, space: str) -> Path:
    """The directory of a finished search in a space; one for all tests."""
    out = folder / space
    if not (out / "summary.json").exists():
        answer("supernet", "search", "--space", space, *SIZES[space], *TINY, "--out", out)
    return out


def derived(out: Path) -> str:
    (entry,) = json.loads((out / "summary.json").read_text(encoding="utf-8"))["searches"]
    return str(entry["architecture"])


@pytest.mark.parametrize("space", SIZES)
@pytest.mark.parametrize("method", ["crlso", "local", "random"])
def test_its_weights_are_a_benchmark_of_every_method(
    folder: Path, tmp_path: Path, space: str, method: str
) -> None:
    words = [word for setting in CRLSO for word in ("--set", setting)] if method == "crlso" else []
    out = tmp_path / "search"
    found = answer(
        *("search", "--bench", f"shared:{searched(folder, space)}", *METRIC, "--budget", 8),
        *("--method", method, *words, "--out", out),
    )
    lines = (out / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    values = [json.loads(line)["values"]["digits/shared_valid_accuracy"] for line in lines]
    assert len(values) == found["evaluations"] == 8
    assert found["best"]["value"] == max(values)
    # Of 32 images a whole number is right.
    assert 32 * found["best"]["report"]["digits/shared_test_accuracy"] % 100 == 0
    if method == "crlso":  # it came to its own proposals
        with np.load(out / "diagnostics.npz") as arrays:
            assert len(arrays["curve/reconstruction"]) == 2


def through(space: str, run: Path, model: Path, *settings: object) -> tuple[str, str, Codes]:
    """The derived architecture, what is decoded from its latent point, and codes of no hand's choice.

    The model is trained without knowing anything of the search.
    """
    answer("embed", "train", "--space", space, *settings, "--out", model)
    text = derived(run)
    (encoded,) = answer("embed", "encode", model, text)
    (decoded,) = answer("embed", "decode", model, "--z", " ".join(map(repr, encoded["z"])))
    drawn = get_space(space).sample(200, np.random.default_rng(1))
    return text, decoded["arch"], drawn


def exact(model: Path, codes: Codes) -> float:
    """Share of the codes that come back the same."""
    network, _ = load(model)
    return float((network.decode(network.encode(codes)) == codes).all(axis=1).mean())


def test_a_derived_cell_comes_back_from_the_latent_space(folder: Path, tmp_path: Path) -> None:
    run, model = searched(folder, "nasbench201"), tmp_path / "model"
    text, back, drawn = through("nasbench201", run, model, "--steps", 250, "--held-out", 0.01)
    assert back == text
    assert exact(model, drawn) > 0.99  # not this one alone


@pytest.mark.slow
def test_a_derived_genotype_comes_back_from_the_latent_space(folder: Path, tmp_path: Path) -> None:
    """Two minutes; of genotypes that it never saw the model with its default settings knows 98 %."""
    run, model = searched(folder, "darts"), tmp_path / "model"
    text, back, drawn = through("darts", run, model)
    assert back == text
    assert exact(model, drawn) > 0.95
