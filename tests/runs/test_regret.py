"""Figures of a comparison against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crlso.runs.regret import (
    checkpoints,
    compare_summary,
    optimum_figures,
    paired_differences,
    regret_figures,
    values_at,
)


def random_curves(seed: int, seeds: int = 12, budget: int = 150) -> list[list[float | None]]:
    rng = np.random.default_rng(seed)
    return [np.maximum.accumulate(rng.random(budget)).tolist() for _ in range(seeds)]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (1, (1,)),
        (10, (10,)),
        (25, (10, 25)),
        (60, (10, 25, 50, 60)),
        (150, (10, 25, 50, 100, 150)),
        (500, (10, 25, 50, 100, 150, 500)),
    ],
)
def test_checkpoints(budget: int, expected: tuple[int, ...]) -> None:
    assert checkpoints(budget) == expected


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_regret_agrees_with_pandas(sign: float) -> None:
    curves = [[sign * value for value in curve if value is not None] for curve in random_curves(0)]
    figures = regret_figures(curves, optimum=sign * 1.5, sign=sign, budget=150)
    assert list(figures) == ["10", "25", "50", "100", "150"]
    table = 1.5 - sign * pd.DataFrame(curves)
    for evaluations, found in figures.items():
        column = table[int(evaluations) - 1]
        assert found["mean"] == pytest.approx(column.mean())
        assert found["sem"] == pytest.approx(column.sem())
        assert found["median"] == pytest.approx(column.median())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_paired_differences_agree_with_scipy(sign: float) -> None:
    first, second = random_curves(1), random_curves(2)
    signed = [[[sign * v for v in curve if v is not None] for curve in curves] for curves in (second, first)]
    figures = paired_differences(signed[0], signed[1], sign=sign, budget=150)
    for evaluations, found in figures.items():
        last = int(evaluations) - 1
        worse = [1 - (curve[last] or 0) for curve in second]
        better = [1 - (curve[last] or 0) for curve in first]
        interval = stats.ttest_rel(worse, better).confidence_interval(0.95)
        assert found["mean"] == pytest.approx(np.mean(worse) - np.mean(better))
        assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))


def test_runs_that_end_early_keep_their_last_value() -> None:
    np.testing.assert_array_equal(values_at([[1.0, 2.0], [None, 3.0, 4.0], []], 50), [2.0, 4.0, math.nan])


def test_evaluations_until_the_optimum() -> None:
    """The median over all seeds, those that missed it last; exact values, as tables give them."""
    curves: list[list[float | None]] = [[None, 0.5, 1.0], [1.0, 1.0, 1.0], [0.1, 0.2, 1.0 - 1e-9], []]
    assert optimum_figures(curves[:1], 1.0) == {"found": 1, "median": 3.0}
    assert optimum_figures(curves[:2], 1.0) == {"found": 2, "median": 2.0}
    assert optimum_figures(curves[:3], 1.0) == {"found": 2, "median": 3.0}
    assert optimum_figures(curves, 1.0) == {"found": 2, "median": None}


def test_one_seed_has_no_interval() -> None:
    assert regret_figures([[1.0]], optimum=3.0, sign=1.0, budget=1) == {
        "1": {"mean": 2.0, "sem": None, "median": 2.0}
    }
    assert paired_differences([[1.0]], [[1.5]], sign=1.0, budget=1) == {
        "1": {"mean": 0.5, "low": None, "high": None}
    }


def test_seeds_without_a_value_leave_no_figure() -> None:
    curves: list[list[float | None]] = [[None] * 30 + [1.0] * 30, [0.5] * 60]
    figures = regret_figures(curves, optimum=1.0, sign=1.0, budget=60)
    assert figures["25"] == {"mean": None, "sem": None, "median": None}
    assert figures["50"]["mean"] == 0.25
    paired = paired_differences(curves, curves, sign=1.0, budget=60)
    assert paired["25"] == {"mean": None, "low": None, "high": None}
    assert paired["60"] == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_summary_of_runs_in_which_everything_failed() -> None:
    failed = {"curve": [None], "cpu_seconds": 1.0, "best": None}
    plan = {
        "bench": "b",
        "metric": "m",
        "direction": "max",
        "report": ["r"],
        "budget": 1,
        "seeds": [0],
        "unique": "exact",
    }
    summary = compare_summary(plan, None, 1.0, {"random": [failed], "local": [failed]})
    assert summary["methods"]["random"] == {
        "curves": [[None]],
        "cpu_seconds": [1.0],
        "best": [None],
        "report": {"r": [None]},
        "regret": None,
        "to_optimum": None,
    }
    assert summary["paired"]["reference"] == "random"
    assert list(summary["paired"]["differences"]) == ["local"]
