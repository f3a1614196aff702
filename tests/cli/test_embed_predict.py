"""`crlso embed predict` as a user meets it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from crlso.cli.main import app

METRIC = "cifar10/valid_accuracy@200"
TABLE = ("--bench", "nasbench201", "--metric", METRIC)
QUICK = ("--labels", "40,10", "--splits", "2", "--held-out", "200", "--predictors", "ridge-pairs,gp-codes")


def predict(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["embed", "predict", *words], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_json() -> None:
    status, out, err = predict(*TABLE, *QUICK, "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["bench"], found["metric"], found["held_out"], found["seed"]) == (
        "nasbench201",
        METRIC,
        200,
        0,
    )
    rows = found["rows"]
    assert [(row["predictor"], row["labels"]) for row in rows] == [
        ("ridge-pairs", 10),
        ("ridge-pairs", 40),
        ("gp-codes", 10),
        ("gp-codes", 40),
    ]
    for row in rows:
        for figure in ("spearman", "kendall", "top"):
            values = [split[figure] for split in row["splits"]]
            assert row[figure]["mean"] == pytest.approx(sum(values) / 2)
            assert row[figure]["standard_error"] == pytest.approx(abs(values[0] - values[1]) / 2)
    # The table is ordered well enough for forty labels to tell.
    assert all(row["spearman"]["mean"] > 0.5 for row in rows if row["labels"] == 40)


def test_tables() -> None:
    status, out, err = predict(*TABLE, *QUICK)
    assert (status, err) == (0, "")
    for text in ("Spearman", "Kendall tau", "top-5 % overlap", "10 labels", "40 labels", "over 2 splits"):
        assert text in out
    assert out.count("ridge-pairs") == out.count("gp-codes") == 4
    status, out, _ = predict(*TABLE, *QUICK, "--splits", "1")
    assert status == 0
    assert "one split; 200 held-out classes" in out
    assert "±" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*TABLE, "--predictors", "ridge-pair"), "did you mean 'ridge-pairs'"),
        ((*TABLE, "--labels", "10,x"), "--labels 'x'; write whole numbers"),
        ((*TABLE, "--labels", "1"), "labels must be numbers of 2 or more"),
        ((*TABLE, "--splits", "0"), "splits must be 1 or more"),
        ((*TABLE, "--labels", "6000"), "need more than 5260 classes"),
        (("--bench", "nasbench201", "--metric", "x"), "unknown metric 'x'"),
        (("--bench", "x", "--metric", "x"), "unknown benchmark table 'x'"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str) -> None:
    status, out, err = predict(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
