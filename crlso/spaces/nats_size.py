"""The size space of NATS-Bench: channels of five layers, 8 to 64 each; parameters and FLOPs by formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import UnknownNameError
from crlso.protocols import FloatArray
from crlso.spaces import codes as code_tools
from crlso.spaces.chain import ChoiceChain
from crlso.spaces.nasbench201 import HEADS, Head
from crlso.spaces.roles import Roles

CHANNELS = (8, 16, 24, 32, 40, 48, 56, 64)
"""What a layer may have; the options of the space are these numbers as texts."""

LAYERS = 5
CARDINALITIES = (len(CHANNELS),) * LAYERS

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
"""The cell of NAS-Bench-201 that all networks of the space have, from the official records."""

_SIDES = (1, 2, 2, 4, 4)  # per layer: what the image's side is divided by after it


def nats_size() -> ChoiceChain:
    """The 32,768 architectures of NATS-Bench's size space; the text form is ``8:16:24:32:64``.

    The rank of a code is the index of the architecture in the official files. All are different networks.
    """
    return ChoiceChain("nats_size", [tuple(map(str, CHANNELS))] * LAYERS, roles=Roles(), separator=":")


@dataclass(frozen=True)
class _Counts:
    """Of each architecture, without the classifier.

    Attributes:
        kernels: ``[n, 6]`` weights of the convolutions of the stem and of each layer.
        normalised: ``[n]`` normalised channels in all.
        last: ``[n]`` channels that the classifier gets.
    """

    kernels: NDArray[np.int64]
    normalised: NDArray[np.int64]
    last: NDArray[np.int64]


def parameters(codes: ArrayLike, dataset: str = "cifar10") -> FloatArray:
    """``[n]`` number of weights in millions of the whole network, as the benchmark counts them.

    The network is NAS-Bench-201's with one cell per stage: a 3x3 stem and three cells (layers 0, 2 and 4)
    with two residual blocks of stride 2 (layers 1 and 3) between.

    Raises:
        UnknownNameError: Not one of :data:`crlso.spaces.nasbench201.HEADS`.
    """
    head = _head(dataset)
    counts = _counts(codes)
    total = counts.kernels.sum(axis=1) + 2 * counts.normalised + (counts.last + 1) * head.classes
    return np.asarray(total / 1e6, dtype=np.float64)


def flops(codes: ArrayLike, dataset: str = "cifar10") -> FloatArray:
    """``[n]`` multiply-accumulate operations in millions for one image, as the benchmark counts them.

    Convolutions and the classifier (with its bias) count; normalisation, pooling and ReLU do not.

    Raises:
        UnknownNameError: Not one of :data:`crlso.spaces.nasbench201.HEADS`.
    """
    head = _head(dataset)
    counts = _counts(codes)
    areas = (head.pixels // np.array([1, *_SIDES])) ** 2
    total = counts.kernels @ areas + (counts.last + 1) * head.classes
    return np.asarray(total / 1e6, dtype=np.float64)


def _head(dataset: str) -> Head:
    if dataset not in HEADS:
        raise UnknownNameError("data set", dataset, HEADS)
    return HEADS[dataset]


def _counts(codes: ArrayLike) -> _Counts:
    widths = np.array(CHANNELS, dtype=np.int64)[code_tools.as_codes(codes, CARDINALITIES)]
    kernels = [27 * widths[:, 0]]
    normalised = widths[:, 0] + widths[:, -1]  # after the stem, and before the classifier
    before = widths[:, 0]
    for layer in range(LAYERS):
        c = widths[:, layer]
        if layer % 2:  # residual block: two 3x3 convolutions, beside them a pooled 1x1 one without norm
            kernels.append(9 * before * c + 9 * c * c + before * c)
            normalised = normalised + 2 * c
        else:  # cell: two 3x3 convolutions from its input, three inside, a skip connection from its input
            adapts = before != c  # the skip connection is then a normalised 1x1 convolution
            kernels.append(18 * before * c + 27 * c * c + adapts * before * c)
            normalised = normalised + 5 * c + adapts * c
        before = c
    return _Counts(np.stack(kernels, axis=1), normalised, before)
