"""Local search with restarts: White et al. 2021, "Exploring the Loss Landscape in NAS"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.protocols import Code, Codes, FloatArray, SearchSpace
from crlso.search.rng import rng_state, set_rng_state


@dataclass(frozen=True)
class LocalSettings:
    """Local search has nothing to set."""


@final
class LocalSearch:
    """First improvement: visits the centre's neighbours in random order and moves to the first better one.

    When all neighbours have been proposed and none was better, it starts again at a random architecture,
    however good that is. White et al. query the whole neighbourhood before they move; moving at once needs
    fewer queries. Only the first objective counts. Neighbours that the run loop drops (asked before) are not
    told, so the next ask simply goes on to the next one. A start that failed (NaN) is given up at once.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: LocalSettings) -> None:
        del settings
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._best = -np.inf
        """Value of the centre; meaningless while there is none."""
        self._queue: Codes | None = None
        """``[m, d]`` neighbours of the centre still to propose; ``None``: no centre, a start comes next."""

    def ask(self, n: int) -> Codes:
        """``[m, d]``: up to ``n`` of the remaining neighbours, or one random start."""
        if self._queue is not None and len(self._queue):
            proposed, self._queue = self._queue[:n], self._queue[n:]
            return proposed
        self._queue = None
        return self._space.sample(1, self._rng)

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Moves to what is better than the centre. Shapes: ``[n, d]``, ``[n, m]``."""
        for code, value in zip(codes, values[:, 0], strict=True):
            if not np.isnan(value) and (self._queue is None or value > self._best):
                self._move(code, float(value))

    def _move(self, centre: Code, value: float) -> None:
        self._best = value
        self._queue = self._rng.permutation(self._space.neighbors(centre), axis=0)

    def state_dict(self) -> dict[str, Any]:
        """Generator, centre's value, and the neighbours still to propose."""
        queue = None if self._queue is None else self._queue.tolist()
        return {"rng": rng_state(self._rng), "best": self._best, "queue": queue}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        set_rng_state(self._rng, state["rng"])
        self._best = float(state["best"])
        queue = state["queue"]
        width = len(self._space.cardinalities)
        self._queue = None if queue is None else np.asarray(queue, dtype=np.int16).reshape(-1, width)

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Nothing to show."""
        return {}
