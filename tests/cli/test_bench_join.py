"""`crlso bench join`, and what is done with its table: query and search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from benchmarks import load
from benchmarks.folders import DATA_VARIABLE
from crlso.cli.main import app
from crlso.spaces import get_space
from tests.benchmarks.samples import write_csv

CELLS = np.concatenate(list(get_space("nasbench201").enumerate()))


@pytest.fixture(autouse=True)
def own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data-home"))
    monkeypatch.chdir(tmp_path)


def crlso(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def ok(*words: str) -> str:
    result = crlso(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*words: str) -> str:
    result = crlso(*words)
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr


@pytest.fixture
def costs(tmp_path: Path) -> None:
    """A table of 200 cells with two costs, in an order of its own."""
    rows = np.random.default_rng(0).permutation(len(CELLS))[:200]
    columns = {"latency": 1.0 + rows, "energy": np.where(rows % 5, 2.0 * rows, np.nan)}
    write_csv(tmp_path / "costs.csv", get_space("nasbench201"), CELLS[rows], columns)
    ok("bench", "import", "costs.csv", "--space", "nasbench201", "--allow-missing")


@pytest.mark.usefixtures("costs")
def test_join_says_what_it_did() -> None:
    told = ok("bench", "join", "nasbench201", "costs", "--name", "both")
    assert "both: 200 architectures of nasbench201, 26 metrics, 0 curves" in told
    assert "200 of 15,625 architectures of nasbench201" in told
    assert "200 of 200 architectures of costs" in told
    assert "unverified" in told
    found = json.loads(ok("bench", "join", "nasbench201", "costs", "--name", "all", "--keep-all", "--json"))
    assert found["architectures"] == 15_625
    assert found["whole_space"] is True
    assert found["verified"] is None
    assert found["joined"][1] == {"table": "costs", "architectures": 200, "kept": 200}
    assert "both" in ok("bench", "list")
    assert "unverified" in ok("bench", "info", "both")
    assert "whole" in ok("bench", "verify", "all")


@pytest.mark.usefixtures("costs")
def test_mistakes_are_one_line() -> None:
    assert "two or more tables" in fails("bench", "join", "nasbench201", "--name", "both")
    assert "the same table twice" in fails("bench", "join", "costs", "costs", "--name", "both")
    ok("bench", "join", "nasbench201", "costs", "--name", "both")
    clash = fails("bench", "join", "costs", "both", "--name", "clash")
    assert "both have a metric 'latency'" in clash
    assert "--prefix takes TABLE=TEXT" in fails(
        "bench", "join", "nasbench201", "costs", "--name", "both", "--prefix", "x"
    )


@pytest.mark.usefixtures("costs")
def test_a_search_over_a_joined_table(tmp_path: Path) -> None:
    """Accuracy drives it and latency is reported; then the other way round."""
    ok("bench", "join", "nasbench201", "costs", "--name", "both")
    table = load("both")
    words = ("search", "--bench", "both", "--method", "random", "--budget", "20", "--seed", "0", "--json")
    accuracy, latency = "cifar10/valid_accuracy@200", "latency"
    for metric, report in ((accuracy, latency), (latency, accuracy)):
        ok(*words, "--metric", metric, "--report", report, "--out", str(tmp_path / report.replace("/", "_")))
        summary = json.loads((tmp_path / report.replace("/", "_") / "summary.json").read_text())
        best = table.space.parse(summary["best"]["arch"])
        value, reported = table.evaluate(best[None], metrics=[metric, report]).iloc[0].tolist()
        assert summary["best"]["value"] == value
        assert summary["best"]["report"] == {report: reported}
        assert summary["optimum"] == table.optimum(metric)


@pytest.mark.usefixtures("costs")
def test_query_of_a_joined_cell() -> None:
    ok("bench", "join", "nasbench201", "costs", "--name", "both")
    table = load("both")
    text = table.space.format(table.codes[0])
    found = json.loads(ok("bench", "query", "both", text, "--json"))["metrics"]
    assert found["latency"]["value"] == table.column("latency")[0]
    assert found["cifar10/valid_accuracy@200"]["value"] == table.column("cifar10/valid_accuracy@200")[0]


def test_query_finds_another_form_of_the_network(tmp_path: Path) -> None:
    """A table of representatives answers for all forms, and says for which; two candidates are none."""
    space = get_space("nasbench201")
    held = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    asked = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    other = space.parse("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|")
    far = space.parse("|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    write_csv(tmp_path / "one.csv", space, np.stack([held, far]), {"accuracy": np.array([1.5, 2.5])})
    ok("bench", "import", "one.csv", "--space", "nasbench201")
    found = json.loads(ok("bench", "query", "one", asked, "--json"))
    assert found["asked"] == asked
    assert found["arch"] == space.format(held)
    assert found["metrics"]["accuracy"]["value"] == 1.5
    assert "is the same network as this form, which the table holds" in ok("bench", "query", "one", asked)
    write_csv(tmp_path / "two.csv", space, np.stack([held, other]), {"accuracy": np.array([1.5, 2.5])})
    ok("bench", "import", "two.csv", "--space", "nasbench201")
    assert "does not hold" in fails("bench", "query", "two", asked)
