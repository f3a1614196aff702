"""Operations of several kinds at once: for devices on which the number of kernels counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional as F

from supernet.networks.normalisation import Statistics
from supernet.networks.relaxed.convolutions import STAGES, Convolutions, Group, Kernels, by_target

_Family = tuple[int, int]  # dilation and number of stages


@final
class Joined(Convolutions):
    """Operations with the same dilation and number of stages as one, and as few steps as that takes.

    - A depthwise and a 1x1 convolution with nothing between them are one convolution, whose kernel is the
      product of theirs. The first ones have the same input for all targets. (Where all digits of float32 are
      asked for that would be slow: see :func:`_few_digits`.)
    - Smaller kernels lie in the middle of the largest one.
    - 1x1 convolutions of several targets are one matrix product, with zeros from one target to another: the
      gradient by such a matrix is computed faster than those by many small ones. What operations without
      weights give to the targets is such a product too.
    - The inputs of a cell are a group, with zeros from one to the other.
    """

    def __init__(self, names: Sequence[str], statistics: Statistics) -> None:
        super().__init__(names, statistics)
        self._families: dict[_Family, list[str]] = {}
        for name in self._names:
            stages = STAGES[name]
            self._families.setdefault((stages[0].dilation, len(stages)), []).append(name)

    @property
    def groups_inputs(self) -> bool:
        """See the base class."""
        return True

    def prepare(
        self,
        weights: Kernels,
        shares: Mapping[str, Tensor],
        groups: Sequence[Group],
        channels: int,
        like: Tensor,
    ) -> Sequence[Kernels]:
        """See the base class."""
        found: list[dict[str, Tensor]] = [{} for _ in groups]
        edges = [group.states * group.targets for group in groups]

        def share_out(key: str, by_kind: Sequence[Tensor]) -> None:
            """``[edges, ...]`` of each kind to ``[kinds, states, targets, ...]`` for each group."""
            parts = [torch.split(part, edges) for part in by_kind]
            whole = torch.cat([own for of_group in zip(*parts, strict=True) for own in of_group])
            if not key.endswith(_SCALE):
                whole = whole.to(like.dtype)
            else:
                whole = whole[:, None].expand(-1, channels).contiguous()
            counts = [len(by_kind) * count for count in edges]
            for kernels, group, own in zip(found, groups, torch.split(whole, counts), strict=True):
                kernels[key] = own.view(len(by_kind), group.states, group.targets, *own.shape[1:])

        for family, names in self._families.items():
            for stage in range(family[1]):
                side = max(STAGES[name][stage].kernel for name in names)
                product = stage == 0 and _few_digits(like)
                stages = [_parts(weights, name, stage, side, product=product) for name in names]
                for role in stages[0]:
                    share_out(_key(family, stage, role), [part[role] for part in stages])
            share_out(_key(family, family[1], _SCALE), [shares[name] for name in names])
        size = max(channels, max(edges) * len(self._names))
        unit = torch.eye(size, dtype=like.dtype, device=like.device)
        for kernels in found:
            kernels["unit"] = unit
        return found

    def outputs(self, x: Tensor, kernels: Kernels, stride: int) -> list[Tensor]:
        """See the base class."""
        found = []
        for family in self._families:
            dilation, stages = family
            scale = kernels[_key(family, stages, _SCALE)]
            kinds, states, targets, _ = scale.shape
            y = x
            for stage in range(stages):
                if stage:
                    y = F.relu(self._statistics.normalise(y))
                own = {role: kernels.get(_key(family, stage, role)) for role in ("whole", *_SEPARATE)}
                step = 1 if stage else stride
                if own["whole"] is not None:
                    whole = _blocks(own["whole"], kernels["unit"])
                    y = F.conv2d(y, whole, None, step, dilation * (whole.shape[-1] // 2), dilation)
                    continue
                depthwise, pointwise = (own[role] for role in _SEPARATE)
                assert depthwise is not None
                assert pointwise is not None
                if stage == 0:
                    y = _for_each(y, kinds, states, targets)
                kernel = depthwise.flatten(0, 3)
                padding = dilation * (kernel.shape[-1] // 2)
                y = F.conv2d(y, kernel, None, step, padding, dilation, len(kernel))
                matrix = _diagonal(pointwise, kernels["unit"])
                y = F.linear(y.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)
            y = self._statistics.normalise(y, scale.flatten())
            found.append(by_target(y, targets, kinds * states))
        return found

    def mixed(
        self, values: Sequence[Tensor], shares: Tensor, kernels: Kernels, *, normalised: bool
    ) -> Tensor:
        """See the base class."""
        whole = torch.cat(list(values), dim=1) if len(values) > 1 else values[0]
        if normalised:
            whole = self._statistics.normalise(whole)
        states, targets, operations = shares.shape
        channels = whole.shape[1] // (states * operations)
        unit = kernels["unit"][:channels, :channels]
        # [targets, c, operations, states, c]
        spread = shares.permute(1, 2, 0)[:, None, :, :, None] * unit[:, None, None]
        mixed = F.linear(whole.permute(0, 2, 3, 1), spread.reshape(targets * channels, -1))
        return mixed.view(*mixed.shape[:3], 1, targets, channels)


_SEPARATE: Final = ("depthwise", "pointwise")
_SCALE: Final = "scale"


def _few_digits(like: Tensor) -> bool:
    """Whether convolutions compute with fewer digits than float32 has, on a device with units for that."""
    return like.dtype not in (torch.float32, torch.float64) or bool(torch.backends.cudnn.allow_tf32)


def _parts(weights: Kernels, name: str, stage: int, side: int, *, product: bool) -> dict[str, Tensor]:
    """A stage as one kernel ``whole`` ``[edges, outputs, k, k, inputs]``, or in its two parts."""
    if not STAGES[name][stage].depthwise:
        return {"whole": _centred(weights[f"{name}_{stage}_convolution"], side).permute(0, 1, 3, 4, 2)}
    depthwise = _centred(weights[f"{name}_{stage}_depthwise"], side)
    pointwise = weights[f"{name}_{stage}_pointwise"]
    if product:
        return {"whole": pointwise.permute(0, 1, 3, 4, 2) * depthwise.permute(0, 2, 3, 4, 1)}
    return {"depthwise": depthwise, "pointwise": pointwise[..., 0, 0]}


def _key(family: _Family, stage: int, role: str) -> str:
    return f"{family}_{stage}_{role}"


def _centred(kernels: Tensor, side: int) -> Tensor:
    """Zeros around kernels ``[..., k, k]``, so that they have another odd side."""
    border = (side - kernels.shape[-1]) // 2
    return F.pad(kernels, (border,) * 4) if border else kernels


def _blocks(kernels: Tensor, unit: Tensor) -> Tensor:
    """``[kinds, states, targets, o, k, k, i]`` to ``[kinds * states * targets * o, states * i, k, k]``.

    With zeros where outputs of one state would see another one. Channels are last in memory.
    """
    states = kernels.shape[1]
    if states > 1:
        places = unit[:states, :states].view(states, 1, 1, 1, 1, states, 1)
        kernels = (kernels[..., None, :] * places).flatten(-2)
    return kernels.flatten(0, 3).permute(0, 3, 1, 2)


def _for_each(x: Tensor, kinds: int, states: int, targets: int) -> Tensor:
    """``[n, states * c, h, w]`` to ``[n, kinds * states * targets * c, h, w]``."""
    n, _, height, width = x.shape
    parts = x.permute(0, 2, 3, 1).reshape(n, height, width, 1, states, 1, -1)
    return parts.expand(-1, -1, -1, kinds, -1, targets, -1).flatten(3).permute(0, 3, 1, 2)


def _diagonal(blocks: Tensor, unit: Tensor) -> Tensor:
    """``[..., o, i]`` to a matrix with these blocks along its diagonal, in their order."""
    *places, rows, columns = blocks.shape
    count = math.prod(places)
    here = unit[:count, :count].view(*places, 1, *places, 1)
    return (blocks[..., None, None, None, :] * here).reshape(count * rows, count * columns)
