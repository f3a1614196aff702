"""Bounds of convex functions over a ball, against many points, brute-force descent and closed forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from crlso.latent import ConvexHeads, TrustRegion
from crlso.latent.certificate import certify, lower_bound
from tests.latent.small import quadratic_heads, shake

torch.set_num_threads(1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_of(heads: ConvexHeads) -> Callable[[Tensor], Tensor]:
    def function(z: Tensor) -> Tensor:
        values: Tensor = heads(z).mean(0)
        return values

    return function


def in_ball(region: TrustRegion, count: int, seed: int) -> Tensor:
    """Uniform in a ball."""
    dim = len(region.centre)
    directions = normal(count, dim, seed=seed)
    directions = directions / directions.norm(dim=1, keepdim=True)
    radii = torch.rand(count, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return region.centre + region.radius * radii ** (1 / dim) * directions


def least_by_brute_force(function: Callable[[Tensor], Tensor], region: TrustRegion, seed: int) -> float:
    """Projected gradient descent from many starts, with steps that get shorter."""
    z = in_ball(region, 50, seed)
    for step in range(400):
        z = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(z).sum(), z)
        length = 0.3 * region.radius / (1 + step)
        z = region.project(
            z.detach() - length * gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-9)
        )
    return float(function(z).detach().min())


def random_function(seed: int, dim: int, layers: int, rank: int, scale: float) -> Callable[[Tensor], Tensor]:
    heads = ConvexHeads(
        3, dim, width=6, layers=layers, rank=rank, generator=torch.Generator().manual_seed(seed)
    )
    shake(heads, scale, seed)
    return mean_of(heads.double())


CASES = [
    (0, 3, 1, 2, 0.0, 1.0),
    (1, 5, 2, 3, 1.0, 0.3),
    (2, 5, 2, 0, 1.0, 6.0),
    (3, 16, 1, 8, 0.5, 4.0),
    (4, 2, 3, 2, 2.0, 30.0),
]


@pytest.mark.parametrize(("seed", "dim", "layers", "rank", "scale", "radius"), CASES)
def test_nothing_in_the_ball_is_below_the_bound(
    seed: int, dim: int, layers: int, rank: int, scale: float, radius: float
) -> None:
    function = random_function(seed, dim, layers, rank, scale)
    region = TrustRegion(normal(dim, seed=seed + 1), radius)
    certificate = certify(function, region, normal(dim, seed=seed + 2))
    with torch.no_grad():
        values = function(in_ball(region, 100_000, seed))
    rounding = 1e-9 * (1 + float(values.abs().max()))
    assert certificate.bound <= float(values.min()) + rounding
    least = least_by_brute_force(function, region, seed)
    assert certificate.bound <= least + rounding
    # And not far below: a bound of no use would pass everything above.
    assert certificate.bound >= least - 2e-2 * float(values.max() - values.min())
    assert certificate.value - certificate.bound <= 1e-4 * float(values.max() - values.min())
    assert float(function(certificate.point[None])[0].detach()) == pytest.approx(certificate.value)


def test_tight_where_the_minimum_is_inside() -> None:
    root = normal(1, 4, 4)
    linear = normal(1, 4, seed=1)
    hessian = root[0] @ root[0].T
    best = torch.linalg.solve(hessian, -linear[0])
    least = float(best @ hessian @ best / 2 + linear[0] @ best)
    region = TrustRegion(best + 0.1, 3.0)
    certificate = certify(mean_of(quadratic_heads(root, linear)), region, best + 1)
    assert certificate.bound <= least
    assert certificate.bound == pytest.approx(least, abs=1e-5 * abs(least))


def test_of_a_linear_function_it_is_the_least_value() -> None:
    """Whatever the point: the tangent is the function."""
    linear, centre, radius = normal(1, 5), normal(5, seed=1), 2.5
    region = TrustRegion(centre, radius)
    least = float(linear[0] @ centre) - radius * float(linear.norm())
    certificate = certify(
        mean_of(quadratic_heads(torch.zeros(1, 5, 1, dtype=torch.float64), linear)), region, centre
    )
    assert certificate.bound == pytest.approx(least)
    for point in normal(20, 5, seed=2) * 10:
        assert lower_bound(float(linear[0] @ point), linear[0], point, region) == pytest.approx(least)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("far", [0.0, 1.0, 10.0])
def test_a_bad_point_gives_a_bound_too(seed: int, far: float) -> None:
    function = random_function(seed, 5, 2, 3, 1.0)
    region = TrustRegion(normal(5, seed=seed + 1), 2.0)
    with torch.no_grad():
        least = float(function(in_ball(region, 20_000, seed)).min())
    for point in region.centre + far * normal(50, 5, seed=seed + 2):
        at = point.clone().requires_grad_()
        value = function(at[None])[0]
        (gradient,) = torch.autograd.grad(value, at)
        assert lower_bound(float(value.detach()), gradient, point, region) <= least


def test_without_a_step_it_is_the_bound_at_the_start() -> None:
    function = random_function(0, 4, 1, 2, 1.0)
    region = TrustRegion(normal(4, seed=1).float(), 1.5)
    start = region.project(normal(4, seed=2).float()).double()
    certificate = certify(function, region, start, steps=0)
    at = certificate.point.clone().requires_grad_()
    value = function(at[None])[0]
    (gradient,) = torch.autograd.grad(value, at)
    torch.testing.assert_close(certificate.point, start, atol=1e-6, rtol=0)
    assert certificate.bound == pytest.approx(
        lower_bound(float(value.detach()), gradient, at.detach(), region)
    )
    assert certify(function, region, start).bound > certificate.bound
