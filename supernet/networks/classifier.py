"""Image classifiers that a training loop can train."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Classifier(nn.Module, ABC):
    """Images to logits; has more to say while it is being trained."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """``[n, c, h, w]`` normalised images to logits ``[n, classes]``."""

    def training_logits(
        self, images: Tensor, drop_path: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Logits ``[n, classes]`` to learn from: the network's own, then those of auxiliary heads if any.

        Args:
            images: ``[n, c, h, w]``.
            drop_path: Probability with which an operation's output is dropped for an image, where the
                network knows such a thing.
            generator: A generator on the images' device, for what is dropped.
        """
        del drop_path, generator
        return (self(images),)
