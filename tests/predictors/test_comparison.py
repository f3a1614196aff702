"""What predictors get to see, and what is made of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from crlso.errors import UserError
from crlso.predictors.agreement import Agreement
from crlso.predictors.comparison import ComparisonSettings, Measured, compare_predictors
from crlso.predictors.protocol import Prediction, Predictor
from crlso.protocols import Codes, FloatArray, Keys, Metric, SearchSpace
from crlso.spaces import get_space
from crlso.spaces.codes import code_keys

SETTINGS = ComparisonSettings(labels=(8, 4, 20), splits=3, held_out=50)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space("nasbench201")


@dataclass
class Costs:
    """Something to be minimised, different for each code; some codes fail."""

    space: SearchSpace
    support: Codes | None = None
    failing: int = 10**9  # every n-th code
    name: str = "costs"
    fingerprint: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {"cost": Metric("cost", "min", "ms", "what it costs")}

    def cost(self, codes: Codes) -> FloatArray:
        return codes @ 5.0 ** np.arange(codes.shape[1])

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        cost = self.cost(codes)
        return pd.DataFrame({"cost": np.where(cost % self.failing == 1, np.nan, cost)})

    def optimum(self, metric: str) -> float | None:
        return None


@dataclass
class Spy:
    """Knows the truth, and what it was asked."""

    evaluator: Costs
    fitted: list[tuple[Codes, FloatArray]] = field(default_factory=list)
    asked: list[Codes] = field(default_factory=list)

    def fit(self, codes: Codes, values: FloatArray) -> Prediction:
        self.fitted.append((codes, values))

        def predict(others: Codes) -> FloatArray:
            self.asked.append(others)
            return -self.evaluator.cost(others)

        return predict


class Recorder:
    """Makes two spies in every split."""

    def __init__(self, evaluator: Costs) -> None:
        self.evaluator = evaluator
        self.spies: list[tuple[Spy, Spy]] = []
        self.seeds: list[int] = []

    def __call__(self, space: SearchSpace, seed: int) -> Mapping[str, Predictor]:
        self.seeds.append(seed)
        self.spies.append((Spy(self.evaluator), Spy(self.evaluator)))
        return dict(zip(("one", "other"), self.spies[-1], strict=True))


def keys(space: SearchSpace, codes: Codes) -> Keys:
    return space.class_keys(codes)


def test_what_predictors_see(space: SearchSpace) -> None:
    recorder = Recorder(evaluator := Costs(space))
    found = compare_predictors(evaluator, "cost", recorder, settings=SETTINGS)
    assert recorder.seeds == [0, 1, 2]
    firsts = set()
    for one, other in recorder.spies:
        assert [len(codes) for codes, _ in one.fitted] == [4, 8, 20]
        for (codes, values), (again, same), test in zip(one.fitted, other.fitted, one.asked, strict=True):
            # Predictors have the same labels; smaller numbers are parts of larger ones; more is better.
            np.testing.assert_array_equal(codes, again)
            np.testing.assert_array_equal(values, same)
            np.testing.assert_array_equal(codes, one.fitted[-1][0][: len(codes)])
            np.testing.assert_array_equal(values, -evaluator.cost(codes))
            # Each class once, and on one side only.
            both = np.concatenate([keys(space, codes), keys(space, test)])
            assert len(test) == 50
            assert len(np.unique(both)) == len(both) == len(codes) + 50
            np.testing.assert_array_equal(test, one.asked[0])
        firsts.add(one.fitted[0][0].tobytes())
    assert len(firsts) == 3
    assert [(row.predictor, row.labels) for row in found.rows] == [
        (name, count) for name in ("one", "other") for count in (4, 8, 20)
    ]
    for row in found.rows:
        assert len(row.splits) == 3
        for figure in ("spearman", "kendall", "top"):
            assert row.mean(figure) == pytest.approx((1.0, 0.0))


def test_a_class_is_not_always_the_same_code(space: SearchSpace) -> None:
    recorder = Recorder(evaluator := Costs(space))
    compare_predictors(evaluator, "cost", recorder, settings=SETTINGS)
    tests = np.concatenate([one.asked[0] for one, _ in recorder.spies])
    assert (space.canonical(tests) != tests).any()


def test_only_what_the_evaluator_knows(space: SearchSpace) -> None:
    support = np.unique(space.sample(200, np.random.default_rng(5)), axis=0)
    recorder = Recorder(evaluator := Costs(space, support=support))
    found = compare_predictors(
        evaluator, "cost", recorder, settings=ComparisonSettings(labels=(10,), splits=2)
    )
    assert found.held_out == len(np.unique(keys(space, support))) - 10
    known = code_keys(support, space.cardinalities)
    for one, _ in recorder.spies:
        for codes in (one.asked[0], one.fitted[0][0]):
            assert np.isin(code_keys(codes, space.cardinalities), known).all()


def test_failed_evaluations_are_left_out(space: SearchSpace) -> None:
    recorder = Recorder(evaluator := Costs(space, failing=3))
    compare_predictors(evaluator, "cost", recorder, settings=SETTINGS)
    for one, _ in recorder.spies:
        codes, values = one.fitted[-1]
        assert 2 < len(codes) < 20
        assert np.isfinite(values).all()
        assert 10 < len(one.asked[0]) < 50
        assert not (evaluator.cost(one.asked[0]) % 3 == 1).any()


def test_mean_and_standard_error() -> None:
    splits = tuple(Agreement(value, 0.0, 1.0) for value in (0.5, 0.6, 0.9, 0.8))
    mean, error = Measured("x", 5, splits, 0.0).mean("spearman")
    assert mean == pytest.approx(0.7)
    assert error == pytest.approx((((0.2**2 + 0.1**2) * 2) / 3 / 4) ** 0.5)
    assert Measured("x", 5, splits[:1], 0.0).mean("spearman") == (0.5, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": ()}, "labels must be numbers of 2 or more"),
        ({"labels": (1, 5)}, "labels must be numbers of 2 or more"),
        ({"labels": (5, 5)}, "given twice"),
        ({"splits": 0}, "splits must be 1 or more"),
        ({"held_out": 1}, "held_out must be 2 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_wrong_settings(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ComparisonSettings(**settings)  # type: ignore[arg-type]


def test_too_many_labels(space: SearchSpace) -> None:
    evaluator = Costs(space, support=space.sample(30, np.random.default_rng(0)))
    with pytest.raises(UserError, match="need more than"):
        compare_predictors(
            evaluator, "cost", Recorder(evaluator), settings=ComparisonSettings(labels=(5, 29))
        )
