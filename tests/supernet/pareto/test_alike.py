"""Random free topologies of equal weights."""

from __future__ import annotations

import numpy as np
import pytest

from crlso.errors import UserError
from crlso.protocols import Codes, FloatArray
from crlso.spaces import get_space
from crlso.spaces.fxdarts import FreeTopologySpace
from supernet.pareto.alike import random_alike

SPACE = FreeTopologySpace(
    "snps", cells=8, nodes=4, operations=("sep_conv_3x3", "skip_connect", "dil_conv_5x5")
)
PRICES = np.array([3.0, 0.0, 1.0])
CONSTANT = 20.0


def weights(codes: Codes) -> FloatArray:
    """Linear: a constant, and a price per kind of operator, twice as high from cell 4 on."""
    by_cell = codes.reshape(len(codes), 8, 14, 3) * PRICES
    scales = np.repeat([1.0, 2.0], 4)[:, None, None]
    total: FloatArray = CONSTANT + (by_cell * scales).sum(axis=(1, 2, 3))
    return total


LOWEST = CONSTANT  # skips alone
HIGHEST = CONSTANT + 14 * 4 * 4 * (1 + 2)


@pytest.mark.parametrize("params", [60.0, 100.0, 300.0, 450.0, 650.0])
def test_weights_are_equal(params: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        found = random_alike(SPACE, weights, params, rng)
        assert SPACE.is_valid(found.code[None])[0]
        assert found.params == weights(found.code[None])[0]
        assert abs(found.params / params - 1) <= 0.02
        assert found.off == pytest.approx(found.params / params - 1)


def test_the_ends_of_the_space() -> None:
    """All operators that have weights, and the fewest weights: nodes with skip connections alone."""
    rng = np.random.default_rng(0)
    found = random_alike(SPACE, weights, HIGHEST, rng, tolerance=1e-9)
    assert found.code.reshape(8, 14, 3)[..., [0, 2]].all()
    found = random_alike(SPACE, weights, LOWEST, rng, tolerance=1e-9)
    assert not found.code.reshape(8, 14, 3)[..., [0, 2]].any()


def test_operators_are_drawn_without_preference() -> None:
    """At few weights there are as few operators without weights as of any other kind.

    Where only those with weights were taken away, nearly half of all skip connections (56 of 112) would be
    left, and a quarter of the others.
    """
    rng = np.random.default_rng(0)
    counts = np.zeros(3)
    for _ in range(20):
        code = random_alike(SPACE, weights, 200.0, rng).code
        counts += code.reshape(8, 14, 3).sum(axis=(0, 1)) / 20
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()


def test_draws_differ_and_repeat() -> None:
    first, second = (random_alike(SPACE, weights, 200.0, np.random.default_rng(seed)) for seed in (0, 1))
    again = random_alike(SPACE, weights, 200.0, np.random.default_rng(0))
    assert np.array_equal(first.code, again.code)
    assert (first.code != second.code).sum() > 20


def test_what_does_not_exist() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(
        UserError, match=r"with 5 weights to within 2\.0% was found; the nearest of 10 has 20"
    ):
        random_alike(SPACE, weights, 5.0, rng)
    with pytest.raises(UserError, match=r"must be larger than 0, got 0\.0 and 0\.02"):
        random_alike(SPACE, weights, 0.0, rng)


def test_the_whole_space() -> None:
    """7 operations, 784 bits."""
    space = get_space("fxdarts")
    assert isinstance(space, FreeTopologySpace)
    found = random_alike(space, lambda codes: codes.sum(axis=1) + 10.0, 60.0, np.random.default_rng(0))
    assert 59 <= found.params <= 61
