"""Operations of several kinds at once: for devices on which the number of kernels counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from supernet.networks.normalisation import Statistics
from supernet.networks.relaxed.convolutions import STAGES, Convolutions, Kernels, by_target

_Family = tuple[int, int]  # dilation and number of stages


@final
class Joined(Convolutions):
    """Operations with the same dilation and number of stages as one, and as few steps as that takes.

    - A depthwise and a 1x1 convolution with nothing between them are one convolution, whose kernel is the
      product of theirs. The first ones have the same input for all targets.
    - Smaller kernels lie in the middle of the largest one.
    - 1x1 convolutions of several targets are one matrix product, with zeros from one target to another: the
      gradient by such a matrix is computed faster than those by many small ones.
    - What operations without weights give to the targets is such a product too.
    """

    def __init__(self, names: Sequence[str], statistics: Statistics) -> None:
        super().__init__(names, statistics)
        self._families: dict[_Family, list[str]] = {}
        for name in self._names:
            stages = STAGES[name]
            self._families.setdefault((stages[0].dilation, len(stages)), []).append(name)

    def prepare(
        self, weights: Kernels, shares: Tensor, targets: Sequence[int], like: Tensor
    ) -> Sequence[Kernels]:
        """See the base class."""
        found: list[dict[str, Tensor]] = [{} for _ in targets]
        columns = shares.unbind(1)

        def share_out(key: str, whole: Tensor) -> None:
            """``[kinds, edges, ...]`` by source."""
            for kernels, own in zip(found, torch.split(whole, list(targets), dim=1), strict=True):
                kernels[key] = own

        for family, names in self._families.items():
            for stage in range(family[1]):
                side = max(STAGES[name][stage].kernel for name in names)
                parts = [self._stage(weights, name, stage, side) for name in names]
                for role in parts[0]:
                    whole = torch.stack([part[role] for part in parts]).to(like.dtype)
                    share_out(_key(family, stage, role), whole)
            scale = torch.stack([columns[self._places[name]] for name in names])
            share_out(_key(family, family[1], "scale"), scale[..., None].expand(-1, -1, like.shape[1]))
        unit = torch.eye(max(targets) * len(self._names), dtype=like.dtype, device=like.device)
        for kernels in found:
            kernels["unit"] = unit
        return found

    @staticmethod
    def _stage(weights: Kernels, name: str, stage: int, side: int) -> dict[str, Tensor]:
        """A first stage as one kernel ``[edges, outputs, k, k, inputs]``, others in their two parts."""
        if not STAGES[name][stage].depthwise:
            return {"whole": _centred(weights[f"{name}_{stage}_convolution"], side).permute(0, 1, 3, 4, 2)}
        depthwise = _centred(weights[f"{name}_{stage}_depthwise"], side)
        pointwise = weights[f"{name}_{stage}_pointwise"]
        if stage == 0:
            return {"whole": pointwise.permute(0, 1, 3, 4, 2) * depthwise.permute(0, 2, 3, 4, 1)}
        return {"depthwise": depthwise, "pointwise": pointwise[..., 0, 0]}

    def outputs(self, x: Tensor, kernels: Kernels, stride: int) -> list[Tensor]:
        """See the base class."""
        found = []
        for family, names in self._families.items():
            dilation, stages = family
            whole = kernels[_key(family, 0, "whole")].flatten(0, 2).permute(0, 3, 1, 2)
            y = F.conv2d(x, whole, None, stride, dilation * (whole.shape[-1] // 2), dilation)
            for stage in range(1, stages):
                y = F.relu(self._statistics.normalise(y))
                depthwise = kernels[_key(family, stage, "depthwise")].flatten(0, 2)
                y = F.conv2d(y, depthwise, padding=depthwise.shape[-1] // 2, groups=len(depthwise))
                matrix = _diagonal(kernels[_key(family, stage, "pointwise")], kernels["unit"])
                y = F.linear(y.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)
            scale = kernels[_key(family, stages, "scale")]
            y = self._statistics.normalise(y, scale.flatten())
            found.append(by_target(y, scale.shape[1], len(names)))
        return found

    def mixed(
        self, pooled: Sequence[Tensor], plain: Sequence[Tensor], shares: Tensor, *, normalised: bool
    ) -> Sequence[Tensor]:
        """See the base class."""
        values = list(pooled)
        if normalised and pooled:
            values = [self._statistics.normalise(torch.cat(values, dim=1))]
        whole = torch.cat([*values, *plain], dim=1).permute(0, 2, 3, 1)
        targets, operations = shares.shape
        channels = whole.shape[-1] // operations
        unit = torch.eye(channels, dtype=shares.dtype, device=shares.device)
        matrix = (shares[:, None, :, None] * unit[:, None, :]).view(targets * channels, -1)
        mixed = F.linear(whole, matrix)
        return mixed.view(*mixed.shape[:3], targets, channels).unbind(3)


def _key(family: _Family, stage: int, role: str) -> str:
    return f"{family}_{stage}_{role}"


def _centred(kernels: Tensor, side: int) -> Tensor:
    """Zeros around kernels ``[..., k, k]``, so that they have another odd side."""
    border = (side - kernels.shape[-1]) // 2
    return F.pad(kernels, (border,) * 4) if border else kernels


def _diagonal(blocks: Tensor, unit: Tensor) -> Tensor:
    """``[kinds, targets, o, i]`` to a matrix with these blocks along its diagonal; ``unit`` may be larger."""
    kinds, targets, rows, columns = blocks.shape
    count = kinds * targets
    places = unit[:count, :count].view(kinds, targets, 1, kinds, targets, 1)
    return (blocks[:, :, :, None, None] * places).view(count * rows, count * columns)
