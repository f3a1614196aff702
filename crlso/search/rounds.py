"""What model-based methods share: a random beginning, then rounds of proposals from one model each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Goal, SearchSpace
from crlso.search.observations import Observations
from crlso.search.rng import rng_state, set_rng_state


@final
class Rounds:
    """Generator, observations, what is left of a round's proposals, and curves over the rounds.

    Args:
        space: Where to search.
        rng: Of everything that the method draws.
        initial: Random architectures before the first model.
        goal: What the columns of the values are.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        rng: np.random.Generator,
        initial: int,
        goal: Goal | None = None,
    ) -> None:
        self._space = space
        self.initial = initial
        self.rng = rng
        self.seen = Observations(space, goal)
        self._queue: Codes = self.seen.codes
        self._curves: dict[str, list[float]] = {}

    def ask(self, n: int, propose: Callable[[], Codes]) -> Codes:
        """``[m, d]``, 1 <= m <= ``n``: what is left of the round, else a random one or those of a new round.

        Args:
            n: How many are wanted at most.
            propose: Fits a model and gives a round's proposals ``[k, d]``, one or more.
        """
        if not len(self._queue):
            self._queue = self._space.sample(1, self.rng) if len(self.seen) < self.initial else propose()
        proposed, self._queue = self._queue[:n], self._queue[n:]
        return proposed

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Takes the values of evaluated architectures. Shapes: ``[n, d]``, ``[n, m]``."""
        self.seen.add(codes, values)

    def filled(self, found: Codes, count: int) -> Codes:
        """``[count, d]``: what a model found, and random architectures for what is missing.

        So a method goes on where a model finds nothing new; the run loop ends the search of an exhausted
        space.
        """
        return np.concatenate([found, self._space.sample(count - len(found), self.rng)])

    def note(self, **values: float) -> None:
        """One more point of each named curve."""
        for name, value in values.items():
            self._curves.setdefault(name, []).append(value)

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`load_state_dict` goes on."""
        return {
            "rng": rng_state(self.rng),
            "seen": self.seen.state_dict(),
            "queue": self._queue,
            "curves": {name: list(values) for name, values in self._curves.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        set_rng_state(self.rng, state["rng"])
        self.seen.load_state_dict(state["seen"])
        self._queue = np.asarray(state["queue"], dtype=CODE_DTYPE)
        self._curves = {name: list(values) for name, values in state["curves"].items()}

    def diagnostics(self) -> dict[str, NDArray[Any]]:
        """``curve/<name>``: the curves, one point a round."""
        return {f"curve/{name}": np.asarray(values) for name, values in self._curves.items()}


class RoundSearch(ABC):
    """A search method for one objective, in rounds; what is left to a subclass is what a round proposes.

    Args:
        space: Where to search.
        seed: Of everything that the method draws.
        initial: Random architectures before the first model.
    """

    def __init__(self, space: SearchSpace, *, seed: int, initial: int) -> None:
        self._space = space
        self._rounds = Rounds(space, rng=np.random.default_rng(seed), initial=initial)

    @abstractmethod
    def _propose(self) -> Codes:
        """``[k, d]``, k >= 1: the proposals of a round, from a model of all that was told so far."""

    def ask(self, n: int) -> Codes:
        """``[m, d]``, 1 <= m <= ``n``: random at first, then what is left of a round, or a new one's."""
        return self._rounds.ask(n, self._propose)

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Takes the values of evaluated architectures. Shapes: ``[n, d]``, ``[n, m]``."""
        self._rounds.tell(codes, values)

    def state_dict(self) -> dict[str, Any]:
        """Generator, what was told, what is left of the round, and the curves; models are made anew."""
        return self._rounds.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        self._rounds.load_state_dict(state)

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Curves over the rounds, see the class of the method."""
        return self._rounds.diagnostics()
