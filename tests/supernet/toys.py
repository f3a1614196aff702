"""A small relaxed network with a smooth loss, and what tests of update rules need around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.networks.normalisation import BatchStatistics, Statistics
from supernet.networks.supernet import Supernet
from supernet.update_rules import Batch


class SmoothSupernet(Supernet):
    """Two cells (one per kind) of two edges with three operations each: none, skip, convolution."""

    SHAPE = (2, 2, 3)

    def __init__(self, statistics: Statistics | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.convolutions = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(4))
        self.normalisation = BatchStatistics(4, statistics)
        self.statistics = self.normalisation.statistics
        self.classifier = nn.Linear(4, 5)

    @property
    def feature_channels(self) -> tuple[int, ...]:
        return 4, 4

    def outputs(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.stem(images)
        features = []
        for kind in range(2):
            for edge in range(2):
                made = self.normalisation(self.convolutions[2 * kind + edge](F.silu(x)))
                x = mixing[kind, edge, 1] * x + mixing[kind, edge, 2] * made
            features.append(x)
        logits: Tensor = self.classifier(F.silu(x).mean((2, 3)))
        return logits, tuple(features)


def smooth(seed: int = 0, statistics: Statistics | None = None) -> tuple[SmoothSupernet, Tensor]:
    """The network in float64 and its architecture weights."""
    torch.manual_seed(seed)
    network = SmoothSupernet(statistics).double()
    return network, nn.Parameter(torch.randn(network.SHAPE, dtype=torch.float64))


def batch(seed: int, images: int = 6, *, channels: int = 2, size: int = 5, classes: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    shape = (images, channels, size, size)
    return Batch(
        torch.randn(shape, dtype=torch.float64, generator=generator),
        torch.randint(classes, (images,), generator=generator),
    )
