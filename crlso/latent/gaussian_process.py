"""Gaussian process regression with a handful of hyper-parameters, all of them tried."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from scipy import linalg, stats

from crlso.protocols import FloatArray

Choice = TypeVar("Choice")

NOISES: Final = (1e-3, 1e-2, 5e-2)
"""Variances of the noise that are tried, as multiples of the kernel's."""


@dataclass(frozen=True)
class Fitted(Generic[Choice]):
    """A Gaussian process that has seen its data.

    Attributes:
        choice: The hyper-parameters of its kernel.
        noise: Variance of the noise, as a multiple of the kernel's.
        scale: Variance of the kernel.
        likelihood: Logarithm of the marginal likelihood, in nats.
    """

    choice: Choice
    noise: float
    scale: float
    likelihood: float
    _factor: FloatArray
    _weights: FloatArray

    def solve(self, values: FloatArray) -> FloatArray:
        """Inverse of the kernel of scale 1 with its noise, times ``[n]`` values."""
        solved: FloatArray = linalg.cho_solve((self._factor, True), values)
        return solved

    def predict(self, cross: FloatArray, own: FloatArray | float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the function without noise.

        Args:
            cross: ``[n, m]`` kernel between data and new points.
            own: ``[m]`` kernel of the new points with themselves, or the same for all.
        """
        half = linalg.solve_triangular(self._factor, cross, lower=True)
        variance = self.scale * np.maximum(own - np.square(half).sum(0), 0.0)
        deviation: FloatArray = np.sqrt(variance)
        return cross.T @ self._weights, deviation


def fit(
    kernels: Iterable[tuple[Choice, FloatArray]], targets: FloatArray, noises: Sequence[float]
) -> Fitted[Choice]:
    """The kernel and noise of the largest marginal likelihood (Rasmussen, Williams 2006, equation 2.30).

    The kernel's scale at which the likelihood is largest is known in closed form: ``t' K^-1 t / n`` for ``K``
    of scale 1, noise included.

    Args:
        kernels: Hyper-parameters and ``[n, n]`` kernel of the data, of scale 1.
        targets: ``[n]``, around zero.
        noises: Variances to try, as multiples of the kernel's.
    """
    count = len(targets)
    best: Fitted[Choice] | None = None
    for choice, kernel in kernels:
        for noise in noises:
            factor = linalg.cholesky(kernel + noise * np.eye(count), lower=True)
            half = linalg.solve_triangular(factor, targets, lower=True)
            scale = max(float(half @ half) / count, 1e-12)
            likelihood = float(-0.5 * count * (1 + np.log(2 * np.pi * scale)) - np.log(np.diag(factor)).sum())
            if best is None or likelihood > best.likelihood:
                weights = linalg.solve_triangular(factor, half, lower=True, trans=1)
                best = Fitted(choice, noise, scale, likelihood, factor, weights)
    assert best is not None, "there is a kernel and a noise"
    return best


def expected_improvement(mean: FloatArray, deviation: FloatArray, best: float) -> FloatArray:
    """How much better than ``best`` a normal variable is on average (Jones et al. 1998, equation 15).

    Shapes: ``[m]``, ``[m]`` -> ``[m]``; where the deviation is 0, the mean's own improvement.
    """
    gain = mean - best
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(deviation > 0, gain / deviation, 0.0)
    found: FloatArray = gain * stats.norm.cdf(z) + deviation * stats.norm.pdf(z)
    return np.where(deviation > 0, found, np.maximum(gain, 0.0))
