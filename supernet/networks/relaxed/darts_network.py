"""What surrounds the relaxed cells of DARTS: stems, order of the cells, classifier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, final

import torch
from torch import Tensor, nn

from supernet.networks.normalisation import BatchStatistics, OwnBatch, Statistics, Style
from supernet.networks.relaxed.affine import AffineBatchStatistics
from supernet.networks.relaxed.layout import FastSupernet, Layout
from supernet.networks.relaxed.merged import MergedEdges, whole_layout
from supernet.networks.relaxed.reference import RelaxedDARTSCell, preprocess
from supernet.networks.supernet import Supernet

Stem = Literal["cifar", "imagenet"]

DARTS_OPERATIONS: Final = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""What an edge mixes, in the order of the released code."""
DARTS_EDGES: Final = tuple((source, node) for node in range(2, 6) for source in range(node))
"""(source, target) by target; states 0 and 1 are the cell's inputs."""


@dataclass(frozen=True)
class CellPlan:
    """Where a cell stands.

    Attributes:
        before: Channels of the outputs of the cell before the last and of the last cell.
        channels: Of the feature maps inside; the output has four times as many.
        reduction: Whether it halves the image.
        halved: Whether the cell (or stem) before it did.
    """

    before: tuple[int, int]
    channels: int
    reduction: bool
    halved: bool


def plan(channels: int, cells: int, stem: Stem) -> Iterator[CellPlan]:
    """The cells of a network, from the stem to the classifier (reductions at a third and two thirds)."""
    first = 3 * channels if stem == "cifar" else channels
    before, current, halved = (first, first), channels, stem == "imagenet"
    for cell in range(cells):
        reduction = cell in (cells // 3, 2 * cells // 3)
        current *= 2 if reduction else 1
        yield CellPlan(before, current, reduction, halved)
        before, halved = (before[1], 4 * current), reduction


class DARTSSupernet(Supernet):
    """The relaxed network of DARTS (Liu et al. 2019), whatever computes its cells.

    The shares have two kinds, normal and reduction cells, with 14 edges (:data:`DARTS_EDGES`) and 8
    operations (:data:`DARTS_OPERATIONS`). With 16 channels, 8 cells, the CIFAR stem, 3 input channels and 10
    classes it has the published 1,930,618 weights. The normalisations of the stems have learned scales and
    shifts. The released search network has the CIFAR stem only; the ImageNet stem is that of its evaluation
    network.

    Args:
        channels: Of the first cell; every reduction doubles them.
        cells: Number of cells; those at ``cells // 3`` and ``2 * cells // 3`` are reduction cells.
        stem: ``cifar``: a 3x3 convolution to ``3 * channels``; ``imagenet``: three of stride 2.
        inputs: Channels of the images.
        classes: Number of classes.
        statistics: Where the normalisations take mean and variance from; by default from the own batch.
    """

    def __init__(
        self,
        *,
        channels: int = 16,
        cells: int = 8,
        stem: Stem = "cifar",
        inputs: int = 3,
        classes: int = 10,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.cell_count, self.stem_kind = channels, cells, stem
        self.inputs, self.classes = inputs, classes
        self.statistics = statistics or OwnBatch()
        plans = tuple(plan(channels, cells, stem))
        self.stems = stems(channels, inputs, stem, self.statistics)
        self.cells = nn.ModuleList(self._cell(each) for each in plans)
        self.classifier = nn.Linear(4 * plans[-1].channels, classes)
        self._kinds = tuple(int(each.reduction) for each in plans)

    @abstractmethod
    def _cell(self, place: CellPlan) -> nn.Module:
        """A cell: outputs of the two cells before and its kind's shares to its output."""

    def forward(self, images: Tensor, mixing: Tensor) -> Tensor:
        """See the base class; ``mixing`` is ``[2, 14, 8]``."""
        first = self.stems[0](images)
        second = self.stems[1](first)
        for kind, cell in zip(self._kinds, self.cells, strict=True):
            first, second = second, cell(first, second, mixing[kind])
        logits: Tensor = self.classifier(second.mean((2, 3)))
        return logits


def stems(channels: int, inputs: int, stem: Stem, statistics: Statistics) -> nn.ModuleList:
    """Two modules: images to the first input of the first cell, and that to the second one."""

    def convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            AffineBatchStatistics(outputs, statistics),
        ]

    if stem == "cifar":
        return nn.ModuleList([nn.Sequential(*convolution(inputs, 3 * channels, 1)), nn.Identity()])
    half = channels // 2
    first = nn.Sequential(*convolution(inputs, half, 2), nn.ReLU(), *convolution(half, channels, 2))
    return nn.ModuleList([first, nn.Sequential(nn.ReLU(), *convolution(channels, channels, 2))])


@final
class DARTSReference(DARTSSupernet):
    """The relaxed network of DARTS, one operation at a time, as published: see :class:`DARTSSupernet`."""

    def _cell(self, place: CellPlan) -> nn.Module:
        style = Style(partial(BatchStatistics, statistics=self.statistics), pools=True)
        return RelaxedDARTSCell(
            DARTS_EDGES,
            DARTS_OPERATIONS,
            place.before,
            place.channels,
            reduction=place.reduction,
            halved=place.halved,
            style=style,
        )


@final
class MergedDARTSCell(nn.Module):
    """The cell of :class:`~supernet.networks.relaxed.reference.RelaxedDARTSCell`, with merged operations."""

    def __init__(self, place: CellPlan, statistics: Statistics) -> None:
        super().__init__()
        style = Style(partial(BatchStatistics, statistics=statistics))
        self.preprocess = preprocess(place.before, place.channels, halved=place.halved, style=style)
        self.edges = MergedEdges(
            DARTS_EDGES,
            DARTS_OPERATIONS,
            place.channels,
            inputs=2,
            halves=place.reduction,
            pools=True,
            statistics=statistics,
        )

    def forward(self, first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
        """Outputs of the two cells before and ``[edges, operations]`` to ``[n, 4 channels, h', w']``."""
        states = self.edges([self.preprocess[0](first), self.preprocess[1](second)], shares)
        return torch.cat(states[2:], dim=1)


@final
class DARTSFast(DARTSSupernet, FastSupernet):
    """The relaxed network of DARTS with merged operations: see :class:`DARTSSupernet`."""

    def _cell(self, place: CellPlan) -> nn.Module:
        return MergedDARTSCell(place, self.statistics)

    def forward(self, images: Tensor, mixing: Tensor) -> Tensor:
        """See the base class."""
        return super().forward(images.contiguous(memory_format=torch.channels_last), mixing)

    def layout(self) -> Layout:
        """See the base class."""
        return whole_layout(self)

    def reference(self) -> DARTSReference:
        """See the base class."""
        return DARTSReference(
            channels=self.channels,
            cells=self.cell_count,
            stem=self.stem_kind,
            inputs=self.inputs,
            classes=self.classes,
            statistics=self.statistics,
        )
