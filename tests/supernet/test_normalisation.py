"""Derivatives of derivatives of a normalisation, in every order, against central differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp

from supernet.networks.normalisation import OwnBatch

Function = Callable[[Tensor], Tensor]
GENERATOR = torch.Generator().manual_seed(0)
X, ALONG, ACROSS = torch.randn(3, 4, 3, 5, 5, dtype=torch.float64, generator=GENERATOR).unbind()
SCALE, LONGER = torch.rand(2, 3, dtype=torch.float64, generator=GENERATOR).unbind()


def along(function: Function) -> Function:
    """Its forward derivative."""
    return lambda x: jvp(function, (x,), (ALONG,))[1]


def along_all(x: Tensor) -> Tensor:
    """Of images and scale together."""
    return jvp(OwnBatch().normalise, (x, SCALE), (ALONG, LONGER))[1]


def gradient(function: Function) -> Function:
    return grad(lambda x: function(x).sin().sum())


def plain(x: Tensor) -> Tensor:
    return OwnBatch().normalise(x)


def scaled(x: Tensor) -> Tensor:
    return OwnBatch().normalise(x, SCALE)


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "contiguous"])
@pytest.mark.parametrize(
    "function",
    [along(plain), along(scaled), along_all, gradient(plain), gradient(scaled)],
    ids=["forward", "forward scaled", "forward in both", "reverse", "reverse scaled"],
)
def test_second_derivatives(function: Function, last: bool) -> None:
    x = X.contiguous(memory_format=torch.channels_last) if last else X
    step = 1e-5
    expected = (function(x + step * ACROSS) - function(x - step * ACROSS)) / (2 * step)
    forward = jvp(function, (x,), (ACROSS,))[1]
    torch.testing.assert_close(forward, expected, rtol=1e-6, atol=1e-7)
    weights = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).view_as(expected)
    reverse = grad(lambda x: (function(x) * weights).sum())(x)
    torch.testing.assert_close((reverse * ACROSS).sum(), (expected * weights).sum(), rtol=1e-6, atol=1e-7)
