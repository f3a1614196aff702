"""`crlso bench fit-surrogate` and the other verbs on a surrogate, as a user meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.folders import DATA_VARIABLE
from tests.cli.test_bench import BEST, data, fails, ok

ACCURACY = "cifar10/valid_accuracy@200"
FIT = ("fit-surrogate", "nasbench201", "--metric", ACCURACY, "--held-out", "100", "--train", "200")


@pytest.fixture(autouse=True)
def own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data-home"))
    monkeypatch.chdir(tmp_path)


def test_from_fit_to_query() -> None:
    check = f"nasbench201:{ACCURACY}"
    told = ok(*FIT, "--name", "mine", "--splits", "2", "--check", check)
    for part in ("Spearman", "R2", "RMSE", "ridge, one-hot", "Gaussian kernel ridge, one-hot", check, "+-"):
        assert part in told
    assert f"--bench mine --metric surrogate:{ACCURACY}" in told
    assert "all, predicted" in ok("list")
    told = ok("info", "mine")
    assert "a surrogate's prediction, not a measurement" in told
    assert "held out" in told
    assert "fitted sha256" in told
    told = ok("query", "mine", BEST)
    assert "predicted, not measured" in told
    found = data("query", "mine", BEST)
    assert isinstance(found, dict)
    assert 80 < found["metrics"][f"surrogate:{ACCURACY}"]["value"] < 100
    info = data("info", "mine")
    assert isinstance(info, dict)
    assert len(info["quality"]) == 6
    assert "whole" in ok("verify", "mine")


def test_mistakes_are_one_line() -> None:
    assert "unknown metric" in fails("fit-surrogate", "nasbench201", "--metric", "no")
    assert "write TABLE:METRIC" in fails(*FIT, "--check", "nasbench201")
    for held_out in ("0", "inf", "nan", "1.5"):
        assert "held out" in fails(*FIT, "--held-out", held_out)
    assert "at most 1000" in fails(*FIT, "--splits", "99999999999")
    ok(*FIT, "--no-baselines")
    assert "exists already" in fails(*FIT)
    taken = fails("build", "nasbench201", "--name", "surrogate-nasbench201", "--sample", "2", "--force")
    assert "'surrogate-nasbench201' is the name of" in taken
    assert "is a surrogate; this needs a table" in fails("export", "surrogate-nasbench201", "x.csv")
    assert "is a surrogate; this needs a table" in fails(
        "fit-surrogate", "surrogate-nasbench201", "--metric", "x"
    )
