"""Relaxations: from architecture weights to the shares of the operations on each edge."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from crlso.errors import UserError


class Relaxation(ABC):
    """Turns architecture weights into mixing shares, differentiably.

    What is random in it is drawn by :meth:`noise` once per step and handed to every pass of that step, so
    that all of them see the same function.
    """

    @abstractmethod
    def noise(
        self, shape: torch.Size, generator: torch.Generator | None, device: torch.device
    ) -> Tensor | None:
        """What one step needs to be drawn for weights of a shape, on a device; ``None``: nothing."""

    @abstractmethod
    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """Shares ``[kinds, edges, operations]``, in float32 or better; those of an edge sum to 1.

        Args:
            alpha: Architecture weights ``[kinds, edges, operations]``.
            noise: What :meth:`noise` drew, or ``None`` for the shares without noise.
        """


@final
class Softmax(Relaxation):
    """Softmax over the operations of each edge (DARTS, Liu et al. 2019, equation 2)."""

    def noise(
        self, shape: torch.Size, generator: torch.Generator | None, device: torch.device
    ) -> Tensor | None:
        """Nothing is random."""
        del shape, generator, device
        return None

    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """See the base class."""
        del noise
        return torch.softmax(_precise(alpha), dim=-1)


@final
class Gumbel(Relaxation):
    """Softmax of architecture weights plus Gumbel noise, divided by a temperature (SNAS, Xie et al. 2019).

    With ``hard`` an edge takes its strongest operation alone, and the gradient is that of the soft shares
    (straight through): the estimator of GDAS (Dong and Yang 2019, equations 5 to 7). GDAS also saves the
    operations that were not taken; here the supernet evaluates all of them, and the result is the same.

    Args:
        temperature: Above 0. It is kept as a tensor, which :meth:`anneal` writes into: compiled functions
            stay valid.
        hard: See above.
        device: Where the architecture weights are.

    Raises:
        UserError: A temperature that is not a positive number.
    """

    def __init__(
        self, temperature: float = 1.0, *, hard: bool = False, device: torch.device | str = "cpu"
    ) -> None:
        self.temperature = torch.tensor(_positive(temperature), dtype=torch.float32, device=device)
        self.hard = hard

    def anneal(self, temperature: float) -> None:
        """Sets the temperature, say once per epoch.

        Raises:
            UserError: A temperature that is not a positive number.
        """
        self.temperature.fill_(_positive(temperature))

    def noise(
        self, shape: torch.Size, generator: torch.Generator | None, device: torch.device
    ) -> Tensor | None:
        """Standard Gumbel numbers, drawn where the generator is (on the device, at best)."""
        place = device if generator is None else generator.device
        waits = torch.empty(shape, dtype=torch.float32, device=place).exponential_(generator=generator)
        tiny = torch.finfo(waits.dtype).tiny
        return -waits.clamp_min(tiny).log().to(device)

    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """See the base class. Without noise: the soft or hard shares of the architecture weights alone."""
        logits = _precise(alpha)
        if noise is not None:
            logits = logits + noise
        soft = torch.softmax(logits / self.temperature, dim=-1)
        if not self.hard:
            return soft
        strongest = soft.argmax(dim=-1, keepdim=True)
        taken = torch.zeros_like(soft).scatter(-1, strongest, 1.0)
        # In this order the forward values are 0 and 1 without a rounding error.
        return taken + (soft - soft.detach())


def entropy(shares: Tensor) -> Tensor:
    """``[kinds, edges]`` entropies of the edges in nats, where 0 log 0 is 0, of shares that sum to 1."""
    entropies: Tensor = torch.special.entr(shares).sum(dim=-1)
    return entropies


def _precise(alpha: Tensor) -> Tensor:
    return alpha.to(torch.promote_types(alpha.dtype, torch.float32))


def _positive(temperature: float) -> float:
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"the temperature must be a positive number, got {temperature}")
    return temperature
