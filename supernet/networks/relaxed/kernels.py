"""Depthwise and 1x1 convolutions for many targets at once."""

from __future__ import annotations

from typing import Any, cast, final

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST_HEIGHT = 8  # oneDNN's kernel for small images has no fast case anyway


def depthwise(x: Tensor, weight: Tensor, *, stride: int = 1, dilation: int = 1) -> Tensor:
    """A convolution of every channel by itself; at stride 1 the image keeps its size.

    Args:
        x: ``[n, t * c, h, w]``, channels last in memory.
        weight: ``[t, c, 1, k, k]``, k odd.
        stride: Step of the kernel.
        dilation: Of the kernel.
    """
    kernels = weight.flatten(0, 1).to(x.dtype)
    if _own(x) and kernels.shape[-1] == 5 and stride == dilation == 1 and x.shape[2] >= _LEAST_HEIGHT:
        return _apply(x, kernels)
    padding = dilation * (kernels.shape[-1] // 2)
    return F.conv2d(x, kernels, None, stride, padding, dilation, len(kernels))


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution for every target, of its own channels.

    Args:
        x: ``[n, t * c, h, w]``, channels last in memory.
        weight: ``[t, c, c, 1, 1]``.
    """
    n, _, height, width = x.shape
    kernels = weight.flatten(2).to(x.dtype)
    rows = x.permute(0, 2, 3, 1).reshape(n * height * width, -1)
    blocks = rows.view(len(rows), *kernels.shape[:2]).transpose(0, 1)
    # Without the copy all that follows would work on images that do not have their channels last.
    product = torch.bmm(blocks, kernels.transpose(1, 2)).transpose(0, 1).contiguous()
    return product.view(n, height, width, -1).permute(0, 3, 1, 2)


def _own(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
    )


@final
class _Depthwise5(torch.autograd.Function):
    """Depthwise 5x5 convolution of stride 1, on a CPU.

    oneDNN's gradient by the weights is slow for kernels wider than 3 (a quarter of all time of a step). It is
    taken from two kernels of 5x3, the left three columns and the right three. Linear in images and in
    weights, so that derivatives of all orders are made of the same functions.
    """

    @staticmethod
    def forward(x: Tensor, kernels: Tensor) -> Tensor:
        return F.conv2d(x, kernels, padding=2, groups=len(kernels))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, kernels = ctx.saved_tensors
        by_x = by_kernels = None
        if ctx.needs_input_grad[0]:
            by_x = cast(Tensor, _Depthwise5.apply(gradient, kernels.flip(2, 3)))  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            left, right = (_by_kernels(_widened(x, *sides), gradient) for sides in ((2, 0), (0, 2)))
            by_kernels = torch.cat([left, right[..., 1:]], dim=3)
        return by_x, by_kernels

    @staticmethod
    def jvp(ctx: Any, x: Tensor | None, kernels: Tensor | None) -> Tensor | None:
        terms = []
        if x is not None:
            terms.append(_apply(x, ctx.saved_tensors[1]))
        if kernels is not None:
            terms.append(_apply(ctx.saved_tensors[0], kernels))
        return sum(terms[1:], terms[0]) if terms else None


def _apply(x: Tensor, kernels: Tensor) -> Tensor:
    return cast(Tensor, _Depthwise5.apply(x, kernels))  # type: ignore[no-untyped-call]


def _widened(x: Tensor, left: int, right: int) -> Tensor:
    """Columns of zeros added."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, left, right)).permute(0, 3, 1, 2)


def _by_kernels(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient by depthwise 5x3 kernels ``[c, 1, 5, 3]``, of images two columns wider than the output."""
    channels = x.shape[1]
    shape = x.new_empty(()).expand(channels, 1, 5, 3)
    by_kernels: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, shape, None, [1, 1], [2, 0], [1, 1], False, [0, 0], channels, [False, True, False]
    )[1]
    return by_kernels
