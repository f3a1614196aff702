"""The usual augmentations of ImageNet (Szegedy et al. 2015; DARTS' settings), as tensor operations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional as F

from crlso.errors import UserError
from supernet.data import pixels as operations
from supernet.data.augmentation import Augmentation, Noise

_TRIALS: Final = 10


@final
@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """A random rectangle of each image, scaled back to the image's size.

    Its area is uniform in a range of shares of the image's, and so is the logarithm of its width over its
    height. Of ten such rectangles the first that fits counts; if none does, the largest central one of an
    allowed shape. Departure from what is done with files: the source is the stored image, not the original
    one, and scaling is bilinear without averaging.

    Attributes:
        area: Least and largest share of the area.
        shape: Least and largest width over height.
    """

    area: tuple[float, float] = (0.08, 1.0)
    shape: tuple[float, float] = (3 / 4, 4 / 3)
    tensors: int = field(default=3, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1 or not 0 < self.shape[0] <= self.shape[1]:
            raise UserError(f"area must lie in (0, 1], shape be positive, got {self.area} and {self.shape}")

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Noise:
        """Uniform numbers: for the areas and the shapes ``[n, 10]``, for the place ``[n, 2]``."""
        del size
        device = generator.device
        areas = torch.rand(n, _TRIALS, generator=generator, device=device)
        shapes = torch.rand(n, _TRIALS, generator=generator, device=device)
        return areas, shapes, torch.rand(n, 2, generator=generator, device=device)

    def apply(self, pixels: Tensor, noise: Noise) -> Tensor:
        """The rectangles, scaled."""
        n, c, h, w = pixels.shape
        top, left, height, width = self.boxes(noise, (h, w))
        # The rectangle in coordinates from -1 to 1 over the image's borders.
        matrix = torch.zeros(n, 2, 3, device=pixels.device)
        matrix[:, 0, 0] = width / w
        matrix[:, 1, 1] = height / h
        matrix[:, 0, 2] = (2 * left + width) / w - 1
        matrix[:, 1, 2] = (2 * top + height) / h - 1
        grid = F.affine_grid(matrix, [n, c, h, w], align_corners=False)
        scaled = F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
        return scaled.round().clamp(0, 255).to(torch.uint8)

    def boxes(self, noise: Noise, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height and width ``[n]`` of the rectangles, in whole pixels (as floats)."""
        areas, shapes, place = noise
        h, w = size
        area = h * w * (self.area[0] + (self.area[1] - self.area[0]) * areas)
        low, high = math.log(self.shape[0]), math.log(self.shape[1])
        shape = torch.exp(low + (high - low) * shapes)
        widths, heights = (area * shape).sqrt().round(), (area / shape).sqrt().round()
        fits = (widths >= 1) & (widths <= w) & (heights >= 1) & (heights <= h)
        first = fits.int().argmax(1, keepdim=True)
        fallback = min(max(w / h, self.shape[0]), self.shape[1])
        some = fits.any(1)
        width = torch.where(some, widths.gather(1, first)[:, 0], min(w, round(h * fallback)))
        height = torch.where(some, heights.gather(1, first)[:, 0], min(h, round(w / fallback)))
        top = torch.where(some, (place[:, 0] * (h - height + 1)).floor(), ((h - height) / 2).floor())
        left = torch.where(some, (place[:, 1] * (w - width + 1)).floor(), ((w - width) / 2).floor())
        return torch.minimum(top, h - height), torch.minimum(left, w - width), height, width


@final
@dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Brightness, contrast, saturation and hue changed at random, in random order; for RGB images.

    The first three are blends by a factor uniform in ``[1 - x, 1 + x]`` (at least 0), as Pillow's
    ``ImageEnhance``; the hue turns by a share of the circle uniform in ``[-x, x]``, in HSV.

    Attributes:
        brightness: Range of that change, and likewise the others.
        contrast: The same.
        saturation: The same.
        hue: The same, up to 0.5.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.2
    tensors: int = field(default=2, init=False)

    def __post_init__(self) -> None:
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        if not all(math.isfinite(value) and value >= 0 for value in ranges) or self.hue > 0.5:
            raise UserError(f"ranges of colours must be 0 or more, that of hue up to 0.5, got {ranges}")

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Noise:
        """Uniform numbers ``[n, 4]``: amounts, and what orders the four changes."""
        del size
        device = generator.device
        amounts = torch.rand(n, 4, generator=generator, device=device)
        return amounts, torch.rand(n, 4, generator=generator, device=device)

    def apply(self, pixels: Tensor, noise: Noise) -> Tensor:
        """All four."""
        if pixels.shape[1] != 3:
            raise UserError(f"colours can be changed in images of 3 channels, got {pixels.shape[1]}")
        amounts, keys = noise
        order = keys.argsort(1)
        factors = [
            _factor(amounts[:, place], reach)
            for place, reach in enumerate((self.brightness, self.contrast, self.saturation))
        ]
        turn = self.hue * (2 * amounts[:, 3] - 1)
        for position in range(4):
            which = order[:, position][:, None, None, None]
            start = torch.where(which == 1, operations.mean_grey(pixels), 0)
            start = torch.where(which == 2, operations.grey(pixels), start)
            factor = torch.where(order[:, position] == 0, factors[0], 1.0)
            factor = torch.where(order[:, position] == 1, factors[1], factor)
            factor = torch.where(order[:, position] == 2, factors[2], factor)
            changed = operations.blend(start, pixels, factor)
            pixels = torch.where(which == 3, turned(pixels, turn), changed)
        return pixels


def _factor(amount: Tensor, reach: float) -> Tensor:
    """From a number uniform in [0, 1) to a factor."""
    low = max(0.0, 1 - reach)
    return low + (1 + reach - low) * amount


def turned(pixels: Tensor, turn: Tensor) -> Tensor:
    """RGB bytes with the hue turned by ``turn`` ``[n]``, a share of the circle; value and saturation stay."""
    rgb = pixels.float() / 255
    value, least = rgb.amax(1, keepdim=True), rgb.amin(1, keepdim=True)
    span = value - least
    safe = torch.where(span > 0, span, 1.0)
    red, green, blue = rgb[:, :1], rgb[:, 1:2], rgb[:, 2:]
    sixths = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    angle = sixths + 6 * turn[:, None, None, None]
    # Each channel is a trapezoid over the circle: down by the span where its hue is far.
    offsets = 5 - 2 * torch.arange(3, device=pixels.device).view(1, 3, 1, 1)
    far = torch.remainder(offsets + angle, 6)
    channel = value - span * torch.minimum(far, 4 - far).clamp(0, 1)
    return (255 * channel).round().clamp(0, 255).to(torch.uint8)
