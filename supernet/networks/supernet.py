"""The network whose weights all architectures of a space share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Supernet(nn.Module, ABC):
    """Images and mixing shares to logits: a pure function of its weights and arguments, without buffers.

    Architecture weights are not part of it: a relaxation turns them into shares.
    """

    @abstractmethod
    def forward(self, images: Tensor, mixing: Tensor) -> Tensor:
        """Logits ``[n, classes]``.

        Args:
            images: ``[n, c, h, w]``, normalised.
            mixing: ``[kinds, edges, operations]`` shares of the operations on each edge.
        """
