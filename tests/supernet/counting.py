"""Weights and multiply-accumulate operations, counted on modules."""

from __future__ import annotations

import torch
from torch import nn


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def work(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Of convolutions and classifiers while an image ``[c, h, w]`` runs through; a bias counts one.

    On the module's device, in evaluation mode.
    """
    total = 0

    def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += out[0].numel() * layer.weight[0].numel()
        if isinstance(layer, nn.Linear):
            total += layer.weight.numel() + layer.bias.numel()

    handles = [layer.register_forward_hook(count) for layer in module.modules()]  # type: ignore[arg-type]
    device = next(module.parameters()).device
    module.eval()(torch.zeros(1, *shape, device=device))
    for handle in handles:
        handle.remove()
    return total
