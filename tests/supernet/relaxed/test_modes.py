"""What the relaxed networks are used with: second derivatives, other precisions and devices, a compiler."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from supernet.networks import Skeleton
from supernet.networks.relaxed import (
    DARTSFast,
    EdgeCellFast,
    FastSupernet,
    divide,
    initialise_supernet,
    merge,
)
from supernet.networks.supernet import Supernet
from tests.supernet.dispatch import NoWaiting
from tests.supernet.relaxed.test_fast import SPACES, build, shapes

NAMES = ("darts", "all")


@pytest.fixture(params=NAMES)
def fast(request: pytest.FixtureRequest) -> FastSupernet:
    torch.manual_seed(0)
    network = build(request.param).double()
    initialise_supernet(network, torch.Generator().manual_seed(1))
    return network


def inputs(network: FastSupernet) -> tuple[Tensor, Tensor]:
    name = "darts" if isinstance(network, DARTSFast) else "all"
    torch.manual_seed(2)
    images = torch.randn(4, 2, 10, 8, dtype=torch.float64)
    return images, torch.randn(*shapes(name), dtype=torch.float64).softmax(-1)


def loss_of(network: Supernet, weights: dict[str, Tensor], images: Tensor, mixing: Tensor) -> Tensor:
    logits = torch.func.functional_call(network, weights, (images, mixing))
    return F.cross_entropy(logits, torch.arange(len(logits)))


def test_second_derivatives_are_the_references(fast: FastSupernet) -> None:
    """Of the gradient by the shares along a direction of weights: forward over reverse, and reverse twice."""
    reference = fast.to_reference()
    images, mixing = inputs(fast)
    directions = {name: torch.randn_like(weight) * 0.1 for name, weight in reference.named_parameters()}

    def both(network: Supernet, directions: dict[str, Tensor]) -> list[Tensor]:
        weights = {name: weight.detach() for name, weight in network.named_parameters()}

        def gradient(weights: dict[str, Tensor]) -> Tensor:
            return torch.func.grad(lambda m: loss_of(network, weights, images, m))(mixing)

        value, along = torch.func.jvp(gradient, (weights,), (directions,))
        leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
        shares = mixing.clone().requires_grad_()
        loss = loss_of(network, leaves, images, shares)
        slopes = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        slope = torch.stack([(a * directions[b]).sum() for a, b in zip(slopes, leaves, strict=True)]).sum()
        return [value, along, torch.autograd.grad(slope, shares)[0]]

    ours = both(fast, merge(fast.layout(), directions))
    theirs = both(reference, directions)
    for found, expected in zip(ours, theirs, strict=True):
        assert float((found - expected).abs().max()) < 1e-10 * float(expected.abs().max())
    torch.testing.assert_close(ours[1], ours[2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("path", ["fast", "reference"])
def test_a_derivative_of_a_forward_derivative_is_right(fast: FastSupernet, path: str) -> None:
    """Reverse over forward, which torch's own batch_norm gets wrong, against reverse twice."""
    network: Supernet = fast if path == "fast" else fast.to_reference()
    images, mixing = inputs(fast)
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    directions = {name: torch.randn_like(weight) * 0.1 for name, weight in weights.items()}

    def slope(weights: dict[str, Tensor], mixing: Tensor) -> Tensor:
        loss = partial(loss_of, network, images=images, mixing=mixing)
        return torch.func.jvp(loss, (weights,), (directions,))[1]

    by_weights, by_shares = torch.func.grad(slope, argnums=(0, 1))(weights, mixing)
    leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    shares = mixing.clone().requires_grad_()
    loss = loss_of(network, leaves, images, shares)
    slopes = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
    along = torch.stack([(a * directions[b]).sum() for a, b in zip(slopes, leaves, strict=True)]).sum()
    expected = torch.autograd.grad(along, [shares, *leaves.values()])
    for found, right in zip([by_shares, *by_weights.values()], expected, strict=True):
        assert float((found - right).abs().max()) <= 1e-9 * float(expected[0].abs().max())


def test_layouts_are_one_to_one(fast: FastSupernet) -> None:
    """Weights, and with them momentum, go to the other path and back."""
    reference = fast.to_reference()
    weights = dict(fast.state_dict())
    assert divide(fast.layout(), weights).keys() == reference.state_dict().keys()
    again = merge(fast.layout(), divide(fast.layout(), weights))
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    # Fewer tensors.
    assert len(weights) < len(reference.state_dict()) / 2


def test_initial_weights_are_the_same_for_both_paths(fast: FastSupernet) -> None:
    reference = fast.reference()
    initialise_supernet(reference, torch.Generator().manual_seed(1))
    expected = merge(fast.layout(), reference.state_dict())
    single = fast.float()  # random numbers depend on the precision that they are drawn in
    initialise_supernet(single, torch.Generator().manual_seed(1))
    found = single.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_half_precision_is_near(fast: FastSupernet) -> None:
    images, mixing = (x.float() for x in inputs(fast))
    network = fast.float()
    exact = network(images, mixing).detach()
    shares = mixing.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(images, shares)
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.detach().float() - exact).abs().max()) < 0.05 * float(exact.abs().max())
    gradients = torch.autograd.grad(rounded.float().sum(), [shares, *network.parameters()])
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_a_step_stays_on_its_device(fast: FastSupernet) -> None:
    images, mixing = (x.to("meta") for x in inputs(fast))
    network = fast.to("meta")
    shares = mixing.requires_grad_()
    with NoWaiting("meta"):
        logits = network(images, shares)
        gradients = torch.autograd.grad(logits.sum(), [shares, *network.parameters()])
    assert gradients[0].shape == mixing.shape


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_is_the_same() -> None:
    """A minute and a half for a network of one cell; nothing of it may be left to Python."""
    torch.manual_seed(0)
    network = EdgeCellFast(SPACES["nasbench201"], Skeleton(4, 1, 1), inputs=2, classes=5)
    images, mixing = torch.randn(4, 2, 10, 8), torch.randn(1, 6, 5).softmax(-1)
    initialise_supernet(network, torch.Generator().manual_seed(1))
    compiled = torch.compile(network, fullgraph=True)

    def results(function: Any) -> list[Tensor]:
        shares = mixing.clone().requires_grad_()
        logits = function(images, shares)
        return [logits, *torch.autograd.grad(logits.square().sum(), [shares, *network.parameters()])]

    for found, expected in zip(results(compiled), results(network), strict=True):
        scale = max(float(expected.detach().abs().max()), 0.1)
        assert float((found - expected).detach().abs().max()) < 1e-4 * scale
