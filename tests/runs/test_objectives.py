"""Several metrics and constraints: what is asked for, what methods are told, what counts, what is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crlso.errors import RunError, UnknownNameError, UserError
from crlso.protocols import Codes, Metric
from crlso.runs import compare, search
from crlso.runs.fronts import hypervolume
from crlso.runs.landmarks import find_landmarks, true_front
from crlso.runs.objectives import Objectives, parse_constraint, resolve_objectives
from tests.runs.fakes import Line, LineBench, distance_to_seven, failing_odd

TWO = ("score", "square")
"""-|x - 7| and x^2, both to be maximised: from 7 on the numbers of a line are its front."""

BOTH = [{"name": name, "direction": "max"} for name in TWO]


def bench(n: int = 20, value: Callable[[int], float] = distance_to_seven, **options: Any) -> LineBench:
    return LineBench(Line(n), value, **options)


def scripted(*numbers: int, n: int = 20, known: bool = True) -> LineBench:
    """A bench over a line from which random search draws these numbers first."""
    return LineBench(Line(n, script=numbers), distance_to_seven, known=known)


def objectives(*constraints: str, direction: str = "max") -> Objectives:
    metric = Metric("a", "max" if direction == "max" else "min", "", "")
    return Objectives((metric,), tuple(parse_constraint(text) for text in constraints))


@pytest.mark.parametrize(
    ("text", "metric", "relation", "bound", "shown"),
    [
        ("a<5", "a", "<", 5.0, "a<5"),
        (" x/y@2 >= -0.1 ", "x/y@2", ">=", -0.1, "x/y@2>=-0.1"),
        ("a<=1e-3", "a", "<=", 1e-3, "a<=0.001"),
        ("a>0", "a", ">", 0.0, "a>0"),
    ],
)
def test_constraints_are_read(text: str, metric: str, relation: str, bound: float, shown: str) -> None:
    constraint = parse_constraint(text)
    assert (constraint.metric, constraint.relation, constraint.bound) == (metric, relation, bound)
    assert constraint.text == shown
    assert parse_constraint(shown) == constraint


@pytest.mark.parametrize(
    "text", ["", "a", "a5", "a=5", "a==5", "a<", "<5", " <5", "a<b", "a<nan", "a<inf", "1<a<2"]
)
def test_no_constraints_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="write NAME<NUMBER, NAME<=NUMBER, NAME>NUMBER or NAME>=NUMBER"):
        parse_constraint(text)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("a<4", [True, False, False]),
        ("a<=4", [True, True, False]),
        ("a>4", [False, False, True]),
        ("a>=4", [False, True, True]),
        ("a<0", [False, False, False]),
        ("a>0", [True, True, True]),
    ],
)
def test_margins(text: str, met: list[bool]) -> None:
    margins = parse_constraint(text).margins(np.array([2.0, 4.0, 6.0, math.nan]))
    assert (margins[:3] >= 0.0).tolist() == met
    assert math.isnan(margins[3])
    size = abs(parse_constraint(text).bound) or 1.0
    assert margins[2] - margins[0] == pytest.approx((4.0 if ">" in text else -4.0) / size)


def test_columns_are_objectives_and_margins() -> None:
    metrics = (Metric("a", "max", "", ""), Metric("b", "min", "", ""))
    both = Objectives(metrics, (parse_constraint("c<10"), parse_constraint("b>1")))
    assert both.names == ("a", "b", "c")
    assert (both.goal.objectives, both.goal.constraints) == (2, 2)
    values = {
        "a": np.array([1.0, 2.0, math.nan]),
        "b": np.array([3.0, 0.5, 1.0]),
        "c": np.array([5.0, 30.0, 1.0]),
    }
    columns = both.columns(values)
    np.testing.assert_allclose(columns[:2], [[1.0, -3.0, 0.5, 2.0], [2.0, -0.5, -2.0, -0.5]])
    assert np.isnan(columns[2]).all()
    assert both.feasible(columns).tolist() == [True, False, False]


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-100, 100)), min_size=2, max_size=20))
def test_penalised_values_have_debs_order(rows: list[tuple[float, float]]) -> None:
    constrained = objectives("a<1")
    columns = np.array(rows)
    values = constrained.penalised(columns)[:, 0]
    for i, (f, g) in enumerate(rows):
        for j, (other, its) in enumerate(rows):
            if g >= 0 > its:
                assert values[i] > values[j]
            elif g >= 0 and its >= 0 and f > other:
                assert values[i] > values[j] or (values[i] == values[j] and abs(f - other) < 1e-9)
            elif g < 0 and its < 0 and g > its:
                assert values[i] >= values[j]


def test_penalised_values_by_hand() -> None:
    constrained = objectives("a<1")
    columns = np.array([[90.0, 0.1], [-3.0, 0.0], [95.0, -1.0], [math.nan, math.nan]])
    expected = [[(90 + math.sqrt(8101)) / 2], [(-3 + math.sqrt(10)) / 2], [-0.5], [math.nan]]
    np.testing.assert_allclose(constrained.penalised(columns), expected)
    # Large values of either sign keep their digits.
    near = np.array([[-1e9, 0.0], [-1e9 - 1.0, 0.0], [1e9, 0.0], [1e9 + 1.0, 0.0]])
    low, lower, high, higher = constrained.penalised(near)[:, 0]
    assert lower < low < high < higher
    plain = objectives()
    np.testing.assert_array_equal(plain.penalised(columns[:, :1]), columns[:, :1])


def test_one_metric_has_the_files_it_had(tmp_path: Path) -> None:
    search(bench(), metric=["score"], method="random", budget=3, out=tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert list(config) == [
        *("format", "kind", "bench", "space", "metric", "direction", "report", "method", "settings"),
        *("budget", "seed", "unique", "data", "versions"),
    ]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary) == [
        *("format", "kind", "method", "bench", "metric", "direction", "budget", "seed", "unique", "optimum"),
        *("best", "regret", "evaluations", "exhausted", "curve", "cpu_seconds"),
    ]
    line = json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[0])
    assert list(line) == ["n", "arch", "values", "seconds"]
    assert list(line["values"]) == ["score"]
    # The same run, asked for in the words of one metric.
    again = search(bench(), metric="score", method="random", budget=3, out=tmp_path)
    assert again.summary() == summary


def test_several_metrics_by_hand(tmp_path: Path) -> None:
    result = search(scripted(3, 9, 8, 1, 12), metric=TWO, method="random", budget=5, out=tmp_path)
    # Of 3 (-4, 9), 9 (-2, 81), 8 (-1, 64), 1 (-6, 1), 12 (-5, 144) the front is 8, 9, 12.
    assert [trial.arch for trial in result.front] == ["8", "9", "12"]
    assert result.best is not None
    assert (result.best.arch, result.optimum, result.regret) == ("8", 0.0, 1.0)
    # Worst of all: 19 has -12, 0 has 0. True front: 7 to 19.
    assert result.landmarks.reference == (-12.0, 0.0)
    whole = hypervolume(np.array([[-(x - 7.0), x * x] for x in range(7, 20)]), np.array([-12.0, 0.0]))
    areas = [8 * 9, 10 * 81, 10 * 81 + 64, 10 * 81 + 64, 7 * 144 + 3 * 81 + 64]
    assert result.hypervolume_curve == pytest.approx([area / whole for area in areas])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == result.summary()
    assert summary["metrics"] == BOTH
    assert summary["front"][0] == {"arch": "8", "values": {"score": -1.0, "square": 64.0}}
    assert summary["hypervolume"]["value"] == summary["hypervolume"]["curve"][-1]
    assert summary["hypervolume"]["share"] is True
    assert summary["hypervolume"]["reference"] == {"score": -12.0, "square": 0.0}
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert [line["values"] for line in lines][:2] == [
        {"score": -4.0, "square": 9.0},
        {"score": -2.0, "square": 81.0},
    ]


def test_minimised_metrics_and_a_stated_reference() -> None:
    evaluator = scripted(3, 9, 8)
    result = search(
        evaluator,
        metric=("loss", "square"),
        method="random",
        budget=3,
        reference={"loss": 5.0, "square": 60.0},
    )
    # 8: loss 1, square 64; 9: loss 2, square 81; 3 does not reach 60.
    whole = hypervolume(np.array([[-(x - 7.0), x * x] for x in range(7, 20)]), np.array([-5.0, 60.0]))
    assert result.hypervolume_curve == pytest.approx([0.0, 3 * 21 / whole, (3 * 21 + 4) / whole])
    unknown = search(
        scripted(3, 9, 8, known=False),
        metric=("loss", "square"),
        method="random",
        budget=3,
        reference={"loss": 5.0, "square": 60.0},
    )
    assert unknown.hypervolume_curve == [0.0, 63.0, 67.0]
    summary = unknown.summary()
    assert (summary["hypervolume"]["share"], summary["regret"]) == (False, None)


def test_without_reference_no_hypervolume() -> None:
    result = search(bench(known=False), metric=TWO, method="random", budget=3)
    assert result.hypervolume_curve is None
    assert result.summary()["hypervolume"] is None
    assert len(result.front) >= 1


@pytest.mark.parametrize("method", ["random", "local", "evolution", "nsga2", "ridge"])
def test_constraints_decide_what_counts(method: str) -> None:
    result = search(bench(), metric="score", subject_to=["square<16"], method=method, budget=12, seed=1)
    # Allowed: 0 to 3.
    assert result.optimum == -4.0
    best: float | None = None
    for trial, shown in zip(result.trials, result.curve, strict=True):
        if int(trial.arch) < 4:
            best = max(trial.value, -math.inf if best is None else best)
        assert shown == best
        assert trial.others == {"square": float(int(trial.arch) ** 2)}
    assert result.best is None or int(result.best.arch) < 4
    assert result.summary()["subject_to"] == ["square<16"]


def test_methods_of_one_value_search_where_constraints_are_met() -> None:
    # Without constraints local search stops at 7; with them it climbs to 3, the edge of what is allowed.
    evaluator = LineBench(Line(200, script=[150], steps=(-1, 1)), lambda x: -abs(x - 190.0))
    result = search(evaluator, metric="score", subject_to=["square<=10000"], method="local", budget=120)
    assert result.best is not None
    assert (result.best.arch, result.regret) == ("100", 0.0)


def test_nothing_that_meets_the_constraints_found() -> None:
    result = search(scripted(9, 8), metric="score", subject_to=["square<1"], method="random", budget=2)
    assert (result.best, result.regret, result.curve) == (None, None, [None, None])
    assert result.optimum == -7.0


def test_failures_are_neither_best_nor_in_the_front() -> None:
    result = search(bench(10, failing_odd), metric=TWO, subject_to=["square<50"], method="nsga2", budget=10)
    assert [trial.arch for trial in result.front] == ["6"]
    assert result.best is not None and result.best.arch == "6"


class Told:
    """A method that keeps what it is told."""

    def __init__(self) -> None:
        self.values: list[list[float]] = []

    def ask(self, n: int) -> Codes:
        return np.array([[len(self.values)]], dtype=np.int16)

    def tell(self, codes: Codes, values: Any) -> None:
        self.values += values.tolist()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None: ...

    def diagnostics(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(("method", "width"), [("local", 1), ("random", 3)])
def test_what_methods_are_told(monkeypatch: pytest.MonkeyPatch, method: str, width: int) -> None:
    told = Told()
    monkeypatch.setattr("crlso.runs.plan.SearchPlan.build_method", lambda plan, space: told)
    constraints = ["square<16", "square>=1"]
    search(bench(), metric="score", subject_to=constraints, method=method, budget=6)
    plan = resolve_objectives(bench(), ["score"], constraints)
    columns = plan.columns(
        {"score": np.array([-7.0, -6.0, -5.0, -4.0, -3.0, -2.0]), "square": np.arange(6.0) ** 2}
    )
    assert np.array(told.values).shape == (6, width)
    np.testing.assert_array_equal(told.values, columns if width == 3 else plan.penalised(columns))
    assert np.argmax(np.array(told.values)[:, 0]) == (5 if width == 3 else 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": []}, "no metric; name the one"),
        ({"metric": ["score", "speed"]}, "unknown metric of line-bench 'speed'; known: loss, score, square"),
        ({"metric": ["score", "score"]}, "metric 'score' is given twice"),
        ({"subject_to": ["speed<5"]}, "unknown metric of line-bench 'speed'"),
        ({"subject_to": ["square=5"]}, "constraint 'square=5'; write NAME<NUMBER"),
        ({"subject_to": ["square<0"]}, "no architecture of line-bench meets square<0"),
        (
            {"subject_to": ["square<9", "score>-4"]},
            "no architecture of line-bench meets square<9 and score>-4",
        ),
        (
            {"metric": TWO, "method": "local"},
            "method local takes one metric, 2 are given; methods for several: crlso, nsga2",
        ),
        ({"reference": {"score": 1.0}}, "a reference point is for hypervolumes; name several metrics"),
        ({"metric": TWO, "reference": {"loss": 1.0}}, "unknown objective of the reference point 'loss'"),
        (
            {"metric": TWO, "reference": {"score": 1.0}},
            "no architecture of line-bench is better in all metrics than the reference point score=1, sq",
        ),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    for call in (search, compare):
        asked: dict[str, Any] = {"metric": "score", "method": "random", "out": tmp_path / "out", **options}
        if call is compare:
            asked["methods"] = ["random", asked.pop("method")] if asked["method"] != "random" else ["random"]
            asked.pop("method", None)
        with pytest.raises(UserError, match=message):
            call(bench(), **asked)
    assert not (tmp_path / "out").exists()


def test_a_reference_of_some_metrics_needs_a_table() -> None:
    with pytest.raises(UserError, match="the reference point lacks square; line-bench does not know"):
        search(bench(known=False), metric=TWO, method="random", reference={"score": -9.0})
    with pytest.raises(UnknownNameError):
        find_landmarks(bench(), resolve_objectives(bench(), TWO, ()), {"x": 1.0})


def test_true_front() -> None:
    front = true_front(bench(), resolve_objectives(bench(), ["loss", "square"], ["square<100"]))
    assert front is not None
    assert front.tolist() == [[0.0, 49.0], [1.0, 64.0], [2.0, 81.0]]
    assert true_front(bench(known=False), resolve_objectives(bench(), TWO, ())) is None


@pytest.mark.parametrize("stop", [1, 4, 11, 12])
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, stop: int) -> None:
    asked: dict[str, Any] = {
        "metric": TWO,
        "subject_to": ["loss<=9"],
        "method": "nsga2",
        "settings": {"population": 4},
        "budget": 30,
    }

    def fresh(limit: int | None = None) -> LineBench:
        """A bench that is interrupted after so many evaluations."""

        def value(number: int) -> float:
            if limit is not None and len(evaluator.asked) > limit:
                raise KeyboardInterrupt
            return distance_to_seven(number)

        evaluator = LineBench(Line(200, steps=(-2, -1, 1, 2)), value, known=False)
        return evaluator

    def run(out: Path, evaluator: LineBench) -> Any:
        return search(evaluator, out=out, reference={"score": -200.0, "square": 0.0}, **asked)

    whole = run(tmp_path / "whole", fresh())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", fresh(stop))
    log = tmp_path / "out" / "trials.jsonl"
    assert log.read_bytes().count(b"\n") == stop
    # The next line was being written.
    with log.open("ab") as file:
        file.write(b'{"n": 99, "arch": "1", "values": {"score": 1.0, "squ')
    resumed = run(tmp_path / "out", fresh())
    assert [(t.arch, t.value, t.others) for t in resumed.trials] == [
        (t.arch, t.value, t.others) for t in whole.trials
    ]
    assert resumed.hypervolume_curve == whole.hypervolume_curve


def test_directories_of_other_objectives_are_refused(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"method": "random", "budget": 3, "out": tmp_path}
    search(bench(), metric=TWO, subject_to=["loss<9"], **asked)
    for other, message in (
        ({"metric": TWO}, r"subject_to is \['loss<9'\] there, None was asked for"),
        ({"metric": TWO, "subject_to": ["loss<=9"]}, r"subject_to is \['loss<9'\] there, \['loss<=9'\]"),
        ({"metric": ("score", "loss"), "subject_to": ["loss<9"]}, r"metrics is .*'square'.* there"),
        (
            {"metric": TWO, "subject_to": ["loss<9"], "reference": {"square": -1.0}},
            r"reference is None there, \{'square': -1.0\} was asked for",
        ),
    ):
        with pytest.raises(RunError, match=message):
            search(bench(), **asked, **other)


def test_a_log_that_lacks_a_metric_is_damaged(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"metric": TWO, "method": "random", "budget": 3, "out": tmp_path}
    search(bench(), **asked)
    log = tmp_path / "trials.jsonl"
    log.write_text(log.read_text().replace('"square"', '"cube"'))
    with pytest.raises(RunError, match=r"trials\.jsonl: line 1 is damaged"):
        search(bench(), **asked)


@pytest.mark.parametrize("jobs", [1, 2])
def test_comparisons_of_several_metrics(tmp_path: Path, jobs: int) -> None:
    asked: dict[str, Any] = {"metric": TWO, "subject_to": ["square<=225"], "budget": 12}
    result = compare(
        bench(40), methods=("random", "nsga2"), seeds=(3, 4, 5), jobs=jobs, out=tmp_path, **asked
    ).summary
    assert json.loads((tmp_path / "summary.json").read_text()) == result
    alone = {
        method: [search(bench(40), method=method, seed=seed, **asked) for seed in (3, 4, 5)]
        for method in ("random", "nsga2")
    }
    assert result["hypervolume"] == {"share": True, "reference": {"score": -8.0, "square": 0.0}}
    assert (result["metrics"], result["subject_to"]) == (BOTH, ["square<=225"])
    for method, runs in alone.items():
        entry = result["methods"][method]
        curves = np.array([run.hypervolume_curve for run in runs])
        np.testing.assert_array_equal(entry["hypervolumes"], curves)
        assert entry["front"] == [run.summary()["front"] for run in runs]
        assert list(entry["hypervolume"]) == ["10", "12"]
        figures = entry["hypervolume"]["12"]
        assert figures["mean"] == pytest.approx(curves[:, -1].mean())
        assert figures["sem"] == pytest.approx(curves[:, -1].std(ddof=1) / math.sqrt(3))
        assert figures["median"] == pytest.approx(np.median(curves[:, -1]))
    ends = [np.array([run.hypervolume_curve[-1] for run in alone[m] if run.hypervolume_curve]) for m in alone]
    difference = result["paired"]["hypervolume"]["nsga2"]["12"]["mean"]
    assert difference == pytest.approx((ends[0] - ends[1]).mean())


def test_comparisons_without_reference() -> None:
    result = compare(
        bench(known=False), methods=("random",), metric=TWO, budget=3, seeds=(0, 1), jobs=1
    ).summary
    assert "hypervolume" not in result
    assert result["methods"]["random"]["hypervolume"] is None
    assert len(result["methods"]["random"]["front"]) == 2
