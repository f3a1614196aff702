"""Predictors that are fitted in closed form: ridge regression and Gaussian processes."""

from __future__ import annotations

from typing import final

from crlso.latent.gaussian_process import NOISES, fit
from crlso.predictors.protocol import Prediction
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search.kernels import CodeKernel, KernelKind
from crlso.search.observations import OneHot, Representatives
from crlso.search.ridge import fit_ridge
from crlso.targets import rank_loss


@final
class Ridge:
    """Ridge regression on one-hot entries and pairs of them, as the search method ``ridge`` has it.

    Args:
        space: The space of the codes.
        shares: Shares of the pairs that are tried (:class:`~crlso.search.ridge.RidgeSettings`); (0,): none.
    """

    def __init__(self, space: SearchSpace, *, shares: tuple[float, ...]) -> None:
        self._features = OneHot(space)
        self._positions = len(space.cardinalities)
        self._shares = shares

    def fit(self, codes: Codes, values: FloatArray) -> Prediction:
        """Penalty and share by leave-one-out error (:func:`~crlso.search.ridge.fit_ridge`)."""
        data = self._features(codes)
        fitted = fit_ridge(data @ data.T, -rank_loss(values), self._positions, shares=self._shares)
        return lambda others: fitted.predict(self._features(others) @ data.T, self._positions)


@final
class GaussianProcess:
    """Mean of a Gaussian process with the kernels of the search method ``bo``, tried in the same way.

    Args:
        space: The space of the codes.
        kernel: Hamming (``codes``), Weisfeiler-Lehman (``graphs``), or a weighted mean of ``both``.
        rounds: Of the Weisfeiler-Lehman refinement.
    """

    def __init__(self, space: SearchSpace, *, kernel: KernelKind, rounds: int = 2) -> None:
        self._representatives = Representatives(space)
        self._kernel = CodeKernel(space, kernel, rounds)

    def fit(self, codes: Codes, values: FloatArray) -> Prediction:
        """Hyper-parameters by marginal likelihood (:func:`~crlso.latent.gaussian_process.fit`)."""
        data = self._representatives(codes)
        fitted = fit(self._kernel.choices(data), -rank_loss(values), NOISES)

        def mean(others: Codes) -> FloatArray:
            new = self._representatives(others)
            return fitted.predict(self._kernel(data, new, fitted.choice))[0]

        return mean
