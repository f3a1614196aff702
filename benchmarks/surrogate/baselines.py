"""The two plain regressions that every fitted surrogate is measured beside.

Both see the code one-hot and nothing else. Their settings are chosen on the training rows by the error of
leaving one row out, which for linear smoothers has a closed form (Hastie, Tibshirani, Friedman 2009, 7.10).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from benchmarks.surrogate.features import one_hot
from benchmarks.surrogate.quadratic import SEARCH_ROWS, solve
from crlso.protocols import Codes, FloatArray, SearchSpace

Predict = Callable[[Codes], FloatArray]
"""From codes ``[n, d]`` to predictions ``[n]``."""

_RIDGE_PENALTIES = np.logspace(-3, 4, 22)
_KERNEL_PENALTIES = np.logspace(-5, 1, 19)
_WIDTHS = np.geomspace(0.03, 3, 9)  # exponents of the kernel at the mean squared distance
_CHUNK = 2048


def fit_ridge(space: SearchSpace, codes: Codes, labels: FloatArray, rng: np.random.Generator) -> Predict:
    """Linear regression with a penalty on squared weights, on one-hot codes ``[n, d]``."""
    del rng
    values = one_hot(space, codes).astype(np.float64)
    centre, mean = values.mean(axis=0), float(labels.mean())
    left, sizes, right = np.linalg.svd(values - centre, full_matrices=False)
    _, penalty = _best_penalty(left, sizes**2, labels - mean, _RIDGE_PENALTIES)
    weights = right.T @ (sizes / (sizes**2 + penalty) * (left.T @ (labels - mean)))
    return lambda asked: mean + (one_hot(space, asked) - centre) @ weights


def fit_kernel_ridge(
    space: SearchSpace, codes: Codes, labels: FloatArray, rng: np.random.Generator
) -> Predict:
    """Kernel ridge regression with a Gaussian kernel on one-hot codes ``[n, d]``.

    Width and penalty are chosen on up to :data:`~benchmarks.surrogate.quadratic.SEARCH_ROWS` random rows and
    used with all of them: as the variance of the noise in units of the signal's, the penalty does not
    depend on the number of rows.
    """
    values = one_hot(space, codes).astype(np.float64)
    mean = float(labels.mean())
    targets = labels - mean
    rows = rng.permutation(len(targets))[:SEARCH_ROWS]
    distances = _distances(values[rows], values[rows])
    best = (np.inf, 0.0, 0.0)
    for width in _WIDTHS / distances.mean():
        sizes, vectors = np.linalg.eigh(np.exp(-width * distances))
        error, penalty = _best_penalty(vectors, np.maximum(sizes, 0), targets[rows], _KERNEL_PENALTIES)
        best = min(best, (error, float(width), penalty))
    _, width, penalty = best
    kernel = _distances(values, values)
    kernel *= -width
    np.exp(kernel, out=kernel)
    duals = solve(kernel, targets, penalty)

    def predict(asked: Codes) -> FloatArray:
        parts = [
            np.exp(-width * _distances(one_hot(space, asked[i : i + _CHUNK]).astype(np.float64), values))
            @ duals
            for i in range(0, len(asked), _CHUNK)
        ]
        return mean + np.concatenate([*parts, np.empty(0)])

    return predict


BASELINES: Mapping[str, Callable[[SearchSpace, Codes, FloatArray, np.random.Generator], Predict]] = (
    MappingProxyType({"ridge, one-hot": fit_ridge, "Gaussian kernel ridge, one-hot": fit_kernel_ridge})
)
"""By the name under which they are reported."""


def _distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """``[n, m]`` squared distances of one-hot rows, exact whole numbers."""
    products: FloatArray = first @ second.T
    products *= -2
    products += (first**2).sum(axis=1)[:, None]
    products += (second**2).sum(axis=1)
    return products


def _best_penalty(
    vectors: FloatArray, sizes: FloatArray, targets: FloatArray, penalties: NDArray[np.float64]
) -> tuple[float, float]:
    """The mean squared error of leaving one out, and the penalty that makes it smallest.

    The smoother is ``vectors diag(sizes / (sizes + penalty)) vectors^T``.
    """
    projected = vectors.T @ targets
    squares = vectors**2
    found = []
    for penalty in penalties:
        shares = sizes / (sizes + penalty)
        # Where a row decides its own prediction alone, the error of leaving it out is large, not infinite.
        left_out = (targets - vectors @ (shares * projected)) / np.maximum(1 - squares @ shares, 1e-9)
        found.append((float(np.mean(left_out**2)), float(penalty)))
    return min(found)
