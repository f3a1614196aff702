"""Random changes of training images, as tensor operations on whole batches.

An augmentation draws all random numbers of a batch first, on the device of its generator, and then applies
them. So a process that works on a slice of a batch draws for the whole one and takes its rows, and has the
images that a single process would have. Nothing here waits for the device or loops over images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional as F

from crlso.errors import UserError

Noise = tuple[Tensor, ...]
"""Random numbers of a batch; the first dimension of each tensor is that of the images."""


def rows_of(noise: Noise, start: int, stop: int) -> Noise:
    """The random numbers of the images from ``start`` up to ``stop``."""
    return tuple(part[start:stop] for part in noise)


class Augmentation(ABC):
    """A random change of images."""

    tensors: int
    """How many tensors its noise has."""
    normalised: bool = False
    """Whether it works on normalised images, in which 0 is the channel's mean; else on bytes."""

    @abstractmethod
    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Noise:
        """Random numbers for ``n`` images of this height and width, on the generator's device."""

    @abstractmethod
    def apply(self, pixels: Tensor, noise: Noise) -> Tensor:
        """The images ``[n, c, h, w]`` changed; same type, given as uint8 unless :attr:`normalised`."""

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Both: the generator must live on the device of the pixels."""
        size = (pixels.shape[2], pixels.shape[3])
        return self.apply(pixels, self.draw(len(pixels), size, generator))


@final
@dataclass(frozen=True)
class Shift(Augmentation):
    """Every image moved by its own whole number of pixels; zeros come in from the border.

    ``Shift(4)`` is the usual random crop of images that are padded with four zeros on all sides.

    Attributes:
        most: Shifts are uniform from ``-most`` to ``most``, in each direction.
    """

    most: int = 4
    tensors: int = field(default=2, init=False)

    def __post_init__(self) -> None:
        if self.most < 0:
            raise UserError(f"images can be shifted by 0 pixels or more, got {self.most}")

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Noise:
        """Rows and columns."""
        del size
        offsets = torch.randint(0, 2 * self.most + 1, (2, n), generator=generator, device=generator.device)
        return offsets[0], offsets[1]

    def apply(self, pixels: Tensor, noise: Noise) -> Tensor:
        """Crops of the padded images."""
        n, c, h, w = pixels.shape
        device = pixels.device
        rows = noise[0][:, None] + torch.arange(h, device=device)
        columns = noise[1][:, None] + torch.arange(w, device=device)
        padded = F.pad(pixels, (self.most,) * 4)
        return padded[
            torch.arange(n, device=device)[:, None, None, None],
            torch.arange(c, device=device)[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]


@final
@dataclass(frozen=True)
class Flip(Augmentation):
    """Images mirrored, left to right, with probability 1/2."""

    tensors: int = field(default=1, init=False)

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Noise:
        """Which."""
        del size
        return (torch.rand(n, generator=generator, device=generator.device) < 0.5,)

    def apply(self, pixels: Tensor, noise: Noise) -> Tensor:
        """Those are mirrored."""
        return torch.where(noise[0][:, None, None, None], pixels.flip(3), pixels)


@final
@dataclass(frozen=True)
class Cutout(Augmentation):
    """A square of zeros in every normalised image (DeVries and Taylor 2017), as DARTS does it.

    Its centre is uniform over the image's pixels, what reaches over the border is cut off. It covers
    ``side // 2`` pixels before and as many from the centre on, in each direction.

    Attributes:
        side: Of the square, in pixels.
    """

    side: int = 16
    tensors: int = field(default=2, init=False)
    normalised: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if self.side < 2:
            raise UserError(f"the side of a cutout must be 2 pixels or more, got {self.side}")

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Noise:
        """Rows and columns of the centres."""
        device = generator.device
        rows = torch.randint(0, size[0], (n,), generator=generator, device=device)
        return rows, torch.randint(0, size[1], (n,), generator=generator, device=device)

    def apply(self, pixels: Tensor, noise: Noise) -> Tensor:
        """Zeros there."""
        rows = self._covered(noise[0], pixels.shape[2])[:, None, :, None]
        columns = self._covered(noise[1], pixels.shape[3])[:, None, None, :]
        return torch.where(rows & columns, 0, pixels)  # unlike masked_fill, it keeps channels last

    def _covered(self, centres: Tensor, length: int) -> Tensor:
        """``[n, length]``: whether a row, or a column, belongs to the square."""
        distance = torch.arange(length, device=centres.device) - centres[:, None]
        return (distance >= -(self.side // 2)) & (distance < self.side // 2)


@final
@dataclass(frozen=True)
class Pipeline:
    """Augmentations in their order; those on normalised images come after all on bytes.

    Attributes:
        parts: The augmentations.
    """

    parts: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        ordered = sorted(self.parts, key=lambda part: part.normalised)  # sorting keeps the order of equals
        object.__setattr__(self, "parts", tuple(ordered))

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Noise:
        """Random numbers for ``n`` images of this height and width, on the generator's device."""
        return tuple(tensor for part in self.parts for tensor in part.draw(n, size, generator))

    def apply(self, pixels: Tensor, noise: Noise, normalise: Callable[[Tensor], Tensor]) -> Tensor:
        """Bytes ``[n, c, h, w]`` to augmented, normalised images.

        Args:
            pixels: uint8.
            noise: From :meth:`draw`, for these images.
            normalise: From bytes to normalised images.
        """
        start, is_normalised = 0, False
        for part in self.parts:
            if part.normalised and not is_normalised:
                pixels, is_normalised = normalise(pixels), True
            pixels = part.apply(pixels, noise[start : start + part.tensors])
            start += part.tensors
        return pixels if is_normalised else normalise(pixels)


NONE: Final = Pipeline()
"""Images as they are."""
