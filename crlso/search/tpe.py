"""Optuna's tree-structured Parzen estimator; Optuna is an extra (``pip install "crlso[optuna]"``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from crlso.protocols import Code, SearchSpace
from crlso.search.adapter import LibrarySearch, check_settings, import_extra
from crlso.search.observations import Observations


@dataclass(frozen=True)
class TPESettings:
    """Settings of the search.

    Attributes:
        initial: Random architectures before the first estimate (Optuna: ``n_startup_trials``).
        candidates: Samples of the good ones' density among which the best ratio is chosen (Optuna:
            ``n_ei_candidates``).
        multivariate: One density of all entries together; otherwise every entry is chosen on its own.
        constant_liar: Proposals refused because they were asked before count as bad ones until the ask is
            over; otherwise they have no effect on the next.
        draws: Proposals of Optuna in one ask at most.
    """

    initial: int = 10
    candidates: int = 24
    multivariate: bool = True
    constant_liar: bool = True
    draws: int = 20

    def __post_init__(self) -> None:
        check_settings(initial=self.initial, candidates=self.candidates, draws=self.draws)


@final
class TPE(LibrarySearch):
    """Optuna's ``TPESampler`` over one categorical parameter for each entry of the code.

    The best tenth of what was told and the rest are modelled by one density each; of some samples of the
    first density that with the largest ratio of both is proposed (Bergstra et al. 2011, "Algorithms for
    Hyper-Parameter Optimization"; Watanabe 2023, "Tree-Structured Parzen Estimator").

    Departures from an Optuna study, all by :class:`~crlso.search.adapter.LibrarySearch`: the first
    architectures are drawn by the space; the study is built anew for every proposal, with a sampler seeded by
    our generator; a code against the rules of its space is repaired, and Optuna is told of the repaired one;
    nothing is evaluated twice (Optuna would), and the proposals that are refused for it stay running trials
    for the rest of the ask; a failed trial has the worst value, where Optuna leaves failed trials out.
    Optuna's ``group`` is no setting: no entry of a code depends on another's being there, so there is one
    group.

    Args:
        space: Where to search.
        seed: Of everything that is drawn.
        settings: Settings of the search.

    Raises:
        UserError: Optuna is not installed.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: TPESettings) -> None:
        super().__init__(space, seed=seed, initial=settings.initial, draws=settings.draws)
        self._settings = settings
        self._optuna = import_extra("optuna", method="tpe", library="Optuna", extra="optuna")
        self._choices = {
            str(position): self._optuna.distributions.CategoricalDistribution(range(count))
            for position, count in enumerate(space.cardinalities)
        }

    def _proposals(self, seen: Observations, seed: int) -> Iterator[Code]:
        settings = self._settings
        sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=settings.initial,
            n_ei_candidates=settings.candidates,
            multivariate=settings.multivariate,
            constant_liar=settings.constant_liar,
            seed=seed,
        )
        with _quiet(self._optuna):
            study = self._optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(
            self._optuna.trial.create_trial(
                params=dict(zip(self._choices, code, strict=True)), distributions=self._choices, value=value
            )
            for code, value in zip(seen.codes.tolist(), seen.values().tolist(), strict=True)
        )
        while True:
            params = study.ask(self._choices).params
            yield np.array([params[name] for name in self._choices])


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keeps Optuna from saying that there is a new study; its verbosity is left as it was."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
