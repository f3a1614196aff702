"""Training, validation and test part of a data set: stratified, fixed by a seed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from supernet.data.images import Images

PARTS: Final = ("train", "valid", "test")


@dataclass(frozen=True)
class SplitSettings:
    """How a data set is divided.

    Attributes:
        fractions: Shares of training, validation and test. Where the data set has a test part of its own,
            that is the test part and the others are divided as the first two.
        limits: At most so many images in each part; ``None``: all.
        shrink: Averages blocks of so many pixels in both directions into one; 1: images as they are.
        seed: Of the division. It is apart from the seeds of trainings, so that all of them see the same
            parts.
    """

    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    limits: tuple[int | None, int | None, int | None] = (None, None, None)
    shrink: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not all(share > 0 for share in self.fractions) or not math.isclose(sum(self.fractions), 1.0):
            raise UserError(f"fractions must be positive and add up to 1, got {self.fractions}")
        if not all(limit is None or limit > 0 for limit in self.limits):
            raise UserError(f"limits must be 1 or more, or none, got {self.limits}")
        if self.shrink < 1:
            raise UserError(f"images can be shrunk by 1 (not at all) or more, got {self.shrink}")
        if self.seed < 0:
            raise UserError(f"the seed of the split must be 0 or more, got {self.seed}")


@dataclass(frozen=True, eq=False)
class Part:
    """Images ``[n, c, h, w]`` uint8 and labels ``[n]`` int64 of one part."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Splits:
    """The three parts of a data set.

    Attributes:
        name: Of the data set.
        classes: Number of classes.
        train: What networks are trained on.
        valid: What a search may see; may be empty, see :func:`without_validation`.
        test: What is reported.
        mean: ``[c]`` channel means of the training part, in units of the pixels (uint8).
        deviation: ``[c]`` channel standard deviations of the training part, 1 where a channel is constant.
        shrink: Side of the blocks of pixels that were averaged into one.
        checksum: SHA-256 of the data set's checksum, of which image is in which part, and of ``shrink``.
    """

    name: str
    classes: int
    train: Part
    valid: Part
    test: Part
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    shrink: int
    checksum: str

    @property
    def channels(self) -> int:
        """Channels of an image."""
        channels: int = self.train.images.shape[1]
        return channels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.train.images.shape[2], self.train.images.shape[3]

    def describe(self) -> str:
        """``1078 training, 360 validation, 359 test images of 1x8x8``."""
        height, width = self.size
        sizes = f"{len(self.train)} training, {len(self.valid)} validation, {len(self.test)} test images"
        averaged = f" (blocks of {self.shrink}x{self.shrink} averaged)" if self.shrink > 1 else ""
        return f"{sizes} of {self.channels}x{height}x{width}{averaged}"


def split(data: Images, settings: SplitSettings | None = None) -> Splits:
    """Divides a data set; the same settings give the same parts.

    Every part, and every part cut by a limit, has the classes in the data set's proportions, up to one image
    per class.

    Raises:
        UserError: A part would be empty, or the images do not divide into blocks.
    """
    settings = settings or SplitSettings()
    rng = np.random.default_rng(settings.seed)
    labels = data.labels
    train_share, valid_share, test_share = settings.fractions
    if data.test_from is None:
        order = _stratified(labels, rng)
        bounds = [round(train_share * len(data)), round((1 - test_share) * len(data))]
        chosen = np.split(order, bounds)
    else:
        order = _stratified(labels[: data.test_from], rng)
        test = data.test_from + _stratified(labels[data.test_from :], rng)
        bound = round(train_share / (train_share + valid_share) * len(order))
        chosen = [order[:bound], order[bound:], test]
    chosen = [np.sort(rows[:limit]) for rows, limit in zip(chosen, settings.limits, strict=True)]
    for name, rows in zip(PARTS, chosen, strict=True):
        if not len(rows):
            raise UserError(f"data {data.name!r}: {len(data)} images leave none for the {name} part")
    digest = hashlib.sha256(data.checksum.encode())
    for rows in chosen:
        digest.update(f"{len(rows)} ".encode() + rows.astype("<i8").tobytes())
    digest.update(f"{settings.shrink}".encode())
    train, valid, test_part = (
        Part(_shrunk(data.images[rows], settings.shrink, data.name), labels[rows]) for rows in chosen
    )
    mean, deviation = _moments(train)
    return Splits(
        name=data.name,
        classes=data.classes,
        train=train,
        valid=valid,
        test=test_part,
        mean=mean,
        deviation=deviation,
        shrink=settings.shrink,
        checksum=digest.hexdigest(),
    )


def without_validation(splits: Splits) -> Splits:
    """The same with the validation part's images among those of training, and no validation part.

    As networks are trained at last in the literature: on all images but those of the test.
    """
    parts = (splits.train, splits.valid)
    train = Part(
        np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts])
    )
    mean, deviation = _moments(train)
    return replace(
        splits,
        train=train,
        valid=Part(splits.valid.images[:0], splits.valid.labels[:0]),
        mean=mean,
        deviation=deviation,
        checksum=hashlib.sha256(f"{splits.checksum} without validation".encode()).hexdigest(),
    )


def _moments(part: Part) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``[c]`` means and standard deviations (1 where a channel is constant) of the channels."""
    deviation = part.images.std(axis=(0, 2, 3), dtype=np.float64)
    return part.images.mean(axis=(0, 2, 3), dtype=np.float64), np.where(deviation > 0, deviation, 1.0)


def _shrunk(images: NDArray[np.uint8], side: int, name: str) -> NDArray[np.uint8]:
    """Means of blocks of ``side`` x ``side`` pixels, rounded to the nearest whole number."""
    n, c, h, w = images.shape
    if h % side or w % side:
        raise UserError(f"data {name!r}: images of {h}x{w} do not divide into blocks of {side}x{side}")
    if side == 1:
        return images
    blocks = images.reshape(n, c, h // side, side, w // side, side)
    return np.asarray(np.rint(blocks.mean(axis=(3, 5))), dtype=np.uint8)


def _stratified(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """``[n]`` a random order in which every stretch holds the classes in the proportions of the whole.

    The members of a class, shuffled, are spread evenly over the interval [0, 1), each class with a random
    offset; the order of all these places is the order of the images.
    """
    order = rng.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place, kind="stable").astype(np.int64)
