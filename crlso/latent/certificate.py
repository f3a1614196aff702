"""A proven lower bound of a convex function over a ball of latent space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy import optimize
from torch import Tensor

from crlso.latent.descent import TrustRegion
from crlso.protocols import FloatArray


@dataclass(frozen=True)
class Certificate:
    """A bound and the point that it comes from.

    Attributes:
        point: ``[k]`` in float64.
        value: The function's value there; not below the bound by more than rounding where the point is in
            the ball.
        bound: Nowhere in the ball is the function below it, up to the rounding of float64.
    """

    point: Tensor
    value: float
    bound: float


def lower_bound(value: float, gradient: Tensor, point: Tensor, region: TrustRegion) -> float:
    """The subgradient inequality at a point, at its least over a ball.

    A convex f has ``f(z) >= f(p) + g'(z - p)`` for a subgradient g at any p. Over ``|z - c| <= R`` the right
    side is least at ``c - R g / |g|``, where it is ``f(p) + g'(c - p) - |g| R``. That is a bound wherever p
    lies, and is f(p) where p is the minimum in the ball: there g is 0, or points from p on the sphere to
    the centre.

    Args:
        value: f(p).
        gradient: ``[k]`` g.
        point: ``[k]`` p.
        region: The ball.
    """
    centre = region.centre.double()
    return value + float(gradient @ (centre - point)) - float(gradient.norm()) * region.radius


def certify(
    function: Callable[[Tensor], Tensor], region: TrustRegion, start: Tensor, *, steps: int = 200
) -> Certificate:
    """A lower bound of a convex function over a ball, as tight as its minimum there is found.

    scipy (SLSQP) looks for the minimum; what it says is not relied on: the bound is :func:`lower_bound` at
    the best of the points that it tried, which holds for any of them.

    Args:
        function: ``[n, k]`` float64 -> ``[n]``, convex, with gradients; must compute in float64.
        region: The ball.
        start: ``[k]`` where the search begins.
        steps: Iterations of the solver, at most.
    """
    centre, radius = region.centre.double(), max(region.radius, 1e-12)
    best = Certificate(centre, float("nan"), -float("inf"))

    def at(offset: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient in coordinates in which the ball is the unit ball."""
        nonlocal best
        point = (centre + radius * torch.from_numpy(offset)).requires_grad_()
        value = function(point[None])[0]
        (gradient,) = torch.autograd.grad(value, point)
        found = float(value.detach())
        bound = lower_bound(found, gradient, point.detach(), region)
        if bound > best.bound:
            best = Certificate(point.detach(), found, bound)
        slope: FloatArray = radius * gradient.numpy()
        return found, slope

    optimize.minimize(
        at,
        ((region.project(start.double()) - centre) / radius).numpy(),
        jac=True,
        method="SLSQP",
        constraints=optimize.NonlinearConstraint(lambda x: x @ x, -float("inf"), 1.0, jac=lambda x: 2.0 * x),
        options={"maxiter": steps, "ftol": 1e-12},
    )
    return best
