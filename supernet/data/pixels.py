"""Operations on batches of images of bytes, each image with parameters of its own.

They give what Pillow's ``Image.transform``, ``ImageOps`` and ``ImageEnhance`` give, whose rules (weights of
the luminance, rounding towards zero in blends, borders of the smoothing filter, fixed-point coordinates) they
follow. All are tensor operations without a look at any value on the host.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

FIXED: Final = 1 << 16
"""One pixel, in the units of :func:`affine`."""

Matrix = tuple[float, float, float, float, float, float]


def fixed_point(matrix: Matrix) -> list[int]:
    """Coefficients ``(a, b, c, d, e, f)`` as whole multiples of 1/65536, with the half pixel of the centres.

    Column ``x``, row ``y`` of the result show column ``ax + by + c``, row ``dx + ey + f`` of the source.
    """
    a, b, c, d, e, f = matrix
    exact = (a, b, c + 0.5 * a + 0.5 * b, d, e, f + 0.5 * d + 0.5 * e)
    return [math.floor(value * FIXED + 0.5) for value in exact]


def rotation(degrees: float, size: tuple[int, int]) -> Matrix:
    """The coefficients that turn images of a height and width about their centre, counter-clockwise."""
    angle = -math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = size[1] / 2, size[0] / 2
    return cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y


def affine(pixels: Tensor, coefficients: Tensor, fill: int) -> Tensor:
    """Images transformed, each pixel taken from the nearest one of the source.

    Args:
        pixels: ``[n, c, h, w]`` uint8.
        coefficients: ``[n, 6]`` int64, each row from :func:`fixed_point`.
        fill: What comes in from outside.
    """
    n, c, h, w = pixels.shape
    a, b, c0, d, e, f = coefficients[:, :, None, None].unbind(1)
    x = torch.arange(w, device=pixels.device)
    y = torch.arange(h, device=pixels.device)[:, None]
    column, row = (a * x + b * y + c0) >> 16, (d * x + e * y + f) >> 16
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    source = (row.clamp(0, h - 1) * w + column.clamp(0, w - 1)).view(n, 1, h * w).expand(n, c, h * w)
    moved = pixels.reshape(n, c, h * w).gather(2, source).view(n, c, h, w)
    return moved.masked_fill(~inside[:, None], fill)


def lookup(pixels: Tensor, tables: Tensor) -> Tensor:
    """Every byte replaced: ``tables`` is ``[n, c or 1, 256]`` uint8."""
    n, c, h, w = pixels.shape
    return tables.expand(n, c, 256).gather(2, pixels.reshape(n, c, h * w).long()).view(n, c, h, w)


def posterize_table(bits: int) -> list[int]:
    """Keeps the upper bits of a byte."""
    return [value & ~((1 << (8 - bits)) - 1) for value in range(256)]


def solarize_table(threshold: int) -> list[int]:
    """Inverts bytes from the threshold on."""
    return [value if value < threshold else 255 - value for value in range(256)]


def autocontrast_tables(pixels: Tensor) -> Tensor:
    """``[n, c, 256]``: the darkest pixel of each channel becomes 0, the brightest 255."""
    low = pixels.amin((2, 3))[:, :, None].double()
    high = pixels.amax((2, 3))[:, :, None].double()
    values = torch.arange(256, device=pixels.device, dtype=torch.float64)
    scale = torch.full_like(low, 255) / (high - low)  # a number over a tensor would be rounded twice
    stretched = (values * scale - low * scale).clamp(0, 255)
    return torch.where(high > low, stretched, values).to(torch.uint8)


def equalize_tables(pixels: Tensor) -> Tensor:
    """``[n, c, 256]``: afterwards the values of each channel are spread as evenly as possible."""
    n, c, h, w = pixels.shape
    flat = pixels.reshape(n, c, h * w).long()
    counts = torch.zeros(n, c, 256, dtype=torch.int64, device=pixels.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    brightest = flat.amax(2, keepdim=True)
    step = (h * w - counts.gather(2, brightest)) // 255
    below = counts.cumsum(2) - counts
    spread = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, spread, torch.arange(256, device=pixels.device)).to(torch.uint8)


def grey(pixels: Tensor) -> Tensor:
    """Luminance ``[n, 1, h, w]`` (ITU-R 601-2) of RGB images; of others, the first channel."""
    if pixels.shape[1] != 3:
        return pixels[:, :1]
    wide = pixels.int()
    total = 19595 * wide[:, :1] + 38470 * wide[:, 1:2] + 7471 * wide[:, 2:]
    return ((total + 0x8000) >> 16).to(torch.uint8)


def mean_grey(pixels: Tensor) -> Tensor:
    """``[n, 1, 1, 1]`` uint8: the mean luminance, rounded."""
    luminance = grey(pixels).long()
    count = luminance.shape[2] * luminance.shape[3]
    # floor(sum / count + 1/2), in whole numbers
    return ((2 * luminance.sum((2, 3), keepdim=True) + count) // (2 * count)).to(torch.uint8)


def smooth(pixels: Tensor) -> Tensor:
    """Weighted means of 3x3 pixels (5 in the middle, 1 around); the outermost pixels stay as they are."""
    h, w = pixels.shape[2:]
    if h < 3 or w < 3:
        return pixels
    wide = pixels.int()
    total = 4 * wide[:, :, 1:-1, 1:-1]
    for row in range(3):
        for column in range(3):
            total = total + wide[:, :, row : h - 2 + row, column : w - 2 + column]
    inner = ((2 * total + 13) // 26).to(torch.uint8)  # rounded to nearest
    kept = F.pad(torch.ones(h - 2, w - 2, dtype=torch.bool, device=pixels.device), (1, 1, 1, 1))
    return torch.where(kept, F.pad(inner, (1, 1, 1, 1)), pixels)


def blend(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """``start`` where the share is 0, ``end`` where it is 1, on a line through both, cut off at 0 and 255.

    Args:
        start: ``[n, c, h, w]`` uint8, or broadcast.
        end: The same.
        share: ``[n]`` float32.
    """
    first = start.float()
    mixed = first + share[:, None, None, None] * (end.float() - first)
    return mixed.clamp(0, 255).to(torch.uint8)
