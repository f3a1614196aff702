"""Regression on features and products of two features; the data decide the weight of each group of features.

The model is a Gaussian process with mean zero and kernel ``S + b S^2``, where ``S(x, y)`` is a weighted sum
of the inner products of the groups' standardised features. That is Bayesian linear regression on all features
and all products of two (Rasmussen and Williams 2006, chapter 2): its mean is one quadratic form, which is
all that is kept. The groups' weights, ``b`` and the noise maximise the marginal likelihood of a part of the
rows (ibid., chapter 5); they are then used with all rows.

The coefficients are rounded to multiples of a power of two so coarse that all sums over whole-number features
are exact in float64. So an answer depends neither on the other rows of its batch nor on the machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.surrogate.features import Features
from crlso.errors import UserError
from crlso.protocols import FloatArray

SEARCH_ROWS = 1500
"""Rows on which the weights are found: its time grows as their third power."""

_SEARCH_STEPS = 15
_LEAST_SCALE = 0.05  # standard deviation that a feature counts as having at least; rare ones stay small
_MANTISSA = 52
_BOUNDS = (-9.0, 5.0)  # logarithms of the weights
_START_PRODUCTS, _START_NOISE = 0.1, 0.05


@dataclass(frozen=True)
class Quadratic:
    """``mean + spread * (constant + linear x + x products x)`` for whole-number features ``x``.

    Attributes:
        mean: Of the labels.
        spread: Standard deviation of the labels.
        constant: Multiple of the power of two, as are the coefficients.
        linear: ``[m]``.
        products: ``[m, m]``.
    """

    mean: float
    spread: float
    constant: float
    linear: FloatArray
    products: FloatArray

    def predict(self, values: FloatArray) -> FloatArray:
        """``[n]`` for features ``[n, m]``; each row as if it were alone."""
        exact = np.einsum("ij,ij->i", values @ self.products, values) + values @ self.linear + self.constant
        predicted: FloatArray = self.mean + self.spread * exact
        return predicted


@dataclass(frozen=True)
class Weights:
    """What the marginal likelihood decides.

    Attributes:
        groups: Weight of each group of features.
        products: ``b``: weight of products of two features.
        noise: Variance of the noise, that of the labels being 1.
    """

    groups: FloatArray
    products: float
    noise: float


def fit_quadratic(
    found: Features, labels: FloatArray, *, rng: np.random.Generator
) -> tuple[Quadratic, Weights]:
    """The model of features ``[n, m]`` and labels ``[n]``.

    Takes ``8 n^2`` bytes and time that grows as ``n^3`` (10,000 rows: 1 GB, half a minute).

    Raises:
        UserError: All labels are the same.
    """
    mean, spread = float(labels.mean()), float(labels.std())
    if not spread > 0:
        raise UserError("all labels are the same: there is nothing to fit")
    targets = (labels - mean) / spread
    centre = found.values.mean(axis=0)
    deviation = found.values.std(axis=0)
    sizes = np.bincount(found.groups, weights=deviation > 0, minlength=len(found.names))
    scale = np.where(deviation > 0, 1 / np.maximum(deviation, _LEAST_SCALE), 0) / np.sqrt(
        np.maximum(sizes, 1)[found.groups]
    )
    standard = (found.values - centre) * scale
    rows = rng.permutation(len(targets))[:SEARCH_ROWS]
    weights = _search(standard[rows], targets[rows], found.groups, len(found.names))
    stretch = scale * np.sqrt(weights.groups)[found.groups]
    standard *= np.sqrt(weights.groups)[found.groups]
    kernel = standard @ standard.T
    for i in range(len(kernel)):  # row by row: a second array of this size would not be small
        kernel[i] += weights.products * kernel[i] ** 2
    duals = solve(kernel, targets, weights.noise)
    products = weights.products * np.outer(stretch, stretch) * ((standard.T * duals) @ standard)
    products = (products + products.T) / 2
    linear = stretch * (standard.T @ duals) - 2 * products @ centre
    constant = float(-(stretch * (standard.T @ duals)) @ centre + centre @ products @ centre)
    step = _step(constant, linear, products, found.limits)
    return (
        Quadratic(
            mean,
            spread,
            float(_rounded(np.array(constant), step)),
            _rounded(linear, step),
            _rounded(products, step),
        ),
        weights,
    )


def _step(constant: float, linear: FloatArray, products: FloatArray, limits: FloatArray) -> float:
    """The power of two at which no sum of the quadratic form needs more bits than float64 has."""
    largest = abs(constant) + np.abs(linear) @ limits + limits @ np.abs(products) @ limits
    # Rounding moves every coefficient by half a step at most; one bit more is room enough for that.
    return 2.0 ** (math.ceil(math.log2(largest)) + 1 - _MANTISSA)


def _rounded(values: FloatArray, step: float) -> FloatArray:
    rounded: FloatArray = np.round(values / step) * step
    return rounded


def solve(kernel: FloatArray, targets: FloatArray, noise: float) -> FloatArray:
    """``(K + noise I)^-1 targets``; the kernel is overwritten."""
    from scipy.linalg import cho_factor, cho_solve

    kernel[np.diag_indices(len(kernel))] += noise
    # Symmetric, so its transpose is the same matrix in the order that LAPACK works on without a copy.
    factor = cho_factor(kernel.T, lower=True, overwrite_a=True, check_finite=False)
    solved: FloatArray = cho_solve(factor, targets, check_finite=False)
    return solved


def _search(standard: FloatArray, targets: FloatArray, groups: NDArray[np.int64], count: int) -> Weights:
    """The weights that maximise the marginal likelihood, by L-BFGS-B over their logarithms."""
    from scipy.optimize import minimize

    grams = [standard[:, groups == group] @ standard[:, groups == group].T for group in range(count)]

    def loss(logarithms: FloatArray) -> tuple[float, FloatArray]:
        return _negative_evidence(np.exp(logarithms), grams, targets)

    start = np.log([1.0] * count + [_START_PRODUCTS, _START_NOISE])
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[_BOUNDS] * len(start),
        options={"maxiter": _SEARCH_STEPS},
    )
    best = np.exp(found.x)
    return Weights(best[:count], float(best[count]), float(best[count + 1]))


def _negative_evidence(
    weights: FloatArray, grams: list[FloatArray], targets: FloatArray
) -> tuple[float, FloatArray]:
    """Negative logarithm of the marginal likelihood without its constant, and its gradient by log weights."""
    from scipy.linalg import cho_factor, cho_solve

    *groups, products, noise = weights
    similarity = np.zeros_like(grams[0])
    for weight, gram in zip(groups, grams, strict=True):
        similarity += weight * gram
    kernel = similarity + products * similarity * similarity
    kernel[np.diag_indices(len(kernel))] += noise
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    duals = cho_solve(factor, targets, check_finite=False)
    value = 0.5 * float(targets @ duals) + float(np.log(np.diag(factor[0])).sum())
    # d value / d K = (K^-1 - duals duals^T) / 2
    slope = cho_solve(factor, np.eye(len(targets)), check_finite=False)
    slope -= np.outer(duals, duals)
    by_similarity = slope * (1 + 2 * products * similarity)
    gradient = [
        weight * float(np.vdot(by_similarity, gram)) for weight, gram in zip(groups, grams, strict=True)
    ]
    gradient.append(products * float(np.vdot(slope, similarity * similarity)))
    gradient.append(noise * float(np.trace(slope)))
    return value, 0.5 * np.array(gradient)
