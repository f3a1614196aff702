"""Augmentations: against plain loops, published facts and colorsys; what they promise to processes."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from crlso.errors import UserError
from supernet.data import SplitSettings, load, split
from supernet.data.augmentation import NONE, Augmentation, Cutout, Flip, Pipeline, Shift, rows_of
from supernet.data.augmentations import NAMES, named
from supernet.data.autoaugment import AutoAugment
from supernet.data.imagenet import ColorJitter, RandomResizedCrop, turned
from supernet.data.resident import Resident
from tests.supernet.dispatch import NoWaiting

PIXELS = torch.randint(0, 256, (24, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
ALL: tuple[Augmentation, ...] = (
    Shift(4),
    Flip(),
    Cutout(6),
    AutoAugment(),
    RandomResizedCrop(),
    ColorJitter(),
)
EACH = pytest.mark.parametrize("augmentation", ALL, ids=lambda item: type(item).__name__)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def given(augmentation: Augmentation) -> Tensor:
    return PIXELS.float() - 100 if augmentation.normalised else PIXELS


def centred(pixels: Tensor) -> Tensor:
    return (pixels.float() - 100) / 50


def test_shift_crops_the_padded_image() -> None:
    shift = Shift(4)
    rows, columns = shift.draw(500, (12, 10), seeded())
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == list(range(9))
    moved = shift.apply(PIXELS, (rows[:24], columns[:24]))
    for image, row, column, result in zip(PIXELS, rows.tolist(), columns.tolist(), moved, strict=False):
        padded = np.pad(image.numpy(), ((0, 0), (4, 4), (4, 4)))
        np.testing.assert_array_equal(result.numpy(), padded[:, row : row + 12, column : column + 10])
    # Tables of earlier versions were made with these numbers.
    offsets = torch.randint(0, 5, (2, 24), generator=seeded(3))
    assert torch.equal(Shift(2)(PIXELS, seeded(3)), Shift(2).apply(PIXELS, (offsets[0], offsets[1])))


def test_flip_mirrors_half() -> None:
    result, (which,) = Flip()(PIXELS, seeded(1)), Flip().draw(24, (12, 10), seeded(1))
    for image, changed, mirrored in zip(PIXELS, result, which.tolist(), strict=True):
        np.testing.assert_array_equal(changed, np.flip(image.numpy(), 2) if mirrored else image)
    (many,) = Flip().draw(10_000, (1, 1), seeded())
    assert abs(many.float().mean() - 0.5) < 0.02


@pytest.mark.parametrize("side", [2, 5, 6, 40])
def test_cutout_is_darts(side: int) -> None:
    rows, columns = Cutout(side).draw(24, (12, 10), seeded())
    result = Cutout(side).apply(given(Cutout()), (rows, columns))
    for image, y, x, cut in zip(given(Cutout()), rows.tolist(), columns.tolist(), result, strict=True):
        mask = np.ones((12, 10), np.float32)
        half = side // 2
        mask[np.clip(y - half, 0, 12) : np.clip(y + half, 0, 12), max(x - half, 0) : min(x + half, 10)] = 0
        np.testing.assert_array_equal(cut, image.numpy() * mask)
    many = Cutout(side).draw(5000, (12, 10), seeded())
    assert sorted(set(many[0].tolist())) == list(range(12))
    assert sorted(set(many[1].tolist())) == list(range(10))


def test_cutout_keeps_the_layout() -> None:
    images = torch.ones(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert Cutout(4)(images, seeded()).is_contiguous(memory_format=torch.channels_last)


@EACH
def test_a_slice_of_a_batch_is_made_alone(augmentation: Augmentation) -> None:
    noise = augmentation.draw(24, (12, 10), seeded())
    assert len(noise) == augmentation.tensors
    whole = augmentation.apply(given(augmentation), noise)
    assert (whole.shape, whole.dtype) == (PIXELS.shape, given(augmentation).dtype)
    for start, stop in ((0, 7), (7, 24)):
        part = augmentation.apply(given(augmentation)[start:stop], rows_of(noise, start, stop))
        assert torch.equal(part, whole[start:stop])
    assert torch.equal(augmentation(given(augmentation), seeded()), whole)
    assert not torch.equal(whole, given(augmentation))


@EACH
def test_no_value_is_read_on_the_host(augmentation: Augmentation) -> None:
    generator = seeded()
    augmentation(given(augmentation), generator)  # tables are made once
    with NoWaiting():
        augmentation(given(augmentation), generator)


@EACH
def test_it_works_on_tensors_of_another_device(augmentation: Augmentation) -> None:
    noise = tuple(part.to("meta") for part in augmentation.draw(24, (12, 10), seeded()))
    images = given(augmentation).to("meta")
    assert augmentation.apply(images, noise).device.type == "meta"
    with NoWaiting("meta"):  # tables have gone there
        augmentation.apply(images, noise)


@EACH
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8), (33, 17)])
def test_images_of_any_size(augmentation: Augmentation, size: tuple[int, int]) -> None:
    pixels = torch.full((5, 3, *size), 77, dtype=torch.uint8)
    pixels = pixels.float() if augmentation.normalised else pixels
    assert augmentation(pixels, seeded()).shape == pixels.shape


def test_pipelines_normalise_before_cutout() -> None:
    pipeline = named("cutout:6+crop_flip")
    assert pipeline.parts == (Shift(4), Flip(), Cutout(6))
    noise = pipeline.draw(24, (12, 10), seeded())
    expected = Flip().apply(Shift(4).apply(PIXELS, noise[:2]), noise[2:3])
    expected = Cutout(6).apply(centred(expected), noise[3:])
    assert torch.equal(pipeline.apply(PIXELS, noise, centred), expected)
    assert torch.equal(NONE.apply(PIXELS, (), centred), centred(PIXELS))


def test_names() -> None:
    assert named("none") == NONE == Pipeline()
    assert named("shift").parts == (Shift(1),)
    assert named("autoaugment + crop_flip + cutout").parts == (AutoAugment(), Shift(4), Flip(), Cutout(16))
    for name in NAMES:
        assert isinstance(named(name), Pipeline)
    for text, message in (
        ("crop", r"unknown augmentation 'crop'; known: autoaugment, .*crop_flip"),
        ("", "unknown augmentation ''"),
        ("flip+", "unknown augmentation ''"),
        ("flip:2", "'flip' takes no number"),
        ("cutout:", "takes a whole number of pixels, got ''"),
        ("cutout:-8", "takes a whole number of pixels, got '-8'"),
        ("cutout:1", "must be 2 pixels or more, got 1"),
    ):
        with pytest.raises(UserError, match=message):
            named(text)


def test_resident_batches() -> None:
    parts = split(load("digits"), SplitSettings(limits=(50, 20, 20)))
    resident = Resident(parts.train, parts, torch.device("cpu"), torch.float64)
    everything, labels = resident.batch(torch.arange(50))
    np.testing.assert_allclose(everything.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(everything.std((0, 2, 3), correction=0), 1, atol=1e-12)
    np.testing.assert_array_equal(labels, parts.train.labels)
    assert (len(resident), resident.size) == (50, (8, 8))
    rows, cutout = torch.tensor([3, 41, 7]), named("cutout:4")
    noise = cutout.draw(3, resident.size, seeded())
    images, labels = resident.batch(rows, cutout, noise)
    assert torch.equal(images, Cutout(4).apply(everything[rows], noise))
    assert labels.tolist() == parts.train.labels[rows].tolist()


def test_boxes_of_resized_crops() -> None:
    crop, n, (h, w) = RandomResizedCrop(), 20_000, (64, 64)
    top, left, height, width = crop.boxes(crop.draw(n, (h, w), seeded()), (h, w))
    assert (top >= 0).all() and (left >= 0).all() and (height >= 1).all() and (width >= 1).all()
    assert (top + height <= h).all() and (left + width <= w).all()
    share, shape = height * width / (h * w), width / height
    assert 0.07 < share.min() < 0.1 and 0.9 < share.max() <= 1
    assert 0.7 < shape.min() < 0.8 and 1.25 < shape.max() < 1.4
    assert abs(shape.log().mean()) < 0.02
    # An image that is too wide for any allowed shape: the largest central one.
    noise = (torch.full((1, 10), 0.999), torch.full((1, 10), 0.5), torch.zeros(1, 2))
    assert [float(value) for value in crop.boxes(noise, (30, 90))] == [0, 25, 30, 40]


def test_a_whole_box_gives_the_image_and_a_part_its_pixels() -> None:
    whole = RandomResizedCrop(area=(1.0, 1.0), shape=(10 / 12, 10 / 12))
    assert torch.equal(whole(PIXELS, seeded()), PIXELS)
    half = RandomResizedCrop(area=(0.25, 0.25), shape=(10 / 12, 10 / 12))
    top, left, height, width = half.boxes(half.draw(24, (12, 10), seeded()), (12, 10))
    assert (height == 6).all() and (width == 5).all()
    for image, y, x, result in zip(PIXELS, top.int(), left.int(), half(PIXELS, seeded()), strict=True):
        box = image[None, :, y : y + 6, x : x + 5].float()
        expected = torch.nn.functional.interpolate(box, size=(12, 10), mode="bilinear", align_corners=False)
        inner = (slice(None), slice(1, -1), slice(1, -1))  # at its border neighbours outside of the box count
        assert (result[inner].float() - expected[0][inner]).abs().max() <= 0.51


def test_hue_as_colorsys() -> None:
    turns = torch.tensor([0.0, 0.1, -0.2, 0.5, -0.5, 1 / 3])
    colours = PIXELS[:6]
    colours[:, :, 0, 0] = 90  # grey has no hue
    result = turned(colours, turns)
    assert torch.equal(result[0], colours[0])
    for image, turn, changed in zip(colours, turns.tolist(), result, strict=True):
        for row, column in ((0, 0), (1, 2), (5, 7), (11, 9)):
            hue, saturation, value = colorsys.rgb_to_hsv(*(image[:, row, column] / 255).tolist())
            expected = np.multiply(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), 255)
            np.testing.assert_allclose(changed[:, row, column], expected, atol=0.51)


def test_colour_jitter_without_ranges_changes_nothing() -> None:
    assert torch.equal(ColorJitter(0, 0, 0, 0)(PIXELS, seeded()), PIXELS)
    assert not torch.equal(ColorJitter(0, 0, 0, 0.1)(PIXELS, seeded()), PIXELS)
    with pytest.raises(UserError, match="3 channels, got 1"):
        ColorJitter()(PIXELS[:, :1], seeded())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Shift(-1),
        lambda: Cutout(0),
        lambda: ColorJitter(hue=0.6),
        lambda: ColorJitter(contrast=math.nan),
        lambda: RandomResizedCrop(area=(0.0, 1.0)),
    ],
)
def test_impossible_settings_are_refused(wrong: type[Augmentation]) -> None:
    with pytest.raises(UserError):
        wrong()
