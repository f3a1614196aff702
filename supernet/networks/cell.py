"""A discrete cell with one operation on every edge of a complete directed acyclic graph."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from crlso.errors import UserError
from crlso.protocols import SearchSpace
from crlso.spaces import EdgeCellSpace
from crlso.spaces.codes import as_code
from supernet.networks.normalisation import TRAINED, Style
from supernet.networks.operations import OPERATIONS, check_operations


@final
class EdgeCell(nn.Module):
    """The cell of one code: every node is the sum of its incoming edges, the last node is the output.

    As in NAS-Bench-201, every edge has its weights, whether the output depends on it or not, and a
    convolution that is fed with zeros still hands on the learned shift of its normalisation. (The space's
    rule ``exact`` calls such an edge absent.)

    Args:
        space: Says what the code means.
        code: ``[d]`` the architecture.
        channels: Of all feature maps.
        skip_unused: Leaves out the edges that no path connects with the output. Output and gradients are
            those of the whole cell; the edges left out get no gradient instead of a zero one.
        style: How its operations normalise.

    Raises:
        UserError: An operation of the space can not be built.
        ArchitectureError: The code is none of the space.
    """

    def __init__(
        self,
        space: EdgeCellSpace,
        code: ArrayLike,
        channels: int,
        *,
        skip_unused: bool = True,
        style: Style = TRAINED,
    ) -> None:
        super().__init__()
        check_operations(space.operations, space.name)
        names = [space.operations[value] for value in checked_code(space, code)]
        self.edges = nn.ModuleList(OPERATIONS[name].build(channels, 1, style) for name in names)
        present = [name != "none" for name in names]
        wanted = _wanted(space, present) if skip_unused else present
        self._nodes = space.nodes
        self._incoming = tuple(
            tuple(
                (index, source)
                for index, (source, target) in enumerate(space.edges)
                if target == node and wanted[index]
            )
            for node in range(space.nodes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, h, w]`` to the same shape."""
        values = [x]
        for node in range(1, self._nodes):
            terms = [self.edges[index](values[source]) for index, source in self._incoming[node]]
            values.append(sum(terms[1:], terms[0]) if terms else torch.zeros_like(x))
        return values[-1]


def checked_code(space: EdgeCellSpace, code: ArrayLike) -> list[int]:
    """The code's entries, each inside its cardinality.

    Raises:
        ArchitectureError: Another length, not integers, or an entry out of range.
    """
    entries: list[int] = as_code(np.asarray(code), space.cardinalities).tolist()
    return entries


def edge_cells(space: SearchSpace) -> EdgeCellSpace:
    """The space itself, where its cells are of the kind that :class:`EdgeCell` builds.

    Raises:
        UserError: Another kind of space, or operations that no network can be built from.
    """
    if not isinstance(space, EdgeCellSpace):
        raise UserError(
            f"networks can be built for spaces with an operation on every edge of a cell (nasbench201, or"
            f" declared with `space: edge_cell`); {space.name!r} is a {type(space).__name__}"
        )
    check_operations(space.operations, space.name)
    return space


def _wanted(space: EdgeCellSpace, present: list[bool]) -> list[bool]:
    """Per edge: whether it is present and a path of present edges leads from its end to the output."""
    reaches = {space.nodes - 1}
    wanted = [False] * len(space.edges)
    # Edges are sorted by their end: backwards, all edges that leave a node come before those that enter it.
    for index in reversed(range(len(space.edges))):
        source, node = space.edges[index]
        if present[index] and node in reaches:
            wanted[index] = True
            reaches.add(source)
    return wanted
