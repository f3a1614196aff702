"""A part of a data set on a device, as bytes; batches of it, augmented and normalised there."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from crlso.protocols import FloatArray
from supernet.data.augmentation import NONE, Noise, Pipeline
from supernet.data.splits import Part, Splits


@final
class Resident:
    """Images and labels on the device; pixels stay bytes and are normalised batch by batch.

    CIFAR-10 takes 184 MB. No step copies anything from the host but the indices it is given.

    Args:
        part: What to hold.
        splits: Whose training part gives mean and deviation of the channels.
        device: Where to.
        dtype: Of normalised images.

    Attributes:
        images: ``[n, c, h, w]`` uint8.
        labels: ``[n]`` int64.
        dtype: Of normalised images.
    """

    def __init__(
        self, part: Part, splits: Splits, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        shape = (1, -1, 1, 1)
        # A copy: torch does not know read-only arrays and would warn.
        self.images = torch.from_numpy(part.images.copy()).to(device)
        self.labels = torch.from_numpy(part.labels.copy()).to(device)
        self.dtype = dtype
        self._mean = _column(splits.mean, device, dtype).view(shape)
        self._scale = _column(1 / splits.deviation, device, dtype).view(shape)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.images.shape[2], self.images.shape[3]

    def normalised(self, pixels: Tensor) -> Tensor:
        """``[n, c, h, w]`` bytes to mean 0, deviation 1 per channel over the training part; channels last."""
        scaled = (pixels.to(self.dtype) - self._mean) * self._scale
        return scaled.contiguous(memory_format=torch.channels_last)

    def batch(self, rows: Tensor, augmentation: Pipeline = NONE, noise: Noise = ()) -> tuple[Tensor, Tensor]:
        """Images, augmented and normalised, and labels of a batch.

        Args:
            rows: ``[b]`` int64, indices on the device.
            augmentation: What is done to the images.
            noise: Its random numbers for these images: ``augmentation.draw(b, size, generator)``, or the
                rows of a larger batch's that belong to them.
        """
        pixels = augmentation.apply(self.images[rows], noise, self.normalised)
        return pixels, self.labels[rows]


def _column(values: FloatArray, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(values).to(dtype).to(device)
