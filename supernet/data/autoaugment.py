"""AutoAugment with the policy that was found on CIFAR-10 (Cubuk et al. 2019, table 7 of arXiv 1805.09501).

For each image one of 25 sub-policies is drawn; it holds two operations, each done with its own probability
and with a fixed strength, whose sign is random where it has one. What a strength of 0 to 9 means is taken
from the authors' code (``tensorflow/models``, ``research/autoaugment``): shears of 0.03, rotations of 3
degrees and shifts of 1 pixel (of 32; in proportion here for other sizes) a step, a threshold 25.6 lower
(solarize), 0.4 bits fewer of 4 (posterize), factors of 0.1 + 0.18 a step (colour, contrast, brightness,
sharpness).

Departure: what comes in from outside of an image is grey (128) and takes part in later operations. In the
authors' code it becomes the channels' mean after normalisation, unless a later operation has made it black.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, final

import torch
from torch import Tensor

from supernet.data import pixels as operations
from supernet.data.augmentation import Augmentation, Noise

Step = tuple[str, float, int]
"""An operation, its probability and its strength."""

CIFAR10_POLICY: Final[tuple[tuple[Step, Step], ...]] = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)
"""The 25 sub-policies."""

GEOMETRIC: Final = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
LOOK_UPS: Final = ("invert", "posterize", "solarize", "autocontrast", "equalize")
BLENDS: Final = ("color", "contrast", "brightness", "sharpness")

_IDENTITY: Final[operations.Matrix] = (1, 0, 0, 0, 1, 0)


def transform_of(name: str, strength: int, sign: int, size: tuple[int, int]) -> operations.Matrix:
    """Coefficients of a geometric operation, see :func:`supernet.data.pixels.affine`; of others: identity."""
    shear = 0.3 * strength / 10 * sign
    if name == "shear_x":
        return 1, shear, 0, 0, 1, 0
    if name == "shear_y":
        return 1, 0, 0, shear, 1, 0
    if name == "translate_x":
        return 1, 0, strength * size[1] // 32 * sign, 0, 1, 0
    if name == "translate_y":
        return 1, 0, 0, 0, 1, strength * size[0] // 32 * sign
    if name == "rotate":
        return operations.rotation(strength * 30 // 10 * sign, size)
    return _IDENTITY


def table_of(name: str, strength: int) -> list[int]:
    """What becomes of each byte in those operations that do not depend on the image; in others: nothing."""
    if name == "invert":
        return operations.solarize_table(0)
    if name == "posterize":
        return operations.posterize_table(4 - strength * 4 // 10)
    if name == "solarize":
        return operations.solarize_table(256 - strength * 256 // 10)
    return list(range(256))


def factor_of(name: str, strength: int) -> float:
    """How far the image is from its changed form: 0 is that form, 1 the image."""
    return 0.1 + 1.8 * strength / 10 if name in BLENDS else 1.0


@dataclass(frozen=True)
class _Tables:
    """Parameters of the operations: a row for each (sub-policy, step, sign), a last one that does nothing.

    Attributes:
        matrices: ``[rows, 6]``.
        tables: ``[rows, 256]``.
        factors: ``[rows]``.
        kinds: ``[rows]``, place in :data:`_KINDS`.
        probabilities: ``[rows]``.
    """

    matrices: Tensor
    tables: Tensor
    factors: Tensor
    kinds: Tensor
    probabilities: Tensor


_KINDS: Final = ("none", *GEOMETRIC, *LOOK_UPS, *BLENDS)


@lru_cache(maxsize=32)
def _tables(policy: tuple[tuple[Step, Step], ...], size: tuple[int, int], device: torch.device) -> _Tables:
    """Made once for each device: only then anything is copied there."""
    rows = [(*step, sign) for pair in policy for step in pair for sign in (-1, 1)] + [("none", 0.0, 0, 1)]
    matrices = [
        operations.fixed_point(transform_of(name, level, sign, size)) for name, _, level, sign in rows
    ]
    return _Tables(
        matrices=torch.tensor(matrices, device=device),
        tables=torch.tensor(
            [table_of(name, level) for name, _, level, _ in rows], dtype=torch.uint8, device=device
        ),
        factors=torch.tensor([factor_of(name, level) for name, _, level, _ in rows], device=device),
        kinds=torch.tensor([_KINDS.index(name) for name, _, _, _ in rows], device=device),
        probabilities=torch.tensor([probability for _, probability, _, _ in rows], device=device),
    )


@final
@dataclass(frozen=True)
class AutoAugment(Augmentation):
    """A policy of pairs of operations.

    All images go through the same three operations (a transform, a table look-up, a blend), each of which
    does nothing to those whose drawn operation is another.

    Attributes:
        policy: The sub-policies.
        fill: Of pixels from outside.
    """

    policy: tuple[tuple[Step, Step], ...] = CIFAR10_POLICY
    fill: int = 128
    tensors: int = field(default=3, init=False)

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Noise:
        """Sub-policies ``[n]``; for both steps ``[n, 2]`` a uniform number and a sign (0 or 1)."""
        del size
        device = generator.device
        return (
            torch.randint(0, len(self.policy), (n,), generator=generator, device=device),
            torch.rand(n, 2, generator=generator, device=device),
            torch.randint(0, 2, (n, 2), generator=generator, device=device),
        )

    def apply(self, pixels: Tensor, noise: Noise) -> Tensor:
        """Both steps."""
        chosen, chance, sign = noise
        known = _tables(self.policy, (pixels.shape[2], pixels.shape[3]), pixels.device)
        for step in (0, 1):
            row = (2 * chosen + step) * 2 + sign[:, step]
            done = chance[:, step] < known.probabilities[row]
            pixels = self._step(pixels, known, torch.where(done, row, 4 * len(self.policy)))
        return pixels

    def _step(self, pixels: Tensor, known: _Tables, row: Tensor) -> Tensor:
        """One operation for each image."""
        kind = known.kinds[row][:, None, None]

        def of(name: str) -> Tensor:
            return kind == _KINDS.index(name)

        pixels = operations.affine(pixels, known.matrices[row], self.fill)
        table = known.tables[row][:, None]
        table = torch.where(of("autocontrast"), operations.autocontrast_tables(pixels), table)
        table = torch.where(of("equalize"), operations.equalize_tables(pixels), table)
        pixels = operations.lookup(pixels, table)
        start = torch.where(of("color")[..., None], operations.grey(pixels), 0)
        start = torch.where(of("contrast")[..., None], operations.mean_grey(pixels), start)
        start = torch.where(of("sharpness")[..., None], operations.smooth(pixels), start)
        return operations.blend(start, pixels, known.factors[row])
