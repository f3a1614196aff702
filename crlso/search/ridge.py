"""Greedy search by ridge regression on entries of the code and pairs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from crlso.errors import UserError
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search.acquisition import Acquisition
from crlso.search.observations import OneHot
from crlso.search.rounds import RoundSearch

PENALTIES: Final = tuple(float(10.0**exponent) for exponent in np.arange(-3, 2.01, 0.5))
"""Penalties tried in every round, for kernels of 1 on the diagonal."""


@dataclass(frozen=True)
class RidgeSettings:
    """Settings of the search.

    Attributes:
        initial: Random architectures before the first regression.
        round: Architectures proposed from one regression.
        explore: How many of them are drawn at random instead.
        pairs: Shares of the pairs in the squared length of the features, tried in every round; 0: entries
            alone.
        starts: Best architectures asked from which the climbs start, in spaces too large to scan.
    """

    initial: int = 10
    round: int = 5
    explore: int = 0
    pairs: tuple[float, ...] = (0.0, 0.5, 1.0)
    starts: int = 8

    def __post_init__(self) -> None:
        if self.initial < 2:
            raise UserError(f"initial must be 2 or more for a regression, got {self.initial}")
        for name in ("round", "starts"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not 0 <= self.explore <= self.round:
            raise UserError(f"explore must lie between 0 and round ({self.round}), got {self.explore}")
        if not self.pairs or not all(0 <= share <= 1 for share in self.pairs):
            raise UserError(f"pairs must be shares between 0 and 1, one or more, got {self.pairs}")


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A ridge regression in its dual form: prediction ``mean + (k(x) - k_mean) @ dual``, k with the data.

    Attributes:
        share: Share of the pairs in the kernel.
        penalty: What is added to the kernel's diagonal.
        error: Mean squared leave-one-out error.
        mean: Mean of the targets.
        kernel_mean: ``[n]`` mean of the kernel's rows.
        dual: ``[n]`` weights of the data; their sum is 0.
    """

    share: float
    penalty: float
    error: float
    mean: float
    kernel_mean: FloatArray
    dual: FloatArray

    def predict(self, equal: FloatArray, positions: int) -> FloatArray:
        """``[m]`` predictions from ``[m, n]`` numbers of positions equal to those of the data."""
        return self.mean + (pair_kernel(equal, positions, self.share) - self.kernel_mean) @ self.dual


def pair_kernel(equal: FloatArray, positions: int, share: float) -> FloatArray:
    """Inner products of one-hot and pairwise one-hot features, 1 for equal codes; elementwise in ``equal``.

    Two codes with h equal positions of d share h of d one-hot features, and h (h - 1) / 2 of d (d - 1) / 2
    pairwise ones. So the regression on all pairs needs no list of them: codes of 784 bits, with 1.2 million
    pairwise features, are no different from those of six positions.

    Args:
        equal: Numbers of equal positions, any shape.
        positions: Number of positions d.
        share: Share of the pairs in the squared length of the features; without effect where d is 1.
    """
    single = equal / positions
    if positions == 1:
        return single
    pairs: FloatArray = equal * (equal - 1) / (positions * (positions - 1))
    return (1 - share) * single + share * pairs


def fit_ridge(
    equal: FloatArray,
    targets: FloatArray,
    positions: int,
    *,
    shares: tuple[float, ...],
    penalties: tuple[float, ...] = PENALTIES,
) -> RidgeFit:
    """The ridge regression, with a free intercept, of the smallest leave-one-out error.

    The error is exact and needs no second fit: with the hat matrix ``H = 11'/n + K (K + penalty)^-1``, K the
    centred kernel, the i-th residual without the i-th datum is ``(y - H y)_i / (1 - H_ii)`` (Allen 1974,
    PRESS). The targets are taken as given: ranks are not worked out anew without the i-th.

    Args:
        equal: ``[n, n]`` numbers of positions in which two of the data are equal.
        targets: ``[n]``.
        positions: Number of positions of a code.
        shares: Shares of the pairs to try.
        penalties: Penalties to try.
    """
    n = len(targets)
    mean = float(targets.mean())
    centred = targets - mean
    fits = []
    for share in shares:
        kernel = pair_kernel(equal, positions, share)
        kernel_mean = kernel.mean(axis=0)
        values, vectors = np.linalg.eigh(kernel - kernel_mean - kernel_mean[:, None] + kernel_mean.mean())
        values = np.maximum(values, 0.0)
        projected = vectors.T @ centred
        for penalty in penalties:
            kept = values / (values + penalty)
            residuals = centred - vectors @ (kept * projected)
            leverage = 1 / n + (vectors**2) @ kept
            error = float(np.mean((residuals / (1 - leverage)) ** 2))
            dual = vectors @ (projected / (values + penalty))
            fits.append(RidgeFit(share, penalty, error, mean, kernel_mean, dual - dual.mean()))
    return min(fits, key=lambda fit: fit.error)


@final
class Ridge(RoundSearch):
    """Random architectures first; then in every round a regression, and its best unasked predictions.

    The regression predicts normal scores of the ranks from the entries of the code and all pairs of entries,
    with penalty and weight of the pairs by leave-one-out error (:func:`fit_ridge`). It has no uncertainty:
    a control for methods that have one, and for those that learn their features. Codes stand for their
    classes (:class:`~crlso.search.observations.OneHot`). Small spaces are scanned, large ones climbed
    (:class:`~crlso.search.acquisition.Acquisition`). Only the first objective counts.

    No publication is followed here; on a table of all accuracies the same features are the regression of
    main effects and pairwise interactions of an analysis of variance.

    Curves: leave-one-out error, penalty and share of the pairs over the rounds.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: RidgeSettings) -> None:
        super().__init__(space, seed=seed, initial=settings.initial)
        self._settings = settings
        self._features = OneHot(space)
        self._acquisition = Acquisition(space)

    def _propose(self) -> Codes:
        settings, positions, seen = self._settings, len(self._space.cardinalities), self._rounds.seen
        data = self._features(seen.codes)
        fit = fit_ridge(data @ data.T, seen.targets(), positions, shares=settings.pairs)
        self._rounds.note(error=fit.error, penalty=fit.penalty, pairs=fit.share)
        chosen = self._acquisition.best(
            lambda codes: fit.predict(self._features(codes) @ data.T, positions),
            settings.round - settings.explore,
            asked=seen.keys,
            starts=seen.best(settings.starts),
            rng=self._rounds.rng,
        )
        return self._rounds.filled(chosen, settings.round)
