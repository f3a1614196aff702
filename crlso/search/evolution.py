"""Regularised evolution: Real et al. 2019, Regularized Evolution for Image Classifier Architecture Search."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.protocols import Code, Codes, FloatArray, SearchSpace
from crlso.search.rng import rng_state, set_rng_state


@dataclass(frozen=True)
class EvolutionSettings:
    """Settings of regularised evolution; defaults are those customary on NAS benchmark tables.

    Attributes:
        population: Architectures alive at a time; so many random ones come first.
        sample: Tournament size; contestants are drawn with replacement, as in the paper's own listing.
    """

    population: int = 30
    sample: int = 10

    def __post_init__(self) -> None:
        for name, value in (("population", self.population), ("sample", self.sample)):
            if value < 1:
                raise UserError(f"evolution: {name}={value}; it must be 1 or more")


@final
class Evolution:
    """Tournament selection, one-edit mutation, and the oldest dies (not the worst).

    A child is drawn uniformly from the winner's :meth:`SearchSpace.neighbors`. Only the first objective
    counts. A failed evaluation (NaN) takes its place in the population and loses every tournament against one
    that worked. A child that the run loop drops is never told and leaves no trace: the next ask holds a new
    tournament.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: EvolutionSettings) -> None:
        self._space = space
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        self._population: deque[tuple[Code, float]] = deque(maxlen=settings.population)

    def ask(self, n: int) -> Codes:
        """``[n, d]``: random architectures until the population is full, then ``n`` independent children."""
        if len(self._population) < self._settings.population:
            return self._space.sample(n, self._rng)
        return np.stack([self._child() for _ in range(n)])

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Adds the architectures, oldest out. Shapes: ``[n, d]``, ``[n, m]``."""
        fitness = np.where(np.isnan(values[:, 0]), -np.inf, values[:, 0])
        self._population.extend((code.copy(), float(f)) for code, f in zip(codes, fitness, strict=True))

    def _child(self) -> Code:
        contestants = self._rng.integers(len(self._population), size=self._settings.sample)
        # max() keeps the first of equals: ties fall to the order of the draw.
        parent, _ = max((self._population[i] for i in contestants), key=lambda member: member[1])
        neighbors = self._space.neighbors(parent)
        if not len(neighbors):
            neighbors = self._space.sample(1, self._rng)
        child: Code = neighbors[self._rng.integers(len(neighbors))]
        return child

    def state_dict(self) -> dict[str, Any]:
        """Generator and population, oldest first."""
        return {
            "rng": rng_state(self._rng),
            "codes": [code.tolist() for code, _ in self._population],
            "fitness": [fitness for _, fitness in self._population],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        set_rng_state(self._rng, state["rng"])
        self._population.clear()
        for code, fitness in zip(state["codes"], state["fitness"], strict=True):
            self._population.append((np.asarray(code, dtype=np.int16), float(fitness)))

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Nothing to show."""
        return {}
