"""Non-dominated members against brute force, with ties and what was not measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlso.errors import UserError
from supernet.pareto import Member, marked, non_dominated

FEW = st.sampled_from([0.0, 1.0, 2.0, math.nan])  # so that ties are common
ROWS = st.lists(st.tuples(FEW, FEW, FEW), max_size=12)


def by_definition(rows: list[tuple[float, float, float]]) -> list[bool]:
    """Pair by pair, as one would say it."""
    kept = []
    for i, (accuracy, params, flops) in enumerate(rows):
        good = not any(map(math.isnan, rows[i]))
        for j, (other_accuracy, other_params, other_flops) in enumerate(rows):
            if i == j or any(map(math.isnan, rows[j])):
                continue
            as_good = other_accuracy >= accuracy and other_params <= params and other_flops <= flops
            equal = rows[i] == rows[j]
            if as_good and (not equal or j < i):
                good = False
        kept.append(good)
    return kept


@given(ROWS)
def test_as_by_definition(rows: list[tuple[float, float, float]]) -> None:
    columns = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    assert non_dominated(*columns).tolist() == by_definition(rows)


@given(ROWS)
def test_what_is_kept_says_all(rows: list[tuple[float, float, float]]) -> None:
    """Every measured member has one that is kept and at least as good; no two that are kept are equal."""
    kept = [row for row, is_kept in zip(rows, by_definition(rows), strict=True) if is_kept]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    found = [row for row, is_kept in zip(rows, non_dominated(*columns), strict=True) if is_kept]
    assert found == kept
    assert len(set(found)) == len(found)
    for accuracy, params, flops in rows:
        if not any(map(math.isnan, (accuracy, params, flops))):
            assert any(a >= accuracy and p <= params and f <= flops for a, p, f in found)


def test_known_answers() -> None:
    assert non_dominated([90, 91, 91, 92], [1, 2, 3, 3], [5, 5, 5, 9]).tolist() == [True, True, False, True]
    # More weights are no loss where there are fewer operations.
    assert non_dominated([90, 90], [1, 2], [2, 1]).tolist() == [True, True]
    assert non_dominated([math.nan, 10], [1, 9], [1, 9]).tolist() == [False, True]
    assert non_dominated([90, 90, 90], [1, 1, 1], [1, 1, 1]).tolist() == [True, False, False]
    # Exact: the last bit counts.
    assert non_dominated([90, np.nextafter(90, 91)], [1, 1], [1, 1]).tolist() == [False, True]
    assert non_dominated([], [], []).tolist() == []


def test_marks_members_by_their_verified_accuracy() -> None:
    members = [
        Member("a", 1, 3, 0.3, 1.0, 99.0, 80.0, non_dominated=True),
        Member("b", 2, 2, 0.2, 1.0, 50.0, 81.0),
        Member("c", 3, 1, 0.1, 1.0, 98.0, math.nan, non_dominated=True),
    ]
    assert [member.non_dominated for member in marked(members)] == [False, True, False]
    assert [member.architecture for member in marked(members)] == ["a", "b", "c"]


def test_unequal_lengths() -> None:
    with pytest.raises(UserError, match=r"one entry per member each, got \(2,\), \(1,\), \(2,\)"):
        non_dominated([1, 2], [1], [1, 2])
