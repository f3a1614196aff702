"""Predictors that are fitted in closed form: ridge regression and Gaussian processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from crlso.latent.gaussian_process import fit
from crlso.predictors.protocol import Prediction
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search.bo import LENGTHS, MIXTURES, NOISES, KernelKind
from crlso.search.observations import OneHot, Representatives
from crlso.search.ridge import fit_ridge
from crlso.spaces.codes import differing
from crlso.spaces.neighbourhoods import WeisfeilerLehman
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


@dataclass(frozen=True)
class _Choice:
    """Hyper-parameters of a kernel: length of the Hamming part, weight of the other part."""

    length: float
    weight: float


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
        self._neighbourhoods = WeisfeilerLehman(space, rounds)
        self._weights = MIXTURES[kernel]

    def fit(self, codes: Codes, values: FloatArray) -> Prediction:
        """Hyper-parameters by marginal likelihood (:func:`~crlso.latent.gaussian_process.fit`)."""
        data = self._representatives(codes)
        fitted = fit(self._kernels(data), -rank_loss(values), NOISES)

        def mean(others: Codes) -> FloatArray:
            new = self._representatives(others)
            return fitted.predict(_mixed(*self._parts(data, new), fitted.choice))[0]

        return mean

    def _kernels(self, codes: Codes) -> Iterator[tuple[_Choice, FloatArray]]:
        share, cosine = self._parts(codes, codes)
        for weight in self._weights:
            for length in LENGTHS if weight < 1 else LENGTHS[:1]:
                choice = _Choice(length, weight)
                yield choice, _mixed(share, cosine, choice)

    def _parts(self, one: Codes, other: Codes) -> tuple[FloatArray, FloatArray]:
        """Share of differing entries, and cosine of neighbourhoods; zeros where no kernel has it."""
        share = differing(one, other) / one.shape[1]
        cosine = self._neighbourhoods.similarity(one, other) if any(self._weights) else np.zeros_like(share)
        return share, cosine


def _mixed(share: FloatArray, cosine: FloatArray, choice: _Choice) -> FloatArray:
    mixed: FloatArray = (1 - choice.weight) * np.exp(-share / choice.length) + choice.weight * cosine
    return mixed
