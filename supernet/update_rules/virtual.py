"""The step that a second-order rule imagines the weights to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crlso.errors import UserError
from supernet.update_rules.problem import Weights


@dataclass(frozen=True, eq=False)
class VirtualStep:
    """One step of gradient descent as the weights' optimiser would take it.

    Attributes:
        learning_rate: A number, or a tensor without dimensions.
        momentum: Share of the buffers that is added to the gradient.
        weight_decay: L2 penalty.
        buffers: Running sums of gradients (SGD's momentum buffers); ``None``: zeros, as in the
            first step.
    """

    learning_rate: float | Tensor
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffers: Weights | None = None

    def apply(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> Weights:
        """``w - learning_rate * (momentum * buffer + gradient + weight_decay * w)``; nothing is changed."""
        with torch.no_grad():
            direction = torch._foreach_add(list(gradients), list(weights), alpha=self.weight_decay)
            if self.buffers is not None:
                torch._foreach_add_(direction, list(self.buffers), alpha=self.momentum)
            torch._foreach_mul_(direction, self.learning_rate)
            return tuple(torch._foreach_sub(list(weights), direction))


def virtual_step(optimizer: torch.optim.SGD, parameters: Weights) -> VirtualStep:
    """The next step of an optimiser that has the parameters in its first group.

    Raises:
        UserError: Nesterov's momentum or dampening, which the published virtual step does not know.
    """
    group = optimizer.param_groups[0]
    if group["nesterov"] or group["dampening"]:
        raise UserError("a second-order rule needs SGD without nesterov and without dampening")
    buffers = [
        optimizer.state[p].get("momentum_buffer") if p in optimizer.state else None for p in parameters
    ]
    known = None
    if any(buffer is not None for buffer in buffers):
        known = tuple(
            torch.zeros_like(p) if buffer is None else buffer
            for p, buffer in zip(parameters, buffers, strict=True)
        )
    return VirtualStep(group["lr"], group["momentum"], group["weight_decay"], known)
