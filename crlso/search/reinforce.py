"""REINFORCE with an independent softmax for each position of the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, SearchSpace
from crlso.search.rng import rng_state, set_rng_state

ADAM_FIRST, ADAM_SECOND, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants as usual (Kingma and Ba 2015)."""


@dataclass(frozen=True)
class ReinforceSettings:
    """Settings of the search.

    Attributes:
        learning_rate: Of Adam, on the logits.
        momentum: Of the baseline, a moving average of the values (and of their spread).
        entropy: Weight of the entropy of the choices, in deviations of the values per nat.
    """

    learning_rate: float = 0.2
    momentum: float = 0.9
    entropy: float = 0.3

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise UserError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must lie in [0, 1), got {self.momentum}")
        if self.entropy < 0:
            raise UserError(f"entropy must be 0 or more, got {self.entropy}")


@final
class Reinforce:
    """Policy gradient (Williams 1992) on the entries of a code, as a control of NAS benchmark tables.

    Every position has a categorical distribution of its own (Ying et al. 2019, NAS-Bench-101, section 4;
    Dong and Yang 2020, NAS-Bench-201, section 5), started uniform, and is moved by Adam after each value:
    along ``advantage * grad log p(code) + entropy * grad H``, the advantage being the value minus a moving
    average. Departures from NAS-Bench-201's released code: the advantage is divided by a moving deviation, so
    that nothing depends on the metric's scale; the entropy bonus; the learning rate, as budgets here are
    of some hundred evaluations. Samples go through :meth:`SearchSpace.repair`; the gradient is that of
    the code which was evaluated. A failed evaluation (NaN) counts like the worst value so far.

    The run loop drops codes that were asked before, and these teach nothing here (elsewhere they are paid for
    again). A policy that has settled is helped out with random architectures, and learns from them as if
    they were its own.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: ReinforceSettings) -> None:
        self._space = space
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        cardinalities = np.asarray(space.cardinalities)
        self._allowed = np.arange(cardinalities.max())[None] < cardinalities[:, None]
        self._logits: FloatArray = np.zeros(self._allowed.shape)
        self._first: FloatArray = np.zeros(self._allowed.shape)
        self._second: FloatArray = np.zeros(self._allowed.shape)
        self._steps = 0
        self._baseline = 0.0
        self._variance = 0.0
        self._worst: float | None = None
        self._entropies: list[float] = []

    def probabilities(self) -> FloatArray:
        """``[d, c]``: of every value at every position; 0 beyond a position's cardinality."""
        weights = np.where(self._allowed, np.exp(self._logits - self._logits.max(axis=1, keepdims=True)), 0.0)
        shares: FloatArray = weights / weights.sum(axis=1, keepdims=True)
        return shares

    def ask(self, n: int) -> Codes:
        """``[n, d]``: independent samples of the policy, repaired."""
        # Where a uniform number falls among the cumulated probabilities; the last sum may be just below 1.
        bounds = np.cumsum(self.probabilities(), axis=1)[:, :-1]
        drawn = (self._rng.random((n, len(bounds), 1)) >= bounds).sum(axis=2)
        drawn = np.minimum(drawn, self._allowed.sum(axis=1) - 1)
        return self._space.repair(drawn.astype(CODE_DTYPE))

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """A step for each architecture, in order, by the first objective. Shapes: ``[n, d]``, ``[n, m]``."""
        for code, value in zip(codes, values[:, 0].tolist(), strict=True):
            self._learn(code, value)

    def _learn(self, code: NDArray[np.int16], value: float) -> None:
        if np.isnan(value):
            if self._worst is None:
                return
            value = self._worst
        if self._worst is None:
            self._baseline = value
        self._worst = value if self._worst is None else min(self._worst, value)
        momentum = self._settings.momentum
        away = value - self._baseline
        self._variance = momentum * self._variance + (1 - momentum) * away**2
        self._baseline += (1 - momentum) * away
        advantage = away / np.sqrt(self._variance) if self._variance > 0 else 0.0
        self._climb(self.gradient(code, float(advantage)))

    def gradient(self, code: NDArray[np.int16], advantage: float) -> FloatArray:
        """``[d, c]``: derivative of ``advantage * log p(code) + entropy * H`` by the logits, in closed form.

        For a softmax p: d log p_a / d logit_b is ``[a = b] - p_b``, dH / d logit_b is
        ``-p_b (log p_b + H)``.
        """
        shares = self.probabilities()
        chosen = np.arange(shares.shape[1])[None] == code[:, None]
        logs = np.log(np.where(shares > 0, shares, 1.0))
        entropy = -(shares * logs).sum(axis=1, keepdims=True)
        slope: FloatArray = advantage * (chosen - shares) - self._settings.entropy * shares * (logs + entropy)
        return slope

    def _climb(self, gradient: FloatArray) -> None:
        """One step of Adam, upwards."""
        self._steps += 1
        self._first = ADAM_FIRST * self._first + (1 - ADAM_FIRST) * gradient
        self._second = ADAM_SECOND * self._second + (1 - ADAM_SECOND) * gradient**2
        first = self._first / (1 - ADAM_FIRST**self._steps)
        second = self._second / (1 - ADAM_SECOND**self._steps)
        self._logits = self._logits + self._settings.learning_rate * first / (np.sqrt(second) + ADAM_EPSILON)
        shares = self.probabilities()
        logs = np.log(np.where(shares > 0, shares, 1.0))
        self._entropies.append(float(-(shares * logs).sum(axis=1).mean()))

    def state_dict(self) -> dict[str, Any]:
        """Generator, policy, Adam's moments, baseline."""
        return {
            "rng": rng_state(self._rng),
            "logits": self._logits,
            "first": self._first,
            "second": self._second,
            "steps": self._steps,
            "baseline": self._baseline,
            "variance": self._variance,
            "worst": self._worst,
            "entropies": list(self._entropies),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state``."""
        set_rng_state(self._rng, state["rng"])
        self._logits = np.asarray(state["logits"], dtype=np.float64)
        self._first = np.asarray(state["first"], dtype=np.float64)
        self._second = np.asarray(state["second"], dtype=np.float64)
        self._steps = int(state["steps"])
        self._baseline = float(state["baseline"])
        self._variance = float(state["variance"])
        self._worst = state["worst"]
        self._entropies = list(state["entropies"])

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Mean entropy of a choice, in nats, after each value."""
        return {"curve/entropy": np.asarray(self._entropies)} if self._entropies else {}
