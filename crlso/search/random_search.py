"""Random search: the control that every method has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.protocols import Codes, FloatArray, Goal, SearchSpace
from crlso.search.rng import rng_state, set_rng_state


@dataclass(frozen=True)
class RandomSettings:
    """Random search has nothing to set."""


@final
class RandomSearch:
    """Draws from :meth:`SearchSpace.sample`, whatever was found so far.

    The run loop drops what was asked before, so that this is sampling without replacement.
    """

    def __init__(
        self, space: SearchSpace, *, seed: int, settings: RandomSettings, goal: Goal | None = None
    ) -> None:
        del settings, goal
        self._space = space
        self._rng = np.random.default_rng(seed)

    def ask(self, n: int) -> Codes:
        """``[n, d]`` draws."""
        return self._space.sample(n, self._rng)

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Learns nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The generator's state."""
        return {"rng": rng_state(self._rng)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        set_rng_state(self._rng, state["rng"])

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Nothing to show."""
        return {}
