"""Weights and multiply-accumulate operations of the DARTS network on small images, by formula.

The network is that of the authors' released code for CIFAR-10 (Liu, Simonyan, Yang 2019, ``NetworkCIFAR``):
a 3x3 stem of three times the channels, then the cells; those at one and two thirds of the depth are
reduction cells and double the channels. A cell brings its two inputs to its channels (ReLU, 1x1 convolution,
normalisation; a factorised reduction for the older input after a reduction cell), and its output has four
times its channels. A separable convolution is depthwise, pointwise, normalisation, twice; a dilated one once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import UserError
from crlso.protocols import FloatArray
from crlso.spaces import codes as code_tools
from crlso.spaces.darts import decoded
from crlso.spaces.genotype import CARDINALITIES, CELLS, INPUTS, NODES, OPERATIONS

# Per operation on C channels: (a, b) of a C^2 + b C weights, and of multiply-accumulates per output pixel.
_WEIGHTS = {
    "sep_conv_3x3": (2, 2 * 9 + 4),
    "sep_conv_5x5": (2, 2 * 25 + 4),
    "dil_conv_3x3": (1, 9 + 2),
    "dil_conv_5x5": (1, 25 + 2),
}
_PRODUCTS = {
    "sep_conv_3x3": (2, 2 * 9),
    "sep_conv_5x5": (2, 2 * 25),
    "dil_conv_3x3": (1, 9),
    "dil_conv_5x5": (1, 25),
}
_REDUCING_SKIP_WEIGHTS = (1, 2)  # a skip connection of stride 2
_REDUCING_SKIP_PRODUCTS = (1, 0)
_AUXILIARY = (128, 768)  # channels of the auxiliary classifier's two convolutions


@dataclass(frozen=True)
class _Layer:
    """A cell in its place: what it is, its channels, those of its inputs, and where it stands."""

    cell: int  # index into CELLS
    channels: int
    older: int  # channels of the output of the cell before the previous
    previous: int
    pixels: int  # side of the image that it takes in


def parameters(
    codes: ArrayLike, *, channels: int = 36, layers: int = 20, classes: int = 10, auxiliary: bool = False
) -> FloatArray:
    """``[n]`` number of weights in millions, by default of the network that DARTS trains on CIFAR-10.

    Args:
        codes: Architectures of the space ``darts``, ``[n, d]``.
        channels: Channels of the first cells, an even number (36 in the literature, 16 while searching, 32
            in NAS-Bench-301).
        layers: Number of cells (20; 8 while searching and in NAS-Bench-301).
        classes: Classes of the data set.
        auxiliary: Whether the auxiliary classifier counts, which serves training only. The literature leaves
            it out.

    Raises:
        UserError: Channels not even, or a number below 1.
    """
    stack = _stack(channels, layers, classes, pixels=1)
    quadratic, linear = _sums(codes, _WEIGHTS, _REDUCING_SKIP_WEIGHTS)
    stem = 3 * channels
    total = np.full(len(quadratic), 27 * stem + 2 * stem, dtype=np.int64)
    for layer in stack:
        c = layer.channels
        total += (layer.older + layer.previous) * c + 4 * c
        total += quadratic[:, layer.cell] * c * c + linear[:, layer.cell] * c
    total += (NODES * stack[-1].channels + 1) * classes
    if auxiliary:
        first, second = _AUXILIARY
        given = NODES * stack[2 * layers // 3].channels
        total += given * first + 2 * first + first * second * 4 + 2 * second + (second + 1) * classes
    return total / 1e6


def flops(
    codes: ArrayLike, *, channels: int = 36, layers: int = 20, classes: int = 10, pixels: int = 32
) -> FloatArray:
    """``[n]`` multiply-accumulate operations in millions for one image, without the auxiliary classifier.

    Convolutions and the classifier (with its bias) count; normalisation, pooling and ReLU do not.

    Args:
        codes: Architectures of the space ``darts``, ``[n, d]``.
        channels: See :func:`parameters`.
        layers: See :func:`parameters`.
        classes: Classes of the data set.
        pixels: Side of the image, a multiple of 4.

    Raises:
        UserError: Channels not even, pixels no multiple of 4, or a number below 1.
    """
    stack = _stack(channels, layers, classes, pixels)
    if pixels % 4:
        raise UserError(f"pixels must be a multiple of 4, got {pixels}")
    quadratic, linear = _sums(codes, _PRODUCTS, _REDUCING_SKIP_PRODUCTS)
    total = np.full(len(quadratic), 27 * 3 * channels * pixels**2, dtype=np.int64)
    for layer in stack:
        c, taken_in = layer.channels, layer.pixels**2
        given_out = taken_in // 4 if layer.cell else taken_in
        total += (layer.older + layer.previous) * c * taken_in
        total += (quadratic[:, layer.cell] * c * c + linear[:, layer.cell] * c) * given_out
    total += (NODES * stack[-1].channels + 1) * classes
    return total / 1e6


def _stack(channels: int, layers: int, classes: int, pixels: int) -> list[_Layer]:
    for name, value in (("channels", channels), ("layers", layers), ("classes", classes), ("pixels", pixels)):
        if value < 1:
            raise UserError(f"{name} must be 1 or more, got {value}")
    if channels % 2:
        raise UserError(f"channels must be even (a factorised reduction halves them), got {channels}")
    stack = []
    older, previous, c = 3 * channels, 3 * channels, channels
    for index in range(layers):
        reduction = index in (layers // 3, 2 * layers // 3)
        c *= 2 if reduction else 1
        stack.append(_Layer(int(reduction), c, older, previous, pixels))
        pixels //= 2 if reduction else 1
        older, previous = previous, NODES * c
    return stack


def _sums(
    codes: ArrayLike, costs: dict[str, tuple[int, int]], reducing_skip: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``[n, cells]``: sums over a cell's operations of the factors of C^2, and of C."""
    sources, operations = decoded(code_tools.as_codes(codes, CARDINALITIES))
    table = np.array([costs.get(name, (0, 0)) for name in OPERATIONS], dtype=np.int64)
    chosen = table[operations]  # [n, cells, nodes, 2, 2]
    reducing = (operations == OPERATIONS.index("skip_connect")) & (sources < INPUTS)
    reducing[:, CELLS.index("normal")] = False
    chosen[reducing] = reducing_skip
    sums: NDArray[np.int64] = chosen.sum(axis=(2, 3))
    return sums[..., 0], sums[..., 1]
