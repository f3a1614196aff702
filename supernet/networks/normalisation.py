"""Normalisation by the statistics of the batch at hand: what networks with shared weights use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
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
        if _carries_tangent(x) or (scale is not None and _carries_tangent(scale)):
            return _by_formula(x, scale)
        # Torch 2.13 on a CPU gives a wrong gradient by channels-last images for a scale that was expanded.
        dense = None if scale is None else scale.contiguous()
        return F.batch_norm(x, None, None, dense, None, training=True, eps=EPSILON)


def _carries_tangent(x: Tensor) -> bool:
    """Whether the innermost derivative that is being taken is a forward one (``jvp``) through this tensor.

    Torch 2.13 takes the statistics in ``batch_norm``'s forward derivative for constants, so that a derivative
    of that derivative would be wrong. (Forward over reverse, the order of second-order rules, is right.)
    """
    if torch.compiler.is_compiling():
        return False
    return forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


def _by_formula(x: Tensor, scale: Tensor | None) -> Tensor:
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(precise, dim=(0, 2, 3), correction=0, keepdim=True)
    y = (precise - mean) * torch.rsqrt(variance + EPSILON)
    return (y if scale is None else y * scale[:, None, None]).to(x.dtype)


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
