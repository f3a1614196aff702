"""Controllers: they adapt the pressure on a supernet so that operators go at the wanted rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from crlso.errors import UserError
from supernet.objectives import LogSum, NodeEntropy


class Controller(ABC):
    """Looks at every step's removals and writes into the numbers of an objective.

    All of its state are tensors without dimensions on the device, changed in place; it never waits for them.
    """

    @abstractmethod
    def step(self, removed: Tensor) -> Tensor:
        """One step.

        Args:
            removed: How many operators went in this step, without dimensions.

        Returns:
            Bool, without dimensions: whether a plateau is found in this step, that is a structure that
            survives all pressure, and a new phase begins.
        """

    @abstractmethod
    def values(self) -> Mapping[str, Tensor]:
        """What a trace should show of the present state, without dimensions, by name."""

    @abstractmethod
    def tensors(self) -> Mapping[str, Tensor]:
        """All that :meth:`step` changes, those of the objective included, by name."""


@dataclass(frozen=True)
class Pace:
    """How fast operators should go, and how the pressure follows. Defaults: released CIFAR-10 search of SNPS.

    Attributes:
        most: Pressure at which steps without enough removals count as stalls (gamma_max there).
        target: Removals per step that are wanted (n_max).
        smoothing: Share of the past in the mean of removals (tau).
        up: Factor of the pressure after a step that was too slow (phi).
        down: After one that was fast enough (k).
        patience: Stalls without a break that make a plateau (tqu_max).

    Raises:
        UserError: A number out of its range; the message names it.
    """

    most: float = 0.1
    target: float = 0.005
    smoothing: float = 0.9
    up: float = 1.01
    down: float = 0.99
    patience: int = 50

    def __post_init__(self) -> None:
        for key in ("most", "target", "up", "down"):
            _checked(key, getattr(self, key), math.isfinite(getattr(self, key)) and getattr(self, key) > 0)
        _checked("smoothing", self.smoothing, 0 <= self.smoothing < 1, "0 or more and below 1")
        _checked("up", self.up, self.up >= 1, "1 or more")
        _checked("down", self.down, self.down <= 1, "1 or less")
        _checked("patience", self.patience, self.patience >= 1, "1 or more")


class ClosedLoop(Controller):
    """What the controllers have in common.

    Every step the mean of removals moves, ``rate = smoothing * rate + (1 - smoothing) * removed``. Below the
    target, the pressure is multiplied by ``up``, and if it had reached ``most`` before, the step is a stall;
    otherwise it is multiplied by ``down``, and the stalls are forgotten. So many stalls as the patience has
    are a plateau, and counting begins anew.

    Args:
        pressure: The number of an objective that is adapted.
        pace: See there.
    """

    def __init__(self, pressure: Tensor, pace: Pace) -> None:
        self.pace = pace
        self.pressure = pressure
        device = pressure.device
        self.rate = torch.zeros((), dtype=torch.float64, device=device)
        self.target = torch.tensor(pace.target, dtype=torch.float64, device=device)
        self.most = torch.tensor(pace.most, dtype=torch.float64, device=device)
        self.stalls = torch.zeros((), dtype=torch.int64, device=device)

    @final
    def step(self, removed: Tensor) -> Tensor:
        """See the base class."""
        pace = self.pace
        with torch.no_grad():
            self.rate.copy_(pace.smoothing * self.rate + (1 - pace.smoothing) * removed)
            slow = self.rate < self.target
            stalled = slow & (self.pressure >= self.most)
            self.pressure.copy_(torch.where(slow, self.raised(), self.pressure * pace.down))
            self.stalls.copy_((self.stalls + stalled) * slow)
            plateau = self.stalls >= pace.patience
            self.stalls.mul_(~plateau)
            self.begin_phase(plateau)
        return plateau

    @abstractmethod
    def raised(self) -> Tensor:
        """The pressure after a step that was too slow."""

    @abstractmethod
    def begin_phase(self, plateau: Tensor) -> None:
        """Changes what a plateau changes, where the bool without dimensions is true; nothing elsewhere."""

    def tensors(self) -> Mapping[str, Tensor]:
        """See the base class."""
        return {
            "rate": self.rate,
            "target": self.target,
            "most": self.most,
            "stalls": self.stalls,
        }


@final
class SNPSController(ClosedLoop):
    """The controller of SNPS (Rao et al., released code): gamma is adapted, mu grows from phase to phase.

    Gamma goes on growing beyond ``most``. A plateau multiplies mu and the target.

    Args:
        objective: Whose gamma and mu it writes into.
        pace: See there.
        mu_factor: Of mu at a plateau (rho).
        target_factor: Of the target at a plateau (xi).

    Raises:
        UserError: A factor that is not a positive number.
    """

    def __init__(
        self,
        objective: LogSum,
        pace: Pace | None = None,
        *,
        mu_factor: float = 1.5,
        target_factor: float = 1.0,
    ) -> None:
        super().__init__(objective.gamma, pace or Pace())
        self.objective = objective
        self._mu_factor = _factor("mu_factor", mu_factor)
        self._target_factor = _factor("target_factor", target_factor)

    def raised(self) -> Tensor:
        """See the base class."""
        return self.pressure * self.pace.up

    def begin_phase(self, plateau: Tensor) -> None:
        """See the base class."""
        mu = self.objective.mu
        mu.copy_(torch.where(plateau, mu * self._mu_factor, mu))
        self.target.copy_(torch.where(plateau, self.target * self._target_factor, self.target))

    def values(self) -> Mapping[str, Tensor]:
        """Rate and target in removals per step, gamma as the weight, mu, stalls."""
        return {
            "rate": self.rate,
            "target": self.target,
            "weight": self.pressure,
            "mu": self.objective.mu,
            "stalls": self.stalls,
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """See the base class."""
        return {**super().tensors(), **self.objective.tensors()}


@final
class ESSController(ClosedLoop):
    """Controller of entropy-based shrinking, a RECONSTRUCTION: FX-DARTS's abstract gives none.

    The weight of the entropy is adapted as gamma is in SNPS, but kept at ``most`` or below. A plateau raises
    ``most`` by a factor: without that, nothing would change any more after the first one.

    Args:
        objective: Whose weight it writes into.
        pace: See there; ``most`` has to be set to fit the entropy.
        growth: Factor of ``most`` at a plateau.

    Raises:
        UserError: A factor that is not a positive number.
    """

    def __init__(self, objective: NodeEntropy, pace: Pace, *, growth: float = 1.5) -> None:
        super().__init__(objective.weight, pace)
        self.objective = objective
        self._growth = _factor("growth", growth)

    def raised(self) -> Tensor:
        """See the base class."""
        return torch.minimum(self.pressure * self.pace.up, self.most)

    def begin_phase(self, plateau: Tensor) -> None:
        """See the base class."""
        self.most.copy_(torch.where(plateau, self.most * self._growth, self.most))

    def values(self) -> Mapping[str, Tensor]:
        """Rate and target in removals per step, the entropy's weight and its bound, stalls."""
        return {
            "rate": self.rate,
            "target": self.target,
            "weight": self.pressure,
            "most": self.most,
            "stalls": self.stalls,
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """See the base class."""
        return {**super().tensors(), **self.objective.tensors()}


def _factor(key: str, value: float) -> float:
    _checked(key, value, math.isfinite(value) and value > 0)
    return value


def _checked(key: str, value: float, fine: bool, allowed: str = "a positive number") -> None:
    if not fine:
        raise UserError(f"shrinking.{key} must be {allowed}, got {value}")
