"""What surrounds the relaxed cells with an operation on every edge: NAS-Bench-201's skeleton."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.spaces import EdgeCellSpace
from supernet.networks.cell import edge_cells
from supernet.networks.normalisation import OwnBatch, Statistics, shared
from supernet.networks.relaxed.layout import FastSupernet, Layout
from supernet.networks.relaxed.merged import MergedEdges, whole_layout
from supernet.networks.relaxed.reference import RelaxedEdgeCell
from supernet.networks.skeleton import ResidualReduction, Skeleton
from supernet.networks.supernet import Supernet


class EdgeCellSupernet(Supernet):
    """The relaxed network of a space with an operation on every edge, whatever computes its cells.

    The shares have one kind, the edges and the operations of the space. Normalisations inside the cells are
    without weights, those of the skeleton have learned scales and shifts.

    Args:
        space: Its edges and operations.
        skeleton: Sizes of the network.
        inputs: Channels of the images.
        classes: Number of classes.
        statistics: Where the normalisations take mean and variance from; by default from the own batch.

    Raises:
        UserError: An operation of the space can not be built.
    """

    def __init__(
        self,
        space: EdgeCellSpace,
        skeleton: Skeleton,
        *,
        inputs: int = 3,
        classes: int = 10,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.space, self.skeleton = edge_cells(space), skeleton
        self.inputs, self.classes = inputs, classes
        self.statistics = statistics or OwnBatch()
        first, last = skeleton.widths[0], skeleton.widths[-1]
        style = shared(pools=False, statistics=self.statistics)
        self.stem = nn.Sequential(nn.Conv2d(inputs, first, 3, padding=1, bias=False), style.around(first))
        body: list[nn.Module] = []
        for stage, width in enumerate(skeleton.widths):
            if stage:
                body.append(ResidualReduction(skeleton.widths[stage - 1], width, style))
            body += [self._cell(width) for _ in range(skeleton.cells)]
        self.body = nn.ModuleList(body)
        self.last = style.around(last)
        self.classifier = nn.Linear(last, classes)

    @abstractmethod
    def _cell(self, channels: int) -> nn.Module:
        """A cell: features and shares ``[edges, operations]`` to features of the same shape."""

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """See the base class."""
        return self.skeleton.widths

    def outputs(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See the base class; ``mixing`` is ``[1, edges, operations]``."""
        features = self.stem(images)
        shares = mixing[0]
        ends: list[Tensor] = []
        for index, module in enumerate(self.body):
            cell = not isinstance(module, ResidualReduction)
            features = module(features, shares) if cell else module(features)
            if index in self.skeleton.stage_ends:
                ends.append(features)
        logits: Tensor = self.classifier(F.relu(self.last(features)).mean((2, 3)))
        return logits, tuple(ends)


@final
class EdgeCellReference(EdgeCellSupernet):
    """The relaxed network of such a space, one operation at a time: see :class:`EdgeCellSupernet`."""

    def _cell(self, channels: int) -> nn.Module:
        style = shared(pools=False, statistics=self.statistics)
        return RelaxedEdgeCell(self.space.edges, self.space.operations, channels, style)


@final
class MergedEdgeCell(nn.Module):
    """The cell of :class:`~supernet.networks.relaxed.reference.RelaxedEdgeCell`, with merged operations."""

    def __init__(self, space: EdgeCellSpace, channels: int, statistics: Statistics) -> None:
        super().__init__()
        self.edges = MergedEdges(
            space.edges,
            space.operations,
            channels,
            inputs=1,
            halves=False,
            pools=False,
            statistics=statistics,
        )

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """``[n, c, h, w]`` and ``[edges, operations]`` to ``[n, c, h, w]``."""
        states: list[Tensor] = self.edges([x], shares)
        return states[-1]


@final
class EdgeCellFast(EdgeCellSupernet, FastSupernet):
    """The relaxed network of such a space with merged operations: see :class:`EdgeCellSupernet`."""

    def _cell(self, channels: int) -> nn.Module:
        return MergedEdgeCell(self.space, channels, self.statistics)

    def outputs(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See the base class."""
        return super().outputs(images.contiguous(memory_format=torch.channels_last), mixing)

    def layout(self) -> Layout:
        """See the base class."""
        return whole_layout(self)

    def reference(self) -> EdgeCellReference:
        """See the base class."""
        return EdgeCellReference(
            self.space, self.skeleton, inputs=self.inputs, classes=self.classes, statistics=self.statistics
        )
