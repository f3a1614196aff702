"""Batch statistics over all processes of a search, differentiable as often as one likes."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor

from supernet.networks.normalisation import EPSILON, Statistics


@final
class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes.

    Every process' result depends on every process' input, so the derivative of the processes' losses, added
    up, in one input is the sum of the incoming gradients over all processes: the same function again. The sum
    is linear: its derivative along a tangent is the sum of the tangents.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        del ctx, inputs, output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return summed(gradients[0])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        del ctx
        return summed(tangents[0])


def summed(x: Tensor) -> Tensor:
    """Sum over all processes, with derivatives of any order, forward and reverse.

    All processes must call it, and differentiate, in the same order. Its gradient is that of the sum of all
    processes' losses; the mean over processes of the gradients in a weight that all of them have is then the
    gradient of their mean loss.
    """
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


@final
class ReducedStatistics(Statistics):
    """The images of all processes together: a search on several processes then equals one on the whole batch.

    All processes must have the same number of images. It takes two sums over processes for every
    normalisation: first the mean, then the mean of the squared deviations from it, which does not cancel as
    the mean of squares does. The statistics are computed in float32 or better, whatever the maps are in.
    """

    def normalise(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """See the base class; ``torch.distributed`` must be initialised."""
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        processes = dist.get_world_size()
        mean = summed(precise.mean((0, 2, 3))) / processes
        centred = precise - mean[:, None, None]
        variance = summed(centred.square().mean((0, 2, 3))) / processes
        factor = torch.rsqrt(variance + EPSILON)
        if scale is not None:
            factor = factor * scale
        return (centred * factor[:, None, None]).to(x.dtype)
