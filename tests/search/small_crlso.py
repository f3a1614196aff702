"""A CR-LSO small enough for tests, and values of architectures that are known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from crlso.protocols import Codes, FloatArray, SearchMethod, SearchSpace
from crlso.search import make_method
from crlso.spaces import EdgeCellSpace, Subset, get_space

SMALL: dict[str, Any] = {
    "initial": 4,
    "round": 3,
    "explore": 0,
    "pretrain_steps": 4,
    "landmarks": 20,
    "round_steps": 3,
    "unlabelled": 8,
    "heads": 3,
    "starts": 4,
    "descent_steps": 4,
    "beam": 4,
    "latent_dim": 6,
    "width": 10,
    "head_width": 5,
    "head_rank": 2,
}


def small(space: SearchSpace, *, seed: int = 0, **settings: Any) -> SearchMethod:
    return make_method("crlso", space, seed=seed, settings=SMALL | settings)


def additive(space: SearchSpace, seed: int = 0) -> FloatArray:
    """``[d, c]``: what each value of each entry is worth."""
    shape = (len(space.cardinalities), max(space.cardinalities))
    return np.random.default_rng([seed, 7]).standard_normal(shape)


def worth(codes: Codes, table: FloatArray) -> FloatArray:
    values: FloatArray = table[np.arange(codes.shape[1]), codes].sum(axis=1)
    return values


ALIKE: FloatArray = np.tile(np.array([0.0, 1.0, -2.0, 3.0, 0.5]), (6, 1))
"""For NAS-Bench-201: every operation has a worth of its own, wherever it stands."""


def follow(
    method: SearchMethod, space: SearchSpace, number: int, table: FloatArray | None = None
) -> list[tuple[int, ...]]:
    """Asks and tells, without a run loop that drops anything."""
    table = additive(space) if table is None else table
    asked = []
    for _ in range(number):
        codes = method.ask(1)
        method.tell(codes, worth(codes, table)[:, None])
        asked.append(tuple(codes[0].tolist()))
    return asked


def members(n: int = 40) -> Subset:
    space = get_space("nasbench201")
    return Subset(space, np.unique(space.sample(n, np.random.default_rng(0)), axis=0))


SPACES: dict[str, SearchSpace] = {
    "nasbench201": get_space("nasbench201"),
    "nasbench101": get_space("nasbench101"),
    "fxdarts": get_space("fxdarts"),
    "toy64": get_space("toy64"),
    "subset": members(),
    "declared": EdgeCellSpace("declared", nodes=4, operations=["none", "skip_connect", "conv"]),
}
