"""Statistics against scipy and numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from crlso.protocols import FloatArray
from crlso.report.statistics import paired, spread

numbers = st.floats(-1e3, 1e3, width=32)


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=numbers))
def test_mean_sem_and_interval_are_scipys(values: FloatArray) -> None:
    about = spread(values)
    assert about.mean == pytest.approx(values.mean(axis=0), abs=1e-9)
    assert about.sem == pytest.approx(stats.sem(values, axis=0), abs=1e-9)
    assert about.median == pytest.approx(np.median(values, axis=0), abs=1e-9)
    assert about.lower_quartile == pytest.approx(np.quantile(values, 0.25, axis=0), abs=1e-9)
    assert about.upper_quartile == pytest.approx(np.quantile(values, 0.75, axis=0), abs=1e-9)
    for column in np.flatnonzero(about.sem > 1e-6):
        low, high = stats.t.interval(
            0.95, len(values) - 1, loc=values[:, column].mean(), scale=stats.sem(values[:, column])
        )
        assert (about.low[column], about.high[column]) == (pytest.approx(low), pytest.approx(high))


@given(hnp.arrays(np.float64, st.tuples(st.integers(3, 10), st.just(1)), elements=numbers), st.data())
def test_missing_seeds_are_left_out(values: FloatArray, data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(values) - 1))
    holed = values.copy()
    holed[gone] = np.nan
    rest, about = spread(np.delete(values, gone, axis=0)), spread(holed)
    assert about.n == len(values) - 1
    for name in ("mean", "sem", "low", "high", "median", "lower_quartile", "upper_quartile"):
        assert getattr(about, name) == pytest.approx(getattr(rest, name))


def test_one_seed_has_no_interval() -> None:
    about = spread(np.array([[3.0, 4.0]]))
    assert about.mean.tolist() == about.median.tolist() == [3.0, 4.0]
    assert np.isnan([about.sem, about.low, about.high]).all()


@pytest.mark.parametrize("values", [np.empty((0, 2)), np.full((3, 2), np.nan)])
def test_nothing_known_is_nan_without_a_warning(values: FloatArray) -> None:
    about = spread(values)
    assert about.n.tolist() == [0, 0]
    assert np.isnan([about.mean, about.median, about.low, about.upper_quartile]).all()


def test_paired_interval_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=20)
    b = a + rng.normal(0.3, 0.5, size=20)
    about = paired(b, a)
    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (float(about.low), float(about.high)) == (
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    samples = np.random.default_rng(1).normal(size=(8, 20_000))
    about = spread(samples)
    assert np.mean((about.low <= 0) & (about.high >= 0)) == pytest.approx(0.95, abs=0.006)
