"""Random numbers of a search, each from its place alone: nothing has to be remembered to go on anywhere."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

INITIAL_WEIGHTS: Final = 0
ARCHITECTURE: Final = 1
TRAIN_ORDER: Final = 2
VALID_ORDER: Final = 3
STEP: Final = 4
CURVATURE: Final = 5
DERIVATION: Final = 6
BASELINE: Final = 7


def seed_of(seed: int, *place: int) -> int:
    """A seed below 2^63 for a stream and a place in it, independent of those of other places."""
    state = int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0])
    return state >> 1


def cpu_generator(seed: int, *place: int) -> torch.Generator:
    """A generator for what is drawn on the host."""
    return torch.Generator().manual_seed(seed_of(seed, *place))


def order(count: int, wanted: int, seed: int, stream: int, epoch: int) -> Tensor:
    """``[wanted]`` indices of ``count`` images: permutations one after the other."""
    generator = cpu_generator(seed, stream, epoch)
    rounds = -(-wanted // count)
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])[:wanted]
