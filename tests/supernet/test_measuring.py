"""Measuring a whole part: every image once, in batches that do not go class by class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from supernet.data import Images, SplitSettings, split
from supernet.data.resident import Resident
from supernet.measuring import measure


@pytest.fixture
def by_class() -> Resident:
    """600 images of 3 classes, one class after the other; an image's pixels are its class."""
    labels = np.arange(600) // 200
    pixels = np.broadcast_to(labels[:, None, None, None], (600, 1, 2, 2)).astype(np.uint8)
    splits = split(Images.of("sorted", pixels, labels, classes=3), SplitSettings())
    return Resident(splits.train, splits, torch.device("cpu"))


def test_every_image_counts_once_and_classes_are_mixed(by_class: Resident) -> None:
    levels = by_class.normalised(by_class.images)[:, 0, 0, 0]
    seen: list[Tensor] = []

    def logits(images: Tensor) -> Tensor:
        """Right for the first two classes, nothing but wrong for the third."""
        found = torch.stack([(images[:, 0, 0, 0] == level) for level in levels.unique()], dim=1).float()
        seen.append(found.argmax(1))
        return found * torch.tensor([50.0, 50.0, -50.0])

    loss, accuracy = measure(logits, by_class, batch=100, shuffled=True)
    assert accuracy == pytest.approx(100 * float((by_class.labels < 2).float().mean()))
    # Of the third class each image costs log(1 + 1 + exp(-50)) + 50.
    third = float((by_class.labels == 2).float().mean())
    assert loss == pytest.approx(third * (np.log(2) + 50), rel=1e-5)
    assert sum(map(len, seen)) == len(by_class)
    assert all(len(batch.unique()) == 3 for batch in seen)


def test_the_order_is_the_same_every_time_and_given_if_wanted(by_class: Resident) -> None:
    orders: list[Tensor] = []

    def logits(images: Tensor) -> Tensor:
        orders.append(images[:, 0, 0, 0])
        return images.new_zeros(len(images), 3)

    for shuffled in (True, True, False):
        measure(logits, by_class, batch=1000, shuffled=shuffled)
    assert torch.equal(orders[0], orders[1])
    assert torch.equal(orders[2], by_class.normalised(by_class.images)[:, 0, 0, 0])
    assert not torch.equal(orders[0], orders[2])
