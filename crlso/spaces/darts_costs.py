"""Weights and multiply-accumulate operations of the DARTS networks, by formula.

The networks are those of the authors' released code (Liu, Simonyan, Yang 2019). For small images
(``NetworkCIFAR``, stem ``cifar``): a 3x3 convolution to three times the channels, then the cells; those at
one and two thirds of the depth are reduction cells and double the channels. For large ones
(``NetworkImageNet``, stem ``imagenet``): three 3x3 convolutions of stride 2; the first cell gets what two of
them and what all three have made. A cell brings its two inputs to its channels (ReLU, 1x1 convolution,
normalisation; a factorised reduction for the older input where it is twice as large), and its output has four
times its channels. A separable convolution is depthwise, pointwise, normalisation, twice; a dilated one once.

The supernet (the released ``model_search.Network``) has all operations on all edges. Its cells normalise
without weights, its stem with weights.

Sizes that do not halve are rounded up, as the convolutions do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import UserError
from crlso.protocols import FloatArray
from crlso.spaces import codes as code_tools
from crlso.spaces.darts import decoded
from crlso.spaces.genotype import CARDINALITIES, CELLS, INPUTS, NODES, OPERATIONS

Stem = Literal["cifar", "imagenet"]
"""What stands before the cells, see above."""

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
AUXILIARY = (128, 768)
"""Channels of the auxiliary classifier's two convolutions, 1x1 and 2x2."""


@dataclass(frozen=True)
class Place:
    """Where a cell stands in a network.

    Attributes:
        cell: What it is, an index into :data:`~crlso.spaces.genotype.CELLS`.
        channels: Of its nodes; its output has four times as many.
        older: Channels of its first input, the output of the cell before the previous.
        previous: Channels of its second input.
        halves_older: The first input is twice as large as the second.
        size: Height and width of its second input.
    """

    cell: int
    channels: int
    older: int
    previous: int
    halves_older: bool
    size: tuple[int, int]

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of its output."""
        return halved(self.size) if self.cell else self.size


def halved(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width after a step of stride 2: odd numbers are rounded up."""
    return -(-size[0] // 2), -(-size[1] // 2)


def places(
    channels: int, layers: int, *, stem: Stem = "cifar", size: tuple[int, int] = (32, 32)
) -> list[Place]:
    """The cells of a network in their order, for images of ``size`` (height, width).

    Reduction cells are number ``layers // 3`` and ``2 * layers // 3``, from 0: with 1 layer it is a reduction
    cell, with 2 both are, with 3 the last two.

    Raises:
        UserError: Channels not even, an unknown stem, or a number below 1.
    """
    check_numbers(channels=channels, layers=layers, height=size[0], width=size[1])
    if channels % 2:
        raise UserError(f"channels must be even (a factorised reduction halves them), got {channels}")
    if stem not in get_args(Stem):
        raise UserError(f"unknown stem {stem!r}; known: {', '.join(get_args(Stem))}")
    found = []
    older = previous = 3 * channels if stem == "cifar" else channels
    halves = stem == "imagenet"
    if stem == "imagenet":
        size = halved(halved(halved(size)))
    c = channels
    for index in range(layers):
        reduction = index in (layers // 3, 2 * layers // 3)
        c *= 2 if reduction else 1
        found.append(Place(int(reduction), c, older, previous, halves, size))
        size, halves = found[-1].output_size, reduction
        older, previous = previous, NODES * c
    return found


def parameters(
    codes: ArrayLike,
    *,
    channels: int = 36,
    layers: int = 20,
    classes: int = 10,
    auxiliary: bool = False,
    inputs: int = 3,
    stem: Stem = "cifar",
) -> FloatArray:
    """``[n]`` number of weights in millions, by default of the network that DARTS trains on CIFAR-10.

    Args:
        codes: Architectures of the space ``darts``, ``[n, d]``.
        channels: Channels of the first cells, an even number (36 in the literature, 16 while searching, 32
            in NAS-Bench-301; 48 on ImageNet).
        layers: Number of cells (20; 8 while searching and in NAS-Bench-301; 14 on ImageNet).
        classes: Classes of the data set.
        auxiliary: Whether the auxiliary classifier counts, which serves training only. The literature leaves
            it out.
        inputs: Channels of an image.
        stem: What stands before the cells.

    Raises:
        UserError: Channels not even, an unknown stem, or a number below 1.
    """
    check_numbers(classes=classes, inputs=inputs)
    stack = places(channels, layers, stem=stem)
    quadratic, linear = _sums(codes, _WEIGHTS, _REDUCING_SKIP_WEIGHTS)
    total = np.full(len(quadratic), stem_weights(channels, inputs, stem), dtype=np.int64)
    for place in stack:
        c = place.channels
        total += (place.older + place.previous) * c + 4 * c
        total += quadratic[:, place.cell] * c * c + linear[:, place.cell] * c
    total += (NODES * stack[-1].channels + 1) * classes
    if auxiliary:
        first, second = AUXILIARY
        given = NODES * stack[2 * layers // 3].channels
        total += given * first + 2 * first + first * second * 4 + (second + 1) * classes
        total += 2 * second if stem == "cifar" else 0  # the other one has no last normalisation
    return total / 1e6


def flops(
    codes: ArrayLike,
    *,
    channels: int = 36,
    layers: int = 20,
    classes: int = 10,
    pixels: int | tuple[int, int] = 32,
    inputs: int = 3,
    stem: Stem = "cifar",
) -> FloatArray:
    """``[n]`` multiply-accumulate operations in millions for one image, without the auxiliary classifier.

    Convolutions and the classifier (with its bias) count; normalisation, pooling and ReLU do not.

    Args:
        codes: Architectures of the space ``darts``, ``[n, d]``.
        channels: See :func:`parameters`.
        layers: See :func:`parameters`.
        classes: Classes of the data set.
        pixels: Side of the image, or its height and width.
        inputs: Channels of an image.
        stem: What stands before the cells.

    Raises:
        UserError: Channels not even, an unknown stem, or a number below 1.
    """
    size = pixels if isinstance(pixels, tuple) else (pixels, pixels)
    sums = _sums(codes, _PRODUCTS, _REDUCING_SKIP_PRODUCTS)
    return _work(sums, channels, layers, size, stem=stem, inputs=inputs, classes=classes) / 1e6


def supernet_parameters(
    *, channels: int = 16, layers: int = 8, classes: int = 10, inputs: int = 3, stem: Stem = "cifar"
) -> int:
    """Weights of the supernet; with the default sizes, those of the search on CIFAR-10, 1,930,618.

    Raises:
        UserError: As :func:`parameters`.
    """
    check_numbers(classes=classes, inputs=inputs)
    stack = places(channels, layers, stem=stem)
    quadratic, linear = _everything()
    total = stem_weights(channels, inputs, stem) + (NODES * stack[-1].channels + 1) * classes
    for place in stack:
        c = place.channels
        # No normalisation has weights, so weights are what is multiplied per pixel.
        total += (place.older + place.previous) * c
        total += int(quadratic[0, place.cell]) * c * c + int(linear[0, place.cell]) * c
    return total


def supernet_flops(
    *,
    channels: int = 16,
    layers: int = 8,
    classes: int = 10,
    pixels: int | tuple[int, int] = 32,
    inputs: int = 3,
    stem: Stem = "cifar",
) -> int:
    """Multiply-accumulate operations of the supernet for one image; what counts is that of :func:`flops`.

    Raises:
        UserError: As :func:`parameters`.
    """
    size = pixels if isinstance(pixels, tuple) else (pixels, pixels)
    total = _work(_everything(), channels, layers, size, stem=stem, inputs=inputs, classes=classes)
    return int(total[0])


def check_numbers(**numbers: int) -> None:
    """All are 1 or more.

    Raises:
        UserError: The first one that is not.
    """
    for name, value in numbers.items():
        if value < 1:
            raise UserError(f"{name} must be 1 or more, got {value}")


def stem_weights(channels: int, inputs: int, stem: Stem) -> int:
    """Weights of what stands before the cells, its normalisations' included."""
    if stem == "cifar":
        return 9 * inputs * 3 * channels + 2 * 3 * channels
    half = channels // 2
    return 9 * (inputs * half + half * channels + channels * channels) + 2 * (half + 2 * channels)


def stem_work(channels: int, size: tuple[int, int], inputs: int, stem: Stem) -> int:
    """Multiply-accumulate operations of the same, for an image of ``size`` (height, width)."""
    if stem == "cifar":
        return 9 * inputs * 3 * channels * _area(size)
    half, total = channels // 2, 0
    for given, made in ((inputs, half), (half, channels), (channels, channels)):
        size = halved(size)
        total += 9 * given * made * _area(size)
    return total


def _work(
    sums: tuple[NDArray[np.int64], NDArray[np.int64]],
    channels: int,
    layers: int,
    size: tuple[int, int],
    *,
    stem: Stem,
    inputs: int,
    classes: int,
) -> NDArray[np.int64]:
    """``[n]`` multiply-accumulate operations, from :func:`_sums` over the operations of the cells."""
    quadratic, linear = sums
    check_numbers(classes=classes, inputs=inputs)
    stack = places(channels, layers, stem=stem, size=size)
    total = np.full(len(quadratic), stem_work(channels, size, inputs, stem), dtype=np.int64)
    for place in stack:
        c = place.channels
        total += (place.older + place.previous) * c * _area(place.size)
        operations = quadratic[:, place.cell] * c * c + linear[:, place.cell] * c
        total += operations * _area(place.output_size)
    total += (NODES * stack[-1].channels + 1) * classes
    return total


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _everything() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``[1, cells]``: as :func:`_sums` of the products, for a cell with all operations on all edges."""
    inputs_edges, all_edges = INPUTS * NODES, sum(node + INPUTS for node in range(NODES))
    one_edge = np.array(list(_PRODUCTS.values()), dtype=np.int64).sum(axis=0)
    sums = np.repeat(one_edge[None] * all_edges, len(CELLS), axis=0)  # [cells, 2]
    sums[CELLS.index("reduce")] += np.array(_REDUCING_SKIP_PRODUCTS) * inputs_edges
    return sums[None, :, 0], sums[None, :, 1]


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
