"""`crlso demo` with a budget that takes seconds: what it prints, what it leaves, mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import TableEvaluator
from crlso.cli import demo as module
from crlso.cli.main import app

SMALL = "crlso:initial=4:round=4:pretrain_steps=2:round_steps=1:unlabelled=8:heads=2:starts=4:latent_dim=4"
BUDGET = 8
SEEDS = (100, 101)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same demo with a model and a budget that are too small to be good."""
    for name, value in {"METHODS": (SMALL, "random"), "SEEDS": SEEDS, "BUDGET": BUDGET}.items():
        monkeypatch.setattr(module, name, value)


def demo(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["demo", "--jobs", "1", *map(str, words)], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def best_of(out: Path) -> dict[str, Any]:
    """Best architecture of all seeds, read from the run directories themselves."""
    runs = [json.loads(file.read_text()) for file in out.glob("crlso*/*/summary.json")]
    assert [run["seed"] for run in sorted(runs, key=lambda run: int(run["seed"]))] == list(SEEDS)
    return dict(max((run["best"] for run in runs), key=lambda best: float(best["value"])))


@pytest.mark.usefixtures("small")
def test_it_ends_with_a_report(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    out = tmp_path / "deep" / "demo"
    status, text, err = demo("--out", out)
    assert (status, err) == (0, "")
    best = best_of(out)
    code = nasbench201.space.parse(best["arch"])
    assert nasbench201.evaluate(code[None], metrics=[module.METRIC])[module.METRIC][0] == best["value"]
    said = dict(line.split(maxsplit=1) for line in text.splitlines()[-4:-3] + text.splitlines()[-1:])
    assert said == {"best": f"cell  {best['arch']}", "report": str(out / "report.html")}
    accuracy = re.search(r"^accuracy +([\d.]+) % on CIFAR-10 validation", text, re.MULTILINE)
    regret = re.search(r"^regret +([\d.]+) to the table's optimum, 91\.607 %$", text, re.MULTILINE)
    assert accuracy
    assert regret
    assert float(accuracy[1]) == pytest.approx(best["value"], abs=6e-4)
    assert float(regret[1]) == pytest.approx(91.6067 - best["value"], abs=2e-3)
    html = (out / "report.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert best["arch"] in html
    # The same command again only reads, and says the same.
    assert demo("--out", out) == (0, text, "")


@pytest.mark.usefixtures("small")
def test_json(tmp_path: Path) -> None:
    status, text, err = demo("--out", tmp_path, "--json")
    assert (status, err) == (0, "")
    answer = json.loads(text)
    best = best_of(tmp_path)
    assert answer["best"] == {"arch": best["arch"], "value": best["value"]}
    assert answer["regret"] == pytest.approx(answer["optimum"] - best["value"])
    assert answer["report"] == str(tmp_path / "report.html")
    assert Path(answer["report"]).is_file()
    assert list(answer["methods"]) == [SMALL, "random"]


@pytest.mark.usefixtures("small")
def test_other_runs_are_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "METHODS", ("random",))
    assert demo("--out", tmp_path)[0] == 0
    report = (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr(module, "SEEDS", (7,))
    status, _, err = demo("--out", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("error: ")
    assert (tmp_path / "report.html").read_bytes() == report


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = demo("--out", tmp_path / "file")
    assert (status, err.count("\n")) == (2, 1)
    assert str(tmp_path / "file") in err


def test_help_says_what_the_full_demo_does() -> None:
    status, text, _ = demo("--help")
    assert status == 0
    assert "Example: crlso demo --out runs/demo" in text
    # What `make demo` runs: crlso beside simple controls.
    assert module.METHODS[0] == "crlso"
    assert {"evolution", "local", "random"} <= set(module.METHODS)
