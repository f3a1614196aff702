"""Runs of several objectives and with constraints in the report."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from benchmarks import TableEvaluator
from crlso.errors import RunError
from crlso.report import build
from crlso.report.build import make_page, read_all
from crlso.report.front_figures import front_figure, series_front
from crlso.report.objectives import Aim
from crlso.report.reading import read_directory, read_trials
from crlso.report.studies import group
from crlso.runs import compare, search

METRIC, FLOPS = "cifar10/valid_accuracy@200", "cifar10/flops"


@pytest.fixture(scope="module")
def compared(nasbench201: TableEvaluator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("objectives") / "compare"
    options: dict[str, Any] = {"methods": ("nsga2", "random"), "metric": (METRIC, FLOPS), "budget": 30}
    compare(nasbench201, **options, subject_to=[f"{FLOPS}<150"], seeds=range(1000, 1003), jobs=1, out=out)
    return out


@pytest.fixture(scope="module")
def constrained(nasbench201: TableEvaluator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("objectives") / "search"
    options: dict[str, Any] = {"metric": METRIC, "subject_to": [f"{FLOPS}<60"], "budget": 30}
    search(nasbench201, method="evolution", seed=1000, out=out, **options)
    return out


def test_a_comparison_is_read(compared: Path) -> None:
    runs = read_directory(compared)
    summary = json.loads((compared / "summary.json").read_text())
    assert len(runs) == 6
    assert {run.target for run in runs} == {Aim(((METRIC, "max"), (FLOPS, "min")), (f"{FLOPS}<150",))}
    for run in runs:
        entry, seed = summary["methods"][run.method], run.seed - 1000
        assert run.hypervolume is not None and run.share
        assert run.hypervolume.tolist() == entry["hypervolumes"][seed]
        assert [member.arch for member in run.front] == [member["arch"] for member in entry["front"][seed]]
        # The same as its own directory says.
        (own,) = read_directory(run.path)
        assert own.hypervolume is not None
        assert (own.front, own.target, own.share) == (run.front, run.target, run.share)
        np.testing.assert_array_equal(own.hypervolume, run.hypervolume)


def test_scores_are_hypervolumes(compared: Path) -> None:
    (study,) = group(read_directory(compared), {})
    assert study.title == f"nasbench201: {METRIC} and {FLOPS} subject to {FLOPS}<150"
    assert (study.quantity, study.volumes, study.share, study.regrets) == ("hypervolume", True, True, False)
    assert (study.smaller_is_better, study.score_unit) == (False, "share of the true front's")
    assert study.optimum is not None
    summary = json.loads((compared / "summary.json").read_text())
    for series in study.series:
        np.testing.assert_array_equal(series.scores, summary["methods"][series.label]["hypervolumes"])


def test_fronts_are_drawn(compared: Path, nasbench201: TableEvaluator) -> None:
    (study,) = group(read_directory(compared), {"nasbench201": nasbench201})
    figure = front_figure(study, "front", nasbench201)
    assert figure is not None
    go.Figure(data=list(figure.data), layout=dict(figure.layout))  # refuses what plotly does not know
    assert [trace["name"] for trace in figure.data] == ["true front", "nsga2", "random"]
    truth = np.array([figure.data[0]["x"], figure.data[0]["y"]])
    every = np.concatenate(list(nasbench201.space.enumerate()))
    table = nasbench201.evaluate(every, metrics=[METRIC, FLOPS]).to_numpy()
    table = table[table[:, 1] < 150]
    for trace in figure.data[1:]:
        for x, y in zip(trace["x"], trace["y"], strict=True):
            # Nothing beats the true front, and all is below its bound.
            assert y < 150
            assert ((truth[0] >= x - 1e-4) & (truth[1] <= y + 1e-4)).any()
    for x, y in truth.T:
        assert not ((table[:, 0] > x + 1e-3) & (table[:, 1] <= y - 1e-3)).any()
    without = front_figure(study, "front", None)
    assert without is not None and len(without.data) == 2


def test_a_front_is_that_of_all_runs(compared: Path) -> None:
    (study,) = group(read_directory(compared), {})
    for series in study.series:
        members = [m for run in series.runs for m in run.front]
        kept = series_front(series, study.aim)
        values = [m.values[METRIC] for m in kept]
        assert values == sorted(values, reverse=True)
        for member in members:
            a, f = member.values[METRIC], member.values[FLOPS]
            beaten = any(m.values[METRIC] >= a and m.values[FLOPS] <= f for m in kept)
            assert beaten


def test_the_page(compared: Path, constrained: Path, nasbench201: TableEvaluator, tmp_path: Path) -> None:
    one = next(path for path in sorted(compared.glob("nsga2/*")) if path.is_dir())
    runs = read_all([compared, constrained])
    page = make_page(runs, evaluator=nasbench201)
    first, second = page.studies
    assert first.curves is not None and first.front is not None
    assert (first.curves_title, second.curves_title) == ("Hypervolume", "Regret")
    assert "subject to" in first.title and "subject to" in second.title
    assert second.front is None
    assert first.facts[0].name == "Hypervolume"
    assert "highest mean hypervolume" in first.verdicts[0] or "same mean hypervolume" in first.verdicts[0]
    assert "among those that meet the constraints" in " ".join(second.summary)
    single = make_page(read_all([one]), evaluator=nasbench201).studies[0]
    (listed,) = [table for table in single.tables if table.caption.startswith("Front")]
    (run,) = read_directory(one)
    assert [row.label for row in listed.rows] == [member.arch for member in run.front]
    text = build([compared, constrained, one], tmp_path / "report.html", evaluator=nasbench201).read_text()
    assert text.count("<h3>Front</h3>") == 1


def test_what_misses_a_constraint_does_not_count(constrained: Path) -> None:
    (run,) = read_directory(constrained)
    trials = read_trials(run)
    missed = [trial for trial in trials if trial.others[FLOPS] >= 60]
    assert missed
    assert all(math.isnan(trial.value) for trial in missed)
    unfinished = constrained.parent / "unfinished"
    shutil.copytree(constrained, unfinished)
    (unfinished / "summary.json").unlink()
    (again,) = read_directory(unfinished)
    np.testing.assert_array_equal(again.curve, run.curve)
    assert (again.arch, again.target, again.finished) == (run.arch, run.target, False)


def test_an_unfinished_run_of_several_metrics(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "unfinished"
    shutil.copytree(compared / "random" / "1000", out)
    (whole,) = read_directory(out)
    (out / "summary.json").unlink()
    (run,) = read_directory(out)
    assert run.hypervolume is None
    assert {member.arch for member in run.front} == {member.arch for member in whole.front}
    page = make_page([run])
    assert page.studies[0].front is not None


def test_other_aims_are_other_studies(compared: Path) -> None:
    runs = list(read_directory(compared))
    other = replace(runs[0], aim=replace(runs[0].target, constraints=()))
    assert len(group([*runs, other], {})) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": 3}, "'metrics' should be a list of objects"),
        ({"metrics": [{"name": "a"}]}, "'metrics.direction' is missing"),
        ({"metrics": [{"name": "a", "direction": "max"}]}, "'metrics' should be a list of objectives"),
        ({"subject_to": ["a"]}, "'subject_to' should be a list of constraints"),
        ({"front": [3]}, "'front' should be a list of objects"),
        ({"hypervolume": {"curve": ["x"]}}, "'hypervolume.curve' should be a list of numbers"),
    ],
)
def test_damage_is_named(compared: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(compared / "random" / "1000", out)
    summary = json.loads((out / "summary.json").read_text())
    (out / "summary.json").write_text(json.dumps(summary | change))
    with pytest.raises(RunError, match=message):
        read_directory(out)
