"""Shares of operations against their definitions and distributions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crlso.errors import UserError
from supernet.relaxation import Gumbel, Softmax, entropy

SHAPE = torch.Size((2, 3, 4))
CPU = torch.device("cpu")


def test_softmax() -> None:
    alpha = torch.randn(SHAPE, dtype=torch.float64)
    shares = Softmax().shares(alpha, Softmax().noise(SHAPE, None, CPU))
    torch.testing.assert_close(shares, alpha.exp() / alpha.exp().sum(-1, keepdim=True))
    assert Softmax().noise(SHAPE, None, CPU) is None


@pytest.mark.parametrize("relaxation", [Softmax(), Gumbel(), Gumbel(hard=True)])
def test_precision(relaxation: Softmax | Gumbel) -> None:
    noise = relaxation.noise(SHAPE, None, CPU)
    for given, made in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shares = relaxation.shares(torch.randn(SHAPE, dtype=given), noise)
        assert shares.dtype == made
        torch.testing.assert_close(shares.sum(-1), torch.ones(SHAPE[:-1], dtype=made))


def test_gumbel_takes_operations_as_often_as_the_softmax_says() -> None:
    """The maximum of weights plus Gumbel noise has the softmax's probabilities (Maddison et al. 2014)."""
    alpha = torch.tensor([0.0, 1.0, -1.0, 0.5]).expand(200_000, 4)
    relaxation = Gumbel(hard=True)
    noise = relaxation.noise(alpha.shape, torch.Generator().manual_seed(0), CPU)
    taken = relaxation.shares(alpha, noise)
    assert set(taken.unique().tolist()) == {0.0, 1.0}
    # Five standard errors.
    torch.testing.assert_close(taken.mean(0), alpha[0].softmax(0), rtol=0, atol=5 * 0.5 / 200_000**0.5)


def test_hard_shares_have_the_gradient_of_soft_ones() -> None:
    weight = torch.randn(SHAPE)
    gradients = []
    for hard in (False, True):
        relaxation = Gumbel(2.0, hard=hard)
        alpha = nn.Parameter(torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)))
        noise = relaxation.noise(SHAPE, torch.Generator().manual_seed(2), CPU)
        (relaxation.shares(alpha, noise) * weight).sum().backward()
        gradients.append(alpha.grad)
    assert torch.equal(gradients[0], gradients[1])


def test_temperature() -> None:
    alpha = torch.randn(SHAPE)
    relaxation = Gumbel(1.0)
    noise = relaxation.noise(SHAPE, None, CPU)
    tensor = relaxation.temperature
    spread = []
    for temperature in (100.0, 1.0, 0.01):
        relaxation.anneal(temperature)
        shares = relaxation.shares(alpha, noise)
        torch.testing.assert_close(shares, ((alpha + noise) / temperature).softmax(-1))
        spread.append(entropy(shares).mean())
    assert spread[0] > spread[1] > spread[2]
    assert relaxation.temperature is tensor


def test_noise_follows_its_generator() -> None:
    first, again, other = (Gumbel().noise(SHAPE, torch.Generator().manual_seed(s), CPU) for s in (0, 0, 1))
    assert first is not None
    assert other is not None
    assert again is not None
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_temperatures(temperature: float) -> None:
    with pytest.raises(UserError, match="temperature must be a positive number"):
        Gumbel(temperature)
    with pytest.raises(UserError, match="temperature must be a positive number"):
        Gumbel().anneal(temperature)


def test_entropy() -> None:
    shares = torch.tensor([[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], [[1 / 3, 1 / 3, 1 / 3], [0.2, 0.3, 0.5]]])
    expected = torch.distributions.Categorical(probs=shares).entropy()
    got = entropy(shares)
    assert got.shape == (2, 2)
    assert got[0, 0] == 0
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-6)
