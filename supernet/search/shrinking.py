"""What a search has whose supernet loses its operators: noted architectures, the course of it, its cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.protocols import CODE_DTYPE, BoolArray, Code
from supernet.networks.free_family import FreeTopologyFamily
from supernet.objectives import Objective
from supernet.parts import ShrinkingSettings
from supernet.shrinking import Shrinker

Reason = Literal["plateau", "ladder", "end"]

PHYSICAL: Final = "physical"
SECONDS: Final = "seconds"
CPU_SECONDS: Final = "cpu_seconds"


@dataclass(frozen=True)
class Noted:
    """An architecture that a shrinking supernet passed.

    Attributes:
        step: Shrinking steps done, from 1.
        reason: No operator went for long although much was asked for (``plateau``), their number fell to
            one of the ladder's (``ladder``), or the search was over (``end``).
        architecture: Its text.
        operators: How many it has, those in cells that nothing uses included.
        loss: Of the supernet with these operators on the validation part, in nats, when it was looked at
            (the next time after that step that the search waited for the device).
        accuracy: Likewise, in %.
    """

    step: int
    reason: Reason
    architecture: str
    operators: int
    loss: float
    accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@final
class Shrinking:
    """The operators of a search's supernet: which are left, which the network still computes.

    Args:
        family: The networks.
        settings: When operators go, when an architecture is noted.
        objective: Its weights are steered.
        device: Of the shares.

    Attributes:
        shrinker: Takes operators away, step by step, on the device.
        operators: Code of what the network computes; fewer may be left.
        noted: Architectures in the order in which they were passed.
    """

    def __init__(
        self,
        family: FreeTopologyFamily,
        settings: ShrinkingSettings,
        objective: Objective,
        device: torch.device,
    ) -> None:
        self._family = family
        self._settings = settings
        shape = (len(family.kinds), len(family.edges), len(family.operations))
        self.shrinker = Shrinker(family.edges, shape, settings.threshold, settings.build(objective), device)
        self.operators: Code = np.ones(len(family.space.cardinalities), dtype=CODE_DTYPE)
        self.noted: list[Noted] = []
        self._trace: dict[str, NDArray[np.float64]] = {}
        self._rungs = _rungs(len(self.operators), _nodes(family), settings.ladder)
        self._plateaus = 0
        self._steps = 0
        self._since = 0
        self.start()

    @property
    def left(self) -> int:
        """Operators that are left; waits for the device."""
        return int(self.shrinker.alive.sum())

    @property
    def trace(self) -> Mapping[str, NDArray[np.float64]]:
        """What every step so far did, a column each, as far as it was looked at.

        Beside the shrinker's columns: the operators that the network computed (``physical``), seconds and CPU
        seconds per step (means between two looks).
        """
        return self._trace

    def start(self) -> None:
        """Steps are timed from here on; what came before (a warm-up) had nothing to do with them."""
        self._start = (time.perf_counter(), time.process_time())

    def step(self, shares: Tensor) -> None:
        """Takes away what has become too small; on the device."""
        self.shrinker.step(shares)

    def counted(self) -> bool:
        """Counts a step that was done; whether it is time to look."""
        self._steps += 1
        return self._steps % self._settings.every == 0

    def look(self, measure: Callable[[BoolArray], tuple[float, float]]) -> Code | None:
        """Waits for the device, notes what was passed; what is left, if that is less than is computed.

        Args:
            measure: Loss and accuracy of the supernet with some of its operators ``[kinds, edges,
                operations]``.
        """
        self._keep_trace()
        self._note(measure)
        left = self._code(self.shrinker.alive.cpu().numpy())
        self.start()
        return left if left.sum() < self.operators.sum() else None

    def end(self, measure: Callable[[BoolArray], tuple[float, float]]) -> None:
        """Notes what the search ended with, if that is not noted yet."""
        alive = self.shrinker.alive.cpu().numpy()
        text = self._text(alive)
        if all(noted.architecture != text for noted in self.noted):
            self.noted.append(self._noted(self._steps, "end", alive, measure))

    def sparse_enough(self, sparsity: float) -> bool:
        """Whether the search is over by its stopping rule.

        Args:
            sparsity: Sum over all operators of log(1 + 50 share).
        """
        nodes = _nodes(self._family)
        rules = ((self._settings.stop_operators, self.left), (self._settings.stop_sparsity, sparsity))
        return any(bound > 0 and value <= bound * nodes for bound, value in rules)

    def _keep_trace(self) -> None:
        found = self.shrinker.flush()
        steps = len(found["step"])
        now = (time.perf_counter(), time.process_time())
        done = max(1, self._steps - self._since)
        found[PHYSICAL] = np.full(steps, float(self.operators.sum()))
        for name, before, after in zip((SECONDS, CPU_SECONDS), self._start, now, strict=True):
            found[name] = np.full(steps, (after - before) / done)
        self._since = self._steps
        if self._trace:
            found = {name: np.concatenate([self._trace[name], found[name]]) for name in found}
        self._trace = found

    def _note(self, measure: Callable[[BoolArray], tuple[float, float]]) -> None:
        events: dict[int, Reason] = {}
        counts, steps = self._trace["alive"], self._trace["step"]
        while self._rungs and (below := np.flatnonzero(counts <= self._rungs[0])).size:
            events[int(steps[below[0]])] = "ladder"
            self._rungs = self._rungs[1:]
        plateaus = self.shrinker.plateaus()
        events |= dict.fromkeys(plateaus[self._plateaus :], "plateau")
        self._plateaus = len(plateaus)
        known = {noted.architecture for noted in self.noted}
        for step, reason in sorted(events.items()):
            alive = self.shrinker.alive_after(step)
            if self._text(alive) not in known:
                self.noted.append(self._noted(step, reason, alive, measure))
                known.add(self.noted[-1].architecture)

    def _noted(
        self,
        step: int,
        reason: Reason,
        alive: BoolArray,
        measure: Callable[[BoolArray], tuple[float, float]],
    ) -> Noted:
        loss, accuracy = measure(alive)
        return Noted(step, reason, self._text(alive), int(alive.sum()), loss, accuracy)

    def _text(self, alive: BoolArray) -> str:
        """Of the architecture; cells that nothing uses are written in one way."""
        space = self._family.space
        return space.format(space.canonical(self._code(alive)[None], "exact")[0])

    def _code(self, alive: BoolArray) -> Code:
        code: Code = alive.reshape(-1).astype(CODE_DTYPE)
        return code

    def state_dict(self) -> dict[str, Any]:
        """Plain data, arrays and tensors."""
        return {
            "shrinker": self.shrinker.state_dict(),
            "operators": self.operators,
            "noted": [noted.to_dict() for noted in self.noted],
            "trace": dict(self._trace),
            "rungs": list(self._rungs),
            "plateaus": self._plateaus,
            "steps": self._steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The way back; what the network computes is to be changed by the caller."""
        self.shrinker.load_state_dict(state["shrinker"])
        self.operators = np.asarray(state["operators"], dtype=CODE_DTYPE)
        self.noted = [Noted(**noted) for noted in state["noted"]]
        self._trace = dict(state["trace"])
        self._rungs = tuple(state["rungs"])
        self._plateaus = int(state["plateaus"])
        self._steps = self._since = int(state["steps"])
        self.start()


def _nodes(family: FreeTopologyFamily) -> int:
    """Of all cells."""
    return len(family.kinds) * len({target for _, target in family.edges})


def _rungs(most: int, least: int, count: int) -> tuple[int, ...]:
    """Numbers of operators in even ratios between all and one per node (neither of these), falling."""
    places = np.arange(1, count + 1) / (count + 1)
    return tuple(int(n) for n in np.unique(np.rint(most * (least / most) ** places))[::-1] if n < most)
