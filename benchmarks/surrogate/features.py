"""What a surrogate sees of an architecture: small integers in groups, computed from the code alone.

Every space has the groups ``code`` (each entry of the code, one-hot) and ``counts`` (how often each choice
occurs among the entries that have the same number of choices). Cells with operations on edges have one more,
``paths``; ``darts`` has three more, computed for each of its two cells from the wiring. All features are
whole numbers between 0 and a stated limit, so that sums over them can be exact
(:mod:`benchmarks.surrogate.quadratic`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.spaces import EdgeCellSpace
from crlso.spaces.darts import DARTSSpace, decoded
from crlso.spaces.genotype import CELLS, INPUTS, NODES, OPERATIONS

Integers = NDArray[np.integer[Any]]
Blocks = list[tuple[str, Integers | NDArray[np.bool_], int]]
"""Name of a group, its features ``[n, m]``, and the largest value that any of them can have."""

VERSION = "features/1"
"""Stands in every surrogate's file: raise it when a feature changes its meaning or place."""

_MOST_ON_A_PATH = 256
_OPS = len(OPERATIONS)
_EDGES = sum(range(INPUTS, INPUTS + NODES))
_CONVOLUTION = np.array(["conv" in name for name in OPERATIONS])


@dataclass(frozen=True)
class Features:
    """Features of a batch of architectures.

    Attributes:
        values: ``[n, m]`` whole numbers.
        groups: ``[m]`` the group of each feature, as an index into ``names``.
        limits: ``[m]`` the largest value that each can have in the space.
        names: Names of the groups.
    """

    values: FloatArray
    groups: NDArray[np.int64]
    limits: FloatArray
    names: tuple[str, ...]


def features(space: SearchSpace, codes: Codes) -> Features:
    """All features of ``codes`` ``[n, d]``; which there are depends on the space alone."""
    blocks = _general(space, codes)
    if isinstance(space, DARTSSpace):
        blocks += _darts(codes)
    elif isinstance(space, EdgeCellSpace):
        blocks += _edge_cell(space, codes)
    names = tuple(name for name, _, _ in blocks)
    widths = [values.shape[1] for _, values, _ in blocks]
    return Features(
        values=np.concatenate([values for _, values, _ in blocks], axis=1, dtype=np.float64),
        groups=np.repeat(np.arange(len(blocks)), widths),
        limits=np.repeat([float(limit) for _, _, limit in blocks], widths),
        names=names,
    )


def one_hot(space: SearchSpace, codes: Codes) -> NDArray[np.bool_]:
    """``[n, sum of cardinalities]`` each entry of the code by its value; entries without choice left out."""
    return np.concatenate(
        [
            codes[:, [i]] == np.arange(cardinality)
            for i, cardinality in enumerate(space.cardinalities)
            if cardinality > 1
        ],
        axis=1,
    )


def _general(space: SearchSpace, codes: Codes) -> Blocks:
    cardinalities = np.array(space.cardinalities)
    blocks: Blocks = [("code", one_hot(space, codes), 1)]
    counts = []
    for cardinality in np.unique(cardinalities[cardinalities > 1]):
        entries = codes[:, cardinalities == cardinality]
        if entries.shape[1] > 1:
            counts += [(entries == value).sum(axis=1) for value in range(cardinality)]
    if counts:
        blocks.append(("counts", np.stack(counts, axis=1), len(cardinalities)))
    return blocks


def _darts(codes: Codes) -> Blocks:
    """Edges, counts and paths of the normal and of the reduction cell.

    ``edges``: operation on each of the 14 possible edges, one-hot. ``cells``: how often each operation
    occurs, how often on an input of the cell; for each node its longest and shortest way from an input, the
    most convolutions on such a way, and how many operations take it in; the sums of these. ``paths``: how
    often one operation stands directly before another.
    """
    sources, operations = decoded(codes)
    cells = np.concatenate(
        [_cell(sources[:, cell], operations[:, cell]) for cell in range(len(CELLS))], axis=1
    )
    return [
        ("edges", _edges(sources, operations), 1),
        ("cells", cells, int(_CELL_LIMITS.max())),
        ("paths", _paths(sources, operations), 2 * NODES),
    ]


def _edges(sources: NDArray[np.int64], operations: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``[n, cells * edges * operations]``: which operation each possible edge of each cell has, if any."""
    n = len(sources)
    found = np.zeros((n, len(CELLS), _EDGES, _OPS), dtype=np.bool_)
    first = np.array([sum(range(INPUTS, INPUTS + node)) for node in range(NODES)])
    rows, cells = np.arange(n)[:, None, None, None], np.arange(len(CELLS))[:, None, None]
    found[rows, cells, first[:, None] + sources, operations] = True
    return found.reshape(n, -1)


_CELL_LIMITS = np.array(
    [2 * NODES] * (2 * _OPS)  # operations, and those on an input
    + [NODES] * (3 * NODES)  # longest, shortest, convolutions
    + [2 * NODES] * (INPUTS + NODES)  # taken in
    + [4 * NODES, 4 * NODES, NODES, 2 * NODES]  # sums and the depth; operations on inputs
)


def _cell(sources: NDArray[np.int64], operations: NDArray[np.int64]) -> Integers:
    """``[n, len(_CELL_LIMITS)]`` of one cell, from its predecessors and operations ``[n, nodes, 2]``."""
    n = len(sources)
    rows = np.arange(n)
    longest, shortest, deepest, taken = (np.zeros((n, INPUTS + NODES), dtype=np.int64) for _ in range(4))
    convolutions = _CONVOLUTION[operations].astype(np.int64)
    for node in range(NODES):
        low, high = sources[:, node, 0], sources[:, node, 1]
        place = INPUTS + node
        longest[:, place] = np.maximum(longest[rows, low], longest[rows, high]) + 1
        shortest[:, place] = np.minimum(shortest[rows, low], shortest[rows, high]) + 1
        deepest[:, place] = np.maximum(
            deepest[rows, low] + convolutions[:, node, 0], deepest[rows, high] + convolutions[:, node, 1]
        )
        taken[rows, low] += 1
        taken[rows, high] += 1
    kinds = operations.reshape(n, -1, 1) == np.arange(_OPS)
    on_input = sources.reshape(n, -1) < INPUTS
    sums = [longest.sum(axis=1), deepest.sum(axis=1), longest.max(axis=1), on_input.sum(axis=1)]
    return np.concatenate(
        [
            kinds.sum(axis=1),
            (kinds & on_input[:, :, None]).sum(axis=1),
            longest[:, INPUTS:],
            shortest[:, INPUTS:],
            deepest[:, INPUTS:],
            taken,
            np.stack(sums, axis=1),
        ],
        axis=1,
    )


def _paths(sources: NDArray[np.int64], operations: NDArray[np.int64]) -> Integers:
    """``[n, cells * operations^2]``: how often each operation stands directly before each other one."""
    n = len(sources)
    rows, cells = np.arange(n)[:, None, None, None], np.arange(len(CELLS))[:, None, None]
    found = np.zeros((n, len(CELLS), _OPS, _OPS), dtype=np.int64)
    inner = sources >= INPUTS
    for side in range(2):
        before = operations[rows, cells, np.maximum(sources - INPUTS, 0), side]
        np.add.at(
            found,
            (
                np.broadcast_to(rows, before.shape)[inner],
                np.broadcast_to(cells, before.shape)[inner],
                before[inner],
                operations[inner],
            ),
            1,
        )
    return found.reshape(n, -1)


def _edge_cell(space: EdgeCellSpace, codes: Codes) -> Blocks:
    """``paths``: for each way from the cell's input to its output, which operations follow one another on it.

    Ways with too many possibilities are left out.
    """
    choices = len(space.operations)
    found = [np.zeros((len(codes), 0), dtype=np.bool_)]
    for path in _ways(space, 0):
        if choices ** len(path) <= _MOST_ON_A_PATH:
            places = codes[:, path] @ choices ** np.arange(len(path))
            found.append(places[:, None] == np.arange(choices ** len(path)))
    return [("paths", np.concatenate(found, axis=1), 1)]


def _ways(space: EdgeCellSpace, node: int) -> list[list[int]]:
    """The ways from a node to the output, each as the numbers of its edges."""
    if node == space.nodes - 1:
        return [[]]
    leaving = [(i, end) for i, (start, end) in enumerate(space.edges) if start == node]
    return [[i, *rest] for i, end in leaving for rest in _ways(space, end)]
