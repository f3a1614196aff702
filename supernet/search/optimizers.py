"""The optimisers of a search."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import Parameter

from supernet.parts import SearchSettings


def weights(parameters: Sequence[Parameter], settings: SearchSettings) -> torch.optim.Optimizer:
    """Of the shared weights."""
    if settings.optimizer == "adam":
        first, second = settings.betas
        return torch.optim.Adam(
            parameters,
            lr=settings.learning_rate,
            betas=(first, second),
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=parameters[0].is_cuda,
        )
    return torch.optim.SGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        foreach=False,
        # One kernel for all weights; the published implementation goes from one to the next.
        fused=settings.path == "fast",
    )


def architecture(alpha: Parameter, settings: SearchSettings) -> torch.optim.Optimizer:
    """Of the architecture weights."""
    first, second = settings.architecture_betas
    if settings.architecture_optimizer == "sgd":
        return torch.optim.SGD(
            [alpha],
            lr=settings.architecture_learning_rate,
            momentum=first,
            weight_decay=settings.architecture_weight_decay,
            fused=True,
        )
    return torch.optim.Adam(
        [alpha],
        lr=settings.architecture_learning_rate,
        betas=(first, second),
        weight_decay=settings.architecture_weight_decay,
        fused=True,
        capturable=alpha.is_cuda,
    )


def on_device(optimizer: torch.optim.Optimizer, *, cuda: bool) -> None:
    """Sets what depends on the device, also in the state that another kind of device left."""
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = cuda
