"""Bayesian optimisation on codes: Gaussian process, Hamming and Weisfeiler-Lehman kernels, improvement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from crlso.errors import UserError
from crlso.latent.gaussian_process import NOISES, expected_improvement, fit
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search.acquisition import Acquisition
from crlso.search.kernels import CodeKernel, KernelKind
from crlso.search.observations import Representatives
from crlso.search.rounds import RoundSearch

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
class BO(RoundSearch):
    """Expected improvement of a Gaussian process on the normal scores of the ranks.

    Kernel: :class:`~crlso.search.kernels.CodeKernel` of representatives, so that one network has one place.
    Length, weight and noise are those of the largest marginal likelihood, tried one by one in every round;
    nothing is sampled.

    Only the first objective counts; a failed evaluation (NaN) ranks below all others.

    By default the kernel is that of NAS-BOWL (Ru et al. 2021). Departures from it: a fixed depth, and ranks
    instead of values (accuracies of cells at chance level would otherwise rule the fit).
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: BOSettings) -> None:
        super().__init__(space, seed=seed, initial=settings.initial)
        self._settings = settings
        self._representatives = Representatives(space)
        self._kernel = CodeKernel(space, settings.kernel, settings.rounds)
        self._acquisition = Acquisition(space)

    def _propose(self) -> Codes:
        """The unasked architectures of the largest expected improvement, random ones where there are none."""
        seen = self._rounds.seen
        codes, targets = self._representatives(seen.codes), seen.targets()
        fitted = fit(self._kernel.choices(codes), targets, NOISES)
        best = float(targets.max())

        def improvement(candidates: Codes) -> FloatArray:
            cross = self._kernel(codes, self._representatives(candidates), fitted.choice)
            return expected_improvement(*fitted.predict(cross), best)

        count = self._settings.round
        found = self._acquisition.best(
            improvement, count, asked=seen.keys, starts=seen.best(STARTS), rng=self._rounds.rng
        )
        return self._rounds.filled(found, count)
