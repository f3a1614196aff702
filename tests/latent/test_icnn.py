"""The convex heads: convex whatever their parameters are, and equal to the formula in their docstring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crlso.latent import ConvexHeads, ModelSettings, check_convexity
from crlso.latent.icnn import FreeHeads
from tests.latent.small import shake

SIZES = [(layers, rank) for layers in (1, 2, 3, 4) for rank in (0, 8)]


def make_heads(
    heads: int = 2,
    dim: int = 5,
    *,
    width: int = 8,
    layers: int = 2,
    rank: int = 3,
    averaged: bool = False,
    seed: int = 0,
) -> ConvexHeads:
    generator = torch.Generator().manual_seed(seed)
    sizes: dict[str, Any] = {"width": width, "layers": layers, "rank": rank, "averaged": averaged}
    return ConvexHeads(heads, dim, **sizes, generator=generator).double()


def normal_points(dim: int, scale: float = 1.0) -> Callable[[int, torch.Generator], Tensor]:
    def points(n: int, generator: torch.Generator) -> Tensor:
        return scale * torch.randn(n, dim, generator=generator, dtype=torch.float64)

    return points


def head(heads: ConvexHeads, number: int) -> Callable[[Tensor], Tensor]:
    def function(z: Tensor) -> Tensor:
        value: Tensor = heads(z)[number]
        return value

    return function


def train(heads: ConvexHeads, steps: int) -> None:
    """Fits the heads to something that is not convex, at a rate that moves them far."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.05)
    dim = heads.linear.shape[1]
    for _ in range(steps):
        z = torch.randn(64, dim, generator=generator, dtype=torch.float64)
        target = 3 * torch.sin(2 * z).sum(-1) - z.square().sum(-1)
        optimizer.zero_grad()
        (heads(z) - target).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(("layers", "rank"), SIZES)
def test_convex_at_initialisation_and_after_training(layers: int, rank: int) -> None:
    heads = make_heads(1, 6, width=8, layers=layers, rank=rank)
    assert check_convexity(head(heads, 0), normal_points(6)).is_convex
    before = [parameter.clone() for parameter in heads.parameters()]
    train(heads, 50)
    assert all(not torch.equal(a, b) for a, b in zip(before, heads.parameters(), strict=True))
    report = check_convexity(head(heads, 0), normal_points(6))
    assert report.is_convex
    assert report.pairs == 100_000


def test_the_default_heads_are_curved_from_the_start() -> None:
    size = ModelSettings()
    heads = make_heads(
        1, size.latent_dim, width=size.head_width, layers=size.head_layers, rank=size.head_rank
    )
    assert check_convexity(head(heads, 0), normal_points(size.latent_dim)).passed


@settings(max_examples=40, deadline=None)
@given(
    size=st.sampled_from(SIZES),
    exponent=st.integers(-1, 4),
    spread=st.sampled_from([0.01, 1.0, 100.0]),
    seed=st.integers(0, 1000),
)
def test_convex_whatever_the_parameters_are(
    size: tuple[int, int], exponent: int, spread: float, seed: int
) -> None:
    layers, rank = size
    heads = make_heads(2, 4, width=6, layers=layers, rank=rank, seed=seed)
    shake(heads, 10.0**exponent, seed)
    for number in range(2):
        report = check_convexity(head(heads, number), normal_points(4, spread), pairs=3000, seed=seed)
        assert np.isfinite(report.deviation)
        assert report.is_convex, report


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0])
@pytest.mark.parametrize(("layers", "rank"), SIZES)
def test_the_hessian_is_positive_semidefinite(layers: int, rank: int, scale: float) -> None:
    heads = make_heads(2, 4, width=6, layers=layers, rank=rank)
    shake(heads, scale, 0)
    points = 2 * torch.randn(15, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for number in range(2):

        def value(z: Tensor, number: int = number) -> Tensor:
            result: Tensor = heads(z[None])[number, 0]
            return result

        hessians = torch.vmap(torch.func.hessian(value))(points)
        eigenvalues = torch.linalg.eigvalsh(hessians)
        assert eigenvalues.min() >= -1e-12 * (1 + eigenvalues.abs().max())
        assert eigenvalues.max() > 0


def elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize(("layers", "rank"), SIZES)
def test_equals_the_formula(layers: int, rank: int, averaged: bool) -> None:
    heads = make_heads(2, 4, width=6, layers=layers, rank=rank, averaged=averaged)
    shake(heads, 0.5, 3)
    z = np.random.default_rng(0).standard_normal(4)
    values = heads(torch.from_numpy(z)[None])[:, 0].detach()
    weights = {name: parameter.detach().numpy() for name, parameter in heads.named_parameters()}
    for k in range(2):
        hidden = elu(weights["skips.0"][k].T @ z + weights["biases.0"][k, 0])
        for layer in range(1, layers):
            positive = np.log1p(np.exp(weights[f"thetas.{layer - 1}"][k])) / 6
            assert (positive > 0).all()
            skip = weights[f"skips.{layer}"][k].T @ z
            hidden = elu(positive.T @ hidden + skip + weights[f"biases.{layer}"][k, 0])
        out = np.log1p(np.exp(weights["out_theta"][k, :, 0])) / (6 if averaged else 6**0.5)
        expected = out @ hidden + weights["linear"][k, :, 0] @ z + weights["constant"][k, 0, 0]
        if rank:
            expected += 0.5 * ((weights["quadratic"][k].T @ z) ** 2).sum()
        assert float(values[k]) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("layers", "rank"), SIZES)
def test_heads_are_independent(layers: int, rank: int) -> None:
    heads = make_heads(3, 5, layers=layers, rank=rank)
    z = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = heads(z).detach()
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter[1] += 1.0
    after = heads(z).detach()
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert ((after[1] - before[1]).abs() > 1e-6).all()


def test_shared_points_and_points_per_head() -> None:
    heads = make_heads(3, 5)
    z = torch.randn(3, 20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shared = heads(z[0])
    assert shared.shape == (3, 20)
    torch.testing.assert_close(heads(z[0].expand(3, -1, -1)), shared, rtol=1e-14, atol=1e-14)
    own = heads(z)
    for number in range(3):
        torch.testing.assert_close(own[number], heads(z[number])[number], rtol=1e-14, atol=1e-14)


def test_the_generator_decides_the_parameters() -> None:
    first, again, other = (make_heads(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["skips.0"], other["skips.0"])


def free_heads(layers: int, rank: int, *, width: int = 6, dim: int = 4) -> FreeHeads:
    generator = torch.Generator().manual_seed(0)
    return FreeHeads(2, dim, width=width, layers=layers, rank=rank, generator=generator).double()


@pytest.mark.parametrize(("layers", "rank"), SIZES)
def test_heads_without_the_constraint_are_not_convex(layers: int, rank: int) -> None:
    """By the hidden weights alone (rank 0), and by the quadratic term alone."""
    heads = free_heads(layers, rank)
    assert not check_convexity(head(heads, 0), normal_points(4), pairs=2000).is_convex
    if rank:
        with torch.no_grad():
            heads.out_theta.zero_()
        assert not check_convexity(head(heads, 0), normal_points(4), pairs=2000).is_convex


@pytest.mark.parametrize(("layers", "rank"), SIZES)
def test_convex_heads_are_among_those_without_the_constraint(layers: int, rank: int) -> None:
    convex, free = make_heads(2, 4, width=6, layers=layers, rank=rank), free_heads(layers, rank)
    drawn = free.state_dict()
    # The same draws at the start, no offset, and one number more for each square.
    for name, value in convex.state_dict().items():
        if name == "constant" or (name.startswith("biases.") and name != "biases.0"):
            assert (value < 0).all()
            assert (drawn[name] == 0).all()
        else:
            assert torch.equal(drawn[name], value)
    assert set(drawn) - set(convex.state_dict()) == ({"signs"} if rank else set())
    if rank:
        assert drawn["signs"].tolist() == [[[1.0, -1.0] * (rank // 2)]] * 2
    with torch.no_grad():
        for theta in free.thetas:
            theta.copy_(ConvexHeads.weights(theta) / 6**0.5)
        free.out_theta.copy_(ConvexHeads.weights(free.out_theta))
        for bias, other in zip(free.biases, convex.biases, strict=True):
            bias.copy_(other)
        free.constant.copy_(convex.constant)
        if free.signs is not None:
            free.signs.fill_(1.0)
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(free(z), convex(z))
    torch.testing.assert_close(free.head(1)(z)[0], free(z)[1])


@pytest.mark.parametrize("averaged", [False, True])
def test_one_head_of_an_ensemble(averaged: bool) -> None:
    heads = make_heads(3, 5, averaged=averaged)
    z = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(heads.head(1)(z)[0], heads(z)[1])
