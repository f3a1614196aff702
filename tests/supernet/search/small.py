"""Searches that take a second: few images, few channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from crlso.spaces import EdgeCellSpace, get_space
from supernet.data import Images, Splits, SplitSettings, split
from supernet.networks import DARTSSizes, ImageTask, NetworkFamily, Skeleton, family_of
from supernet.processes import Processes
from supernet.recipe import load_recipe
from supernet.search import Search

EDGES = EdgeCellSpace("three", nodes=3, operations=["none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3"])


def images(count: int = 60, *, size: int = 6, classes: int = 3, channels: int = 1) -> Images:
    """Images whose class is where they are bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    pixels = rng.integers(0, 100, (count, channels, size, size))
    for row, label in enumerate(labels):
        pixels[row, :, 2 * label : 2 * label + 2] += 120
    return Images.of("stripes", pixels.astype(np.uint8), labels, classes=classes)


def splits(count: int = 60, **shape: int) -> Splits:
    return split(images(count, **shape), SplitSettings(fractions=(0.4, 0.4, 0.2)))


def family(space: str = "edges", data: Splits | None = None) -> NetworkFamily:
    data = data or splits()
    task = ImageTask(data.channels, data.size, data.classes)
    if space == "edges":
        return family_of(EDGES, task, Skeleton(channels=4, cells=1, stages=2))
    return family_of(get_space(space), task, DARTSSizes(channels=2, cells=3))


def search(
    recipe: str = "darts_1st",
    *,
    space: str = "edges",
    seed: int = 0,
    processes: Processes | None = None,
    data: Splits | None = None,
    **changes: Any,
) -> Search:
    """A search with batches of 8, 3 steps an epoch, 2 epochs."""
    values = {"epochs": 2, "batch": 8, "augmentation": "shift", **changes}
    found = load_recipe(recipe, preset="small", changes=values)
    data = data or splits()
    chosen = processes or Processes("cpu", found.search.precision)
    return Search(family(space, data), data, found, seed=seed, processes=chosen)
