"""The run loop: budget, uniqueness, directions, failures, ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks import TableEvaluator
from crlso.errors import UnknownNameError, UserError
from crlso.protocols import Codes, FloatArray, Rule
from crlso.runs import search
from crlso.runs.proposals import MAX_REFUSALS, Proposals
from tests.runs.fakes import Line, LineBench, distance_to_seven, failing_odd, row

METRIC = "cifar10/valid_accuracy@200"


def bench(n: int = 20, **options: Any) -> LineBench:
    return LineBench(Line(n), options.pop("value", distance_to_seven), **options)


def test_spends_the_budget_and_picks_the_first_best() -> None:
    evaluator = LineBench(Line(20, script=[1, 9, 5, 6]), distance_to_seven)
    result = search(evaluator, method="random", metric="score", report=["square"], budget=4)
    assert evaluator.asked == [1, 9, 5, 6, 6]
    assert [trial.arch for trial in result.trials] == ["1", "9", "5", "6"]
    assert result.curve == [-6.0, -2.0, -2.0, -1.0]
    assert result.best is not None
    assert (result.best.arch, result.best.value, result.best.report) == ("6", -1.0, {"square": 36.0})
    assert (result.optimum, result.regret, result.exhausted) == (0.0, 1.0, False)
    tied = search(
        LineBench(Line(20, script=[5, 9]), distance_to_seven), method="random", metric="score", budget=2
    )
    assert tied.best is not None
    assert tied.best.arch == "5"


@pytest.mark.parametrize("method", ["random", "evolution", "local"])
def test_minimising_the_negative_is_the_same_search(method: str) -> None:
    up = search(bench(), method=method, metric="score", budget=12, seed=3)
    down = search(bench(), method=method, metric="loss", budget=12, seed=3)
    assert [trial.arch for trial in up.trials] == [trial.arch for trial in down.trials]
    assert down.curve == [-value for value in up.curve if value is not None]
    assert down.best is not None and up.best is not None
    assert (down.best.arch, down.best.value) == (up.best.arch, -up.best.value)
    assert down.regret == up.regret
    assert down.regret is not None
    assert math.copysign(1.0, down.regret) == 1.0


@pytest.mark.parametrize("method", ["random", "evolution", "local"])
@pytest.mark.parametrize("unique", ["exact", "official"])
def test_every_class_is_evaluated_once_and_the_end_is_clean(method: str, unique: Rule) -> None:
    result = search(bench(20), method=method, metric="score", budget=100, unique=unique)
    numbers = [int(trial.arch) for trial in result.trials]
    classes = [number // 2 for number in numbers] if unique == "official" else numbers
    assert sorted(classes) == list(range(10 if unique == "official" else 20))
    assert result.exhausted
    assert result.summary()["evaluations"] == len(numbers)
    assert len(result.curve) == len(numbers)


def test_failed_evaluations_are_no_best() -> None:
    result = search(bench(10, value=failing_odd), method="local", metric="score", report=["score"], budget=10)
    assert result.best is not None
    assert result.best.arch == "8"
    assert [math.isnan(trial.value) for trial in result.trials] == [
        int(t.arch) % 2 == 1 for t in result.trials
    ]


def test_a_run_of_failures_has_no_best() -> None:
    result = search(
        bench(10, value=lambda number: math.nan, known=False), method="random", metric="loss", budget=3
    )
    assert (result.best, result.regret, result.curve) == (None, None, [None] * 3)
    assert result.summary()["best"] is None


def test_infinite_values_are_failures() -> None:
    result = search(
        bench(value=lambda number: math.inf, known=False), method="random", metric="score", budget=2
    )
    assert result.best is None


def test_without_optimum_no_regret() -> None:
    result = search(bench(known=False), method="random", metric="score", budget=3)
    assert (result.optimum, result.regret) == (None, None)


def test_partial_tables_are_searched_among_their_members(nasbench201: TableEvaluator) -> None:
    space = nasbench201.space
    members = np.unique(space.sample(40, np.random.default_rng(0)), axis=0)

    class Partial:
        name, metrics, fingerprint = nasbench201.name, nasbench201.metrics, nasbench201.fingerprint
        support: Codes = members
        evaluate = staticmethod(nasbench201.evaluate)
        optimum = staticmethod(nasbench201.optimum)

        def __init__(self) -> None:
            self.space = space

    for method in ("random", "evolution", "local"):
        result = search(Partial(), method=method, metric=METRIC, budget=100, unique="code")
        assert sorted(t.arch for t in result.trials) == sorted(space.format(code) for code in members)


def test_same_seed_same_run(nasbench201: TableEvaluator) -> None:
    runs = [
        search(nasbench201, method="evolution", metric=METRIC, seed=seed, budget=60) for seed in (1, 1, 2)
    ]
    archs = [[trial.arch for trial in run.trials] for run in runs]
    assert archs[0] == archs[1] != archs[2]


def test_curve_and_regret_on_the_real_table(nasbench201: TableEvaluator) -> None:
    result = search(
        nasbench201,
        method="local",
        metric=METRIC,
        seed=1000,
        budget=40,
        report=["cifar100/valid_accuracy@200"],
    )
    codes = np.stack([nasbench201.space.parse(trial.arch) for trial in result.trials])
    values = nasbench201.evaluate(codes, metrics=[METRIC])[METRIC].to_numpy()
    np.testing.assert_array_equal(result.curve, np.maximum.accumulate(values))
    every = np.concatenate(list(nasbench201.space.enumerate()))
    optimum = nasbench201.evaluate(every, metrics=[METRIC])[METRIC].max()
    assert result.regret == optimum - values.max()
    assert len(set(nasbench201.space.class_keys(codes, "exact").tolist())) == 40


class Stubborn:
    """Proposes one architecture for ever."""

    def __init__(self, codes: Codes) -> None:
        self.asked = 0
        self._codes = codes

    def ask(self, n: int) -> Codes:
        self.asked += 1
        return self._codes

    def tell(self, codes: Codes, values: FloatArray) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def diagnostics(self) -> Mapping[str, Any]:
        return {}


def test_a_method_that_repeats_itself_is_helped_out() -> None:
    method = Stubborn(row(3))
    proposals = Proposals(method, Line(500), "exact", 0)
    taken = [proposals.next(trial) for trial in range(1, 501)]
    numbers = [int(code[0]) for code in taken if code is not None]
    assert numbers[0] == 3
    assert sorted(numbers) == list(range(500))
    assert method.asked == 1 + 499 * MAX_REFUSALS
    assert proposals.next(501) is None


def test_what_is_left_of_a_large_space_is_found_by_scanning() -> None:
    class Biased:
        """A line whose samples are always the same."""

        def __init__(self) -> None:
            self._line = Line(50)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._line, name)

        def sample(self, n: int, rng: np.random.Generator) -> Codes:
            return row(*[1] * n)

    found = []
    for seed in range(3):
        proposals = Proposals(Stubborn(row(3)), Biased(), "exact", seed)
        codes = [proposals.next(trial) for trial in range(1, 51)]
        found.append([int(code[0]) for code in codes if code is not None])
        assert found[-1][:2] == [3, 1]
        assert sorted(found[-1]) == list(range(50))
    # The order is random, not that of the scan.
    assert found[0] != found[1] != found[2]


def test_a_defective_method_is_not_a_user_error() -> None:
    with pytest.raises(ValueError, match=r"the search method proposes \[\[99\]\], no architecture of line"):
        Proposals(Stubborn(row(99)), Line(50), "exact", 0).next(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "accuracy"}, "unknown metric of line-bench 'accuracy'; known: loss, score, square"),
        ({"report": ["size"]}, "unknown metric of line-bench 'size'"),
        ({"method": "magic"}, "unknown method 'magic'; known: bananas, bo, crlso"),
        (
            {"method": "evolution", "settings": {"x": "1"}},
            "unknown setting of evolution 'x'; known: population",
        ),
        ({"method": "evolution:sample=3", "settings": {"sample": 3}}, "setting 'sample' is given twice"),
        ({"unique": "isomorphic"}, "unknown rule of uniqueness 'isomorphic'; known: code, exact, official"),
        ({"budget": 0}, "budget 0; it must be 1 or more"),
        ({"seed": -1}, "seed -1; it must be 0 or more"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    evaluator = bench()
    with pytest.raises(UserError, match=message):
        search(evaluator, **{"metric": "score", "method": "random", **options})
    assert evaluator.asked == []
    with pytest.raises(UnknownNameError):
        search(evaluator, method="random", metric="")


def test_settings_may_stand_in_the_method_or_beside_it() -> None:
    runs = [
        search(bench(100), metric="score", budget=30, method=method, settings=settings)
        for method, settings in (
            ("evolution:population=5:sample=2", {}),
            ("evolution", {"population": 5, "sample": "2"}),
        )
    ]
    assert [t.arch for t in runs[0].trials] == [t.arch for t in runs[1].trials]
