"""The network whose weights all architectures of a space share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from supernet.networks.normalisation import Statistics


class Supernet(nn.Module, ABC):
    """Images and mixing shares to logits: a pure function of its weights and arguments, without buffers.

    Architecture weights are not part of it: a relaxation turns them into shares.

    Attributes:
        statistics: Where its normalisations take mean and variance from.
    """

    statistics: Statistics

    @property
    @abstractmethod
    def feature_channels(self) -> tuple[int, ...]:
        """Of the feature maps that :meth:`outputs` gives."""

    @abstractmethod
    def outputs(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits ``[n, classes]``, and the feature maps ``[n, c, h, w]`` at the end of each stage.

        A stage ends with the last cell of one image size: before each reduction, and with the last cell.

        Args:
            images: ``[n, c, h, w]``, normalised.
            mixing: ``[kinds, edges, operations]`` shares of the operations on each edge.
        """

    def forward(self, images: Tensor, mixing: Tensor) -> Tensor:
        """The logits alone, see :meth:`outputs`."""
        return self.outputs(images, mixing)[0]
