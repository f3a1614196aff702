"""NAS-Bench-201 (the topology space of NATS-Bench): 15,625 cells, parameters and FLOPs by formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import UnknownNameError
from crlso.protocols import FloatArray
from crlso.spaces import codes as code_tools
from crlso.spaces.edge_cell import EdgeCellSpace

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the order of the official files (NASLib's order differs)."""

CARDINALITIES = (len(OPERATIONS),) * 6

_STAGES = ((16, 1), (32, 2), (64, 4))  # channels, and what the image's side is divided by
_CELLS = 5  # per stage


@dataclass(frozen=True)
class Head:
    """What a data set changes in the network: the classifier and the size of the image."""

    classes: int
    pixels: int


HEADS: Mapping[str, Head] = MappingProxyType(
    {"cifar10": Head(10, 32), "cifar100": Head(100, 32), "imagenet16": Head(120, 16)}
)
"""The benchmark's data sets; ``imagenet16`` is ImageNet16-120."""


def nasbench201() -> EdgeCellSpace:
    """The NAS-Bench-201 space: 4 nodes, 6 edges, 5 operations.

    Text form: ``|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|``.
    """
    return EdgeCellSpace("nasbench201", nodes=4, operations=OPERATIONS)


def parameters(codes: ArrayLike, dataset: str = "cifar10") -> FloatArray:
    """``[n]`` number of weights in millions of the whole network, as the benchmark counts them.

    All edges count, those that the output does not depend on as well. A convolution of C channels with
    kernel k is ReLU-conv-BN without bias: k^2 C^2 + 2 C. The rest of the network is fixed: stem 464, two
    residual blocks 14,464 + 57,600, last normalisation 128, classifier 65 per class.

    Raises:
        UnknownNameError: Not one of :data:`HEADS`.
    """
    head = _head(dataset)
    ones, threes = _convolutions(codes)
    fixed = 432 + 32 + 14_464 + 57_600 + 128 + 65 * head.classes
    per_one = _CELLS * sum(c * c + 2 * c for c, _ in _STAGES)
    per_three = _CELLS * sum(9 * c * c + 2 * c for c, _ in _STAGES)
    return (fixed + ones * per_one + threes * per_three) / 1e6


def flops(codes: ArrayLike, dataset: str = "cifar10") -> FloatArray:
    """``[n]`` multiply-accumulate operations in millions for one image, as the benchmark counts them.

    Convolutions and the classifier (with its bias) count; normalisation, pooling and ReLU do not.

    Raises:
        UnknownNameError: Not one of :data:`HEADS`.
    """
    head = _head(dataset)
    ones, threes = _convolutions(codes)
    area = head.pixels * head.pixels
    # Per pixel of the image: the stem is 3x3 from 3 to 16 channels, a residual block two 3x3 convolutions and
    # a 1x1 shortcut at half the side, which comes to 3,584 in both stages.
    fixed = 432 * area + 2 * 3584 * area + 65 * head.classes
    per_one = _CELLS * sum(c * c * area // (side * side) for c, side in _STAGES)
    return (fixed + (ones + 9 * threes) * per_one) / 1e6


def _head(dataset: str) -> Head:
    if dataset not in HEADS:
        raise UnknownNameError("data set", dataset, HEADS)
    return HEADS[dataset]


def _convolutions(codes: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``[n]`` numbers of 1x1 and of 3x3 convolutions."""
    checked = code_tools.as_codes(codes, CARDINALITIES)
    ones, threes = (
        (checked == OPERATIONS.index(name)).sum(axis=1, dtype=np.int64)
        for name in ("nor_conv_1x1", "nor_conv_3x3")
    )
    return ones, threes
