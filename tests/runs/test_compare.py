"""Comparisons: the same runs as searches, in parallel, resumable."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import TableEvaluator
from crlso.errors import RunError, UserError
from crlso.protocols import Codes, SearchMethod, SearchSpace
from crlso.runs import compare, search
from crlso.runs.plan import SearchPlan
from tests.runs.fakes import Line, LineBench, distance_to_seven

METRIC = "cifar10/valid_accuracy@200"
REPORT = ("cifar100/valid_accuracy@200",)
METHODS = ("local", "evolution:population=8", "random")
SEEDS = (1000, 1001)


@pytest.fixture(scope="module")
def finished(nasbench201: TableEvaluator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison in two processes."""
    out = tmp_path_factory.mktemp("compare")
    compare(
        nasbench201, methods=METHODS, metric=METRIC, report=REPORT, budget=30, seeds=SEEDS, out=out, jobs=2
    )
    return out


def summary(out: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return data


def without_times(data: Any) -> Any:
    """The same without what may differ between two runs."""
    if isinstance(data, dict):
        return {
            key: without_times(value) for key, value in data.items() if key not in ("seconds", "cpu_seconds")
        }
    return [without_times(value) for value in data] if isinstance(data, list) else data


def test_public_format(finished: Path) -> None:
    data = summary(finished)
    assert (data["format"], data["kind"], data["bench"], data["metric"]) == (
        1,
        "compare",
        "nasbench201",
        METRIC,
    )
    assert (data["budget"], data["seeds"], data["unique"]) == (30, [1000, 1001], "exact")
    assert data["optimum"] == pytest.approx(91.607, abs=1e-3)
    assert list(data["methods"]) == list(METHODS)
    for entry in data["methods"].values():
        assert [len(curve) for curve in entry["curves"]] == [30, 30]
        assert len(entry["cpu_seconds"]) == len(entry["best"]) == len(entry["report"][REPORT[0]]) == 2
        assert list(entry["regret"]) == ["10", "25", "30"]
        assert list(entry["regret"]["25"]) == ["mean", "sem", "median"]
    assert list(data["paired"]["differences"]) == list(METHODS[1:])
    assert list(data["paired"]["differences"]["random"]["30"]) == ["mean", "low", "high"]


def test_runs_are_those_of_search(finished: Path, nasbench201: TableEvaluator) -> None:
    data = summary(finished)
    for method in METHODS:
        for index, seed in enumerate(SEEDS):
            folder = finished / method.replace(":", "_") / str(seed)
            alone = search(nasbench201, method=method, metric=METRIC, report=REPORT, budget=30, seed=seed)
            assert without_times(summary(folder)) == without_times(alone.summary())
            entry = data["methods"][method]
            assert entry["curves"][index] == alone.curve
            assert alone.best is not None
            assert entry["best"][index] == {"arch": alone.best.arch, "value": alone.best.value}
            assert entry["report"][REPORT[0]][index] == alone.best.report[REPORT[0]]


def test_regret_figures_against_numpy(finished: Path) -> None:
    data = summary(finished)
    for entry in data["methods"].values():
        curves = np.array(entry["curves"])
        assert (np.diff(curves, axis=1) >= 0).all()
        for step, figures in entry["regret"].items():
            regret = data["optimum"] - curves[:, int(step) - 1]
            assert (regret >= 0).all()
            assert figures["mean"] == pytest.approx(regret.mean())
            assert figures["sem"] == pytest.approx(regret.std(ddof=1) / math.sqrt(2))
            assert figures["median"] == pytest.approx(np.median(regret))


@pytest.mark.parametrize("lost", ["summary", "run", "line", "runs"])
def test_what_is_missing_is_done_again(
    finished: Path, nasbench201: TableEvaluator, tmp_path: Path, lost: str
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    (out / "summary.json").unlink()
    if lost == "run":
        shutil.rmtree(out / "random" / "1001")
    elif lost == "runs":
        shutil.rmtree(out / "local")
    elif lost == "line":
        log = out / "evolution_population=8" / "1000" / "trials.jsonl"
        log.write_bytes(log.read_bytes()[:-20])
    kept = (out / "random" / "1000" / "trials.jsonl").stat().st_mtime_ns
    compare(
        nasbench201, methods=METHODS, metric=METRIC, report=REPORT, budget=30, seeds=SEEDS, out=out, jobs=1
    )
    assert without_times(summary(out)) == without_times(summary(finished))
    assert (out / "random" / "1000" / "trials.jsonl").stat().st_mtime_ns == kept


def test_a_finished_comparison_is_read(finished: Path, nasbench201: TableEvaluator) -> None:
    times = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    result = compare(
        nasbench201, methods=METHODS, metric=METRIC, report=REPORT, budget=30, seeds=SEEDS, out=finished
    )
    assert result.summary == summary(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == times


def test_in_memory_it_is_the_same(finished: Path, nasbench201: TableEvaluator) -> None:
    result = compare(
        nasbench201, methods=METHODS, metric=METRIC, report=REPORT, budget=30, seeds=SEEDS, jobs=1
    )
    assert result.directory is None
    assert without_times(result.summary) == without_times(summary(finished))


def test_other_settings_are_refused(finished: Path, nasbench201: TableEvaluator) -> None:
    same: dict[str, Any] = {
        "methods": METHODS,
        "metric": METRIC,
        "report": REPORT,
        "budget": 30,
        "seeds": SEEDS,
        "out": finished,
    }
    with pytest.raises(RunError, match=r"seeds is \[1000, 1001\] there, \[1000\] was asked for"):
        compare(nasbench201, **{**same, "seeds": (1000,)})
    with pytest.raises(RunError, match=r"methods\.random is \{\} there, None was asked for"):
        compare(nasbench201, **{**same, "methods": METHODS[:2]})
    with pytest.raises(RunError, match="kind is compare there, search was asked for"):
        search(nasbench201, method="random", metric=METRIC, out=finished)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ()}, "no methods to compare"),
        ({"seeds": ()}, "no seeds to compare"),
        ({"methods": ("random", "random")}, "random, random: each may come once only"),
        ({"seeds": (1, 1)}, "1, 1: each may come once only"),
        ({"methods": ("random", "magic")}, "unknown method 'magic'"),
        ({"methods": ("../random",)}, "only letters, digits"),
        ({"methods": ("local:a_b=1", "local:a:b=1")}, "differ only in : and _"),
        ({"jobs": 0}, "0 jobs; it must be 1 or more"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    evaluator = LineBench(Line(20), distance_to_seven)
    with pytest.raises(UserError, match=message):
        compare(evaluator, **{"methods": ("random",), "metric": "score", "out": tmp_path / "out", **options})
    assert evaluator.asked == []
    assert not (tmp_path / "out").exists()


def test_mistakes_in_workers_are_named(tmp_path: Path) -> None:
    evaluator = LineBench(Line(20), distance_to_seven)
    options: dict[str, Any] = {
        "methods": ("random", "local"),
        "metric": "score",
        "budget": 5,
        "seeds": (0, 1),
    }
    compare(evaluator, **options, out=tmp_path, jobs=1)
    (tmp_path / "summary.json").unlink()
    (tmp_path / "random" / "0" / "config.yaml").unlink()
    with pytest.raises(UserError, match="is no run directory"):
        compare(evaluator, **options, out=tmp_path, jobs=2)


class Deadly:
    """A bench that takes the process with it, as a machine out of memory does."""

    def __init__(self) -> None:
        bench = LineBench(Line(20), distance_to_seven)
        self.name, self.metrics, self.space = bench.name, bench.metrics, bench.space
        self.support, self.fingerprint = None, bench.fingerprint

    def evaluate(self, codes: Codes, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def optimum(self, metric: str) -> float | None:
        return None


def test_the_death_of_a_worker_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"a worker process died .* run the same command again, with fewer jobs"
    ):
        compare(
            Deadly(), methods=("random", "local"), metric="score", budget=5, seeds=(0,), out=tmp_path, jobs=2
        )


def test_minimised_metrics_have_positive_regret() -> None:
    result = compare(
        LineBench(Line(60), distance_to_seven),
        methods=("random", "local"),
        metric="loss",
        budget=10,
        seeds=range(5),
    ).summary
    for entry in result["methods"].values():
        assert (np.diff(entry["curves"], axis=1) <= 0).all()
        assert entry["regret"]["10"]["mean"] == pytest.approx(np.mean([c[-1] for c in entry["curves"]]))
        assert entry["regret"]["10"]["mean"] >= 0


def test_without_optimum_regret_is_null() -> None:
    bench = LineBench(Line(60), distance_to_seven, known=False)
    result = compare(
        bench, methods=("random", "local"), metric="score", budget=10, seeds=range(3), jobs=1
    ).summary
    assert all(entry["regret"] is None for entry in result["methods"].values())
    assert result["paired"]["differences"]["local"]["10"]["mean"] is not None


def test_a_finished_comparison_of_an_earlier_version_is_summed_up_again(tmp_path: Path) -> None:
    """Its summary lacked what this one states; the runs are there, and are not done again."""
    asked: dict[str, Any] = {"methods": ("random", "local"), "metric": "score", "budget": 10, "seeds": (0, 1)}
    bench = LineBench(Line(60), distance_to_seven)
    made = compare(bench, out=tmp_path, jobs=1, **asked).summary
    assert all(entry["to_optimum"] is not None for entry in made["methods"].values())
    file = tmp_path / "summary.json"
    old = json.loads(file.read_text())
    for entry in old["methods"].values():
        del entry["to_optimum"]
    file.write_text(json.dumps(old))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/summary.json")}
    assert compare(bench, out=tmp_path, jobs=1, **asked).summary == made
    assert json.loads(file.read_text()) == made
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_what_can_not_be_built_is_refused_before_anything_runs(tmp_path: Path) -> None:
    bench = LineBench(Line(60), distance_to_seven)
    asked: dict[str, Any] = {"metric": "score", "budget": 5, "seeds": (0,), "jobs": 1}
    for wrong, message in (
        ("crlso:latent_dim=0", "latent_dim must be 1 or more, got 0"),
        ("crlso:learning_rate=0", "learning_rate must be positive, got 0"),
        ("crlso:beta=-1", "beta must be 0 or more, got -1"),
    ):
        with pytest.raises(UserError, match=message):
            compare(bench, methods=("random", wrong), out=tmp_path / "all", **asked)
    assert not (tmp_path / "all").exists()


def test_a_method_that_can_not_be_made_leaves_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some say so only when they are made: without an extra, or with a goal that they do not take."""

    def refuse(self: SearchPlan, space: SearchSpace) -> SearchMethod:
        raise UserError("the method is not installed")

    bench = LineBench(Line(60), distance_to_seven)
    monkeypatch.setattr(SearchPlan, "build_method", refuse)
    with pytest.raises(UserError, match="not installed"):
        search(bench, method="random", metric="score", budget=5, out=tmp_path / "one")
    with pytest.raises(UserError, match="not installed"):
        compare(bench, methods=("random",), metric="score", budget=5, seeds=(0,), out=tmp_path / "many")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_no_generator_takes_are_refused(seed: int) -> None:
    bench = LineBench(Line(60), distance_to_seven)
    with pytest.raises(UserError, match=rf"seed {seed}; it must be 0 or more, and below 2\^63"):
        search(bench, method="random", metric="score", budget=5, seed=seed)
