"""Normalisation by the statistics of the batch with a learned scale and shift: what surrounds the cells."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from supernet.networks.normalisation import OwnBatch, Statistics


@final
class AffineBatchStatistics(nn.Module):
    """Batch normalisation with weights, but without running averages, while training and while measuring.

    Args:
        channels: Of the feature maps.
        statistics: Where mean and variance come from.
    """

    def __init__(self, channels: int, statistics: Statistics | None = None) -> None:
        super().__init__()
        self.statistics = statistics or OwnBatch()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to the same shape."""
        return self.statistics.normalise(x, self.weight) + self.bias.to(x.dtype)[:, None, None]

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
