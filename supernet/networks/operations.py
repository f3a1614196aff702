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


@final
class ReLUConvBN(nn.Module):
    """ReLU, convolution without bias, batch normalisation.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Side of the (odd, square) kernel; the padding keeps the image's size at stride 1.
        stride: Step of the kernel.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.normalisation = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w]`` to ``[n, outputs, h', w']``."""
        normalised: Tensor = self.normalisation(self.convolution(F.relu(x)))
        return normalised


@final
class Zero(nn.Module):
    """Zeros of the input's shape: the edge is absent."""

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to zeros of the same shape."""
        return torch.zeros_like(x)


@dataclass(frozen=True)
class Operation:
    """One kind of edge between feature maps of the same shape.

    Attributes:
        build: Makes the module for a number of channels.
        kernel: Side of its convolution's kernel, 0 where it has no weights.
    """

    build: Callable[[int], nn.Module]
    kernel: int = 0

    def parameters(self, channels: int) -> int:
        """Weights: those of the convolution, scale and shift of the normalisation."""
        return (self.kernel * channels) ** 2 + 2 * channels if self.kernel else 0

    def multiplications(self, channels: int) -> int:
        """Multiply-accumulate operations per pixel; only convolutions count."""
        return (self.kernel * channels) ** 2


OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "none": Operation(lambda channels: Zero()),
        "skip_connect": Operation(lambda channels: nn.Identity()),
        "nor_conv_1x1": Operation(lambda channels: ReLUConvBN(channels, channels, 1), kernel=1),
        "nor_conv_3x3": Operation(lambda channels: ReLUConvBN(channels, channels, 3), kernel=3),
        # Padding is not averaged in (as in NAS-Bench-201 and DARTS).
        "avg_pool_3x3": Operation(lambda channels: nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        "max_pool_3x3": Operation(lambda channels: nn.MaxPool2d(3, 1, 1)),
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
