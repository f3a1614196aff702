"""Relaxed cells with merged operations: the same function as the reference, in fewer and larger pieces.

All edges that leave one state get the same input. So, per state of a cell:

- operations without weights (and what follows them) are computed once, and mixed for all targets by one
  matrix product;
- operations with weights are computed for all targets at once, in one normalisation of all their channels,
  whose scale is the mixing share. On a CPU this is done kind by kind (:mod:`~.by_kind`), on other devices
  for several kinds at once (:mod:`~.joined`).

Feature maps keep the channels last in memory. Weights of one role are one tensor for all edges of a cell.
Nothing depends on the shares' values, no operation is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.networks.normalisation import Statistics
from supernet.networks.relaxed.by_kind import ByKind
from supernet.networks.relaxed.convolutions import STAGES, Convolutions, Group, by_target
from supernet.networks.relaxed.joined import Joined
from supernet.networks.relaxed.layout import Layout, prefixed

POOLS: Final = ("max_pool_3x3", "avg_pool_3x3")
REDUCTIONS: Final = ("skip_connect_first", "skip_connect_second")
"""Weights of the skip connections that halve the image."""


@final
class MergedEdges(nn.Module):
    """All mixed operations of a cell.

    Args:
        edges: (source, target) of every edge, by target: from every state to every later node.
        names: Of the operations.
        channels: Of all feature maps.
        inputs: How many states come from outside.
        halves: Whether the edges that leave those halve the image.
        pools: Whether pools are followed by a normalisation.
        statistics: Where the normalisations take mean and variance from.

    Attributes:
        ways: To compute the same, by name; :meth:`forward` takes the one for the device.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        names: Sequence[str],
        channels: int,
        *,
        inputs: int,
        halves: bool,
        pools: bool,
        statistics: Statistics,
    ) -> None:
        super().__init__()
        self._names, self._channels, self._inputs = tuple(names), channels, inputs
        self._halves, self._pools, self._statistics = halves, pools, statistics
        # By source, then target: the edges that leave a state are neighbours.
        self._order = tuple(sorted(range(len(edges)), key=lambda index: edges[index]))
        self._targets = [sum(source == state for source, _ in edges) for state in range(edges[-1][1])]
        convolutions = tuple(name for name in self._names if name in STAGES)
        self.ways = {"by_kind": ByKind(names, statistics), "joined": Joined(names, statistics)}
        self.weights = nn.ParameterDict()
        for name in convolutions:
            for index, stage in enumerate(STAGES[name]):
                side = (stage.kernel, stage.kernel)
                if stage.depthwise:
                    self._add(f"{name}_{index}_depthwise", len(edges), (channels, 1, *side))
                    self._add(f"{name}_{index}_pointwise", len(edges), (channels, channels, 1, 1))
                else:
                    self._add(f"{name}_{index}_convolution", len(edges), (channels, channels, *side))
        if halves and "skip_connect" in self._names:
            strided = sum(self._targets[:inputs])
            for name in REDUCTIONS:
                self._add(name, strided, (channels // 2, channels, 1, 1))

    def _add(self, name: str, edges: int, shape: tuple[int, ...]) -> None:
        self.weights[name] = nn.Parameter(torch.empty(edges, *shape))

    def layout(self) -> Layout:
        """What the weights are stacks of, by the names in the reference path's list of operations."""
        found: dict[str, str | tuple[str, ...]] = {}
        for position, name in enumerate(self._names):
            for role, module in stage_roles(name, halves=self._halves):
                held = self._order[: len(self.weights[role])]
                found[f"weights.{role}"] = tuple(
                    f"{edge}.operations.{position}.{module}.weight" for edge in held
                )
        return found

    def forward(self, inputs: Sequence[Tensor], shares: Tensor) -> list[Tensor]:
        """The inputs' states and all nodes'.

        Args:
            inputs: Each ``[n, c, h, w]``.
            shares: ``[edges, operations]``, by target, then source.
        """
        return self.states(inputs, shares, self.ways["joined" if shares.is_cuda else "by_kind"])

    def states(self, inputs: Sequence[Tensor], shares: Tensor, convolutions: Convolutions) -> list[Tensor]:
        """:meth:`forward` with one of :attr:`ways` to compute."""
        rows = shares.unbind(0)
        sorted_rows = torch.stack([rows[index] for index in self._order])
        columns = dict(zip(self._names, sorted_rows.unbind(1), strict=True))
        groups = self._groups(together=convolutions.groups_inputs)
        weights = {name: weight for name, weight in self.weights.items() if name not in REDUCTIONS}
        kernels = convolutions.prepare(weights, columns, groups, self._channels, inputs[0])
        states = list(inputs)
        terms: list[list[Tensor]] = [[] for _ in range(self._targets[0])]
        """Of the nodes, ``[n, h, w, c]`` each."""
        free = self._free_shares(columns, groups, like=inputs[0])
        source = 0
        for group, own, shares_of_free in zip(groups, kernels, free, strict=True):
            outer = source < self._inputs
            stride = 2 if self._halves and outer else 1
            members = states[source : source + group.states]
            x = torch.cat(members, dim=1) if len(members) > 1 else members[0]
            found = convolutions.outputs(F.relu(x), own, stride)
            for values, normalised in self._free(x, stride):
                mixed = shares_of_free[tuple(values)]
                found.append(convolutions.mixed(list(values.values()), mixed, own, normalised=normalised))
            if outer:
                found += self._reduced(members, source, columns)
            later = terms[-group.targets :]
            for part in found:
                for place, term in enumerate(part.flatten(3, 4).unbind(3)):
                    later[place % group.targets].append(term)
            source += group.states
            if source >= self._inputs:
                # With its type given, an autocast leaves the sum in it.
                node = torch.stack(later[0]).sum(0, dtype=later[0][0].dtype)
                states.append(node.permute(0, 3, 1, 2))
        return states

    def _groups(self, *, together: bool) -> list[Group]:
        """Of the states that edges leave."""
        alone = [Group(1, targets) for targets in self._targets]
        if not together:
            return alone
        return [Group(self._inputs, self._targets[0]), *alone[self._inputs :]]

    def _free(self, x: Tensor, stride: int) -> list[tuple[dict[str, Tensor], bool]]:
        """Outputs of the operations without weights by name, and whether they are normalised."""
        pooled = {name: pool(name, x, stride) for name in self._names if name in POOLS}
        plain = {"skip_connect": x} if stride == 1 and "skip_connect" in self._names else {}
        apart = [(pooled, True), (plain, False)] if self._pools else [({**pooled, **plain}, False)]
        return [(values, normalised) for values, normalised in apart if values]

    def _free_shares(
        self, columns: Mapping[str, Tensor], groups: Sequence[Group], like: Tensor
    ) -> list[dict[tuple[str, ...], Tensor]]:
        """By group, and by the names of what is mixed at once: ``[states, targets, operations]``."""
        pooled = tuple(name for name in self._names if name in POOLS)
        plain = tuple(name for name in self._names if name == "skip_connect")
        found: list[dict[tuple[str, ...], Tensor]] = [{} for _ in groups]
        for names in dict.fromkeys([pooled, plain] if self._pools else [(*pooled, *plain), pooled]):
            if names:
                whole = torch.stack([columns[name] for name in names], dim=1).to(like.dtype)
                parts = torch.split(whole, [group.states * group.targets for group in groups])
                for shares, group, part in zip(found, groups, parts, strict=True):
                    shares[names] = part.view(group.states, group.targets, len(names))
        return found

    def _reduced(self, members: Sequence[Tensor], first: int, columns: Mapping[str, Tensor]) -> list[Tensor]:
        """Terms of the skip connections that halve the image."""
        if REDUCTIONS[0] not in self.weights:
            return []
        found = []
        halves = [torch.split(self.weights[name], self._targets[: self._inputs]) for name in REDUCTIONS]
        scales = torch.split(columns["skip_connect"], self._targets)
        for place, x in enumerate(members, start=first):
            reduced = factorized(F.relu(x), *(half[place] for half in halves))
            scale = scales[place].repeat_interleave(self._channels)
            found.append(by_target(self._statistics.normalise(reduced, scale), len(scales[place])))
        return found


def whole_layout(network: nn.Module) -> Layout:
    """The layout of a network whose weights are the reference path's but for its :class:`MergedEdges`."""
    cells = {
        f"{name}.": module for name, module in network.named_modules() if isinstance(module, MergedEdges)
    }
    stacks: dict[str, str | tuple[str, ...]] = {}
    for prefix, module in cells.items():
        stacks |= prefixed(module.layout(), prefix)
    # In the order of the network's own weights.
    return {name: stacks.get(name, name) for name, _ in network.named_parameters()}


def stage_roles(name: str, *, halves: bool) -> list[tuple[str, str]]:
    """An operation's weights: their names in merged cells, and in the reference path's operation.

    Args:
        name: Of the operation.
        halves: Whether skip connections have weights.
    """
    roles: list[tuple[str, str]] = []
    for index, stage in enumerate(STAGES.get(name, ())):
        parts = ("depthwise", "pointwise") if stage.depthwise else ("convolution",)
        roles += [(f"{name}_{index}_{part}", f"{stage.prefix}{part}") for part in parts]
    if name == "skip_connect" and halves:
        roles += [(role, role.removeprefix(f"{name}_")) for role in REDUCTIONS]
    return roles


def pool(name: str, x: Tensor, stride: int) -> Tensor:
    """One of :data:`POOLS`; its padding is not averaged in."""
    if name == "max_pool_3x3":
        return F.max_pool2d(x, 3, stride, 1)
    return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)


def factorized(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The convolutions of :class:`~supernet.networks.operations.FactorizedReduce` for all targets."""
    half = first.shape[1]
    moved = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
    parts = [
        torch.split(F.conv2d(image, weight.flatten(0, 1), stride=2), half, dim=1)
        for image, weight in ((x, first), (moved, second))
    ]
    return torch.cat([part for both in zip(*parts, strict=True) for part in both], dim=1)
