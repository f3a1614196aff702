"""The interface of update rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.update_rules.problem import Batch, Problem, Weights
from supernet.update_rules.virtual import VirtualStep


@dataclass(frozen=True, eq=False)
class Gradients:
    """What a step of a search descends along, and what its progress shows. Means over processes.

    Attributes:
        alpha: Gradient in the architecture weights, of their shape.
        weights: Gradient of the training loss in the supernet's weights at the present point, where it falls
            out; then both are updated at once. ``None``: it is computed after the architecture's step.
        train_loss: Cross-entropy of the training batch in nats, where it falls out.
        train_accuracy: Share of the training batch that is classified correctly, where it falls out.
        valid_loss: The same of the validation batch, at the weights at which the rule looked.
        valid_accuracy: Likewise.
    """

    alpha: Tensor
    weights: Weights | None = None
    train_loss: Tensor | None = None
    train_accuracy: Tensor | None = None
    valid_loss: Tensor | None = None
    valid_accuracy: Tensor | None = None


class UpdateRule(ABC):
    """A pure function of the losses, the weights and the batches. It never waits for the device."""

    @property
    @abstractmethod
    def needs_virtual(self) -> bool:
        """Whether :meth:`gradients` must be given the optimiser's virtual step."""

    @property
    @abstractmethod
    def needs_valid(self) -> bool:
        """Whether :meth:`gradients` looks at the validation batch."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Passes forward and backward per step, with that of the weights; a tangent counts as another."""

    def noise(
        self, shape: torch.Size, generator: torch.Generator | None, device: torch.device
    ) -> Tensor | None:
        """What one step needs to be drawn for weights of a shape, on a device; ``None``: nothing."""
        del shape, generator, device
        return None

    @abstractmethod
    def gradients(
        self, problem: Problem, train: Batch, valid: Batch, virtual: VirtualStep | None = None
    ) -> Gradients:
        """Gradients at the present weights; nothing is updated.

        Args:
            problem: The losses, with the noise of this step drawn.
            train: A batch of the training part.
            valid: A batch of the validation part.
            virtual: The step that the weights' optimiser would take.

        Raises:
            ValueError: No ``virtual`` where the rule needs it.
        """
