"""BANANAS: White et al. 2021, "BANANAS: Bayesian Optimization with Neural Architectures for NAS"."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
import torch
from torch import Tensor

from crlso.errors import UserError
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search.acquisition import best_distinct, mutate
from crlso.search.observations import OneHot
from crlso.search.rounds import RoundSearch
from crlso.threads import threads


@dataclass(frozen=True)
class BananasSettings:
    """Settings of the search.

    Attributes:
        initial: Random architectures before the first ensemble.
        round: Architectures proposed from one ensemble. The paper has 10, which were trained at the same
            time; of one after the other, one finds more (docs/research/convex_search.md, section 16).
        ensemble: Networks.
        width: Units of a hidden layer.
        layers: Hidden layers.
        steps: Steps of Adam, each on all data.
        learning_rate: Of Adam.
        weight_decay: Of all matrices.
        parents: Best architectures that are mutated.
        mutants: Candidates of a round.
        edits: Edits of a candidate at most; their number is drawn uniformly.
    """

    initial: int = 10
    round: int = 1
    ensemble: int = 5
    width: int = 32
    layers: int = 2
    steps: int = 150
    learning_rate: float = 0.01
    weight_decay: float = 1e-3
    parents: int = 10
    mutants: int = 200
    edits: int = 2

    def __post_init__(self) -> None:
        if self.initial < 2:
            raise UserError(f"initial must be 2 or more for an ensemble to rank them, got {self.initial}")
        for name in ("round", "ensemble", "width", "layers", "parents", "mutants", "edits"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("steps", "weight_decay"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise UserError(f"learning_rate must be above 0, got {self.learning_rate}")


class _Ensemble:
    """Feed-forward networks of one shape, trained as one batch of matrices.

    Args:
        widths: Units of each layer, from the features to the output.
        members: Number of networks.
        seed: Of their initial weights, He et al. 2015; biases start at zero.
    """

    def __init__(self, widths: list[int], members: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._matrices = [
            (torch.randn(members, into, out, generator=generator) * (2 / into) ** 0.5).requires_grad_()
            for into, out in pairwise(widths)
        ]
        self._biases = [torch.zeros(members, 1, out, requires_grad=True) for out in widths[1:]]

    def __call__(self, features: Tensor) -> Tensor:
        """``[n, f]`` -> ``[members, n]``."""
        states = features.expand(len(self._matrices[0]), -1, -1)
        last = len(self._matrices) - 1
        for layer, (matrix, bias) in enumerate(zip(self._matrices, self._biases, strict=True)):
            states = torch.baddbmm(bias, states, matrix)
            if layer < last:
                states = states.relu()
        return states[..., 0]

    def fit(self, features: Tensor, targets: Tensor, settings: BananasSettings) -> float:
        """Least absolute error on all data in each step; the last error, 0 without a step."""
        groups = [
            {"params": self._matrices, "weight_decay": settings.weight_decay},
            {"params": self._biases, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(settings.steps, 1))
        error = torch.zeros(())
        for _ in range(settings.steps):
            # The sum over members: every network has the gradient of its own mean error.
            error = (self(features) - targets).abs().mean(dim=1).sum()
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return float(error.detach()) / len(self._matrices[0])


@final
class Bananas(RoundSearch):
    """An ensemble of networks, mutants of the best as candidates, independent Thompson sampling.

    1. A few random architectures.
    2. In every round, fresh networks are trained on all data. They differ in their initial weights alone.
    3. The best architectures asked are mutated by a few random edits; the mutants are the candidates.
    4. Every candidate's value is drawn from the normal distribution of the ensemble's mean and deviation at
       it; those with the highest draws are proposed (independent Thompson sampling, section 4 of the paper).

    Departures from the paper: features are one-hot entries of the code, as paths exist in cells only
    (:class:`~crlso.search.observations.OneHot`); targets are normal scores of the ranks with absolute error,
    for which the paper has accuracies with a mean absolute percentage error; networks are smaller (it has 10
    layers of 20 units) and a round proposes 1, not 10. Only the first objective counts.

    Curves: error of the fit, and mean deviation of the ensemble at the candidates, over the rounds.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: BananasSettings) -> None:
        super().__init__(space, seed=seed, initial=settings.initial)
        self._settings = settings
        self._features = OneHot(space)

    @threads()
    def _propose(self) -> Codes:
        settings, rounds = self._settings, self._rounds
        candidates = self._candidates()
        chosen = candidates
        if len(candidates):
            mean, spread = self._predict(candidates)
            draws = mean + spread * rounds.rng.standard_normal(len(mean))
            chosen = best_distinct(
                self._space, candidates, draws, settings.round, asked=rounds.seen.keys, rng=rounds.rng
            )
        return rounds.filled(chosen, settings.round)

    def _candidates(self) -> Codes:
        """Unasked mutants of the best, each class once."""
        settings, rng = self._settings, self._rounds.rng
        parents = self._rounds.seen.best(settings.parents)
        parents = parents[np.arange(settings.mutants) % len(parents)]
        edits = rng.integers(1, settings.edits + 1, size=len(parents))
        mutants = np.concatenate(
            [mutate(self._space, parents[edits == count], count, rng) for count in np.unique(edits)]
        )
        keys, first = np.unique(self._space.class_keys(mutants), return_index=True)
        return mutants[first[~np.isin(keys, self._rounds.seen.keys)]]

    def _predict(self, candidates: Codes) -> tuple[FloatArray, FloatArray]:
        """Trains an ensemble; its mean and deviation at each candidate."""
        settings = self._settings
        widths = [self._features.width, *[settings.width] * settings.layers, 1]
        ensemble = _Ensemble(widths, settings.ensemble, int(self._rounds.rng.integers(2**31)))
        known, asked = (
            torch.from_numpy(self._features(codes)).float() for codes in (self._rounds.seen.codes, candidates)
        )
        error = ensemble.fit(known, torch.from_numpy(self._rounds.seen.targets()).float(), settings)
        with torch.no_grad():
            predicted: FloatArray = ensemble(asked).numpy().astype(np.float64)
        mean, spread = predicted.mean(axis=0), predicted.std(axis=0)
        self._rounds.note(error=error, spread=float(spread.mean()))
        return mean, spread
