"""Labels to normal scores and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from benchmarks.surrogate.warping import KNOTS, fit_warp

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(st.lists(numbers, min_size=20, max_size=KNOTS, unique=True))
def test_labels_come_back(labels: list[float]) -> None:
    values = np.array(labels)
    warp, scores = fit_warp(values)
    assert (np.argsort(scores) == np.argsort(values)).all()
    np.testing.assert_allclose(warp.to_labels(scores), values, rtol=1e-9, atol=1e-6)


@given(st.lists(st.sampled_from([1.0, 2.0, 5.0, 10.0]), min_size=20, max_size=400))
def test_the_curve_never_falls(labels: list[float]) -> None:
    warp, scores = fit_warp(np.array(labels))
    asked = np.linspace(-6, 6, 1001)
    assert (np.diff(warp.to_labels(asked)) >= -1e-9).all()
    assert len(np.unique(scores)) == len(set(labels))


def test_normal_labels_stay_as_they_are_also_beyond_what_was_seen() -> None:
    scores = norm.ppf((np.arange(2000) + 0.5) / 2000)
    warp, found = fit_warp(90 + 2 * scores)
    np.testing.assert_allclose(found, scores, atol=1e-12)
    asked = np.array([-5.0, -1.0, 0.0, 1.0, 5.0])
    np.testing.assert_allclose(warp.to_labels(asked), 90 + 2 * asked, rtol=1e-3)
