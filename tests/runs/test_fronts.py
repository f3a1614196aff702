"""Non-dominated sets and hypervolumes: brute force, inclusion and exclusion, darts, and pymoo."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from pymoo.indicators.hv import HV

from crlso.protocols import FloatArray
from crlso.runs.fronts import hypervolume, hypervolume_curve, non_dominated


def points(objectives: int, count: int, seed: int) -> FloatArray:
    """Points with ties and repetitions, some of them below the reference point 0."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-2, 8, size=(count, objectives)) + (rng.random((count, 1)) < 0.5) * 0.25
    return values.astype(np.float64)


def brute_front(values: FloatArray) -> list[int]:
    kept = []
    for i, row in enumerate(values):
        if np.isnan(row).any():
            continue
        beaten = any((other >= row).all() and (other > row).any() for other in values)
        repeated = any((other == row).all() for other in values[:i])
        if not (beaten or repeated):
            kept.append(i)
    return kept


def inclusion_exclusion(values: FloatArray, reference: FloatArray) -> float:
    """The volume of a union of boxes, exactly."""
    boxes = [row - reference for row in values if (row > reference).all()]
    total = 0.0
    for size in range(1, len(boxes) + 1):
        for chosen in itertools.combinations(boxes, size):
            total -= (-1) ** size * float(np.prod(np.min(chosen, axis=0)))
    return total


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_non_dominated_is_what_brute_force_says(objectives: int, seed: int) -> None:
    values = points(objectives, 60, seed)
    values[::9, 0] = math.nan
    assert non_dominated(values).tolist() == brute_front(values)


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_hypervolume_by_inclusion_and_exclusion(objectives: int, seed: int) -> None:
    values, reference = points(objectives, 10, seed), np.full(objectives, -0.5)
    assert hypervolume(values, reference) == pytest.approx(inclusion_exclusion(values, reference))


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_hypervolume_is_that_of_pymoo(objectives: int) -> None:
    values = np.random.default_rng(objectives).random((40, objectives))
    expected = HV(ref_point=np.zeros(objectives))(-values)
    assert expected > 0.1
    assert hypervolume(values, np.zeros(objectives)) == pytest.approx(float(expected))


def test_hypervolume_by_darts() -> None:
    rng = np.random.default_rng(0)
    values, darts = rng.random((20, 3)), rng.random((50_000, 3))
    hit = (darts[:, None] <= values).all(axis=2).any(axis=1).mean()
    assert hypervolume(values, np.zeros(3)) == pytest.approx(hit, abs=5 * 0.5 / math.sqrt(50_000))


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_curve_is_the_hypervolume_of_all_so_far(objectives: int) -> None:
    values, reference = points(objectives, 40, 1), np.zeros(objectives)
    values[::7, 1] = math.nan
    curve = hypervolume_curve(values, reference)
    counted = np.where(np.isnan(values).any(axis=1, keepdims=True), -1.0, values)
    expected = [hypervolume(counted[: place + 1], reference) for place in range(len(values))]
    np.testing.assert_allclose(curve, expected)
    assert curve[-1] > curve[0]


def test_nothing_above_the_reference_has_no_volume() -> None:
    assert hypervolume(np.array([[1.0, -1.0], [math.nan, 2.0]]), np.zeros(2)) == 0.0
    assert hypervolume_curve(np.empty((0, 2)), np.zeros(2)).shape == (0,)
    assert non_dominated(np.full((3, 2), math.nan)).shape == (0,)
