"""Quadratic functions of latent points: exact minima in a ball, exact posterior samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from crlso.latent.descent import TrustRegion
from crlso.latent.gaussian_process import Fitted, fit
from crlso.protocols import FloatArray

BISECTIONS: Final = 200
"""Halvings of the interval of a multiplier: more than a double can tell apart."""


@dataclass(frozen=True)
class Quadratics:
    """S functions ``f(z) = z' Q z + a' z + b`` of latent points, in float64.

    Attributes:
        matrices: ``[S, k, k]`` symmetric Q.
        linear: ``[S, k]`` a.
        constants: ``[S]`` b; ``None``: 0.
    """

    matrices: Tensor
    linear: Tensor
    constants: Tensor | None = None

    def __call__(self, z: Tensor) -> Tensor:
        """Values ``[S, n]`` at ``[n, k]`` points, or at ``[S, n, k]``, each function's own."""
        points = z.double().expand(len(self.linear), *z.shape[-2:])
        curved = (torch.bmm(points, self.matrices) * points).sum(-1)
        values = curved + torch.bmm(points, self.linear[..., None])[..., 0]
        return values if self.constants is None else values + self.constants[:, None]

    def negated(self) -> Quadratics:
        """``-f``; its minima are the maxima of f."""
        constants = None if self.constants is None else -self.constants
        return Quadratics(-self.matrices, -self.linear, constants)

    def companion(self, region: TrustRegion) -> Quadratics:
        """``f(z) + m (|z - c|^2 - R^2)`` with the multipliers m of :meth:`minima`.

        Convex (up to rounding), on the sphere of radius R around c equal to f, in the ball nowhere above it,
        and with the same minimum there. Where f is convex and has its minimum in the ball, m is 0.
        """
        multipliers, centre = self.minima(region).multipliers, region.centre.double()
        shift = multipliers * (centre @ centre - region.radius**2)
        return Quadratics(
            self.matrices + multipliers[:, None, None] * torch.eye(len(centre), dtype=torch.float64),
            self.linear - 2 * multipliers[:, None] * centre,
            shift if self.constants is None else self.constants + shift,
        )

    def minima(self, region: TrustRegion) -> Minima:
        """The least value of each function in a ball, whether or not the function is convex.

        In the ball ``|z - c| <= R`` the function ``f(z) + m (|z - c|^2 - R^2)`` with m >= 0 is nowhere above
        f. The smallest m that makes it convex and its minimum a point of the ball is found by bisection; then
        both have the same minimum (the trust-region problem; More and Sorensen 1983, theorem 3.2). Where
        data lie on a sphere around c, f and its convex companion agree on all of it.
        """
        centre, radius = region.centre.double(), region.radius
        linear = self.linear + 2 * self.matrices @ centre
        values, vectors = torch.linalg.eigh(self.matrices)
        half = torch.bmm(vectors.mT, linear[..., None])[..., 0] / 2
        lowest = values[:, 0]
        low = torch.clamp(-lowest, min=0.0)
        high = low + half.norm(dim=1) / radius + 1e-12
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            outside = _offset(values, half, middle).norm(dim=1) > radius
            low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
        offset = _offset(values, half, high)
        # Where nothing pulls along the lowest direction (the hard case), both ways along it are as good.
        missing = (radius**2 - offset.square().sum(1)).clamp(min=0.0).sqrt()
        offset[:, 0] += torch.where(lowest + high <= 1e-9, missing, torch.zeros_like(missing))
        points = centre + torch.bmm(vectors, offset[..., None])[..., 0]
        return Minima(points, self(points[:, None])[:, 0], high)


def _offset(values: Tensor, half: Tensor, multiplier: Tensor) -> Tensor:
    """From the centre to the stationary point, in the directions of the eigenvectors."""
    shifted = values + multiplier[:, None]
    return torch.where(shifted > 1e-12, -half / shifted.clamp(min=1e-12), torch.zeros_like(half))


@dataclass(frozen=True)
class Minima:
    """Where functions are least in a ball.

    Attributes:
        points: ``[S, k]``.
        values: ``[S]``.
        multipliers: ``[S]`` m of the convex function that has the same minimum; 0: the function itself.
    """

    points: Tensor
    values: Tensor
    multipliers: Tensor


@dataclass(frozen=True)
class Kernel:
    """What a posterior's prior is like.

    Attributes:
        share: q of the quadratic functions.
        weight: w of the function that is expected to be similar.
    """

    share: float
    weight: float


@final
class QuadraticPosterior:
    """Bayesian regression on linear and quadratic functions of latent points, with an exact posterior.

    Prior: independent normal weights, that is a Gaussian process with the kernel ``z'y + q (z'y)^2`` for
    points ``z / sqrt(k)``. The share q of the quadratic functions, scale and noise are those of the largest
    marginal likelihood. There is no constant: targets lie around zero.

    A function s that is expected to be like the one sought (of another task, say) may be given. It has a
    normal weight of its own: the kernel gains ``w s(z) s(y)``, and as s is quadratic, all functions still
    are. With a weight of no use the likelihood chooses w = 0.

    Args:
        latents: ``[n, k]`` points.
        targets: ``[n]``; smaller is better.
        shares: q to try; (0,) for linear functions alone.
        noises: Variances to try, as multiples of the kernel's.
        similar: s, one function.
        weights: w to try.
    """

    def __init__(
        self,
        latents: Tensor,
        targets: FloatArray,
        *,
        shares: tuple[float, ...],
        noises: tuple[float, ...],
        similar: Quadratics | None = None,
        weights: tuple[float, ...] = (0.0,),
    ) -> None:
        self._points = (latents.double() / latents.shape[1] ** 0.5).numpy()
        self._targets = targets
        self._similar = similar
        self._at_points = np.zeros(len(targets)) if similar is None else similar(latents)[0].numpy()
        products = self._points @ self._points.T
        outer = np.outer(self._at_points, self._at_points)
        self.fitted: Fitted[Kernel] = fit(
            (
                (Kernel(share, weight), products + share * np.square(products) + weight * outer)
                for share in shares
                for weight in (weights if similar is not None else (0.0,))
            ),
            targets,
            noises,
        )

    def mean(self) -> Quadratics:
        """The posterior's mean, a function of latent points."""
        return self._fitted_to(self._targets[None])

    def predict(self, latents: Tensor) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the function's value at ``[m, k]`` points, ``[m]`` each."""
        points = latents.double().numpy() / latents.shape[1] ** 0.5
        similar = np.zeros(len(points)) if self._similar is None else self._similar(latents)[0].numpy()
        share, weight = self.fitted.choice.share, self.fitted.choice.weight
        products, squares = self._points @ points.T, np.square(points).sum(1)
        cross = products + share * np.square(products) + weight * np.outer(self._at_points, similar)
        own = squares + share * np.square(squares) + weight * np.square(similar)
        return self.fitted.predict(cross, own)

    def sample(self, spreads: FloatArray, rng: np.random.Generator) -> Quadratics:
        """Functions drawn from the posterior: drawn from the prior, then corrected by the data (Matheron).

        Args:
            spreads: ``[S]``, for each function what its distance from the mean function is multiplied by: 1
                for the posterior itself, 0 for the mean.
            rng: Draws the functions.
        """
        count, (n, k) = len(spreads), self._points.shape
        scale, kernel = self.fitted.scale**0.5, self.fitted.choice
        linear = scale * rng.standard_normal((count, k))
        matrices = scale * kernel.share**0.5 * rng.standard_normal((count, k, k))
        similar = scale * kernel.weight**0.5 * rng.standard_normal(count)
        drawn = linear @ self._points.T + np.einsum("ni,sij,nj->sn", self._points, matrices, self._points)
        drawn += np.outer(similar, self._at_points)
        noise = scale * self.fitted.noise**0.5 * rng.standard_normal((count, n))
        # Everything is linear in what was drawn: the mean and a multiple of the rest.
        mean, away = self.mean(), self._fitted_to(-drawn - noise)
        prior = self._functions(linear, (matrices + matrices.transpose(0, 2, 1)) / 2, similar)
        factors = torch.from_numpy(spreads)
        return Quadratics(
            mean.matrices + factors[:, None, None] * (prior.matrices + away.matrices),
            mean.linear + factors[:, None] * (prior.linear + away.linear),
        )

    def _fitted_to(self, residuals: FloatArray) -> Quadratics:
        """What the kernel makes of residuals ``[S, n]``."""
        duals = np.stack([self.fitted.solve(row) for row in residuals])
        own = self.fitted.choice.share * np.einsum("sn,ni,nj->sij", duals, self._points, self._points)
        return self._functions(
            duals @ self._points, own, self.fitted.choice.weight * (duals @ self._at_points)
        )

    def _functions(self, linear: FloatArray, matrices: FloatArray, similar: FloatArray) -> Quadratics:
        """Functions of latent points from weights at points that are divided by the root of the dimension.

        Shapes: ``[S, k]``, ``[S, k, k]`` symmetric, ``[S]`` multiples of the similar function.
        """
        k = self._points.shape[1]
        all_linear, all_matrices = torch.from_numpy(linear / k**0.5), torch.from_numpy(matrices / k)
        if self._similar is not None:
            multiples = torch.from_numpy(similar)
            all_linear = all_linear + multiples[:, None] * self._similar.linear
            all_matrices = all_matrices + multiples[:, None, None] * self._similar.matrices
        return Quadratics(all_matrices, all_linear)
