"""Descent against closed forms: quadratics with a minimum inside and outside of a ball."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from crlso.latent import ConvexHeads, DescentSettings, TrustRegion, descend
from tests.latent.small import quadratic_heads, shake


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def minimum_in_ball(matrix: np.ndarray, linear: np.ndarray, centre: np.ndarray, radius: float) -> float:
    """Least value of ``z'Hz / 2 + a'z`` over a ball, from the optimality conditions of the problem."""

    def point(multiplier: float) -> np.ndarray:
        return np.linalg.solve(matrix + multiplier * np.eye(len(centre)), multiplier * centre - linear)

    best = point(0.0)
    if np.linalg.norm(best - centre) > radius:
        multiplier = optimize.brentq(lambda m: np.linalg.norm(point(m) - centre) - radius, 0.0, 1e6)
        best = point(multiplier)
    return float(best @ matrix @ best / 2 + linear @ best)


@pytest.mark.parametrize("radius", [0.3, 1.0, 30.0])
def test_reaches_the_minimum_of_a_quadratic(radius: float) -> None:
    dim, count = 4, 3
    roots = torch.eye(dim, dtype=torch.float64) + 0.15 * normal(count, dim, dim)
    linear = normal(count, dim, seed=1)
    heads = quadratic_heads(roots, linear)
    centre = normal(dim, seed=2)
    result = descend(
        heads,
        centre + normal(count, 5, dim, seed=3),
        TrustRegion(centre, radius),
        neighbour_distance=0.5,
        settings=DescentSettings(steps=400),
    )
    for k in range(count):
        hessian = (roots[k] @ roots[k].T).numpy()
        expected = minimum_in_ball(hessian, linear[k].numpy(), centre.numpy(), radius)
        np.testing.assert_allclose(result.values[k].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_minimum_of_a_linear_function_is_at_the_boundary() -> None:
    linear = normal(2, 3)
    heads = quadratic_heads(torch.zeros(2, 3, 1, dtype=torch.float64), linear)
    centre, radius = normal(3, seed=1), 2.0
    result = descend(
        heads,
        centre + 0.1 * normal(2, 4, 3, seed=2),
        TrustRegion(centre, radius),
        neighbour_distance=0.2,
        settings=DescentSettings(steps=60),
    )
    expected = centre - radius * linear / linear.norm(dim=1, keepdim=True)
    torch.testing.assert_close(result.points, expected[:, None].expand(-1, 4, -1), atol=1e-4, rtol=0)


def test_the_negative_of_a_function_leads_to_its_maximum() -> None:
    """Of a convex function it lies on the boundary: here the farthest point of the ball."""
    roots = torch.eye(3, dtype=torch.float64)[None]
    heads = quadratic_heads(roots, torch.zeros(1, 3, dtype=torch.float64))
    centre = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    result = descend(
        lambda z: -heads(z),
        centre + 0.3 * normal(1, 4, 3),
        TrustRegion(centre, 2.0),
        neighbour_distance=0.2,
        settings=DescentSettings(steps=400),
    )
    torch.testing.assert_close(result.values, torch.full_like(result.values, -4.5), atol=1e-3, rtol=0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([0.0, 1.0, 10.0]),
    radius=st.floats(0.01, 20),
    steps=st.integers(0, 30),
    unit=st.floats(1e-3, 10),
    double=st.booleans(),
)
def test_never_raises_a_value_and_stays_inside(
    seed: int, scale: float, radius: float, steps: int, unit: float, double: bool
) -> None:
    dtype = torch.float64 if double else torch.float32
    heads = ConvexHeads(2, 4, width=6, layers=2, rank=2, generator=torch.Generator().manual_seed(seed))
    shake(heads, scale, seed)
    heads = heads.to(dtype)
    starts = (10 * normal(2, 6, 4, seed=seed)).to(dtype)
    region = TrustRegion(normal(4, seed=seed + 1).to(dtype), radius)
    result = descend(heads, starts, region, neighbour_distance=unit, settings=DescentSettings(steps=steps))
    assert result.points.shape == (2, 6, 4)
    assert result.values.shape == result.start_values.shape == (2, 6)
    assert not result.points.requires_grad
    assert (result.values <= result.start_values).all()
    assert ((result.points - region.centre).norm(dim=-1) <= radius * (1 + 1e-5) + 1e-5).all()
    with torch.no_grad():
        torch.testing.assert_close(heads(result.points), result.values)
        torch.testing.assert_close(heads(region.project(starts)), result.start_values)
    assert 0 <= result.accepted <= 1
    moved = (result.points - region.project(starts)).norm(dim=-1).mean() / unit
    assert result.distance == pytest.approx(float(moved), rel=1e-4, abs=1e-6)
    assert all(parameter.grad is None for parameter in heads.parameters())


def test_more_steps_never_give_a_worse_value() -> None:
    heads = ConvexHeads(2, 4, width=6, layers=2, rank=2, generator=torch.Generator().manual_seed(0)).double()
    starts = 3 * normal(2, 6, 4)
    region = TrustRegion(torch.zeros(4, dtype=torch.float64), 2.5)
    values = [
        descend(heads, starts, region, neighbour_distance=1.0, settings=DescentSettings(steps=steps)).values
        for steps in range(15)
    ]
    for before, after in itertools.pairwise(values):
        assert (after <= before).all()
    assert (values[-1] < values[0]).all()


@pytest.mark.parametrize("unit", [0.01, 0.1, 1.0])
def test_steps_scale_with_the_distance_between_neighbours(unit: float) -> None:
    heads = quadratic_heads(torch.zeros(1, 3, 1, dtype=torch.float64), normal(1, 3))
    result = descend(
        heads,
        normal(1, 5, 3),
        TrustRegion(torch.zeros(3, dtype=torch.float64), 1e3),
        neighbour_distance=unit,
        settings=DescentSettings(steps=4, step=0.5, grow=2.0),
    )
    # On a slope that goes on for ever each step is taken: .5 + 1 + 2 + 4 units.
    moved = (result.points - normal(1, 5, 3)).norm(dim=-1)
    torch.testing.assert_close(moved, torch.full_like(moved, 7.5 * unit))
    assert result.distance == pytest.approx(7.5)
    assert result.accepted == 1


def test_step_lengths_by_hand() -> None:
    # z^2 / 2 from 1 with a first length of 3: -2 is worse, halve; -.5 is taken, the next length is 3 again.
    heads = quadratic_heads(torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))
    region = TrustRegion(torch.zeros(1, dtype=torch.float64), 100.0)
    ends = []
    for steps in range(6):
        result = descend(
            heads,
            torch.ones(1, 1, 1, dtype=torch.float64),
            region,
            neighbour_distance=6.0,
            settings=DescentSettings(steps=steps, step=0.5, grow=2.0, shrink=0.5),
        )
        ends.append(float(result.points))
        assert float(result.values) == pytest.approx(ends[-1] ** 2 / 2)
    # Lengths tried: 3, 1.5, 3, 1.5, .75; from -.5 the first two overshoot, .75 leads to .25.
    assert ends == pytest.approx([1, 1, -0.5, -0.5, -0.5, 0.25])


def test_region_of_data_holds_its_share() -> None:
    latents = normal(1000, 5) * torch.tensor([1.0, 2.0, 3.0, 0.1, 1.0]) + 4
    for quantile in (0.5, 0.95, 1.0):
        region = TrustRegion.of(latents, quantile=quantile)
        np.testing.assert_allclose(region.centre.numpy(), latents.numpy().mean(0))
        distances = np.linalg.norm(latents.numpy() - latents.numpy().mean(0), axis=1)
        assert region.radius == pytest.approx(float(np.quantile(distances, quantile)))
        assert np.mean(distances <= region.radius * (1 + 1e-12)) == pytest.approx(quantile, abs=2e-3)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), radius=st.floats(0.01, 10))
def test_projection_is_the_nearest_point(seed: int, radius: float) -> None:
    region = TrustRegion(normal(3, seed=seed + 1), radius)
    z = 5 * normal(4, 6, 3, seed=seed)
    inside = region.project(z)
    distance = (z - region.centre).norm(dim=-1)
    # Of a ball: what is inside stays, what is outside lies |z - c| - r from it.
    torch.testing.assert_close((inside - z).norm(dim=-1), (distance - radius).clamp_min(0), atol=1e-9, rtol=0)
    assert ((inside - region.centre).norm(dim=-1) <= radius * (1 + 1e-12)).all()
    torch.testing.assert_close(region.project(inside), inside, atol=1e-9, rtol=0)
    torch.testing.assert_close(region.project(region.centre), region.centre)
