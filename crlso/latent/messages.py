"""Messages of large graphs: what is the same is computed once.

In the graphs of a space of whole networks most nodes have one predecessor and one successor (an operator
between two nodes of its cell). Whatever the architecture, such a node starts from the same state, and hears
after one round from the same two neighbours. So the nodes of a batch are put into classes of equal states
round by round, and a state is computed once per class; and the sum of a node's messages, one per distinct set
of neighbours, is transformed once, after the summing. Both leave the encoder's function as it is, to the last
bits of the rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch_geometric.data import Batch


class _SumRows(torch.autograd.Function):
    """Sums of groups of rows. The gradient is a sum of groups of rows too; torch's own is slower."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, indices: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(indices, offsets)
        ctx.rows = len(values)
        return functional.embedding_bag(indices, values, offsets, mode="sum", include_last_offset=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        indices, offsets = ctx.saved_tensors
        group = torch.repeat_interleave(offsets.diff())
        order = torch.argsort(indices)
        uses = _starts(torch.bincount(indices, minlength=ctx.rows))
        back = functional.embedding_bag(
            group[order], gradients[0].contiguous(), uses, mode="sum", include_last_offset=True
        )
        return back, None, None


def sum_rows(values: Tensor, indices: Tensor, offsets: Tensor) -> Tensor:
    """Sum of the rows ``indices[offsets[i] : offsets[i + 1]]`` for each i.

    Shapes:
        ``[m, width]``, ``[E]``, ``[n + 1]`` -> ``[n, width]``.
    """
    summed: Tensor = _SumRows.apply(values, indices, offsets)  # type: ignore[no-untyped-call]
    return summed


def take_rows(values: Tensor, indices: Tensor) -> Tensor:
    """The rows ``indices``: ``[m, width]``, ``[n]`` -> ``[n, width]``."""
    return sum_rows(values, indices, torch.arange(len(indices) + 1, device=indices.device))


@dataclass(frozen=True)
class Neighbours:
    """What the classes of a round hear from one side, in distinct sums.

    Attributes:
        indices: ``[E]`` classes before the round that are summed, group after group.
        offsets: ``[groups + 1]`` where each group starts.
        group: ``[classes]`` the group that each class after the round hears.
    """

    indices: Tensor
    offsets: Tensor
    group: Tensor

    def sums(self, states: Tensor) -> Tensor:
        """``[classes before, width]`` -> ``[groups, width]``."""
        return sum_rows(states, self.indices, self.offsets)

    def spread(self, sums: Tensor) -> Tensor:
        """``[groups, width]`` -> ``[classes, width]``."""
        return take_rows(sums, self.group)


@dataclass(frozen=True)
class Round:
    """One round of messages between classes of nodes.

    Attributes:
        own: ``[classes]`` the class before the round that each class after it was part of; ``None``: itself.
        received: From predecessors.
        returned: From successors.
    """

    own: Tensor | None
    received: Neighbours
    returned: Neighbours


@dataclass(frozen=True)
class Plan:
    """Which states of a batch have to be computed.

    Attributes:
        x, position: ``[classes]`` label and position of the classes before the first round.
        rounds: The rounds of messages.
        nodes: ``[N]`` class of each node after the last round.
        ptr: ``[n + 1]`` first node of each graph.
    """

    x: Tensor
    position: Tensor
    rounds: tuple[Round, ...]
    nodes: Tensor
    ptr: Tensor


def plan(graphs: Batch, rounds: int) -> Plan:
    """Finds nodes of equal states in a batch.

    Before the first round these are the nodes of equal label and position. After a round, nodes with at most
    one predecessor and one successor are the same if they were the same and their neighbours were; every
    other node counts as different from all. (So nodes may be told apart whose states are equal, never the
    other way round.) Where a round leaves more than half as many classes as nodes, each node is its own.
    """
    count = len(graphs.x)
    edge_index: Tensor = graphs.edge_index
    sides = (_Side(edge_index[0], edge_index[1], count), _Side(edge_index[1], edge_index[0], count))
    thin = (sides[0].degrees <= 1) & (sides[1].degrees <= 1)
    classes, members = _distinct(graphs.x * (int(graphs.position.max()) + 1) + graphs.position)
    x, position = graphs.x[members], graphs.position[members]
    merged = True
    steps = []
    for _ in range(rounds):
        before, total = classes, len(members)
        own = None
        if merged:
            classes, members = _after_round(before, total, sides, thin)
            own = before[members]
            merged = 2 * len(members) <= count
            if not merged:
                members = torch.arange(count, device=before.device)
                classes, own = members, before
        received, returned = (side.neighbours(before, total, members) for side in sides)
        steps.append(Round(own, received, returned))
    return Plan(x, position, tuple(steps), classes, graphs.ptr)


class _Side:
    """The neighbours of all nodes in one direction, sorted by the node that hears them."""

    def __init__(self, sources: Tensor, targets: Tensor, count: int) -> None:
        self.degrees = torch.bincount(targets, minlength=count)
        self.starts = _starts(self.degrees)
        self.neighbour = sources[torch.argsort(targets, stable=True)]

    def only(self, nodes: Tensor) -> Tensor:
        """The single neighbour of nodes that have one."""
        return self.neighbour[self.starts[nodes]]

    def neighbours(self, classes: Tensor, total: int, members: Tensor) -> Neighbours:
        """Groups of classes that the nodes ``members`` hear: none, each single one, then those of several."""
        degrees = self.degrees[members]
        group = torch.zeros_like(members)
        single, several = degrees == 1, degrees > 1
        heard = classes[self.only(members[single])]
        number, known = _numbered(heard, total)
        group[single] = 1 + number[heard]
        many = members[several]
        group[several] = 1 + len(known) + torch.arange(len(many), device=group.device)
        lengths = degrees[several]
        firsts = torch.repeat_interleave(self.starts[many] - _starts(lengths)[:-1], lengths)
        edges = firsts + torch.arange(len(firsts), device=group.device)
        sizes = torch.cat([lengths.new_zeros(1), torch.ones_like(known), lengths])
        return Neighbours(torch.cat([known, classes[self.neighbour[edges]]]), _starts(sizes), group)


def _after_round(
    classes: Tensor, total: int, sides: tuple[_Side, _Side], thin: Tensor
) -> tuple[Tensor, Tensor]:
    """Class of each node after a round, and a member of each class."""
    nodes = torch.nonzero(thin)[:, 0]
    key = classes[nodes]
    for side in sides:
        heard = torch.zeros_like(key)  # nobody
        there = side.degrees[nodes] == 1
        heard[there] = 1 + classes[side.only(nodes[there])]
        number, _ = _numbered(key, int(key.max()) + 1 if len(key) else 0)
        # Numbered anew before each product: it stays below N * (N + 1).
        key = number[key] * (total + 1) + heard
    same, first = _distinct(key)
    others = torch.nonzero(~thin)[:, 0]
    result = torch.empty_like(classes)
    result[nodes] = same
    result[others] = len(first) + torch.arange(len(others), device=classes.device)
    return result, torch.cat([nodes[first], others])


def _distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Number of each key among the distinct ones, and where one of each stands."""
    distinct, number = torch.unique(keys, return_inverse=True)
    where = torch.empty_like(distinct)
    where[number] = torch.arange(len(keys), device=keys.device)
    return number, where


def _numbered(values: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """For values below ``total``: a table of their numbers, and the distinct values in order."""
    seen = torch.zeros(total, dtype=torch.bool, device=values.device)
    seen[values] = True
    return seen.cumsum(0) - 1, torch.nonzero(seen)[:, 0]


def _starts(counts: Tensor) -> Tensor:
    """``[n]`` lengths -> ``[n + 1]`` where each part starts, and the end."""
    return functional.pad(counts.cumsum(0), (1, 0))
