"""The check itself, on functions whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from crlso.latent import check_convexity

DIM = 8


def points(n: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, DIM, generator=generator, dtype=torch.float64)


def ripple(amplitude: float, frequency: float) -> Callable[[Tensor], Tensor]:
    """A bowl with waves; convex if and only if ``amplitude * frequency ** 2 <= 1``."""

    def function(z: Tensor) -> Tensor:
        return z.square().sum(-1) / 2 + amplitude * torch.sin(frequency * z[:, 0])

    return function


def test_accepts_the_squared_norm_and_knows_its_gap() -> None:
    report = check_convexity(lambda z: z.square().sum(-1), points)
    assert report.passed
    # (|x|^2 + |y|^2) / 2 - |(x + y) / 2|^2 = |x - y|^2 / 4, of mean DIM / 2; |x|^2 has variance 2 DIM.
    assert report.mean_gap == pytest.approx(DIM / 2, rel=0.02)
    assert report.deviation == pytest.approx(math.sqrt(2 * DIM), rel=0.02)
    assert report.relative_gap == pytest.approx(report.mean_gap / report.deviation)
    # The gap at distance .001 is 2.5e-7 everywhere: the smallest of all.
    assert report.worst_violation == pytest.approx(-(0.001**2) / 4, rel=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda z: z.abs().sum(-1),
        lambda z: torch.logsumexp(z, -1),
        lambda z: z.norm(dim=-1),
        lambda z: torch.exp(z).sum(-1),
    ],
    ids=["one-norm", "logsumexp", "norm", "exp"],
)
def test_accepts_convex_functions(function: Callable[[Tensor], Tensor]) -> None:
    assert check_convexity(function, points).passed


@pytest.mark.parametrize("value", [0.0, 3.0, -1e9])
def test_rejects_a_constant(value: float) -> None:
    report = check_convexity(lambda z: torch.full_like(z[:, 0], value), points)
    assert report.is_convex
    assert not report.is_curved
    assert not report.passed


def test_rejects_an_affine_function_as_flat() -> None:
    report = check_convexity(lambda z: 100 * z[:, 0] - z[:, 1] + 5, points)
    assert report.is_convex
    assert not report.is_curved
    assert not report.passed


@pytest.mark.parametrize(("amplitude", "frequency"), [(0.5, 5.0), (0.01, 20.0), (1e-4, 200.0)])
def test_rejects_ripples(amplitude: float, frequency: float) -> None:
    report = check_convexity(ripple(amplitude, frequency), points)
    assert not report.is_convex
    assert not report.passed


@pytest.mark.parametrize(("amplitude", "frequency"), [(0.03, 5.0), (2e-5, 200.0)])
def test_accepts_ripples_that_stay_convex(amplitude: float, frequency: float) -> None:
    assert check_convexity(ripple(amplitude, frequency), points).passed


def test_fine_ripples_show_at_small_distances_only() -> None:
    assert check_convexity(ripple(1e-4, 200.0), points, distances=()).is_convex
    assert not check_convexity(ripple(1e-4, 200.0), points, distances=(0.001,)).is_convex


def test_rejects_concave_functions() -> None:
    for function in (lambda z: -z.square().sum(-1), lambda z: torch.tanh(z).sum(-1)):
        assert not check_convexity(function, points).passed


def test_uses_the_pairs_it_is_told() -> None:
    asked: list[tuple[int, ...]] = []

    def function(z: Tensor) -> Tensor:
        assert z.dtype == torch.float64
        asked.append(tuple(z.shape))
        return z.square().sum(-1)

    report = check_convexity(function, points, pairs=123, distances=(0.5, 0.2, 0.1))
    assert report.pairs == 123
    assert asked == [(123, DIM)] * 12
    again = check_convexity(function, points, pairs=123, distances=(0.5, 0.2, 0.1))
    assert again == report
    assert check_convexity(function, points, pairs=123, seed=1) != report


def test_the_distances_are_what_they_say() -> None:
    seen: list[Tensor] = []

    def function(z: Tensor) -> Tensor:
        seen.append(z)
        return z.square().sum(-1)

    check_convexity(function, points, pairs=50, distances=(0.25,))
    _, _, _, x, y, middle = seen
    torch.testing.assert_close((x - y).norm(dim=1), torch.full((50,), 0.25, dtype=torch.float64))
    torch.testing.assert_close(middle, (x + y) / 2)
