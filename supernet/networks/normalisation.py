"""Normalisation by the statistics of the batch at hand: what networks with shared weights use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON: Final = 1e-5
"""Added to variances, as torch does."""


class Statistics(ABC):
    """Where mean and variance of a channel come from. Stateless."""

    @abstractmethod
    def normalise(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """``[n, c, h, w]`` to mean 0 and variance 1 per channel, then times ``scale`` ``[c]`` if given."""


@final
class OwnBatch(Statistics):
    """The images at hand: in a search on several processes, those of this process."""

    def normalise(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """See the base class."""
        # Torch 2.13 on a CPU gives a wrong gradient by channels-last images for a scale that was expanded.
        dense = None if scale is None else scale.contiguous()
        return F.batch_norm(x, None, None, dense, None, training=True, eps=EPSILON)


@final
class BatchStatistics(nn.Module):
    """Batch normalisation without weights and without running averages, while training and while measuring.

    The DARTS paper says so of the search network (section 3); its released code measures with running
    averages instead. Without them a network is a pure function of its weights and images.

    Args:
        channels: Of the feature maps; kept for the reader.
        statistics: Where mean and variance come from.
    """

    def __init__(self, channels: int, statistics: Statistics | None = None) -> None:
        super().__init__()
        self.channels = channels
        self.statistics = statistics or OwnBatch()

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to the same shape."""
        return self.statistics.normalise(x)


@final
class AffineBatchStatistics(nn.Module):
    """Batch normalisation with learned scale and shift, but without running averages.

    The search networks of DARTS and NAS-Bench-201 have it around their cells: there no operation competes
    with another by its scale.

    Args:
        channels: Of the feature maps.
        statistics: Where mean and variance come from.
    """

    def __init__(self, channels: int, statistics: Statistics | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.statistics = statistics or OwnBatch()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to the same shape."""
        return self.statistics.normalise(x, self.weight) + self.bias.to(x.dtype)[:, None, None]


@dataclass(frozen=True)
class Style:
    """How a network normalises.

    Attributes:
        normalisation: Makes the module for a number of channels, inside the cells.
        pools: Whether pooling is followed by one (DARTS: in the search network only).
        around: Makes the module for a number of channels, outside of the cells: in the stem, in the
            reductions and the head of NAS-Bench-201's network, in auxiliary classifiers.
    """

    normalisation: Callable[[int], nn.Module]
    pools: bool = False
    around: Callable[[int], nn.Module] = nn.BatchNorm2d


TRAINED: Final = Style(nn.BatchNorm2d)
"""Discrete networks that are trained: learned scale and shift, running averages for measuring."""


def shared(*, pools: bool, statistics: Statistics | None = None) -> Style:
    """How networks with shared weights normalise: by the batch at hand, with weights outside of cells only.

    Args:
        pools: Whether pooling is followed by a normalisation: yes in the space of DARTS, no in that of
            NAS-Bench-201.
        statistics: Where mean and variance come from; by default the images at hand.
    """
    return Style(
        lambda channels: BatchStatistics(channels, statistics),
        pools=pools,
        around=lambda channels: AffineBatchStatistics(channels, statistics),
    )
