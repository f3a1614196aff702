"""Minima in a ball against scipy and many points, posterior samples against the formulas of the process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from crlso.latent.descent import TrustRegion
from crlso.latent.quadratics import QuadraticPosterior, Quadratics


def random_functions(seed: int, dimension: int, count: int = 3) -> Quadratics:
    rng = np.random.default_rng(seed)
    matrices = rng.standard_normal((count, dimension, dimension))
    matrices = matrices + matrices.transpose(0, 2, 1)
    return Quadratics(torch.from_numpy(matrices), torch.from_numpy(rng.standard_normal((count, dimension))))


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.1, 5.0))
@settings(max_examples=60, deadline=None)
def test_nothing_in_the_ball_is_lower(seed: int, dimension: int, radius: float) -> None:
    functions = random_functions(seed, dimension)
    rng = np.random.default_rng(seed + 1)
    region = TrustRegion(torch.from_numpy(rng.standard_normal(dimension)), radius)
    minima = functions.minima(region)
    distance = (minima.points - region.centre).norm(dim=1)
    assert (distance <= radius * (1 + 1e-9)).all()
    drawn = torch.from_numpy(rng.standard_normal((4000, dimension)))
    drawn = drawn / drawn.norm(dim=1, keepdim=True) * torch.from_numpy(rng.random((4000, 1)) ** 0.3)
    values = functions(region.centre + radius * drawn)
    assert (values >= minima.values[:, None] - 1e-8 * (1 + minima.values.abs()[:, None])).all()
    # A companion that is convex and nowhere above, with the same minimum: a certificate.
    shifted = functions.matrices + minima.multipliers[:, None, None] * torch.eye(dimension)
    assert (torch.linalg.eigvalsh(shifted)[:, 0] >= -1e-8).all()
    gap = minima.multipliers * (distance**2 - radius**2)
    np.testing.assert_allclose(gap, 0, atol=1e-6 * (1 + float(minima.multipliers.max()) * radius**2))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_minimum_that_scipy_finds(seed: int) -> None:
    functions = random_functions(seed, 5)
    region = TrustRegion(torch.zeros(5), 1.3)
    minima = functions.minima(region)
    inside = {"type": "ineq", "fun": lambda x: 1.3**2 - x @ x}
    rng = np.random.default_rng(seed)
    for index in range(3):
        matrix, linear = functions.matrices[index].numpy(), functions.linear[index].numpy()
        best = min(
            optimize.minimize(
                lambda x, q, a: x @ q @ x + a @ x,
                rng.standard_normal(5),
                args=(matrix, linear),
                constraints=[inside],
                method="SLSQP",
                options={"ftol": 1e-12, "maxiter": 300},
            ).fun
            for _ in range(10)
        )
        # scipy's points lie outside of the ball by a millionth or so.
        assert float(minima.values[index]) == pytest.approx(best, rel=1e-5, abs=1e-5)


def test_the_hard_case_goes_along_the_lowest_direction() -> None:
    """No pull along the direction of negative curvature: (0, +-1) is least, not (0, 0)."""
    functions = Quadratics(torch.diag(torch.tensor([1.0, -2.0]).double())[None], torch.zeros(1, 2).double())
    minima = functions.minima(TrustRegion(torch.zeros(2), 1.0))
    assert float(minima.values[0]) == pytest.approx(-2.0)
    assert minima.points[0].abs().tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


@pytest.mark.parametrize(("share", "weight"), [(0.0, 0.0), (0.7, 0.0), (0.0, 2.0), (0.7, 0.5)])
def test_samples_are_draws_from_the_posterior(share: float, weight: float) -> None:
    rng = np.random.default_rng(0)
    latents = torch.from_numpy(rng.standard_normal((12, 4)))
    targets = latents[:, 0].numpy() + 0.3 * rng.standard_normal(12)
    half = torch.from_numpy(rng.standard_normal((1, 4, 4)))
    similar = Quadratics(half + half.mT, torch.from_numpy(rng.standard_normal((1, 4))))
    posterior = QuadraticPosterior(
        latents, targets, shares=(share,), noises=(0.05,), similar=similar, weights=(weight,)
    )
    new = torch.from_numpy(rng.standard_normal((5, 4)))
    points, own = latents.numpy() / 2, new.numpy() / 2

    def kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        products = one @ other.T
        values = [similar(torch.from_numpy(2 * points))[0].numpy() for points in (one, other)]
        return products + share * products**2 + weight * np.outer(*values)

    inverse = np.linalg.inv(kernel(points, points) + 0.05 * np.eye(12))
    mean = kernel(own, points) @ inverse @ targets
    cross = kernel(own, points)
    covariance = posterior.fitted.scale * (kernel(own, own) - cross @ inverse @ cross.T)
    np.testing.assert_allclose(posterior.mean()(new)[0], mean, atol=1e-9)
    predicted, deviations = posterior.predict(new)
    np.testing.assert_allclose(predicted, mean, atol=1e-9)
    np.testing.assert_allclose(deviations, np.sqrt(np.diag(covariance)), atol=1e-9)
    drawn = posterior.sample(np.ones(20_000), rng)(new).numpy()
    deviation = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(drawn.mean(0), mean, atol=4 * deviation.max() / 20_000**0.5)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.05 * deviation.max() ** 2)
    # Nearer to the mean: the same functions, each with its share of the way.
    near = posterior.sample(np.array([1.0, 0.3, 0.0]), np.random.default_rng(1))(new)
    far = posterior.sample(np.ones(3), np.random.default_rng(1))(new)
    shares_of_the_way = torch.tensor([[1.0], [0.3], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(
        near, posterior.mean()(new) + shares_of_the_way * (far - posterior.mean()(new))
    )


@pytest.mark.parametrize("radius", [0.2, 1.0, 50.0])
@pytest.mark.parametrize("seed", range(5))
def test_companions_are_convex_and_agree_on_the_sphere(seed: int, radius: float) -> None:
    functions = random_functions(seed, 5)
    # One that is convex already, with its minimum well inside the largest ball.
    roots = torch.from_numpy(np.random.default_rng(seed).standard_normal((5, 5)))
    functions.matrices[0] = roots @ roots.T + torch.eye(5)
    rng = np.random.default_rng(seed + 1)
    region = TrustRegion(torch.from_numpy(rng.standard_normal(5)), radius)
    companions = functions.companion(region)
    size = 1 + float(companions.matrices.abs().max())
    assert (torch.linalg.eigvalsh(companions.matrices)[:, 0] >= -1e-12 * size).all()
    directions = torch.from_numpy(rng.standard_normal((2000, 5)))
    directions = directions / directions.norm(dim=1, keepdim=True)
    sphere = region.centre + radius * directions
    torch.testing.assert_close(companions(sphere), functions(sphere), rtol=1e-9, atol=1e-9 * size * radius**2)
    inside = region.centre + radius * directions * torch.from_numpy(rng.random((2000, 1)))
    assert (companions(inside) <= functions(inside) + 1e-9 * size * radius**2).all()
    # The same minimum in the ball, and it is that of the companion.
    minima = functions.minima(region)
    scale = 1e-7 * (1 + float(minima.values.abs().max()))
    torch.testing.assert_close(companions(minima.points[:, None])[:, 0], minima.values, rtol=0, atol=scale)
    torch.testing.assert_close(companions.minima(region).values, minima.values, rtol=0, atol=scale)
    if radius == 50.0:
        assert float(minima.multipliers[0]) < 1e-12
        torch.testing.assert_close(companions(inside)[0], functions(inside)[0])


def test_the_negative_has_the_opposite_values() -> None:
    functions = random_functions(0, 4)
    points = torch.from_numpy(np.random.default_rng(1).standard_normal((20, 4)))
    region = TrustRegion(torch.zeros(4, dtype=torch.float64), 1.0)
    for some in (functions, functions.companion(region)):
        torch.testing.assert_close(some.negated()(points), -some(points))
