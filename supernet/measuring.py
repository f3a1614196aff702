"""Loss and accuracy of a whole part of a data set: the same way after trainings, searches and derivations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from supernet.data.resident import Resident

SHARED_BATCH: Final = 250
"""Images in a batch, at most, where normalisations take the statistics of the batch at hand."""


@torch.no_grad()
def measure(
    logits: Callable[[Tensor], Tensor],
    part: Resident,
    *,
    batch: int,
    shuffled: bool,
    precision: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> tuple[float, float]:
    """Cross-entropy in nats (without label smoothing) and accuracy in %.

    Args:
        logits: From normalised images ``[n, c, h, w]`` to logits ``[n, classes]``.
        part: The images.
        batch: Images at a time, at most. Batches are as even as possible, so that no normalisation works on
            a handful of images.
        shuffled: In an order that is random but always the same, not class by class as some data sets are:
            needed where normalisations take the statistics of the batch at hand.
        precision: Makes the context that the network computes in.
    """
    device = part.labels.device
    total = torch.zeros(2, dtype=torch.float64, device=device)
    count = len(part)
    order = torch.arange(count)
    if shuffled:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    for rows in order.to(device).tensor_split(-(-count // batch)):
        images, labels = part.batch(rows)
        with precision():
            found = logits(images)
        total[0] += F.cross_entropy(
            found.to(torch.promote_types(found.dtype, torch.float32)), labels, reduction="sum"
        )
        total[1] += (found.argmax(1) == labels).sum()
    loss, right = (total / count).tolist()
    return loss, 100.0 * right
