"""What NAS-Bench-301's boosters see of an architecture: the vector of its ConfigSpace form.

The official package (nasbench301 0.3, with ConfigSpace 0.4.12) makes a vector of 56 hyper-parameters, most
of which are the same for all architectures: `configspace.json`, four ranges replaced by `ConfigLoader`,
values of `fixed_hyperparameters`. Categories are numbered; numbers are scaled to the unit interval, integers
with half a step of room on either side; what is not part of the architecture is -1.
"""

from __future__ import annotations

import math

import numpy as np

from crlso.protocols import Codes, FloatArray
from crlso.spaces.darts import decoded
from crlso.spaces.genotype import CELLS, INPUTS, NODES

FEATURES = 56

_ROOM = 0.49999  # ConfigSpace 0.4's half step
_INACTIVE = -1.0


def _scaled(value: float, low: float, high: float, *, room: float = _ROOM, log: bool = False) -> float:
    low, high = low - room, high + room
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


_FIXED = {
    0: _scaled(96, 64, 128, log=True),  # batch size
    4: _scaled(1, 1, 3),  # cutout holes
    5: _scaled(16, 1, 50),  # cutout length
    14: _scaled(32, 1, 10_000),  # channels
    21: _scaled(8, 1, 10_000),  # layers
    24: math.log(0.025),  # learning rate, of a normal distribution: not scaled
    25: _scaled(0.9, 0.1, 0.99, room=0),  # momentum
    26: math.log(0.0003),  # weight decay
    27: _scaled(100, 1, 10_000),  # epochs
    28: _scaled(1e-8, 0, 10_000, room=0),  # last learning rate
    31: _scaled(0.2, 0.01, 0.7, room=0, log=True),  # mixup
}
"""Features that are the same for all and not 0 (the numbers of the first categories)."""

# Edges 0 and 1 are always there; the others are conditional, and the package sorts those by name.
_EDGES = sum(range(INPUTS, INPUTS + NODES))
_CONDITIONAL = sorted(map(str, range(INPUTS, _EDGES)))
_PLACES = np.array(
    [
        [10 + INPUTS * cell + edge if edge < INPUTS else 32 + 12 * cell + _CONDITIONAL.index(str(edge))
         for edge in range(_EDGES)]
        for cell in range(len(CELLS))
    ]
)  # fmt: skip
_INPUT_PLACES = np.array([[15, 16, 17], [18, 19, 20]])
_FIRST_EDGE = np.array([sum(range(INPUTS, INPUTS + node)) for node in range(NODES)])


def feature_vectors(codes: Codes) -> FloatArray:
    """``[n, 56]`` for checked codes ``[n, 24]`` of the space ``darts``."""
    vectors = np.zeros((len(codes), FEATURES))
    for place, value in _FIXED.items():
        vectors[:, place] = value
    vectors[:, _PLACES] = _INACTIVE
    sources, operations = decoded(codes)
    edges = _FIRST_EDGE[:, None] + sources  # [n, cells, nodes, 2]
    cells = np.arange(len(CELLS))[:, None, None]
    vectors[np.arange(len(codes))[:, None, None, None], _PLACES[cells, edges]] = operations
    # Pairs of predecessors are listed in the same order there and in our codes.
    pairs = codes.reshape(-1, len(CELLS), NODES, 3)[:, :, 1:, 0]
    vectors[:, _INPUT_PLACES] = pairs
    return vectors
