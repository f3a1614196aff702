"""Relaxed cells with any of their operators, merged: the same function as one operator at a time.

As in :mod:`~.merged`, all operators that leave a state work on one input. Here an operation may go from a
state to some of the later nodes only, so that operations are taken together that go to the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.protocols import BoolArray
from supernet.networks.normalisation import Statistics
from supernet.networks.relaxed.by_kind import ByKind
from supernet.networks.relaxed.convolutions import STAGES, Convolutions, Group
from supernet.networks.relaxed.joined import Joined
from supernet.networks.relaxed.layout import Layout
from supernet.networks.relaxed.merged import POOLS, REDUCTIONS, factorized, pool, stage_roles

Edges = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class _Together:
    """Operations with convolutions that go from a state to the same nodes.

    Attributes:
        names: Of the operations.
        edges: To these nodes, in their order.
        targets: The nodes.
        ways: To compute them, by name.
    """

    names: tuple[str, ...]
    edges: tuple[int, ...]
    targets: tuple[int, ...]
    ways: Mapping[str, Convolutions]


@final
class SparseEdges(nn.Module):
    """The operators of a cell.

    Args:
        edges: (source, target) of every edge, by target.
        names: Of the operations.
        held: ``[edges, operations]`` the operators that there are.
        channels: Of all feature maps.
        inputs: How many states come from outside.
        halves: Whether the edges that leave those halve the image.
        statistics: Where the normalisations take mean and variance from.
    """

    def __init__(
        self,
        edges: Edges,
        names: Sequence[str],
        held: BoolArray,
        channels: int,
        *,
        inputs: int,
        halves: bool,
        statistics: Statistics,
    ) -> None:
        super().__init__()
        self._edges, self._names, self._held = tuple(edges), tuple(names), held
        self._channels, self._inputs, self._halves, self._statistics = channels, inputs, halves, statistics
        # By source, then target: the edges that leave a state are neighbours.
        self._order = sorted(range(len(edges)), key=lambda edge: edges[edge])
        self._rows: dict[str, list[int]] = {}
        """By operation: the edges that it has weights for, in their order."""
        self.weights = nn.ParameterDict()
        for name in self._names:
            for role, shape in self._shapes(name):
                self.weights[role] = nn.Parameter(torch.empty(len(self._rows[name]), *shape))
        empty: dict[str, Convolutions] = {
            "by_kind": ByKind((), statistics),
            "joined": Joined((), statistics),
        }
        self._free_ways = empty
        self._together = [self._grouped(source) for source in range(edges[-1][1])]

    def _shapes(self, name: str) -> list[tuple[str, tuple[int, ...]]]:
        """Of an operation's weights for one edge, by role; none where it has no weights."""
        channels = self._channels
        has = self._edges_of(name)
        found: list[tuple[str, tuple[int, ...]]] = []
        for index, stage in enumerate(STAGES.get(name, ())):
            side = (stage.kernel, stage.kernel)
            if stage.depthwise:
                found.append((f"{name}_{index}_depthwise", (channels, 1, *side)))
                found.append((f"{name}_{index}_pointwise", (channels, channels, 1, 1)))
            else:
                found.append((f"{name}_{index}_convolution", (channels, channels, *side)))
        if name == "skip_connect" and self._halves:
            has = [edge for edge in has if self._edges[edge][0] < self._inputs]
            found = [(role, (channels // 2, channels, 1, 1)) for role in REDUCTIONS]
        self._rows[name] = has
        return found if has else []

    def _edges_of(self, name: str) -> list[int]:
        """Those that have the operation, in order."""
        operation = self._names.index(name)
        return [edge for edge in self._order if self._held[edge, operation]]

    def _grouped(self, source: int) -> tuple[_Together, ...]:
        by_edges: dict[tuple[int, ...], list[str]] = {}
        for name in self._names:
            own = tuple(edge for edge in self._edges_of(name) if self._edges[edge][0] == source)
            if own and name in STAGES:
                by_edges.setdefault(own, []).append(name)
        return tuple(
            _Together(
                tuple(names),
                own,
                tuple(self._edges[edge][1] for edge in own),
                {"by_kind": ByKind(names, self._statistics), "joined": Joined(names, self._statistics)},
            )
            for own, names in by_edges.items()
        )

    def layout(self) -> Layout:
        """What the weights are stacks of, by their names in the reference path's cell."""
        found: dict[str, str | tuple[str, ...]] = {}
        for operation, name in enumerate(self._names):
            for role, module in stage_roles(name, halves=self._halves):
                if role in self.weights:
                    found[f"weights.{role}"] = tuple(
                        f"operators.{edge}_{operation}.{module}.weight" for edge in self._rows[name]
                    )
        return found

    def forward(self, inputs: Mapping[int, Tensor], shares: Tensor) -> list[Tensor]:
        """All nodes' states ``[n, c, h', w']``.

        Args:
            inputs: States from outside, as far as an operator takes them, each ``[n, c, h, w]``.
            shares: ``[edges, operations]``, by target, then source.
        """
        return self.states(inputs, shares, "joined" if shares.is_cuda else "by_kind")

    def states(self, inputs: Mapping[int, Tensor], shares: Tensor, way: str) -> list[Tensor]:
        """:meth:`forward` in one way to compute."""
        last = self._edges[-1][1]
        terms: dict[int, list[Tensor]] = {node: [] for node in range(self._inputs, last + 1)}
        nodes: list[Tensor] = []
        for state in range(last + 1):
            x = inputs.get(state)
            if state >= self._inputs:
                own = terms[state]
                # With its type given, an autocast leaves the sum in it.
                node = torch.stack(own).sum(0, dtype=own[0].dtype) if len(own) > 1 else own[0]
                x = node.permute(0, 3, 1, 2)
                nodes.append(x)
            if x is not None and state < last:
                self._leave(state, x, shares, way, terms)
        return nodes

    def _leave(
        self, state: int, x: Tensor, shares: Tensor, way: str, terms: Mapping[int, list[Tensor]]
    ) -> None:
        """Adds what leaves a state to the terms of the later nodes, ``[n, h, w, c]`` each."""
        stride = 2 if self._halves and state < self._inputs else 1
        rectified = F.relu(x)
        for group in self._together[state]:
            convolutions = group.ways[way]
            columns = {name: self._column(shares, name, group.edges) for name in group.names}
            weights = {}
            for name in group.names:
                first = self._rows[name].index(group.edges[0])
                for role, _ in stage_roles(name, halves=False):
                    weights[role] = self.weights[role][first : first + len(group.edges)]
            (kernels,) = convolutions.prepare(
                weights, columns, [Group(1, len(group.targets))], self._channels, x
            )
            for part in convolutions.outputs(rectified, kernels, stride):
                _add(part, group.targets, terms)
        for part, edges in self._free(state, x, shares, stride, way):
            _add(part, [self._edges[edge][1] for edge in edges], terms)
        if stride == 2:
            self._add_reduced(state, rectified, shares, terms)

    def _column(self, shares: Tensor, name: str, edges: Sequence[int]) -> Tensor:
        """``[edges]`` shares of an operation on some edges."""
        operation = self._names.index(name)
        return torch.stack([shares[edge, operation] for edge in edges])

    def _free(
        self, state: int, x: Tensor, shares: Tensor, stride: int, way: str
    ) -> Iterator[tuple[Tensor, list[int]]]:
        """Of operations without weights: computed once, mixed for the edges that have one of them."""
        plain = ("skip_connect",) if stride == 1 else ()
        for names, normalised in ((POOLS, True), (plain, False)):
            by_name = {
                name: own
                for name in self._names
                if name in names
                and (own := [edge for edge in self._edges_of(name) if self._edges[edge][0] == state])
            }
            if not by_name:
                continue
            edges = sorted(set().union(*by_name.values()), key=lambda edge: self._edges[edge])
            zero = shares.new_zeros(())
            rows = [
                torch.stack(
                    [
                        shares[edge, self._names.index(name)] if edge in own else zero
                        for name, own in by_name.items()
                    ]
                )
                for edge in edges
            ]
            values = [x if name == "skip_connect" else pool(name, x, stride) for name in by_name]
            convolutions = self._free_ways[way]
            (kernels,) = convolutions.prepare({}, {}, [Group(1, len(edges))], self._channels, x)
            mixing = torch.stack(rows).to(x.dtype)[None]
            yield convolutions.mixed(values, mixing, kernels, normalised=normalised), edges

    def _add_reduced(
        self, state: int, rectified: Tensor, shares: Tensor, terms: Mapping[int, list[Tensor]]
    ) -> None:
        """Skip connections that halve the image."""
        rows = self._rows.get("skip_connect", [])
        places = [place for place, edge in enumerate(rows) if self._edges[edge][0] == state]
        if not places:
            return
        edges = [rows[place] for place in places]
        halves = [self.weights[role][places[0] : places[-1] + 1] for role in REDUCTIONS]
        scale = self._column(shares, "skip_connect", edges).repeat_interleave(self._channels)
        y = self._statistics.normalise(factorized(rectified, *halves), scale)
        whole = y.permute(0, 2, 3, 1)
        part = whole.reshape(*whole.shape[:3], 1, len(edges), -1)
        _add(part, [self._edges[edge][1] for edge in edges], terms)


def _add(part: Tensor, targets: Sequence[int], terms: Mapping[int, list[Tensor]]) -> None:
    """A part ``[n, h, w, k, targets, c]`` to the terms of its nodes."""
    for place, term in enumerate(part.flatten(3, 4).unbind(3)):
        terms[targets[place % len(targets)]].append(term)
