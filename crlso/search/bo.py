"""Bayesian optimisation on codes: Gaussian process, Hamming and Weisfeiler-Lehman kernels, improvement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.latent.gaussian_process import expected_improvement, fit
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search.acquisition import Acquisition
from crlso.search.observations import Representatives
from crlso.search.rounds import Rounds
from crlso.spaces.codes import differing
from crlso.spaces.neighbourhoods import WeisfeilerLehman

LENGTHS: Final = (0.17, 0.25, 0.33, 0.5, 0.67, 1.0)
"""Of the Hamming kernel, as shares of all entries: from one differing entry of six to all."""

KernelKind = Literal["graphs", "codes", "both"]

MIXTURES: Final[Mapping[KernelKind, tuple[float, ...]]] = MappingProxyType(
    {"graphs": (1.0,), "codes": (0.0,), "both": (0.0, 0.3, 0.7, 1.0)}
)
"""Weights of the Weisfeiler-Lehman kernel beside the Hamming kernel that are tried."""

NOISES: Final = (1e-3, 1e-2, 5e-2)
"""Variances, as multiples of the kernel's."""

STARTS: Final = 10
"""Best evaluated architectures from which candidates are sought where a space is too large to scan."""


@dataclass(frozen=True)
class BOSettings:
    """Settings of Bayesian optimisation.

    Attributes:
        kernel: ``graphs`` (Weisfeiler-Lehman), ``codes`` (Hamming), or a weighted mean of ``both``.
        initial: Random architectures before the first model.
        round: Architectures proposed from one model.
        rounds: Of the Weisfeiler-Lehman refinement; 0 counts operations alone.
    """

    kernel: KernelKind = "graphs"
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

    Kernel: exp(-share of differing entries / length), the cosine of neighbourhood counts, or a weighted mean
    of both, of representatives, so that one network has one place. Length, weight and noise are those of the
    largest marginal likelihood, tried one by one in every round; nothing is sampled.

    Only the first objective counts; a failed evaluation (NaN) ranks below all others.

    Departures: NAS-BOWL (Ru et al. 2021) has the second kernel alone and optimises its depth; ranks instead
    of values (accuracies of cells at chance level would otherwise rule the fit).
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: BOSettings) -> None:
        self._space = space
        self._settings = settings
        self._rounds = Rounds(space, rng=np.random.default_rng(seed), initial=settings.initial)
        self._representatives = Representatives(space)
        self._neighbourhoods = WeisfeilerLehman(space, settings.rounds)
        self._acquisition = Acquisition(space)

    def ask(self, n: int) -> Codes:
        """``[m, d]``: a random architecture at first, then what the model thinks most of."""
        return self._rounds.ask(n, self._propose)

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Shapes: ``[n, d]``, ``[n, m]``."""
        self._rounds.tell(codes, values)

    def _propose(self) -> Codes:
        """The unasked architectures of the largest expected improvement, random ones where there are none."""
        seen = self._rounds.seen
        codes, targets = self._representatives(seen.codes), seen.targets()
        fitted = fit(self._kernels(codes), targets, NOISES)
        best = float(targets.max())

        def improvement(candidates: Codes) -> FloatArray:
            cross = self._kernel(codes, self._representatives(candidates), fitted.choice)
            return expected_improvement(*fitted.predict(cross), best)

        count = self._settings.round
        found = self._acquisition.best(
            improvement, count, asked=seen.keys, starts=seen.best(STARTS), rng=self._rounds.rng
        )
        return self._rounds.filled(found, count)

    def _kernels(self, codes: Codes) -> Iterator[tuple[_Choice, FloatArray]]:
        """All kernels of the evaluated architectures."""
        share = differing(codes, codes) / codes.shape[1]
        cosine = self._neighbourhoods.similarity(codes, codes)
        for weight in MIXTURES[self._settings.kernel]:
            for length in LENGTHS if weight < 1 else LENGTHS[:1]:
                yield _Choice(length, weight), _mixed(share, cosine, length, weight)

    def _kernel(self, one: Codes, other: Codes, choice: _Choice) -> FloatArray:
        share = differing(one, other) / one.shape[1]
        cosine = self._neighbourhoods.similarity(one, other) if choice.weight else np.zeros_like(share)
        return _mixed(share, cosine, choice.length, choice.weight)

    def state_dict(self) -> dict[str, Any]:
        """Generator, what was evaluated, what is still to propose."""
        return self._rounds.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        self._rounds.load_state_dict(state)

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Curves over the rounds."""
        return self._rounds.diagnostics()


@dataclass(frozen=True)
class _Choice:
    """Hyper-parameters of the kernel: see :data:`LENGTHS` and :data:`MIXTURES`."""

    length: float
    weight: float


def _mixed(share: FloatArray, cosine: FloatArray, length: float, weight: float) -> FloatArray:
    mixed: FloatArray = (1 - weight) * np.exp(-share / length) + weight * cosine
    return mixed
