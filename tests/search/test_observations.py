"""What model-based methods keep of what they were told."""

from __future__ import annotations

import numpy as np

from crlso.search.observations import Observations
from crlso.spaces import get_space
from crlso.targets import rank_loss


def test_failures_count_like_the_worst() -> None:
    space = get_space("nasbench201")
    codes = space.sample(4, np.random.default_rng(0))
    seen = Observations(space)
    seen.add(codes[:1], np.array([[np.nan]]))
    assert seen.values.tolist() == [0.0]
    seen.add(codes[1:], np.array([[3.0, 9.0], [np.nan, 1.0], [-2.0, 0.0]]))
    assert seen.values.tolist() == [-2.0, 3.0, -2.0, -2.0]
    np.testing.assert_array_equal(seen.best(2), codes[[1, 0]])
    np.testing.assert_array_equal(seen.targets(), -rank_loss(seen.values))
    np.testing.assert_array_equal(seen.keys, space.class_keys(codes))
    again = Observations(space)
    again.load_state_dict(seen.state_dict())
    # Still known as failures: a worse value to come will be theirs.
    again.add(codes[:1], np.array([[-5.0]]))
    assert again.values.tolist() == [-5.0, 3.0, -5.0, -2.0, -5.0]
    np.testing.assert_array_equal(again.keys, space.class_keys(np.concatenate([codes, codes[:1]])))
