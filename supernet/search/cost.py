"""What searching and training cost, in multiply-accumulate operations: the same on every machine."""

from __future__ import annotations

from typing import Final

from numpy.typing import ArrayLike

from crlso.protocols import FloatArray
from supernet.data.splits import Splits
from supernet.networks import NetworkFamily
from supernet.recipe import Recipe

PASS: Final = 3
"""A pass forward and backward costs so many passes forward: backward, images and weights each cost one."""


def search_cost(family: NetworkFamily, splits: Splits, recipe: Recipe) -> float:
    """Of a whole search: the update rule's passes over its batches, and the measuring after every epoch."""
    settings = recipe.search
    images = len(splits.train) // settings.batch * settings.batch
    passes = PASS * recipe.update.build().passes * images + len(splits.valid)
    return float(settings.epochs * passes) * family.supernet_multiplications()


def training_cost(family: NetworkFamily, splits: Splits, codes: ArrayLike, *, epochs: int) -> FloatArray:
    """``[n]`` of training the discrete networks of codes ``[n, d]``, with the measuring after every epoch."""
    images = PASS * len(splits.train) + len(splits.valid)
    return float(epochs * images) * family.multiplications(codes)
