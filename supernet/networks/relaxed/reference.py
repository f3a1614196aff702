"""Relaxed cells as published: one module for every operation on every edge, all of them evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from supernet.networks.normalisation import Style
from supernet.networks.operations import OPERATIONS, FactorizedReduce, ReLUConvBN


@final
class MixedOperation(nn.Module):
    """All operations of an edge, each with its weights; their outputs are added up in given shares.

    Args:
        names: Of the operations.
        channels: That come in and go out.
        stride: 1, or 2 to halve the image.
        style: How the operations normalise.
    """

    def __init__(self, names: Sequence[str], channels: int, stride: int, style: Style) -> None:
        super().__init__()
        self.operations = nn.ModuleList(OPERATIONS[name].build(channels, stride, style) for name in names)

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """``[n, c, h, w]`` and ``[operations]`` to ``[n, c, h', w']``."""
        outputs: list[Tensor] = [
            share * operation(x) for share, operation in zip(shares, self.operations, strict=True)
        ]
        return sum(outputs[1:], outputs[0])


@final
class RelaxedEdgeCell(nn.Module):
    """A mixed operation on every edge; every node is the sum of its incoming edges, the last is the output.

    Args:
        edges: (source, target) of every edge, by target; state 0 is the input.
        names: Of the operations.
        channels: Of all feature maps.
        style: How the operations normalise.
    """

    def __init__(
        self, edges: Sequence[tuple[int, int]], names: Sequence[str], channels: int, style: Style
    ) -> None:
        super().__init__()
        self._edges = tuple(edges)
        self.edges = nn.ModuleList(MixedOperation(names, channels, 1, style) for _ in edges)

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """``[n, c, h, w]`` and ``[edges, operations]`` to ``[n, c, h, w]``."""
        return _states([x], self._edges, self.edges, shares)[-1]


@final
class RelaxedDARTSCell(nn.Module):
    """A mixed operation on every edge between two inputs and four nodes, whose concatenation is the output.

    Args:
        edges: (source, target) of every edge, by target; the inputs are states 0 and 1.
        names: Of the operations.
        before: Channels of the outputs of the cell before the last and of the last cell.
        channels: Of the feature maps inside.
        reduction: Whether the edges that leave the inputs halve the image.
        halved: Whether the last cell did so (the first input is then twice as large as the second).
        style: How the operations normalise.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        names: Sequence[str],
        before: tuple[int, int],
        channels: int,
        *,
        reduction: bool,
        halved: bool,
        style: Style,
    ) -> None:
        super().__init__()
        self._edges = tuple(edges)
        self.preprocess = preprocess(before, channels, halved=halved, style=style)
        self.edges = nn.ModuleList(
            MixedOperation(names, channels, 2 if reduction and source < 2 else 1, style)
            for source, _ in edges
        )

    def forward(self, first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
        """Outputs of the two cells before and ``[edges, operations]`` to ``[n, 4 channels, h', w']``."""
        inputs = [self.preprocess[0](first), self.preprocess[1](second)]
        return torch.cat(_states(inputs, self._edges, self.edges, shares)[2:], dim=1)


def preprocess(before: tuple[int, int], channels: int, *, halved: bool, style: Style) -> nn.ModuleList:
    """What brings the two inputs of a DARTS cell to its number of channels and to one size."""
    first: nn.Module = (
        FactorizedReduce(before[0], channels, style)
        if halved
        else ReLUConvBN(before[0], channels, 1, 1, style)
    )
    return nn.ModuleList([first, ReLUConvBN(before[1], channels, 1, 1, style)])


def _states(
    inputs: list[Tensor], edges: tuple[tuple[int, int], ...], operations: nn.ModuleList, shares: Tensor
) -> list[Tensor]:
    """The inputs and the values of all nodes."""
    states = list(inputs)
    for node in range(len(inputs), edges[-1][1] + 1):
        terms = [
            operations[index](states[source], shares[index])
            for index, (source, target) in enumerate(edges)
            if target == node
        ]
        states.append(sum(terms[1:], terms[0]))
    return states
