"""Searches that give a set of architectures, on the command line: files, trainings, evaluators, mistakes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.test_supernet_mistakes import fails, run

QUICK = (
    *("--recipe", "snps", "--data", "digits", "--limit", "64,64,48", "--channels", "2", "--cells", "2"),
    *("--set", "epochs=6", "--set", "warmup_epochs=0", "--set", "batch=16", "--set", "objective.weight=1.0"),
    *("--set", "architecture_learning_rate=60", "--set", "shrinking.up=1.5", "--set", "shrinking.target=3"),
    *("--set", "shrinking.every=3", "--set", "shrinking.ladder=4", "--set", "shrinking.verify_epochs=1"),
    *("--set", "training.epochs=2", "--jobs", "1"),
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("free") / "run"
    status, text = run("supernet", "search", *QUICK, "--out", out, "--json")
    assert status == 0, text
    return out, json.loads(text)


def test_a_set_is_found_verified_and_compared(searched: tuple[Path, dict[str, Any]]) -> None:
    out, summary = searched
    (entry,) = summary["searches"]
    found = entry["set"]
    with (out / "seeds/0/pareto.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found["members"] >= 3
    assert sum(row["non_dominated"] == "true" for row in rows) == found["non_dominated"] >= 1
    params = [float(row["params"]) for row in rows]
    assert params == sorted(params, reverse=True)
    kept = [row for row in rows if row["non_dominated"] == "true"]
    for row in rows:
        better = [
            other
            for other in rows
            if float(other["valid_accuracy"]) >= float(row["valid_accuracy"])
            and float(other["params"]) <= float(row["params"])
            and float(other["flops"]) <= float(row["flops"])
            and other is not row
        ]
        assert (row in kept) == (not better)
    assert {pair["size"] for pair in found["trained"]} <= {"smallest", "middle", "largest"}
    for pair in found["trained"]:
        assert 0 <= pair["test_accuracy"] <= 100
        assert abs(pair["random"]["params"] / pair["params"] - 1) <= 0.02
    assert (out / "seeds/0/pareto.svg").read_text(encoding="utf-8").startswith("<svg xmlns=")
    assert len(json.loads((out / "seeds/0/genotypes.json").read_text(encoding="utf-8"))) == len(rows)
    with np.load(out / "seeds/0/shrinking.npz") as trace:
        assert trace["alive"][0] >= trace["alive"][-1] == int(rows[-1]["operators"]) or len(rows) > 0
        assert len(trace["step"]) == found["steps"]


def test_the_same_command_again_changes_nothing(searched: tuple[Path, dict[str, Any]]) -> None:
    out, summary = searched
    status, text = run("supernet", "search", *QUICK, "--out", out, "--json")
    assert status == 0
    assert json.loads(text) == summary


def test_members_are_trained(searched: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = searched
    status, text = run(
        *("supernet", "train", "--pareto", out, "--members", "smallest", "--jobs", "1", "--json"),
        *("--set", "epochs=1", "--out", tmp_path / "trained"),
    )
    assert status == 0, text
    assert len(json.loads(text)["architectures"]) == 1


def test_the_report_shows_how_it_shrank(searched: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = searched
    status, text = run("report", out, "--out", tmp_path / "report.html")
    assert status == 0, text
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in ("How the supernet shrank", "Operators removed per step", "The sets", "non-dominated"):
        assert said in page


def test_a_dense_supernet_of_free_topologies_is_an_evaluator(tmp_path: Path) -> None:
    out = tmp_path / "dense"
    status, text = run(
        *("supernet", "search", "--recipe", "fx_darts", "--data", "digits", "--limit", "32,32,32"),
        *(
            "--channels",
            "2",
            "--cells",
            "2",
            "--set",
            "epochs=1",
            "--set",
            "warmup_epochs=0",
            "--set",
            "batch=16",
            "--no-train",
        ),
        *("--set", "shrinking.kind=none", "--out", out),
    )
    assert status == 0, text
    for method in ("random", "local"):
        status, text = run(
            *("search", "--bench", f"shared:{out}", "--metric", "digits/shared_valid_accuracy"),
            *("--method", method, "--budget", "3", "--out", tmp_path / method),
        )
        assert status == 0, text


def test_a_shrunk_supernet_says_what_it_no_longer_has(
    searched: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = searched
    said = fails(
        *("search", "--bench", f"shared:{out}", "--metric", "digits/shared_valid_accuracy"),
        *("--method", "random", "--budget", "5", "--out", tmp_path / "search"),
    )
    assert "the supernet no longer has" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--space", "darts", "--recipe", "snps"),
            "relaxation.kind=node_relu does not fit the space 'darts'",
        ),
        (("--space", "fxdarts", "--recipe", "darts_1st"), "relaxation.kind=softmax does not fit the space"),
        (("--recipe", "dnad"), "recipe dnad needs a teacher: set distillation.teacher"),
        (("--recipe", "snps", "--set", "relaxation.kind=softmax"), "choose relaxation.kind node_relu or"),
        (("--recipe", "snps", "--set", "shrinking.kind=ess"), "objective.kind=node_entropy, not of log_sum"),
        (("--recipe", "snps", "--set", "shrinking.threshold=0.2"), "shrinking.threshold must be above 0"),
        (("--recipe", "snps", "--set", "shrinking.pace=1"), "unknown setting of shrinking of snps 'pace'"),
        (("--recipe", "snps", "--set", "shrinkage.target=1"), "unknown part of a recipe 'shrinkage'"),
        (("--recipe", "snps", "--set", "distillation.teacher=nowhere"), "there is no such directory"),
        (("--recipe", "snps", "--stages", "3"), "have no stages"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    assert said in fails("supernet", "search", *words, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
