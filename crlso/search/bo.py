"""Bayesian optimisation on codes: Gaussian process, Hamming and Weisfeiler-Lehman kernels, improvement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.latent.gaussian_process import expected_improvement, fit
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, SearchSpace
from crlso.search.acquisition import Acquisition
from crlso.search.observations import Observations, Representatives
from crlso.search.rng import rng_state, set_rng_state
from crlso.spaces.codes import differing
from crlso.spaces.neighbourhoods import WeisfeilerLehman

LENGTHS: Final = (0.17, 0.25, 0.33, 0.5, 0.67, 1.0)
"""Of the Hamming kernel, as shares of all entries: from one differing entry of six to all."""

MIXTURES: Final = (0.0, 0.3, 0.7, 1.0)
"""Weight of the Weisfeiler-Lehman kernel beside the Hamming kernel."""

NOISES: Final = (1e-3, 1e-2, 5e-2)
"""Variances, as multiples of the kernel's."""

STARTS: Final = 10
"""Best evaluated architectures from which candidates are sought where a space is too large to scan."""


@dataclass(frozen=True)
class BOSettings:
    """Settings of Bayesian optimisation.

    Attributes:
        initial: Random architectures before the first model.
        round: Architectures proposed from one model.
        rounds: Of the Weisfeiler-Lehman refinement; 0 counts operations alone.
    """

    initial: int = 10
    round: int = 1
    rounds: int = 2

    def __post_init__(self) -> None:
        for name, least in (("initial", 2), ("round", 1), ("rounds", 0)):
            if getattr(self, name) < least:
                raise UserError(f"bo: {name}={getattr(self, name)}; it must be {least} or more")


@final
class BO:
    """Expected improvement of a Gaussian process on the normal scores of the ranks.

    Kernel: a weighted mean of exp(-share of differing entries / length) and of the cosine of neighbourhood
    counts, both of representatives, so that one network has one place. Length, weight and noise are those of
    the largest marginal likelihood, tried one by one in every round; nothing is sampled.

    Only the first objective counts; a failed evaluation (NaN) ranks below all others.

    Departures: NAS-BOWL (Ru et al. 2021) has the second kernel alone and optimises its depth; ranks instead
    of values (accuracies of cells at chance level would otherwise rule the fit).
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: BOSettings) -> None:
        self._space = space
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        self._representatives = Representatives(space)
        self._neighbourhoods = WeisfeilerLehman(space, settings.rounds)
        self._acquisition = Acquisition(space)
        self._seen = Observations(space)
        self._queue: Codes = self._seen.codes

    def ask(self, n: int) -> Codes:
        """``[m, d]``: a random architecture at first, then what the model thinks most of."""
        if not len(self._queue):
            if len(self._seen) < self._settings.initial:
                self._queue = self._space.sample(1, self._rng)
            else:
                self._queue = self._propose()
        proposed, self._queue = self._queue[:n], self._queue[n:]
        return proposed

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Shapes: ``[n, d]``, ``[n, m]``."""
        self._seen.add(codes, values)

    def _propose(self) -> Codes:
        """The unasked architectures of the largest expected improvement, random ones where there are none."""
        codes, targets = self._representatives(self._seen.codes), self._seen.targets()
        fitted = fit(self._kernels(codes), targets, NOISES)
        best = float(targets.max())

        def improvement(candidates: Codes) -> FloatArray:
            cross = self._kernel(codes, self._representatives(candidates), fitted.choice)
            return expected_improvement(*fitted.predict(cross), best)

        count = self._settings.round
        starts = self._seen.best(STARTS)
        found = self._acquisition.best(
            improvement, count, asked=self._seen.keys, starts=starts, rng=self._rng
        )
        return np.concatenate([found, self._space.sample(count - len(found), self._rng)])

    def _kernels(self, codes: Codes) -> Iterator[tuple[_Choice, FloatArray]]:
        """All kernels of the evaluated architectures."""
        share = differing(codes, codes) / codes.shape[1]
        cosine = self._neighbourhoods.similarity(codes, codes)
        for weight in MIXTURES:
            for length in LENGTHS if weight < 1 else LENGTHS[:1]:
                yield _Choice(length, weight), _mixed(share, cosine, length, weight)

    def _kernel(self, one: Codes, other: Codes, choice: _Choice) -> FloatArray:
        share = differing(one, other) / one.shape[1]
        cosine = self._neighbourhoods.similarity(one, other) if choice.weight else np.zeros_like(share)
        return _mixed(share, cosine, choice.length, choice.weight)

    def state_dict(self) -> dict[str, Any]:
        """Generator, what was evaluated, what is still to propose."""
        return {
            "rng": rng_state(self._rng),
            "seen": self._seen.state_dict(),
            "queue": self._queue,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        set_rng_state(self._rng, state["rng"])
        self._seen.load_state_dict(state["seen"])
        self._queue = np.asarray(state["queue"], dtype=CODE_DTYPE)

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Nothing to show."""
        return {}


@dataclass(frozen=True)
class _Choice:
    """Hyper-parameters of the kernel: see :data:`LENGTHS` and :data:`MIXTURES`."""

    length: float
    weight: float


def _mixed(share: FloatArray, cosine: FloatArray, length: float, weight: float) -> FloatArray:
    mixed: FloatArray = (1 - weight) * np.exp(-share / length) + weight * cosine
    return mixed
