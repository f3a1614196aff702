"""Convolutions one kind of operation after the other: for processors that do little at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from supernet.networks.relaxed.convolutions import STAGES, Convolutions, Group, Kernels, by_target
from supernet.networks.relaxed.kernels import depthwise, pointwise


@final
class ByKind(Convolutions):
    """Each kind for all targets: depthwise convolution of all channels, batched product for the 1x1 ones.

    A dilated convolution is an ordinary one on the four grids of every other pixel. In whole these make a
    four times larger batch of images, with the same statistics.
    """

    @property
    def groups_inputs(self) -> bool:
        """See the base class."""
        return False

    def prepare(
        self,
        weights: Kernels,
        shares: Mapping[str, Tensor],
        groups: Sequence[Group],
        channels: int,
        like: Tensor,
    ) -> Sequence[Kernels]:
        """See the base class."""
        del like
        targets = [group.targets for group in groups]
        split = {name: torch.split(weight, targets) for name, weight in weights.items()}
        if self._names:
            scales = torch.stack([shares[name] for name in self._names])
            wide = scales[:, :, None].expand(-1, -1, channels).flatten(1)
            parts = torch.split(wide, [count * channels for count in targets], dim=1)
            for name, own in zip(
                self._names, zip(*(part.unbind(0) for part in parts), strict=True), strict=True
            ):
                split[name] = own
        return [{name: own[source] for name, own in split.items()} for source in range(len(targets))]

    def outputs(self, x: Tensor, kernels: Kernels, stride: int) -> list[Tensor]:
        """See the base class: one term, already added up."""
        found: list[Tensor] = []
        plain: Tensor | None = None
        grids: Tensor | None = None
        dilated: list[Tensor] = []
        for name in self._names:
            stages = STAGES[name]
            first = stages[0]
            if not first.depthwise:
                weight = kernels[f"{name}_0_convolution"].flatten(0, 1)
                y = F.conv2d(x, weight, stride=stride, padding=first.kernel // 2)
                found.append(self._statistics.normalise(y, kernels[name]))
                continue
            targets = len(kernels[f"{name}_0_depthwise"])
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
                    kernels[f"{name}_{index}_depthwise"],
                    stride=1 if apart or index else stride,
                    dilation=1 if apart else stage.dilation,
                )
                y = pointwise(y, kernels[f"{name}_{index}_pointwise"])
            y = self._statistics.normalise(y, kernels[name])
            (dilated if apart and stride == 1 else found).append(y)
        if dilated:
            found.append(_image(sum(dilated[1:], dilated[0])))
        if not found:
            return []
        channels = x.shape[1]
        return [by_target(sum(found[1:], found[0]), found[0].shape[1] // channels)]

    def mixed(
        self, values: Sequence[Tensor], shares: Tensor, kernels: Kernels, *, normalised: bool
    ) -> Tensor:
        """See the base class."""
        del kernels
        if normalised:
            values = [self._statistics.normalise(value) for value in values]
        stacked = torch.stack([value.permute(0, 2, 3, 1) for value in values])
        mixed = (shares[0] @ stacked.flatten(1)).view(-1, *stacked.shape[1:])
        return mixed.permute(1, 2, 3, 0, 4)[:, :, :, None]


def _repeat(x: Tensor, times: int) -> Tensor:
    """All channels, so many times."""
    return torch.cat([x] * times, dim=1)


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
