"""Targets against ranks counted by hand and the standard library's normal quantiles."""

from __future__ import annotations

from statistics import NormalDist
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crlso.errors import UnknownNameError, UserError
from crlso.targets import centred_losses, check_target, logit_loss, losses, rank_loss, raw_loss

VALUES = st.lists(
    st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, allow_nan=False)), min_size=1, max_size=30
)


@given(values=VALUES)
def test_rank_loss_equals_counting(values: list[float]) -> None:
    n = len(values)
    for value, loss in zip(values, rank_loss(np.array(values)), strict=True):
        below = sum(other < value for other in values)
        equal = sum(other == value for other in values)
        rank = below + (equal + 1) / 2
        assert loss == pytest.approx(-NormalDist().inv_cdf((rank - 0.5) / n), abs=1e-9)


@given(values=VALUES)
def test_rank_loss_falls_with_the_value(values: list[float]) -> None:
    array = np.array(values)
    targets = rank_loss(array)
    larger = array[:, None] > array[None]
    assert (targets[:, None] < targets[None])[larger].all()
    equal = array[:, None] == array[None]
    assert (targets[:, None] == targets[None])[equal].all()
    assert np.isfinite(targets).all()


@given(values=st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=20))
def test_rank_loss_knows_ranks_only(values: list[float]) -> None:
    array = np.array(values)
    np.testing.assert_array_equal(rank_loss(array), rank_loss(np.exp(array / 10) * 3 - 7))


def test_rank_loss_is_standard_normal() -> None:
    values = np.random.default_rng(0).exponential(size=5000)
    targets = rank_loss(values)
    assert stats.kstest(targets, "norm").pvalue > 0.99
    np.testing.assert_allclose(np.sort(targets), -np.sort(targets)[::-1], atol=1e-12)
    # Of equal values: no difference, no matter how many.
    np.testing.assert_allclose(rank_loss(np.full(7, 3.0)), 0.0, atol=1e-12)


def test_nothing_has_no_targets() -> None:
    assert rank_loss(np.zeros(0)).shape == (0,)
    assert raw_loss(np.zeros(0)).shape == (0,)


def test_raw_loss_is_the_papers() -> None:
    np.testing.assert_allclose(raw_loss(np.array([91.0, 10.0, 100.0])), [0.09, 0.9, 0.0], atol=1e-15)


def test_losses_by_name() -> None:
    values = np.array([3.0, 1.0, 2.0])
    np.testing.assert_array_equal(losses(values, "rank"), rank_loss(values))
    np.testing.assert_array_equal(losses(values, "raw"), raw_loss(values))
    np.testing.assert_array_equal(losses(values, "logit"), logit_loss(values))
    assert [check_target(name) for name in ("rank", "raw", "logit")] == ["rank", "raw", "logit"]
    with pytest.raises(UnknownNameError, match=r"unknown target 'rnk'; known: logit, rank, raw"):
        check_target("rnk")


@given(values=st.lists(st.floats(0.1, 99.9), min_size=1, max_size=20))
def test_logit_loss_inverts_the_logistic_function(values: list[float]) -> None:
    found = logit_loss(np.array(values))
    np.testing.assert_allclose(100 / (1 + np.exp(found)), values, rtol=1e-9)


def test_logit_loss_at_the_ends_and_beyond() -> None:
    ends = logit_loss(np.array([0.0, 50.0, 100.0]))
    np.testing.assert_allclose(ends, [np.log(999), 0.0, -np.log(999)], atol=1e-12)
    assert logit_loss(np.zeros(0)).shape == (0,)
    for wrong in (-0.5, 100.5):
        with pytest.raises(UserError, match=rf"accuracies in per cent, got {wrong}; target=rank"):
            logit_loss(np.array([50.0, wrong]))


@pytest.mark.parametrize("kind", ["raw", "logit"])
def test_centred_losses_have_mean_0_and_deviation_1(kind: Literal["raw", "logit"]) -> None:
    values = np.random.default_rng(0).uniform(5, 95, size=50)
    centred, plain = centred_losses(values, kind), losses(values, kind)
    assert centred.mean() == pytest.approx(0, abs=1e-12)
    assert centred.std() == pytest.approx(1)
    np.testing.assert_allclose(centred * plain.std() + plain.mean(), plain)
    # Of equal values: no difference.
    np.testing.assert_array_equal(centred_losses(np.full(5, 91.3), kind), np.zeros(5))
    assert centred_losses(np.zeros(0), kind).shape == (0,)


def test_centred_ranks_are_ranks() -> None:
    values = np.random.default_rng(0).uniform(size=9)
    np.testing.assert_array_equal(centred_losses(values, "rank"), rank_loss(values))
