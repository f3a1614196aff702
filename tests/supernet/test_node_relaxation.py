"""Shares per node against their definitions; masks; extreme architecture weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from crlso.errors import UserError
from supernet.relaxation import Masked, NodeReLU, NodeSoftmax, Relaxation, node_entropy, node_sums

EDGES = tuple((source, node) for node in range(2, 6) for source in range(node))
SHAPE = torch.Size((3, 14, 2))
NODES = (slice(0, 2), slice(2, 5), slice(5, 9), slice(9, 14))  # rows of the edges into each node
RELAXATIONS: tuple[Relaxation, ...] = (NodeSoftmax(EDGES), NodeReLU(EDGES), NodeSoftmax(EDGES, 0.5))


def drawn(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_softmax_is_of_a_node() -> None:
    alpha = drawn()
    shares = NodeSoftmax(EDGES, 0.7).shares(alpha, None)
    for rows in NODES:
        powers = (alpha[:, rows] / 0.7).exp()
        torch.testing.assert_close(shares[:, rows], powers / powers.sum((1, 2), keepdim=True))


def test_relu_is_of_a_node() -> None:
    alpha = drawn()
    shares = NodeReLU(EDGES).shares(alpha, None)
    for rows in NODES:
        parts = alpha[:, rows].clamp(min=0)
        torch.testing.assert_close(shares[:, rows], parts / parts.sum((1, 2), keepdim=True))
    equal = NodeReLU(EDGES).shares(torch.full(SHAPE, 2.0), None)
    torch.testing.assert_close(equal[:, :2], torch.full((3, 2, 2), 1 / 4))
    torch.testing.assert_close(equal[:, 9:], torch.full((3, 5, 2), 1 / 10))


def test_a_node_of_negative_weights_has_its_largest() -> None:
    alpha = nn.Parameter(-1 - drawn().abs())
    shares = NodeReLU(EDGES).shares(alpha, None)
    for rows in NODES:
        flat, weights = shares[:, rows].flatten(1), alpha[:, rows].flatten(1)
        assert torch.equal(flat, nn.functional.one_hot(weights.argmax(1), flat.shape[1]).double())
    shares.square().sum().backward()
    assert alpha.grad is not None
    assert alpha.grad.abs().max() == 0


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_gradients(relaxation: Relaxation) -> None:
    alpha = (0.1 + drawn().abs()).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: relaxation.shares(a, None), alpha)
    assert torch.autograd.gradcheck(lambda a: relaxation.shares(a, None), alpha, check_forward_ad=True)
    assert relaxation.noise(SHAPE, None, torch.device("cpu")) is None


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_precision(relaxation: Relaxation) -> None:
    for kind, made in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shares = relaxation.shares(drawn().to(kind), None)
        assert shares.dtype == made
        torch.testing.assert_close(node_sums(shares, EDGES), torch.ones(3, 4, dtype=made))


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_a_mask_is_as_good_as_absence(relaxation: Relaxation) -> None:
    """Without an operation: the shares of the other one, alone in a smaller tensor."""
    alpha, alive = nn.Parameter(drawn()), torch.ones(SHAPE, dtype=torch.bool)
    masked = Masked(relaxation, alive)
    torch.testing.assert_close(masked.shares(alpha, None), relaxation.shares(alpha, None))
    alive[:, :, 1] = False  # read anew
    shares = masked.shares(alpha, None)
    torch.testing.assert_close(shares[:, :, :1], relaxation.shares(alpha[:, :, :1], None))
    assert shares[:, :, 1].abs().max() == 0
    (shares[:, :, 0].square().sum() + node_entropy(shares, EDGES).sum()).backward()
    assert alpha.grad is not None
    assert alpha.grad[:, :, 1].abs().max() == 0
    assert alpha.grad[:, :, 0].abs().max() > 0


def test_sums_of_nodes() -> None:
    values = drawn()
    expected = torch.stack([values[:, rows].sum((1, 2)) for rows in NODES], dim=1)
    torch.testing.assert_close(node_sums(values, EDGES), expected)


def test_entropy_of_nodes() -> None:
    shares = NodeSoftmax(EDGES).shares(3 * drawn(), None)
    shares[0, :2] = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    expected = [[scipy.stats.entropy(shares[k, rows].flatten().numpy()) for rows in NODES] for k in range(3)]
    np.testing.assert_allclose(node_entropy(shares, EDGES).numpy(), expected, rtol=1e-12, atol=1e-15)
    assert expected[0][0] == 0
    equal = torch.full(SHAPE, 1 / 10, dtype=torch.float64)
    torch.testing.assert_close(node_entropy(equal, EDGES)[:, 3].exp(), torch.full((3,), 10.0).double())


def test_gradient_of_the_entropy() -> None:
    alpha = nn.Parameter(drawn())
    alive = drawn(1) > -0.5
    alive[:, [0, 2, 5, 9], 0] = True
    node_entropy(Masked(NodeSoftmax(EDGES), alive).shares(alpha, None), EDGES).sum().backward()
    # Once more, node by node over the living entries alone: log Z minus the mean of the weights.
    again = alpha.detach().clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for k in range(3):
        for rows in NODES:
            weights = again[k, rows][alive[k, rows]]
            total = total + weights.logsumexp(0) - (weights.softmax(0) * weights).sum()
    total.backward()
    assert alpha.grad is not None
    assert again.grad is not None
    torch.testing.assert_close(alpha.grad, again.grad, rtol=1e-10, atol=1e-14)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [0.0, -0.0, 1e-30, -1e-30, 1e-8, 1.0, -1.0, 3.5, 90.0, -90.0, 1e4, -1e4, 1e30, -1e30]
        ),
        min_size=84,
        max_size=84,
    ),
    st.lists(st.booleans(), min_size=84, max_size=84),
    st.sampled_from(RELAXATIONS),
)
def test_extreme_weights_have_shares_and_gradients(
    weights: list[float], left: list[bool], relaxation: Relaxation
) -> None:
    alpha = nn.Parameter(torch.tensor(weights).view(SHAPE))
    alive = torch.tensor(left).view(SHAPE)
    alive[:, [0, 2, 5, 9], 0] = True
    shares = Masked(relaxation, alive).shares(alpha, None)
    torch.testing.assert_close(node_sums(shares, EDGES), torch.ones(3, 4))
    assert (shares >= 0).all()
    assert (shares[~alive] == 0).all()
    (node_entropy(shares, EDGES).sum() + torch.log1p(50 * shares).sum()).backward()
    assert alpha.grad is not None
    assert torch.isfinite(alpha.grad).all()
    assert (alpha.grad[~alive] == 0).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_bad_temperatures(temperature: float) -> None:
    with pytest.raises(UserError, match="temperature must be a positive number"):
        NodeSoftmax(EDGES, temperature)


@pytest.mark.parametrize("make", [NodeSoftmax, NodeReLU, lambda edges: node_sums(drawn(), edges)])
def test_edges_out_of_order(make: type[NodeReLU]) -> None:
    with pytest.raises(UserError, match=r"ordered by their targets .* got targets \[2, 3, 2\]"):
        make([(0, 2), (0, 3), (1, 2)])
