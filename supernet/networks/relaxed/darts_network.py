"""What surrounds the relaxed cells of DARTS: stem, order of the cells, classifier."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final, final

import torch
from torch import Tensor, nn

from crlso.spaces.darts_costs import Place, Stem
from crlso.spaces.genotype import INPUTS, NODES, OPERATIONS
from supernet.networks.darts import DARTSSizes, preprocessing
from supernet.networks.darts import stem as make_stem
from supernet.networks.normalisation import OwnBatch, Statistics, shared
from supernet.networks.relaxed.layout import FastSupernet, Layout
from supernet.networks.relaxed.merged import MergedEdges, whole_layout
from supernet.networks.relaxed.reference import RelaxedDARTSCell
from supernet.networks.supernet import Supernet

DARTS_OPERATIONS: Final = ("none", *OPERATIONS)
"""What an edge mixes, in the order of the released code."""
DARTS_EDGES: Final = tuple((source, node) for node in range(INPUTS, INPUTS + NODES) for source in range(node))
"""(source, target) by target; states 0 and 1 are the cell's inputs."""


class DARTSSupernet(Supernet):
    """The relaxed network of DARTS (Liu et al. 2019), whatever computes its cells.

    The shares have two kinds, normal and reduction cells, with 14 edges (:data:`DARTS_EDGES`) and 8
    operations (:data:`DARTS_OPERATIONS`). With 16 channels, 8 cells, the CIFAR stem, 3 input channels and 10
    classes it has the published 1,930,618 weights. The normalisations of the stems have learned scales and
    shifts. The released search network has the CIFAR stem only; the ImageNet stem is that of its evaluation
    network.

    Args:
        channels: As in :class:`~supernet.networks.darts.DARTSSizes`.
        cells: Likewise.
        stem: Likewise.
        inputs: Channels of the images.
        classes: Number of classes.
        statistics: Where the normalisations take mean and variance from; by default from the own batch.

    Raises:
        UserError: A size out of its bounds.
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
        self.sizes = DARTSSizes(channels, cells, stem)
        self.inputs, self.classes = inputs, classes
        self.statistics = statistics or OwnBatch()
        stack = self.sizes.places((1, 1))  # the modules do not depend on the image's size
        self.stem = make_stem(self.sizes, inputs, shared(pools=True, statistics=self.statistics))
        self.cells = nn.ModuleList(self._cell(place) for place in stack)
        self.classifier = nn.Linear(NODES * stack[-1].channels, classes)
        self._kinds = tuple(place.cell for place in stack)

    @abstractmethod
    def _cell(self, place: Place) -> nn.Module:
        """A cell: outputs of the two cells before and its kind's shares to its output."""

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """See the base class."""
        return self.sizes.stage_channels

    def outputs(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See the base class; ``mixing`` is ``[2, 14, 8]``, stages end as the sizes say."""
        older, previous = self.stem(images)
        shares = mixing.unbind(0)
        ends: list[Tensor] = []
        for index, (kind, cell) in enumerate(zip(self._kinds, self.cells, strict=True)):
            older, previous = previous, cell(older, previous, shares[kind])
            if index in self.sizes.stage_ends:
                ends.append(previous)
        logits: Tensor = self.classifier(previous.mean((2, 3)))
        return logits, tuple(ends)


@final
class DARTSReference(DARTSSupernet):
    """The relaxed network of DARTS, one operation at a time, as published: see :class:`DARTSSupernet`."""

    def _cell(self, place: Place) -> nn.Module:
        style = shared(pools=True, statistics=self.statistics)
        return RelaxedDARTSCell(DARTS_EDGES, DARTS_OPERATIONS, place, style)


@final
class MergedDARTSCell(nn.Module):
    """The cell of :class:`~supernet.networks.relaxed.reference.RelaxedDARTSCell`, with merged operations.

    Args:
        place: Where it stands.
        statistics: Where mean and variance come from.
    """

    def __init__(self, place: Place, statistics: Statistics) -> None:
        super().__init__()
        style = shared(pools=True, statistics=statistics)
        self.older, self.previous = preprocessing(place, style)
        self.edges = MergedEdges(
            DARTS_EDGES,
            DARTS_OPERATIONS,
            place.channels,
            inputs=INPUTS,
            halves=bool(place.cell),
            pools=True,
            statistics=statistics,
        )

    def forward(self, older: Tensor, previous: Tensor, shares: Tensor) -> Tensor:
        """Outputs of the two cells before and ``[edges, operations]`` to ``[n, 4 channels, h', w']``."""
        states = self.edges([self.older(older), self.previous(previous)], shares)
        return torch.cat(states[INPUTS:], dim=1)


@final
class DARTSFast(DARTSSupernet, FastSupernet):
    """The relaxed network of DARTS with merged operations: see :class:`DARTSSupernet`."""

    def _cell(self, place: Place) -> nn.Module:
        return MergedDARTSCell(place, self.statistics)

    def outputs(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See the base class."""
        return super().outputs(images.contiguous(memory_format=torch.channels_last), mixing)

    def layout(self) -> Layout:
        """See the base class."""
        return whole_layout(self)

    def reference(self) -> DARTSReference:
        """See the base class."""
        return DARTSReference(
            channels=self.sizes.channels,
            cells=self.sizes.cells,
            stem=self.sizes.stem,
            inputs=self.inputs,
            classes=self.classes,
            statistics=self.statistics,
        )
