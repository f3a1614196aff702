"""The relaxed networks of free topologies: every cell has its own operators, and any of them may be gone."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, BoolArray, Code
from crlso.spaces.darts_costs import Place
from crlso.spaces.fxdarts import FreeTopologySpace
from crlso.spaces.genotype import INPUTS, NODES
from supernet.networks.darts import DARTSSizes
from supernet.networks.darts import stem as make_stem
from supernet.networks.free import (
    FreeCell,
    FreeNetwork,
    check_free,
    needed_preprocessing,
    operators_of,
    prepared,
)
from supernet.networks.normalisation import OwnBatch, Statistics, Style, shared
from supernet.networks.relaxed.layout import FastSupernet, Layout, divide, prefixed
from supernet.networks.relaxed.sparse import SparseEdges
from supernet.networks.supernet import Supernet


class FreeSupernet(Supernet):
    """The relaxed network of a free topology, whatever computes its cells.

    The shares have one kind for each cell, 14 edges and the space's operations. A node is the sum of its
    operators' outputs times their shares.

    It may have any operators of the space, one or more for each node: with those alone that a search has not
    yet removed it is the network of all operators whose removed ones have the share 0, and costs less. Cells
    whose output nothing uses are left out, but for those where an image size ends (a teacher may look at
    them), and so is what an input passes that no operator takes. Shares of operators that it does not have
    count for nothing.

    Weights have the same names in the reference path, whichever operators there are, so that those (or
    gradients, or momentum) of a network ``old`` for one with fewer operators ``new`` are
    ``merge(new.layout(), divide(old.layout(), tensors))``.

    Args:
        space: Its cells and operations.
        sizes: Of the network, with as many cells as the space has; there is no auxiliary classifier.
        operators: ``[d]`` those that it has, a code of the space; by default all.
        inputs: Channels of the images.
        classes: Number of classes.
        statistics: Where the normalisations take mean and variance from; by default from the own batch.

    Raises:
        UserError: A space that networks are not known for, or sizes of another number of cells.
        ArchitectureError: Operators that are no code of the space, or a node without one.
    """

    def __init__(
        self,
        space: FreeTopologySpace,
        sizes: DARTSSizes,
        *,
        operators: ArrayLike | None = None,
        inputs: int = 3,
        classes: int = 10,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        check_free(space, sizes)
        self.space, self.sizes = space, sizes
        code = np.ones(len(space.cardinalities)) if operators is None else np.asarray(operators)
        present = operators_of(space, code.astype(CODE_DTYPE) if operators is None else code)
        self.operators: Code = present.reshape(-1).astype(CODE_DTYPE)
        """``[d]`` the operators that it has, those of cells left out included."""
        self.inputs, self.classes = inputs, classes
        self.statistics = statistics or OwnBatch()
        self.style = shared(pools=True, statistics=self.statistics)
        stack = sizes.places((1, 1))  # the modules do not depend on the image's size
        self.stem = make_stem(sizes, inputs, self.style)
        used = np.flatnonzero(space.used(self.operators, sizes.stage_ends)[0]).tolist()
        self.cells = nn.ModuleDict({str(cell): self._cell(present[cell], stack[cell]) for cell in used})
        self.classifier = nn.Linear(NODES * stack[-1].channels, classes)

    @abstractmethod
    def _cell(self, operators: BoolArray, place: Place) -> nn.Module:
        """A cell: outputs of the two cells before and shares ``[edges, operations]`` to its output."""

    @abstractmethod
    def layout(self) -> Layout:
        """What its weights are of those of the reference path."""

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """See the base class."""
        return self.sizes.stage_channels

    def outputs(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See the base class; ``mixing`` is ``[cells, 14, operations]``, stages end as the sizes say."""
        older, previous = self.stem(images)
        ends: list[Tensor] = []
        for cell, shares in enumerate(mixing.unbind(0)):
            output = None
            if str(cell) in self.cells:
                output = self.cells[str(cell)](older, previous, shares)
                if cell in self.sizes.stage_ends:
                    ends.append(output)
            older, previous = previous, output
        logits: Tensor = self.classifier(ends[-1].mean((2, 3)))
        return logits, tuple(ends)


@final
class FreeReference(FreeSupernet):
    """One operator at a time: see :class:`FreeSupernet`."""

    def _cell(self, operators: BoolArray, place: Place) -> nn.Module:
        return FreeCell(self.space, operators, place, self.style)

    def layout(self) -> Layout:
        """Every weight by its own name."""
        return {name: name for name, _ in self.named_parameters()}


@final
class MergedFreeCell(nn.Module):
    """The cell of :class:`~supernet.networks.free.FreeCell`, with shares, with merged operators.

    Args:
        space: Says what edges and operations there are.
        operators: ``[edges, operations]`` those that the cell has.
        place: Where it stands.
        style: How what brings the inputs to the cell's channels normalises.
        statistics: Where mean and variance come from.
    """

    def __init__(
        self,
        space: FreeTopologySpace,
        operators: BoolArray,
        place: Place,
        style: Style,
        statistics: Statistics,
    ) -> None:
        super().__init__()
        self.older, self.previous = needed_preprocessing(space, operators, place, style)
        self.edges = SparseEdges(
            space.edges,
            space.operations,
            operators,
            place.channels,
            inputs=INPUTS,
            halves=bool(place.cell),
            statistics=statistics,
        )

    def layout(self) -> Layout:
        """What its weights are of those of the reference path's cell."""
        merged = {f"edges.{name}": parts for name, parts in self.edges.layout().items()}
        return {name: merged.get(name, name) for name, _ in self.named_parameters()}

    def forward(self, older: Tensor | None, previous: Tensor | None, shares: Tensor) -> Tensor:
        """Outputs of the two cells before and ``[edges, operations]`` to ``[n, 4 channels, h', w']``."""
        inputs = prepared((self.older, self.previous), (older, previous))
        return torch.cat(self.edges(inputs, shares), dim=1)


@final
class FreeFast(FreeSupernet, FastSupernet):
    """Merged operators: see :class:`FreeSupernet`."""

    def _cell(self, operators: BoolArray, place: Place) -> nn.Module:
        return MergedFreeCell(self.space, operators, place, self.style, self.statistics)

    def outputs(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See the base class."""
        return super().outputs(images.contiguous(memory_format=torch.channels_last), mixing)

    def layout(self) -> Layout:
        """See the base class."""
        found: dict[str, str | tuple[str, ...]] = {name: name for name, _ in self.named_parameters()}
        for name, module in self.cells.items():
            assert isinstance(module, MergedFreeCell)
            found |= prefixed(module.layout(), f"cells.{name}.")
        return found

    def reference(self) -> FreeReference:
        """See the base class."""
        return FreeReference(
            self.space,
            self.sizes,
            operators=self.operators,
            inputs=self.inputs,
            classes=self.classes,
            statistics=self.statistics,
        )


def inherit_free(supernet: FreeSupernet, code: ArrayLike) -> FreeNetwork:
    """The discrete network of a free topology, with copies of the supernet's weights and its normalisations.

    It equals the supernet whose shares are 1 for the architecture's operators and 0 for all others.

    Raises:
        ArchitectureError: The code is none of the space, or a node has no operator.
        UserError: An operator that the supernet no longer has.
    """
    space = supernet.space
    wanted, held = operators_of(space, code), operators_of(space, supernet.operators)
    # What stands in cells that nothing uses is never built.
    missing = np.argwhere(wanted & ~held & space.used(code)[0][:, None, None])
    if len(missing):
        cell, edge, operation = missing[0]
        source, target = space.edges[edge]
        raise UserError(
            f"the supernet no longer has {space.operations[operation]} from state {source} to state {target}"
            f" of cell {cell}: it can only hand its weights to architectures of the operators that it has"
        )
    style = shared(pools=True, statistics=supernet.statistics)
    network = FreeNetwork(
        space, code, supernet.sizes, inputs=supernet.inputs, classes=supernet.classes, style=style
    )
    weights = divide(supernet.layout(), supernet.state_dict())
    network.to(next(supernet.parameters()))
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network
