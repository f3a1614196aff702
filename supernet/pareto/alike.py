"""A random free topology with as many weights as a given one: what a searched network is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from crlso.errors import UserError
from crlso.protocols import Code, Codes, FloatArray
from crlso.spaces.fxdarts import FreeTopologySpace

TOLERANCE: Final = 0.02
"""Largest difference in weights, as a share of what was asked for."""
_TRIES: Final = 10
_SWAPPED: Final = 16


@dataclass(frozen=True)
class Alike:
    """What was drawn.

    Attributes:
        code: The architecture, ``[d]``.
        params: The weights it has, in the unit that was asked in.
        off: Their difference to what was asked for, as a share of that; negative where there are fewer.
    """

    code: Code
    params: float
    off: float


def random_alike(
    space: FreeTopologySpace,
    parameters: Callable[[Codes], FloatArray],
    params: float,
    rng: np.random.Generator,
    *,
    tolerance: float = TOLERANCE,
) -> Alike:
    """A random architecture of so many weights.

    One is drawn as :meth:`FreeTopologySpace.sample` does. While it has too many weights, operators are taken
    away, as far as every node keeps one: each with equal probability, also those without weights, or they
    would be most of what is left. While it has too few, operators are added likewise. From the first one on
    the other side it goes on by single operators, each of those with which the weights come nearer with equal
    probability, or where there is none by swaps of one for another, until it is near enough. Where nothing
    comes nearer, another one is drawn.

    Args:
        space: Where to draw.
        parameters: Weights ``[n]`` of codes ``[n, d]``, such as a family's.
        params: The weights wanted, in the same unit.
        rng: Source of randomness.
        tolerance: Largest difference, as a share.

    Raises:
        UserError: No weights at all were asked for, or none was found; the message has the nearest.
    """
    if not (np.isfinite(params) and params > 0 and tolerance > 0):
        raise UserError(f"weights and tolerance must be larger than 0, got {params} and {tolerance}")
    nearest: Alike | None = None
    for _ in range(_TRIES):
        code = _across(space, parameters, params, space.sample(1, rng)[0], rng)
        for found in _approach(space, parameters, params, code, rng):
            if nearest is None or abs(found.off) < abs(nearest.off):
                nearest = found
            if abs(found.off) <= tolerance:
                return found
    assert nearest is not None
    raise UserError(
        f"no architecture of {space.name!r} with {params:g} weights to within {tolerance:.1%} was found; the"
        f" nearest of {_TRIES} has {nearest.params:g}"
    )


def _across(
    space: FreeTopologySpace,
    parameters: Callable[[Codes], FloatArray],
    params: float,
    code: Code,
    rng: np.random.Generator,
) -> Code:
    """The first one with at most (or, from below, at least) so many weights, by operators in random order."""
    start = float(parameters(code[None])[0])
    lowers = start > params
    path = [code]
    for bit in rng.permutation(np.flatnonzero(code == (1 if lowers else 0))):
        changed = path[-1].copy()
        changed[bit] = 0 if lowers else 1
        if space.is_valid(changed[None])[0]:
            path.append(changed)
    costs = np.asarray(parameters(np.stack(path)))
    there = costs <= params if lowers else costs >= params
    return path[int(np.argmax(there))] if there.any() else path[-1]


def _approach(
    space: FreeTopologySpace,
    parameters: Callable[[Codes], FloatArray],
    params: float,
    code: Code,
    rng: np.random.Generator,
) -> Iterator[Alike]:
    """Nearer by one random edit after the other; the gap shrinks with each, so that it ends."""
    cost = float(parameters(code[None])[0])
    yield Alike(code, cost, cost / params - 1)
    while True:
        gap = abs(cost - params)
        edits = space.neighbors(code)
        nearer = np.flatnonzero(np.abs(parameters(edits) - params) < gap)
        if not len(nearer):
            edits = _swaps(space, code, rng)
            nearer = np.flatnonzero(np.abs(parameters(edits) - params) < gap)
        if not len(nearer):
            return
        code = edits[rng.choice(nearer)]
        cost = float(parameters(code[None])[0])
        yield Alike(code, cost, cost / params - 1)


def _swaps(space: FreeTopologySpace, code: Code, rng: np.random.Generator) -> Codes:
    """``[m, d]``: one operator less and another one more, for some of the operators and all others."""
    there, absent = rng.permutation(np.flatnonzero(code))[:_SWAPPED], np.flatnonzero(code == 0)
    swapped = np.tile(code, (len(there), len(absent), 1))
    swapped[np.arange(len(there)), :, there] = 0
    swapped[:, np.arange(len(absent)), absent] = 1
    flat = swapped.reshape(-1, len(code))
    return flat[space.is_valid(flat)]
