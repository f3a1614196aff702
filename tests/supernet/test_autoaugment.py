"""AutoAugment's operations against Pillow's, and the published policy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from supernet.data import pixels as operations
from supernet.data.autoaugment import (
    BLENDS,
    CIFAR10_POLICY,
    GEOMETRIC,
    LOOK_UPS,
    AutoAugment,
    Step,
    factor_of,
    table_of,
    transform_of,
)

NOTHING: Step = ("none", 0.0, 0)


def pictures(channels: int = 3) -> Tensor:
    """Noise, smooth pictures, dark and pale ones, one colour, two values."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, channels, 32, 32))
    smooth = np.repeat(np.repeat(rng.integers(0, 256, (4, channels, 4, 4)), 8, 2), 8, 3)
    ramp = np.broadcast_to(np.arange(32) * 4, (1, channels, 32, 32))
    dark = rng.integers(0, 30, (2, channels, 32, 32))
    pale = 200 + rng.integers(0, 50, (2, channels, 32, 32))
    single = np.full((1, channels, 32, 32), 77)
    two = np.where(rng.random((1, channels, 32, 32)) < 0.01, 10, 240)
    return torch.from_numpy(np.concatenate([noise, smooth, ramp, dark, pale, single, two]).astype(np.uint8))


def pillow(image: Tensor) -> object:
    return Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))


def expected(image: Tensor, name: str, strength: int, sign: int) -> np.ndarray:
    """What the authors' code does, with Pillow."""
    picture = pillow(image)
    size, shear, grey = picture.size, 0.3 * strength / 10 * sign, (128,) * 3

    def transform(*coefficients: float) -> object:
        return picture.transform(size, Image.Transform.AFFINE, coefficients, fillcolor=grey)

    result = {
        "shear_x": lambda: transform(1, shear, 0, 0, 1, 0),
        "shear_y": lambda: transform(1, 0, 0, shear, 1, 0),
        "translate_x": lambda: transform(1, 0, strength * sign, 0, 1, 0),
        "translate_y": lambda: transform(1, 0, 0, 0, 1, strength * sign),
        "rotate": lambda: picture.rotate(int(strength * 3) * sign, fillcolor=grey),
        "invert": lambda: ImageOps.invert(picture),
        "posterize": lambda: ImageOps.posterize(picture, 4 - int(strength * 4 / 10)),
        "solarize": lambda: ImageOps.solarize(picture, 256 - int(strength * 256 / 10)),
        "autocontrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
        "color": lambda: ImageEnhance.Color(picture).enhance(strength * 1.8 / 10 + 0.1),
        "contrast": lambda: ImageEnhance.Contrast(picture).enhance(strength * 1.8 / 10 + 0.1),
        "brightness": lambda: ImageEnhance.Brightness(picture).enhance(strength * 1.8 / 10 + 0.1),
        "sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(strength * 1.8 / 10 + 0.1),
    }[name]()
    return np.asarray(result).transpose(2, 0, 1).astype(int)


def done(pixels: Tensor, name: str, strength: int, sign: int) -> Tensor:
    """One operation on all images."""
    augmentation = AutoAugment(policy=(((name, 1.0, strength), NOTHING),))
    n = len(pixels)
    signs = torch.full((n, 2), int(sign > 0))
    return augmentation.apply(pixels, (torch.zeros(n, dtype=torch.int64), torch.full((n, 2), 0.5), signs))


SIGNED = [(name, sign) for name in GEOMETRIC for sign in (-1, 1)]


@pytest.mark.parametrize("strength", range(10))
@pytest.mark.parametrize(("name", "sign"), SIGNED + [(name, 1) for name in (*LOOK_UPS, *BLENDS)])
def test_operations_are_pillows(name: str, strength: int, sign: int) -> None:
    images = pictures()
    result = done(images, name, strength, sign).numpy().astype(int)
    for image, changed in zip(images, result, strict=True):
        reference = expected(image, name, strength, sign)
        # Transforms move bytes and tables map them: equal. Blends are rounded.
        limit = 1 if name in BLENDS else 0
        assert np.abs(changed - reference).max() <= limit


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (17, 40)])
def test_turning_other_sizes(size: tuple[int, int]) -> None:
    image = torch.randint(
        0, 256, (1, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    for degrees in (-27, -6, 3, 15, 90, 180):
        matrix = torch.tensor([operations.fixed_point(operations.rotation(degrees, size))])
        turned = operations.affine(image, matrix, 128)[0]
        reference = pillow(image[0]).rotate(degrees, fillcolor=(128,) * 3)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(turned.permute(1, 2, 0), np.asarray(reference))


def test_smoothing_is_pillows() -> None:
    image_filter = pytest.importorskip("PIL.ImageFilter")
    for image, result in zip(pictures(), operations.smooth(pictures()), strict=True):
        reference = np.asarray(pillow(image).filter(image_filter.SMOOTH))  # type: ignore[attr-defined]
        np.testing.assert_array_equal(result.permute(1, 2, 0), reference)
        grey = np.asarray(pillow(image).convert("L"))  # type: ignore[attr-defined]
        np.testing.assert_array_equal(operations.grey(image[None])[0, 0], grey)


def test_grey_images_go_through_all_operations() -> None:
    images = pictures(channels=1)
    assert torch.equal(done(images, "color", 9, 1), images)
    for name in (*GEOMETRIC, *LOOK_UPS, *BLENDS):
        thrice = done(images.expand(-1, 3, -1, -1), name, 6, 1)
        if name != "color":
            assert (done(images, name, 6, 1).int() - thrice[:, :1].int()).abs().max() <= 1


def test_a_strength_of_the_policy_means_what_the_authors_say() -> None:
    assert factor_of("color", 0) == 0.1 and factor_of("color", 9) == pytest.approx(1.72)
    assert table_of("posterize", 7)[255] == 0b11000000  # 2 bits are left
    assert table_of("solarize", 5)[127:129] == [127, 127]  # from 128 on
    assert transform_of("translate_y", 9, -1, (32, 32))[5] == -9
    assert transform_of("translate_y", 9, -1, (64, 32))[5] == -18
    assert transform_of("shear_y", 8, 1, (32, 32))[3] == pytest.approx(0.24)


def test_the_policy_has_the_published_counts() -> None:
    """Tallies over the policy as other projects list it, which is table 7 of the paper."""
    assert len(CIFAR10_POLICY) == 25
    steps = [step for pair in CIFAR10_POLICY for step in pair]
    names = Counter(name for name, _, _ in steps)
    assert names == {
        "equalize": 9,
        "autocontrast": 7,
        "sharpness": 5,
        "translate_y": 5,
        "color": 5,
        "brightness": 4,
        "solarize": 4,
        "invert": 3,
        "contrast": 2,
        "translate_x": 2,
        "shear_y": 2,
        "rotate": 1,
        "posterize": 1,
    }
    assert sum(probability for _, probability, _ in steps) == pytest.approx(26.5)
    assert sum((1 + place // 2) * strength for place, (_, _, strength) in enumerate(steps)) == 3325


def test_two_steps_follow_one_another() -> None:
    images = pictures()
    policy = ((("rotate", 1.0, 5), ("equalize", 1.0, 0)), (("invert", 1.0, 0), ("sharpness", 0.0, 9)))
    n = len(images)
    noise = (torch.arange(n) % 2, torch.full((n, 2), 0.999), torch.ones(n, 2, dtype=torch.int64))
    result = AutoAugment(policy=policy).apply(images, noise)
    both = done(done(images, "rotate", 5, 1), "equalize", 0, 1)
    alone = done(images, "invert", 0, 1)
    for row in range(n):
        assert torch.equal(result[row], (both, alone)[row % 2][row])


def test_operations_are_done_as_often_as_the_policy_says() -> None:
    policy = ((("invert", 0.3, 0), NOTHING), (("invert", 0.9, 0), NOTHING))
    black = torch.zeros(20_000, 1, 1, 1, dtype=torch.uint8)
    augmentation, generator = AutoAugment(policy=policy), torch.Generator().manual_seed(0)
    noise = augmentation.draw(len(black), (1, 1), generator)
    inverted = augmentation.apply(black, noise).view(-1) == 255
    for choice, probability in enumerate((0.3, 0.9)):
        assert abs(inverted[noise[0] == choice].float().mean() - probability) < 0.02
    assert abs(noise[0].float().mean() - 0.5) < 0.02
    assert sorted(set(noise[2].flatten().tolist())) == [0, 1]
