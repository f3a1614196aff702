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

from collections.abc import Sequence
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.networks.normalisation import Statistics
from supernet.networks.relaxed.by_kind import ByKind
from supernet.networks.relaxed.convolutions import STAGES, Convolutions, by_target
from supernet.networks.relaxed.joined import Joined
from supernet.networks.relaxed.layout import Layout, prefixed

_POOLS: Final = ("max_pool_3x3", "avg_pool_3x3")
_REDUCTIONS: Final = ("skip_connect_first", "skip_connect_second")
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
        self._by_kind, self._joined = ByKind(names, statistics), Joined(names, statistics)
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
            for name in _REDUCTIONS:
                self._add(name, strided, (channels // 2, channels, 1, 1))

    def _add(self, name: str, edges: int, shape: tuple[int, ...]) -> None:
        self.weights[name] = nn.Parameter(torch.empty(edges, *shape))

    def layout(self) -> Layout:
        """What the weights are stacks of, by the names in the reference path's list of operations."""
        found: dict[str, str | tuple[str, ...]] = {}
        for position, name in enumerate(self._names):
            roles: list[tuple[str, str]] = []
            for index, stage in enumerate(STAGES.get(name, ())):
                parts = ("depthwise", "pointwise") if stage.depthwise else ("convolution",)
                roles += [(f"{name}_{index}_{part}", f"{stage.prefix}{part}") for part in parts]
            if name == "skip_connect" and self._halves:
                roles += [(f"{name}_{part}", part) for part in ("first", "second")]
            for role, module in roles:
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
        convolutions = self._joined if shares.is_cuda else self._by_kind
        return self.states(inputs, shares, convolutions)

    def states(self, inputs: Sequence[Tensor], shares: Tensor, convolutions: Convolutions) -> list[Tensor]:
        """:meth:`forward` with a given way to compute, of the two that there are."""
        rows = shares.unbind(0)
        sorted_shares = torch.stack([rows[index] for index in self._order])
        weights = {name: weight for name, weight in self.weights.items() if name not in _REDUCTIONS}
        kernels = convolutions.prepare(weights, sorted_shares, self._targets, inputs[0])
        reductions = [
            torch.split(self.weights[name], self._targets[: self._inputs])
            for name in _REDUCTIONS
            if name in self.weights
        ]
        states = list(inputs)
        terms: list[list[Tensor]] = [[] for _ in range(self._targets[0])]
        """Of the nodes, ``[n, h, w, c]`` each."""
        for source, share in enumerate(torch.split(sorted_shares, self._targets)):
            x = states[source]
            outer = source < self._inputs
            stride = 2 if self._halves and outer else 1
            rectified = F.relu(x)
            parts = convolutions.outputs(rectified, kernels[source], stride)
            if outer and reductions:
                reduced = _factorized(rectified, *(halves[source] for halves in reductions))
                scale = share[:, self._names.index("skip_connect")].repeat_interleave(self._channels)
                parts.append(by_target(self._statistics.normalise(reduced, scale), len(share)))
            later = terms[-len(share) :]
            for part in parts:
                for place, term in enumerate(part.flatten(3, 4).unbind(3)):
                    later[place % len(share)].append(term)
            for node, term in zip(later, self._free(x, share, stride, convolutions), strict=False):
                node.append(term)
            if source + 1 >= self._inputs:
                states.append(torch.stack(later[0]).sum(0).permute(0, 3, 1, 2))
        return states

    def _free(self, x: Tensor, share: Tensor, stride: int, convolutions: Convolutions) -> Sequence[Tensor]:
        """What the operations without weights give to each target, ``[n, h, w, c]``; nothing without any."""
        pooled = {name: _pool(name, x, stride) for name in self._names if name in _POOLS}
        plain = {"skip_connect": x} if stride == 1 and "skip_connect" in self._names else {}
        names = [*pooled, *plain]
        if not names:
            return ()
        by_name = dict(zip(self._names, share.unbind(1), strict=True))
        columns = torch.stack([by_name[name] for name in names], dim=1)
        return convolutions.mixed(
            list(pooled.values()), list(plain.values()), columns, normalised=self._pools
        )


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


def _pool(name: str, x: Tensor, stride: int) -> Tensor:
    if name == "max_pool_3x3":
        return F.max_pool2d(x, 3, stride, 1)
    return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)


def _factorized(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The convolutions of :class:`~supernet.networks.operations.FactorizedReduce` for all targets."""
    half = first.shape[1]
    moved = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
    parts = [
        torch.split(F.conv2d(image, weight.flatten(0, 1), stride=2), half, dim=1)
        for image, weight in ((x, first), (moved, second))
    ]
    return torch.cat([part for both in zip(*parts, strict=True) for part in both], dim=1)
