"""Objectives: what a search descends along, from the task's loss and the shares of the operations."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final, final

import torch
from torch import Tensor

from crlso.errors import UserError
from supernet.relaxation import Edges, node_entropy, node_sizes

SLOPE: Final = 50.0
"""Of the sparsity term: how steep it is where a share is 0."""


class Objective(ABC):
    """A differentiable function of the task's loss and of the shares.

    Its numbers are tensors without dimensions, in float64, on the device of the search: what adapts them
    during a search writes into them, and functions that were compiled or recorded stay valid.
    """

    @abstractmethod
    def __call__(self, task: Tensor, shares: Tensor) -> Tensor:
        """A number of the task loss's type.

        Args:
            task: The task's loss in nats.
            shares: ``[kinds, edges, operations]``, float32 or better.
        """

    @abstractmethod
    def tensors(self) -> Mapping[str, Tensor]:
        """The numbers that may change during a search, by name: part of its state."""


@final
class Plain(Objective):
    """The task's loss alone."""

    def __call__(self, task: Tensor, shares: Tensor) -> Tensor:
        """See the base class."""
        del shares
        return task

    def tensors(self) -> Mapping[str, Tensor]:
        """Nothing changes."""
        return {}


@final
class LogSum(Objective):
    """``task * (1 + gamma * S) + gamma * mu * S`` with :func:`sparsity` S (SNPS, Rao et al., released code).

    The pressure on S is ``gamma * (task + mu)``: it fades as the task's loss falls, unless mu grows.

    Args:
        gamma: Weight of the sparsity, above 0. The defaults are those of the released CIFAR-10 search.
        mu: Pressure that does not fade, 0 or more.
        device: Where the shares are.

    Raises:
        UserError: A number out of its range.
    """

    def __init__(self, gamma: float = 1e-4, mu: float = 0.1, *, device: torch.device | str = "cpu") -> None:
        if not (math.isfinite(gamma) and gamma > 0 and math.isfinite(mu) and mu >= 0):
            raise UserError(
                f"the sparsity needs a gamma above 0 and a mu of 0 or more, got gamma {gamma} and mu {mu}"
            )
        self.gamma, self.mu = _number(gamma, device), _number(mu, device)

    def __call__(self, task: Tensor, shares: Tensor) -> Tensor:
        """See the base class."""
        gamma, mu = self.gamma.to(task.dtype), self.mu.to(task.dtype)
        pressure = gamma * sparsity(shares)
        return task * (1 + pressure) + mu * pressure

    def tensors(self) -> Mapping[str, Tensor]:
        """See the base class."""
        return {"gamma": self.gamma, "mu": self.mu}


@final
class NodeEntropy(Objective):
    """``task + weight * H``, where H is the sum of the nodes' entropies in nats.

    The entropy of entropy-based shrinking (ESS) in our RECONSTRUCTION: the abstract of FX-DARTS (Rao et al.
    2025) names no formula. An entropy's slope grows as a share falls, that of the log-sum is bounded.

    Args:
        edges: ``(source, target)`` of each edge, by target.
        weight: Of the entropy, above 0.
        device: Where the shares are.

    Raises:
        UserError: A weight that is not a positive number, or edges that are not in order.
    """

    def __init__(self, edges: Edges, weight: float, *, device: torch.device | str = "cpu") -> None:
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(f"the weight of the entropy must be a positive number, got {weight}")
        node_sizes(edges)
        self._edges: Edges = tuple(edges)
        self.weight = _number(weight, device)

    def __call__(self, task: Tensor, shares: Tensor) -> Tensor:
        """See the base class."""
        return task + self.weight.to(task.dtype) * node_entropy(shares, self._edges).sum()

    def tensors(self) -> Mapping[str, Tensor]:
        """See the base class."""
        return {"weight": self.weight}


def sparsity(shares: Tensor) -> Tensor:
    """Sum of ``log(1 + 50 w)`` over all shares w, a number without dimensions (SNPS, released code).

    The released code calls it FLOPs, which it is not: it counts entries that are not 0, softly.
    """
    return torch.log1p(SLOPE * shares).sum()


def _number(value: float, device: torch.device | str) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, device=device)
