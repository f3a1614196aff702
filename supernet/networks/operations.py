"""Operations on the edges of a cell, by the names that all spaces share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import UserError
from supernet.networks.normalisation import TRAINED, Style


@final
class ReLUConvBN(nn.Module):
    """ReLU, convolution without bias, batch normalisation.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Side of the (odd, square) kernel; the padding keeps the image's size at stride 1.
        stride: Step of the kernel.
        style: How to normalise.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, style: Style = TRAINED
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.normalisation = style.normalisation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w]`` to ``[n, outputs, h', w']``."""
        normalised: Tensor = self.normalisation(self.convolution(F.relu(x)))
        return normalised


@final
class SeparableConvBN(nn.Module):
    """ReLU, depthwise convolution, 1x1 convolution, batch normalisation (DARTS, released code).

    Args:
        channels: That come in and go out.
        kernel: Side of the depthwise kernel; the padding keeps the image's size at stride 1.
        stride: Step of the depthwise kernel.
        dilation: Of the depthwise kernel.
        style: How to normalise.
    """

    def __init__(
        self, channels: int, kernel: int, stride: int = 1, dilation: int = 1, style: Style = TRAINED
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels,
            channels,
            kernel,
            stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=channels,
            bias=False,
        )
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.normalisation = style.normalisation(channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to ``[n, c, h', w']``."""
        normalised: Tensor = self.normalisation(self.pointwise(self.depthwise(F.relu(x))))
        return normalised


@final
class FactorizedReduce(nn.Module):
    """Halves the image: two 1x1 convolutions of stride 2, the second on the image moved by one pixel (DARTS).

    Each makes half of the channels. Odd sizes are rounded up (a row and a column of zeros are added after the
    move); for even ones this is the published operation.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out, an even number.
        style: How to normalise.
    """

    def __init__(self, inputs: int, outputs: int, style: Style = TRAINED) -> None:
        super().__init__()
        if outputs % 2:
            raise UserError(f"a factorised reduction makes an even number of channels, got {outputs}")
        self.first = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.second = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.normalisation = style.normalisation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w]`` to ``[n, outputs, ceil(h / 2), ceil(w / 2)]``."""
        x = F.relu(x)
        moved = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
        normalised: Tensor = self.normalisation(torch.cat([self.first(x), self.second(moved)], dim=1))
        return normalised


@final
class Zero(nn.Module):
    """Zeros of the output's shape: the edge is absent."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to zeros ``[n, c, ceil(h / stride), ceil(w / stride)]``."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


Builder = Callable[[int, int, Style], nn.Module]
"""Makes a module from its channels, stride and style."""


@dataclass(frozen=True)
class Operation:
    """One kind of edge between feature maps of the same number of channels.

    Its convolutions have ``dense C^2 + depthwise C`` weights on C channels, and are followed by
    ``normalisations`` batch normalisations.

    Attributes:
        build: Makes the module.
        dense: See above.
        depthwise: See above.
        normalisations: See above.
        strided: The same operation with stride 2, where that has other weights.
    """

    build: Builder
    dense: int = 0
    depthwise: int = 0
    normalisations: int = 0
    strided: Operation | None = None

    def at(self, stride: int) -> Operation:
        """The operation whose formulas hold for a stride of 1 or 2."""
        return self.strided if stride > 1 and self.strided is not None else self

    def parameters(self, channels: int, stride: int = 1, *, affine: bool = True) -> int:
        """Weights: those of the convolutions, and scale and shift of the normalisations if they have them."""
        kind = self.at(stride)
        scales = 2 * kind.normalisations * channels if affine else 0
        return kind.dense * channels**2 + kind.depthwise * channels + scales

    def multiplications(self, channels: int, stride: int = 1) -> int:
        """Multiply-accumulate operations per pixel of the output; only convolutions count."""
        kind = self.at(stride)
        return kind.dense * channels**2 + kind.depthwise * channels


def _convolution(kernel: int) -> Operation:
    def build(channels: int, stride: int, style: Style) -> nn.Module:
        return ReLUConvBN(channels, channels, kernel, stride, style)

    return Operation(build, dense=kernel**2, normalisations=1)


def _separable(kernel: int) -> Operation:
    def build(channels: int, stride: int, style: Style) -> nn.Module:
        return nn.Sequential(
            SeparableConvBN(channels, kernel, stride, style=style),
            SeparableConvBN(channels, kernel, style=style),
        )

    return Operation(build, dense=2, depthwise=2 * kernel**2, normalisations=2)


def _dilated(kernel: int) -> Operation:
    def build(channels: int, stride: int, style: Style) -> nn.Module:
        return SeparableConvBN(channels, kernel, stride, dilation=2, style=style)

    return Operation(build, dense=1, depthwise=kernel**2, normalisations=1)


def _pool(pool: Callable[[int], nn.Module]) -> Operation:
    def build(channels: int, stride: int, style: Style) -> nn.Module:
        bare = pool(stride)
        return nn.Sequential(bare, style.normalisation(channels)) if style.pools else bare

    return Operation(build)


def _skip(channels: int, stride: int, style: Style) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, style)


OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "none": Operation(lambda channels, stride, style: Zero(stride)),
        "skip_connect": Operation(_skip, strided=Operation(_skip, dense=1, normalisations=1)),
        "nor_conv_1x1": _convolution(1),
        "nor_conv_3x3": _convolution(3),
        # Padding is not averaged in (as in NAS-Bench-201 and DARTS).
        "avg_pool_3x3": _pool(lambda stride: nn.AvgPool2d(3, stride, 1, count_include_pad=False)),
        "max_pool_3x3": _pool(lambda stride: nn.MaxPool2d(3, stride, 1)),
        "sep_conv_3x3": _separable(3),
        "sep_conv_5x5": _separable(5),
        "dil_conv_3x3": _dilated(3),
        "dil_conv_5x5": _dilated(5),
    }
)
"""The operations that networks can be built from."""


def check_operations(names: Sequence[str], space: str) -> None:
    """All operations of a space can be built.

    Raises:
        UserError: The first one that can not; the message lists those that can.
    """
    for name in names:
        if name not in OPERATIONS:
            raise UserError(
                f"space {space!r} has the operation {name!r}, which no network can be built from;"
                f" known: {', '.join(OPERATIONS)}"
            )
