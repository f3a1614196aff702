"""Convolutions with gradients of our own: values and derivatives of several orders against torch's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from supernet.networks.relaxed.kernels import depthwise, pointwise

Function = Callable[[Tensor, Tensor], Tensor]


def torchs_depthwise(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight.flatten(0, 1), padding=2, groups=x.shape[1])


def torchs_pointwise(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight.flatten(0, 1), groups=len(weight))


KINDS: dict[str, tuple[Function, Function, tuple[int, ...]]] = {
    "depthwise": (depthwise, torchs_depthwise, (2, 3, 1, 5, 5)),
    "pointwise": (pointwise, torchs_pointwise, (2, 3, 3, 1, 1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_torchs(kind: str) -> None:
    torch.manual_seed(0)
    ours, theirs, shape = KINDS[kind]
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight, other = torch.randn(2, *shape, dtype=torch.float64).unbind(0)
    moved = torch.randn_like(x)

    def derivatives(function: Function) -> list[Tensor]:
        def loss(x: Tensor, weight: Tensor) -> Tensor:
            return function(x, weight).sin().sum()

        gradient = torch.func.grad(loss, argnums=(0, 1))
        _, along = torch.func.jvp(gradient, (x, weight), (moved, other))
        _, one_sided = torch.func.jvp(lambda w: gradient(x, w)[0], (weight,), (other,))
        a, b = x.clone().requires_grad_(), weight.clone().requires_grad_()
        first = torch.autograd.grad(loss(a, b), [a, b], create_graph=True)
        inner = (first[0] * moved).sum() + (first[1] * other).sum()
        second = torch.autograd.grad(inner, [a, b])
        return [function(x, weight), *gradient(x, weight), *along, one_sided, *second]

    for found, expected in zip(derivatives(ours), derivatives(theirs), strict=True):
        torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-11, atol=1e-11)
