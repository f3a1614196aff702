"""Relaxed cells with merged operations: the same function as the reference, in fewer and larger pieces.

All edges that leave one state get the same input. So, per state of a cell:

- operations without weights (and what follows them) are computed once, and mixed for all targets by one
  matrix product;
- the operations with weights of one kind are computed for all targets at once: one depthwise convolution of
  all targets' channels, one batched matrix product for their 1x1 convolutions, one normalisation of all
  their channels, whose scale is the mixing share;
- a dilated convolution is an ordinary one on the four grids of every other pixel. In whole these make a four
  times larger batch of images, with the same statistics.

Feature maps keep the channels last in memory. Weights of one role are one tensor for all edges of a cell.
Nothing depends on the shares' values, no operation is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.networks.normalisation import Statistics
from supernet.networks.relaxed.kernels import depthwise, pointwise
from supernet.networks.relaxed.layout import Layout, prefixed

_POOLS: Final = ("max_pool_3x3", "avg_pool_3x3")


@dataclass(frozen=True)
class _Stage:
    """ReLU, depthwise convolution, 1x1 convolution, normalisation; or a whole convolution for the first two.

    Attributes:
        prefix: Of its modules in the reference path's operation.
        kernel: Side of the (depthwise) kernel.
        dilation: Of the kernel.
        depthwise: Whether it is separable.
    """

    prefix: str
    kernel: int
    dilation: int = 1
    depthwise: bool = True


_STAGES: Final[Mapping[str, tuple[_Stage, ...]]] = {
    "sep_conv_3x3": (_Stage("0.", 3), _Stage("1.", 3)),
    "sep_conv_5x5": (_Stage("0.", 5), _Stage("1.", 5)),
    "dil_conv_3x3": (_Stage("", 3, 2),),
    "dil_conv_5x5": (_Stage("", 5, 2),),
    "nor_conv_1x1": (_Stage("", 1, depthwise=False),),
    "nor_conv_3x3": (_Stage("", 3, depthwise=False),),
}


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
        self._convolutions = tuple(name for name in self._names if name in _STAGES)
        self.weights = nn.ParameterDict()
        for name in self._convolutions:
            for index, stage in enumerate(_STAGES[name]):
                side = (stage.kernel, stage.kernel)
                if stage.depthwise:
                    self._add(f"{name}_{index}_depthwise", len(edges), (channels, 1, *side))
                    self._add(f"{name}_{index}_pointwise", len(edges), (channels, channels, 1, 1))
                else:
                    self._add(f"{name}_{index}_convolution", len(edges), (channels, channels, *side))
        if halves and "skip_connect" in self._names:
            strided = sum(self._targets[:inputs])
            for part in ("first", "second"):
                self._add(f"skip_connect_{part}", strided, (channels // 2, channels, 1, 1))

    def _add(self, name: str, edges: int, shape: tuple[int, ...]) -> None:
        self.weights[name] = nn.Parameter(torch.empty(edges, *shape))

    def layout(self) -> Layout:
        """What the weights are stacks of, by the names in the reference path's list of operations."""
        found: dict[str, str | tuple[str, ...]] = {}
        for position, name in enumerate(self._names):
            roles: list[tuple[str, str]] = []
            for index, stage in enumerate(_STAGES.get(name, ())):
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
        rows = shares.unbind(0)
        sorted_rows = torch.stack([rows[index] for index in self._order])
        by_source = torch.split(sorted_rows, self._targets)
        weights = {
            name: torch.split(
                weight, self._targets[: self._inputs] if len(weight) < len(rows) else self._targets
            )
            for name, weight in self.weights.items()
        }
        states = list(inputs)
        # What the nodes that are not complete have so far: from convolutions [n, h, w, nodes, c], from
        # operations without weights [nodes, n, h, w, c].
        wide: Tensor | None = None
        deep: Tensor | None = None
        for source, share in enumerate(by_source):
            own = {name: parts[source] for name, parts in weights.items() if source < len(parts)}
            stride = 2 if self._halves and source < self._inputs else 1
            more_wide, more_deep = self._leaving(states[source], own, share, stride)
            wide, deep = _sum(wide, more_wide), _sum(deep, more_deep)
            if source + 1 >= self._inputs:
                states.append(_node(wide, deep))
                wide = None if wide is None else wide[..., 1:, :]
                deep = None if deep is None else deep[1:]
        return states

    def _leaving(
        self, x: Tensor, weights: Mapping[str, Tensor], share: Tensor, stride: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """What a state gives to its targets: see :meth:`forward`."""
        targets = len(share)
        rectified = F.relu(x)
        scales = dict(zip(self._names, _per_channel(share, self._channels), strict=True))
        wide = list(self._convolved(rectified, weights, scales, stride))
        if stride == 2 and "skip_connect" in self._names:
            reduced = _factorized(rectified, weights["skip_connect_first"], weights["skip_connect_second"])
            wide.append(self._statistics.normalise(reduced, scales["skip_connect"]))
        free = dict(self._free(x, stride))
        columns = [share[:, self._names.index(name)] for name in free]
        deep = None
        if free:
            values = torch.stack([value.permute(0, 2, 3, 1) for value in free.values()])
            mixed = torch.stack(columns, dim=1) @ values.flatten(1)
            deep = mixed.view(targets, *values.shape[1:])
        if not wide:
            return None, deep
        total = sum(wide[1:], wide[0]).permute(0, 2, 3, 1)
        return total.reshape(*total.shape[:3], targets, self._channels), deep

    def _free(self, x: Tensor, stride: int) -> Iterator[tuple[str, Tensor]]:
        """The operations without weights, by name."""
        for name in self._names:
            if name in _POOLS:
                pooled = (
                    F.max_pool2d(x, 3, stride, 1)
                    if name == "max_pool_3x3"
                    else F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
                )
                yield name, self._statistics.normalise(pooled) if self._pools else pooled
            elif name == "skip_connect" and stride == 1:
                yield name, x

    def _convolved(
        self, x: Tensor, weights: Mapping[str, Tensor], scales: Mapping[str, Tensor], stride: int
    ) -> Iterator[Tensor]:
        """The operations that begin with a convolution of the rectified input, for all targets."""
        plain: Tensor | None = None
        grids: Tensor | None = None
        dilated: list[Tensor] = []
        for name in self._convolutions:
            stages = _STAGES[name]
            first = stages[0]
            targets = len(weights[f"{name}_0_{'depthwise' if first.depthwise else 'convolution'}"])
            if not first.depthwise:
                kernels = weights[f"{name}_0_convolution"].flatten(0, 1)
                y = F.conv2d(x, kernels, stride=stride, padding=first.kernel // 2)
                yield self._statistics.normalise(y, scales[name])
                continue
            apart = first.dilation == 2 and (stride == 2 or not (x.shape[2] % 2 or x.shape[3] % 2))
            if apart:
                if grids is None:
                    grids = _repeat(x[:, :, ::2, ::2] if stride == 2 else _grids(x), targets)
                y = grids
            else:
                if plain is None:
                    plain = _repeat(x, targets)
                y = plain
            for index, stage in enumerate(stages):
                if index:
                    y = F.relu(self._statistics.normalise(y))
                y = depthwise(
                    y,
                    weights[f"{name}_{index}_depthwise"],
                    stride=1 if apart or index else stride,
                    dilation=1 if apart else stage.dilation,
                )
                y = pointwise(y, weights[f"{name}_{index}_pointwise"])
            y = self._statistics.normalise(y, scales[name])
            if apart and stride == 1:
                dilated.append(y)
            else:
                yield y
        if dilated:
            yield _image(sum(dilated[1:], dilated[0]))


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


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _node(wide: Tensor | None, deep: Tensor | None) -> Tensor:
    """The first of the nodes, ``[n, c, h, w]``."""
    value = _sum(None if wide is None else wide[..., 0, :], None if deep is None else deep[0])
    assert value is not None
    return value.permute(0, 3, 1, 2)


def _per_channel(share: Tensor, channels: int) -> tuple[Tensor, ...]:
    """``[targets, operations]`` to a scale ``[targets * channels]`` for each operation."""
    targets, operations = share.shape
    return share.t()[:, :, None].expand(operations, targets, channels).flatten(1).unbind(0)


def _repeat(x: Tensor, times: int) -> Tensor:
    """All channels, so many times."""
    return torch.cat([x] * times, dim=1)


def _factorized(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The convolutions of :class:`~supernet.networks.operations.FactorizedReduce` for all targets."""
    half = first.shape[1]
    moved = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
    parts = [
        torch.split(F.conv2d(image, weight.flatten(0, 1), stride=2), half, dim=1)
        for image, weight in ((x, first), (moved, second))
    ]
    return torch.cat([part for both in zip(*parts, strict=True) for part in both], dim=1)


def _grids(x: Tensor) -> Tensor:
    """``[n, c, h, w]`` of even size to its four grids of every other pixel, ``[4 n, c, h / 2, w / 2]``."""
    n, channels, height, width = x.shape
    parts = x.permute(0, 2, 3, 1).reshape(n, height // 2, 2, width // 2, 2, channels)
    grids = parts.permute(2, 4, 0, 1, 3, 5).reshape(4 * n, height // 2, width // 2, channels)
    return grids.permute(0, 3, 1, 2)


def _image(x: Tensor) -> Tensor:
    """The way back from :func:`_grids`."""
    n, channels, height, width = x.shape
    parts = x.permute(0, 2, 3, 1).reshape(2, 2, n // 4, height, width, channels)
    image = parts.permute(2, 3, 0, 4, 1, 5).reshape(n // 4, 2 * height, 2 * width, channels)
    return image.permute(0, 3, 1, 2)
