"""Rank correlations and the overlap of the best, counted by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from crlso.errors import UserError
from crlso.predictors.agreement import agreement, top_overlap
from crlso.protocols import FloatArray


def ranks(values: FloatArray) -> FloatArray:
    """Smaller ones plus half of the equal ones."""
    return np.array([np.sum(values < value) + 0.5 * np.sum(values == value) for value in values])


def tau(one: FloatArray, other: FloatArray) -> float:
    """Tau-b, pair by pair."""
    pairs = list(combinations(range(len(one)), 2))
    first = np.array([np.sign(one[i] - one[j]) for i, j in pairs])
    second = np.array([np.sign(other[i] - other[j]) for i, j in pairs])
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


@pytest.mark.parametrize("seed", range(4))
def test_correlations_are_counted_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 12, 40).astype(float)  # with ties
    predicted = np.round(truth + rng.normal(0, 5, 40))
    found = agreement(predicted, truth)
    assert found.spearman == pytest.approx(np.corrcoef(ranks(predicted), ranks(truth))[0, 1])
    assert found.kendall == pytest.approx(tau(predicted, truth))
    assert 0.2 < found.kendall < found.spearman < 1


def test_right_and_wrong_order() -> None:
    truth = np.arange(100.0) ** 3
    right, wrong = agreement(np.arange(100.0), truth), agreement(-np.arange(100.0), truth)
    assert (right.spearman, right.kendall, right.top) == pytest.approx((1, 1, 1))
    assert (wrong.spearman, wrong.kendall, wrong.top) == pytest.approx((-1, -1, 0))


def test_predictions_that_say_nothing_count_as_zero() -> None:
    found = agreement(np.ones(100), np.arange(100.0))
    assert (found.spearman, found.kendall, found.top) == (0, 0, 0)


def test_values_without_an_order_are_an_error() -> None:
    with pytest.raises(UserError, match="no order"):
        agreement(np.arange(5.0), np.ones(5))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.31])
def test_the_overlap_is_that_of_two_sets(share: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.permutation(200).astype(float)
    predicted = truth + rng.normal(0, 40, 200)
    count = round(share * 200)
    best = set(sorted(range(200), key=lambda i: truth[i])[-count:])
    chosen = set(sorted(range(200), key=lambda i: predicted[i])[-count:])
    assert 0 < len(best & chosen) < count
    assert top_overlap(predicted, truth, share) == len(best & chosen) / count


def test_equally_good_ones_are_all_among_the_best() -> None:
    truth = np.array([3.0, 3.0, 3.0, 1.0])
    for i, expected in enumerate([1, 1, 1, 0]):
        assert top_overlap(np.eye(4)[i], truth, 0.25) == expected


def test_one_of_a_few_is_the_best() -> None:
    assert top_overlap(np.arange(5.0), np.arange(5.0)) == 1
