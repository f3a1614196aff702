"""State of random generators as plain data, shared by the search methods."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """Numbers and texts from which :func:`set_rng_state` restores the generator exactly."""
    return copy.deepcopy(dict(rng.bit_generator.state))


def set_rng_state(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Makes ``rng`` go on from where :func:`rng_state` was called.

    Raises:
        ValueError: The state is that of another kind of generator.
    """
    rng.bit_generator.state = copy.deepcopy(dict(state))
