"""What model-based methods keep of what they were told."""

from __future__ import annotations

import numpy as np

from crlso.protocols import Goal
from crlso.search.observations import Observations
from crlso.spaces import get_space
from crlso.targets import rank_loss


def test_failures_count_like_the_worst() -> None:
    space = get_space("nasbench201")
    codes = space.sample(4, np.random.default_rng(0))
    seen = Observations(space)
    seen.add(codes[:1], np.array([[np.nan]]))
    assert seen.values().tolist() == [0.0]
    seen.add(codes[1:], np.array([[3.0, 9.0], [np.nan, 1.0], [-2.0, 0.0]]))
    assert seen.values().tolist() == [-2.0, 3.0, -2.0, -2.0]
    np.testing.assert_array_equal(seen.best(2), codes[[1, 0]])
    np.testing.assert_array_equal(seen.targets(), -rank_loss(seen.values()))
    np.testing.assert_array_equal(seen.keys, space.class_keys(codes))
    again = Observations(space)
    again.load_state_dict(seen.state_dict())
    # Still known as failures: a worse value to come will be theirs.
    again.add(codes[:1], np.array([[-5.0]]))
    assert again.values().tolist() == [-5.0, 3.0, -5.0, -2.0, -5.0]
    np.testing.assert_array_equal(again.keys, space.class_keys(np.concatenate([codes, codes[:1]])))


def test_several_objectives_are_one_value_by_weights() -> None:
    """The best one of every weighting is in the front, and weightings reach all of a concave front."""
    space = get_space("nasbench201")
    rng = np.random.default_rng(0)
    # A concave front (a quarter of a circle seen from inside), and dominated points behind it.
    angles = np.linspace(0.05, 1.5, 9)
    front = 1 - np.stack([np.cos(angles), np.sin(angles)], axis=1) ** 0.5
    values = np.concatenate([front, front - 0.4 * rng.random((9, 2)) - 0.01])
    seen = Observations(space, Goal(2))
    seen.add(space.sample(18, rng), values)
    best = {int(seen.order(np.array([share, 1 - share]))[0]) for share in np.linspace(0.0, 1.0, 400)}
    assert best == set(range(9))
    # The exact value of one of them.
    losses = np.stack([rank_loss(column) for column in values.T], axis=1)
    weighted = np.array([0.3, 0.7]) * (losses - losses.min(axis=0))
    expected = -(weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))
    np.testing.assert_allclose(seen.values(np.array([0.3, 0.7])), expected)


def test_what_violates_constraints_has_less_than_all_that_meets_them() -> None:
    space = get_space("nasbench201")
    seen = Observations(space, Goal(1, 2))
    told = np.array([[9.0, -0.5, 1.0], [1.0, 0.0, 2.0], [8.0, -0.1, -0.1], [2.0, 3.0, 0.1], [np.nan, 1, 1]])
    seen.add(space.sample(5, np.random.default_rng(0)), told)
    values = seen.values()
    assert values[1] == 1.0
    assert values[3] == 2.0
    assert seen.order().tolist()[:3] == [3, 1, 2]
    assert values[4] == values.min() == values[0]
