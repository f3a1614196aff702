"""Discrete networks of free topologies: every cell its own, a node is the sum of any number of operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import BoolArray
from crlso.spaces.codes import as_code
from crlso.spaces.darts_costs import Place
from crlso.spaces.fxdarts import FreeTopologySpace
from crlso.spaces.genotype import INPUTS, NODES
from supernet.networks.darts import CellStack, DARTSSizes, edge_stride, preprocessing
from supernet.networks.normalisation import TRAINED, Style
from supernet.networks.operations import OPERATIONS, check_operations


@final
class FreeCell(nn.Module):
    """A cell: each of its nodes is the sum of its operators; the output has all nodes, one after the other.

    An operator has the name ``EDGE_OPERATION``, whatever others there are. An input that no operator takes is
    not brought to the cell's channels.

    Args:
        space: Says what edges and operations there are.
        operators: ``[edges, operations]`` those that the cell has; one or more for each node.
        place: Where it stands: channels, and whether it reduces.
        style: How to normalise.
    """

    def __init__(
        self, space: FreeTopologySpace, operators: BoolArray, place: Place, style: Style = TRAINED
    ) -> None:
        super().__init__()
        self.older, self.previous = needed_preprocessing(space, operators, place, style)
        self._edges = space.edges
        self._held = tuple((int(edge), int(operation)) for edge, operation in np.argwhere(operators))
        self.operators = nn.ModuleDict(
            {
                f"{edge}_{operation}": OPERATIONS[space.operations[operation]].build(
                    place.channels, edge_stride(place, self._edges[edge][0]), style
                )
                for edge, operation in self._held
            }
        )

    def forward(
        self,
        older: Tensor | None,
        previous: Tensor | None,
        shares: Tensor | None = None,
        drop: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Outputs of the two cells before to ``[n, 4 * channels, h', w']``.

        Args:
            older: ``[n, place.older, h, w]``, or twice as large where the place says so; ``None`` if no
                operator takes it.
            previous: ``[n, place.previous, h, w]``, likewise.
            shares: ``[edges, operations]`` that the outputs of the operators are multiplied by; by default 1.
            drop: Done to the output of every operator that is not an identity.
        """
        states = prepared((self.older, self.previous), (older, previous))
        terms: dict[int, list[Tensor]] = {}
        for edge, operation in self._held:
            source, target = self._edges[edge]
            if source not in states:
                states[source] = _sum(terms[source])
            operator = self.operators[f"{edge}_{operation}"]
            term = operator(states[source])
            if drop is not None and not isinstance(operator, nn.Identity):
                term = drop(term)
            if shares is not None:
                term = shares[edge, operation] * term
            terms.setdefault(target, []).append(term)
        return torch.cat([_sum(terms[node]) for node in sorted(terms)], dim=1)


def _sum(terms: list[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0])


def needed_preprocessing(
    space: FreeTopologySpace, operators: BoolArray, place: Place, style: Style
) -> tuple[nn.Module | None, nn.Module | None]:
    """What brings the two inputs of a cell to its channels, ``None`` for one that no operator takes."""
    sources = {space.edges[edge][0] for edge in np.flatnonzero(operators.any(axis=1))}
    older, previous = preprocessing(place, style)
    return older if 0 in sources else None, previous if 1 in sources else None


def prepared(
    modules: tuple[nn.Module | None, nn.Module | None], given: tuple[Tensor | None, Tensor | None]
) -> dict[int, Tensor]:
    """States 0 and 1 of a cell, as far as it has something that brings them to its channels."""
    return {
        state: module(x)
        for state, (module, x) in enumerate(zip(modules, given, strict=True))
        if module is not None
    }


@final
class FreeNetwork(CellStack):
    """Image classifier from the cells of a free topology.

    Cells whose output nothing uses are left out. Where that is the cell that the auxiliary classifier takes,
    it takes the next one that there is; all cells from there on have the same channels and image size.
    Its modules have PyTorch's default initial weights until :func:`~supernet.networks.initialise` sets them.
    (The evaluation network of SNPS' authors likewise sums all operators of a node and skips such cells; it
    counts the previous cell as predecessor 0, here that is 1, as in DARTS.)

    Args:
        space: Says what the code means.
        code: ``[d]`` the architecture.
        sizes: Of the network; as many cells as the space has.
        inputs: Channels of the images.
        classes: Number of classes.
        style: How it normalises.

    Raises:
        UserError: A space that networks are not known for, or sizes of another number of cells.
        ArchitectureError: The code is none of the space, or a node has no operator.
    """

    def __init__(
        self,
        space: FreeTopologySpace,
        code: ArrayLike,
        sizes: DARTSSizes,
        *,
        inputs: int,
        classes: int,
        style: Style = TRAINED,
    ) -> None:
        check_free(space, sizes)
        operators = operators_of(space, code)
        used = np.flatnonzero(space.used(code)[0]).tolist()
        auxiliary_cell = next(cell for cell in used if cell >= sizes.auxiliary_cell)
        stack = sizes.places((1, 1))  # the modules do not depend on the image's size
        cells = nn.ModuleDict(
            {str(cell): FreeCell(space, operators[cell], stack[cell], style) for cell in used}
        )
        super().__init__(sizes, cells, auxiliary_cell, inputs=inputs, classes=classes, style=style)

    def features(self, images: Tensor, drop: Callable[[Tensor], Tensor] | None) -> Mapping[int, Tensor]:
        """See the base class."""
        states: list[Tensor | None] = list(self.stem(images))
        outputs = {}
        for name, cell in self.cells.named_children():
            number = int(name)
            states += [None] * (number + 2 - len(states))  # of the cells left out before it
            outputs[number] = cell(*states[number : number + 2], drop=drop)
            states.append(outputs[number])
        return outputs


def check_free(space: FreeTopologySpace, sizes: DARTSSizes) -> None:
    """Networks of this size can be built for the space.

    Raises:
        UserError: Other than four nodes, operations that can not be built, or another number of cells.
    """
    if space.nodes != NODES:
        raise UserError(
            f"networks of free topologies have cells of {NODES} nodes; space {space.name!r} has {space.nodes}"
        )
    check_operations(space.operations, space.name)
    if "none" in space.operations:
        raise UserError(
            f"space {space.name!r} has the operation 'none'; in a free topology an operator that a node does"
            " not have is left out, so leave 'none' out of its operations"
        )
    if sizes.cells != space.cells:
        raise UserError(
            f"networks of {space.name!r} have {space.cells} cells, as the space has; got sizes of"
            f" {sizes.cells}"
        )


def operators_of(space: FreeTopologySpace, code: ArrayLike) -> BoolArray:
    """``[cells, edges, operations]`` the operators that an architecture has.

    Raises:
        ArchitectureError: The code is none of the space; the message names the first node without operators.
    """
    row = as_code(code, space.cardinalities)
    operators = row.reshape(space.cells, len(space.edges), len(space.operations)).astype(np.bool_)
    for node in range(INPUTS, INPUTS + space.nodes):
        own = [edge for edge, (_, target) in enumerate(space.edges) if target == node]
        empty = np.flatnonzero(~operators[:, own].any(axis=(1, 2)))
        if len(empty):
            raise ArchitectureError(
                f"node {node - INPUTS} of cell {empty[0]} has no operator; in {space.name!r} every node needs"
                " one or more"
            )
    return operators
