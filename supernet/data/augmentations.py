"""Augmentations by name, for settings and the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from crlso.errors import UnknownNameError, UserError
from supernet.data.augmentation import Augmentation, Cutout, Flip, Pipeline, Shift
from supernet.data.autoaugment import AutoAugment
from supernet.data.imagenet import ColorJitter, RandomResizedCrop

_SIZED: Final[Mapping[str, tuple[int, Callable[[int], tuple[Augmentation, ...]]]]] = MappingProxyType(
    {
        "shift": (1, lambda most: (Shift(most),)),
        "crop_flip": (4, lambda most: (Shift(most), Flip())),
        "cutout": (16, lambda side: (Cutout(side),)),
    }
)
_PLAIN: Final[Mapping[str, tuple[Augmentation, ...]]] = MappingProxyType(
    {
        "none": (),
        "flip": (Flip(),),
        "autoaugment": (AutoAugment(),),
        "resized_crop": (RandomResizedCrop(),),
        "color_jitter": (ColorJitter(),),
    }
)

NAMES: Final = tuple(sorted([*_SIZED, *_PLAIN]))
"""All names."""


def named(text: str) -> Pipeline:
    """Augmentations from names joined by ``+``, done in this order (``cutout`` always last).

    ``none``; ``shift`` (by up to 1 pixel; ``shift:2``: by up to 2); ``flip``; ``crop_flip`` (shift by up to 4
    pixels, and flip); ``cutout`` (a square of 16 pixels, ``cutout:8`` of 8); ``autoaugment`` (CIFAR-10's
    policy); ``resized_crop``; ``color_jitter``.

    Raises:
        UserError: An unknown name, or a number where none belongs or that is not one.

    Example:
        >>> named("crop_flip+cutout:8").parts
        (Shift(most=4), Flip(), Cutout(side=8))
    """
    parts: list[Augmentation] = []
    for item in text.split("+"):
        name, colon, number = item.strip().partition(":")
        if name not in NAMES:
            raise UnknownNameError("augmentation", name, NAMES)
        if name in _PLAIN and colon:
            raise UserError(f"augmentation {name!r} takes no number, got {item.strip()!r}")
        if colon and not (number.isascii() and number.isdigit() and len(number) < 5):
            raise UserError(f"augmentation {name!r} takes a whole number of pixels, got {number!r}")
        if name in _PLAIN:
            parts += _PLAIN[name]
        else:
            default, make = _SIZED[name]
            parts += make(int(number) if colon else default)
    return Pipeline(tuple(parts))
