"""Weights and multiply-accumulate operations of the networks of free topologies, by formula.

The networks are those of :mod:`crlso.spaces.darts_costs` but for what a free topology changes: every cell has
its own operators, a node is the sum of any number of them, cells whose output nothing uses are left out, and
so is what would bring an input to a cell's channels that no operator takes. This follows the evaluation
network of SNPS' authors (RaoXuan-1998/NADD), which skips such cells.

The supernet has all operators of all cells. Its cells normalise without weights, its stem with weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, FloatArray
from crlso.spaces import codes as code_tools
from crlso.spaces.darts_costs import Place, Stem, check_numbers, places, stem_weights, stem_work
from crlso.spaces.fxdarts import FreeTopologySpace
from crlso.spaces.genotype import INPUTS, NODES

# Per operation on C channels: (a, b, c) of a C^2 + b C weights of convolutions, and c normalisations.
_COSTS: Final[Mapping[str, tuple[int, int, int]]] = {
    "skip_connect": (0, 0, 0),
    "max_pool_3x3": (0, 0, 0),
    "avg_pool_3x3": (0, 0, 0),
    "sep_conv_3x3": (2, 2 * 9, 2),
    "sep_conv_5x5": (2, 2 * 25, 2),
    "dil_conv_3x3": (1, 9, 1),
    "dil_conv_5x5": (1, 25, 1),
    "nor_conv_1x1": (1, 0, 1),
    "nor_conv_3x3": (9, 0, 1),
}
_REDUCING_SKIP: Final = (1, 0, 1)  # a skip connection of stride 2


def parameters(
    space: FreeTopologySpace,
    codes: ArrayLike,
    *,
    channels: int = 36,
    classes: int = 10,
    inputs: int = 3,
    stem: Stem = "cifar",
) -> FloatArray:
    """``[n]`` number of weights in millions, without the auxiliary classifier, which serves training only.

    Args:
        space: Of four nodes in a cell.
        codes: Its architectures, ``[n, d]``.
        channels: Channels of the first cells, an even number.
        classes: Classes of the data set.
        inputs: Channels of an image.
        stem: What stands before the cells.

    Raises:
        UserError: A space of other than four nodes or with an unknown operation, channels not even, an
            unknown stem, or a number below 1.
    """
    check_numbers(classes=classes, inputs=inputs)
    stack = places(channels, space.cells, stem=stem)
    bits = _bits(space, codes)
    total = np.full(len(bits), _around_weights(stack, channels, classes, inputs, stem), dtype=np.int64)
    used = space.used(codes)
    for cell, place in enumerate(stack):
        total += used[:, cell] * _weights(space, bits[:, cell], place, affine=True)
    return total / 1e6


def flops(
    space: FreeTopologySpace,
    codes: ArrayLike,
    *,
    channels: int = 36,
    classes: int = 10,
    pixels: int | tuple[int, int] = 32,
    inputs: int = 3,
    stem: Stem = "cifar",
) -> FloatArray:
    """``[n]`` multiply-accumulate operations in millions for one image, without the auxiliary classifier.

    Convolutions and the classifier (with its bias) count; normalisation, pooling and ReLU do not.

    Args:
        space: Of four nodes in a cell.
        codes: Its architectures, ``[n, d]``.
        channels: See :func:`parameters`.
        classes: Classes of the data set.
        pixels: Side of the image, or its height and width.
        inputs: Channels of an image.
        stem: What stands before the cells.

    Raises:
        UserError: As :func:`parameters`.
    """
    check_numbers(classes=classes, inputs=inputs)
    size = pixels if isinstance(pixels, tuple) else (pixels, pixels)
    stack = places(channels, space.cells, stem=stem, size=size)
    bits = _bits(space, codes)
    around = stem_work(channels, size, inputs, stem) + (NODES * stack[-1].channels + 1) * classes
    used = space.used(codes)
    total = np.full(len(bits), around, dtype=np.int64)
    for cell, place in enumerate(stack):
        c = place.channels
        quadratic, linear, _ = np.moveaxis(_factors(space, place), -1, 0)
        own = (bits[:, cell] * (quadratic * c * c + linear * c)).sum(axis=(1, 2)) * _area(place.output_size)
        for taken, given in zip(_taken(space, bits[:, cell]), (place.older, place.previous), strict=True):
            own += taken * given * c * _area(place.size)
        total += used[:, cell] * own
    return total / 1e6


def supernet_parameters(
    space: FreeTopologySpace,
    *,
    channels: int = 16,
    classes: int = 10,
    inputs: int = 3,
    stem: Stem = "cifar",
) -> int:
    """Weights of the supernet with all operators.

    999,674 in SNPS' search on CIFAR-10 (8 cells; sep_conv_3x3, skip_connect, dil_conv_5x5).

    Raises:
        UserError: As :func:`parameters`.
    """
    check_numbers(classes=classes, inputs=inputs)
    stack = places(channels, space.cells, stem=stem)
    bits = _bits(space, _everything(space))
    total = _around_weights(stack, channels, classes, inputs, stem)
    for cell, place in enumerate(stack):
        total += int(_weights(space, bits[:, cell], place, affine=False)[0])
    return total


def supernet_flops(
    space: FreeTopologySpace,
    *,
    channels: int = 16,
    classes: int = 10,
    pixels: int | tuple[int, int] = 32,
    inputs: int = 3,
    stem: Stem = "cifar",
) -> int:
    """Multiply-accumulate operations of the supernet for one image; what counts is that of :func:`flops`.

    Raises:
        UserError: As :func:`parameters`.
    """
    millions = flops(
        space,
        _everything(space),
        channels=channels,
        classes=classes,
        pixels=pixels,
        inputs=inputs,
        stem=stem,
    )
    return round(float(millions[0]) * 1e6)


def _everything(space: FreeTopologySpace) -> NDArray[np.int16]:
    return np.ones((1, len(space.cardinalities)), dtype=CODE_DTYPE)


def _bits(space: FreeTopologySpace, codes: ArrayLike) -> NDArray[np.int64]:
    """``[n, cells, edges, operations]``.

    Raises:
        UserError: A space whose networks have no formulas.
    """
    if space.nodes != NODES:
        raise UserError(
            f"costs are known for free topologies with {NODES} nodes in a cell; space {space.name!r} has"
            f" {space.nodes}"
        )
    for name in space.operations:
        if name not in _COSTS:
            raise UserError(
                f"the costs of the operation {name!r} of space {space.name!r} are not known; known:"
                f" {', '.join(_COSTS)}"
            )
    checked = code_tools.as_codes(codes, space.cardinalities).astype(np.int64)
    return checked.reshape(-1, space.cells, len(space.edges), len(space.operations))


def _factors(space: FreeTopologySpace, place: Place) -> NDArray[np.int64]:
    """``[edges, operations, 3]`` costs of a cell's operators, see :data:`_COSTS`."""
    factors = np.array([[_COSTS[name] for name in space.operations]] * len(space.edges), dtype=np.int64)
    if place.cell and "skip_connect" in space.operations:
        outer = [source < INPUTS for source, _ in space.edges]
        factors[outer, space.operations.index("skip_connect")] = _REDUCING_SKIP
    return factors


def _taken(space: FreeTopologySpace, bits: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """For each input of a cell ``[n]``: whether an operator takes it; from ``[n, edges, operations]``."""
    sources = np.array([source for source, _ in space.edges])
    return [np.asarray(bits[:, sources == state].any(axis=(1, 2))) for state in range(INPUTS)]


def _weights(
    space: FreeTopologySpace, bits: NDArray[np.int64], place: Place, *, affine: bool
) -> NDArray[np.int64]:
    """``[n]`` of a cell with the operators ``[n, edges, operations]``."""
    c = place.channels
    quadratic, linear, normalisations = np.moveaxis(_factors(space, place), -1, 0)
    scales = 2 * c if affine else 0
    table = quadratic * c * c + linear * c + normalisations * scales
    total: NDArray[np.int64] = (bits * table).sum(axis=(1, 2))
    for taken, given in zip(_taken(space, bits), (place.older, place.previous), strict=True):
        total += taken * (given * c + scales)
    return total


def _around_weights(stack: list[Place], channels: int, classes: int, inputs: int, stem: Stem) -> int:
    """Of stem and classifier."""
    return stem_weights(channels, inputs, stem) + (NODES * stack[-1].channels + 1) * classes


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
