"""Cells of NAS-Bench-101 as codes: pruning, sameness, the benchmark's hash.

A code ``[26]`` holds the 21 bits of the upper triangle of the adjacency matrix, row by row, then the
operations of the 5 inner vertices. The functions take codes ``[n, 26]`` with entries in range, as
:func:`crlso.spaces.codes.as_codes` checks them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crlso.protocols import CODE_DTYPE, BoolArray, Codes
from crlso.spaces import codes as code_tools

VERTICES = 7
MAX_EDGES = 9
OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""The benchmark's own names, in the order of its labels."""

INNER = VERTICES - 2
ROWS, COLUMNS = np.triu_indices(VERTICES, 1)
"""Source and target vertex of each edge bit of a code."""
BITS = len(ROWS)
CARDINALITIES = (2,) * BITS + (len(OPERATIONS),) * INNER

_SOURCES, _TARGETS = ROWS.tolist(), COLUMNS.tolist()
_CHUNK = 16_384  # codes worked on at a time: tens of megabytes
_TIED_CHUNK = 1024  # the same for codes that are written in all 120 orders
_ROUNDS = 2  # of refinement; more told no more vertices apart in a million random cells


def pruned(codes: NDArray[Any]) -> tuple[BoolArray, BoolArray]:
    """``[n, 7]`` vertices and ``[n, 21]`` edges on paths from input to output, if there are any."""
    edges = codes[:, :BITS] > 0
    forward = np.zeros((len(codes), VERTICES), dtype=np.bool_)
    backward = forward.copy()
    forward[:, 0] = backward[:, -1] = True
    for bit in np.argsort(COLUMNS, kind="stable"):  # into each vertex once its sources are known
        forward[:, COLUMNS[bit]] |= forward[:, ROWS[bit]] & edges[:, bit]
    for bit in range(BITS - 1, -1, -1):  # out of each vertex once its targets are known
        backward[:, ROWS[bit]] |= backward[:, COLUMNS[bit]] & edges[:, bit]
    live = forward & backward
    return live, edges & live[:, ROWS] & live[:, COLUMNS]


def pruned_matrices(codes: Codes) -> tuple[BoolArray, NDArray[np.int64], NDArray[np.int64]]:
    """``[n, 7]`` used vertices, ``[n, 7, 7]`` their adjacency, ``[n, 7]`` their operations (0 elsewhere)."""
    live, edges = pruned(codes)
    adjacency = np.zeros((len(codes), VERTICES, VERTICES), dtype=np.int64)
    adjacency[:, ROWS, COLUMNS] = edges
    operations = np.zeros((len(codes), VERTICES), dtype=np.int64)
    operations[:, 1:-1] = np.where(live[:, 1:-1], codes[:, BITS:], 0)
    return live, adjacency, operations


def chunks(codes: Codes) -> Iterator[Codes]:
    """The codes in parts, for work that needs far more memory than they do."""
    for start in range(0, len(codes), _CHUNK):
        yield codes[start : start + _CHUNK]


def compact(codes: Codes) -> Codes:
    """``[n, 26]`` the pruned cells: used vertices in their order, unused ones before the output, all 0."""
    found = [np.zeros((0, BITS + INNER), dtype=CODE_DTYPE)]
    for chunk in chunks(codes):
        live, adjacency, operations = pruned_matrices(chunk)
        last = np.arange(VERTICES) == VERTICES - 1
        order = np.argsort(np.where(last, 2, ~live), axis=1, kind="stable")
        found.append(_reordered(adjacency, operations, order))
    return np.concatenate(found)


def class_ranks(codes: Codes) -> NDArray[np.int64]:
    """``[n]`` rank of one fixed code of each cell's class; equal if and only if pruned cells are isomorphic.

    Vertices get colours that do not depend on their numbers, and are put in the order of the colours. Where
    colours are equal all their orders are tried, and the smallest code stands for the class.
    """
    return np.concatenate([np.zeros(0, dtype=np.int64), *map(_class_ranks, chunks(codes))])


def of_ranks(ranks: NDArray[np.int64]) -> Codes:
    """``[n, 26]`` the codes that have these ranks."""
    return code_tools.unravel(ranks, CARDINALITIES)


def hashes(codes: Codes) -> list[str]:
    """The benchmark's hash of each cell, worked out once for each class."""
    classes, inverse = np.unique(class_ranks(codes), return_inverse=True)
    representatives = of_ranks(classes)
    inner = pruned(representatives)[0][:, 1:-1].sum(axis=1)  # these come first, unused vertices after them
    found = []
    for code, used in zip(representatives.tolist(), inner.tolist(), strict=True):
        number = [*range(used + 1), *[-1] * (INNER - used), used + 1]
        edges = [(number[u], number[v]) for u, v, bit in zip(_SOURCES, _TARGETS, code, strict=False) if bit]
        found.append(_hash(edges, [-1, *code[BITS : BITS + used], -2]))
    return [found[index] for index in inverse.tolist()]


def module_hash(matrix: Sequence[Sequence[int]], labels: Sequence[int]) -> str:
    """The benchmark's hash of a pruned cell, equal for isomorphic cells.

    Args:
        matrix: Upper-triangular adjacency matrix of 0 and 1.
        labels: -1 for the input, -2 for the output, otherwise an index into :data:`OPERATIONS`.
    """
    vertices = range(len(labels))
    return _hash([(u, v) for u in vertices for v in vertices if matrix[u][v]], [int(n) for n in labels])


def _hash(edges: Sequence[tuple[int, int]], labels: Sequence[int]) -> str:
    # Plain integers throughout: the text of a tuple is hashed, and numpy's integers print differently.
    sources: list[list[int]] = [[] for _ in labels]
    targets: list[list[int]] = [[] for _ in labels]
    for u, v in edges:
        targets[u].append(v)
        sources[v].append(u)
    around = list(zip(sources, targets, strict=True))
    names = [
        _md5(str((len(after), len(before), label)))
        for (before, after), label in zip(around, labels, strict=True)
    ]
    for _ in labels:
        names = [
            _md5(
                f"{''.join(sorted([names[u] for u in before]))}|"
                f"{''.join(sorted([names[w] for w in after]))}|{name}"
            )
            for (before, after), name in zip(around, names, strict=True)
        ]
    return _md5(str(sorted(names)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _class_ranks(codes: Codes) -> NDArray[np.int64]:
    live, adjacency, operations = pruned_matrices(codes)
    colours = _colours(live, adjacency, operations)
    order = np.argsort(colours, axis=1, kind="stable")
    ranks, first, inverse = np.unique(
        code_tools.ravel(_reordered(adjacency, operations, order), CARDINALITIES),
        return_index=True,
        return_inverse=True,
    )
    ordered = np.take_along_axis(colours[first], order[first], axis=1)
    tied = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    for start in range(0, len(tied), _TIED_CHUNK):
        some = tied[start : start + _TIED_CHUNK]
        ranks[some] = _smallest(of_ranks(ranks[some]), ordered[some])
    smallest: NDArray[np.int64] = ranks[inverse]
    return smallest


def _colours(
    live: BoolArray, adjacency: NDArray[np.int64], operations: NDArray[np.int64]
) -> NDArray[np.int64]:
    """``[n, 7]`` colours from 0 to 6: vertices that an isomorphism takes to each other have equal ones.

    Colours rise along the edges; unused vertices come after all others but the output, each with its own.
    """
    depth = np.zeros_like(operations)  # edges on the longest path from the input
    for vertex in range(1, VERTICES):
        depth[:, vertex] = (adjacency[:, :vertex, vertex] * (depth[:, :vertex] + 1)).max(axis=1)
    beyond = len(OPERATIONS) * VERTICES + np.arange(VERTICES)  # above all used vertices; the output is last
    keys = np.where(live, depth * len(OPERATIONS) + operations, beyond)
    keys[:, -1] = beyond[-1]
    colours = _places(keys)
    for _ in range(_ROUNDS):
        # Neighbours of one colour are at most 6: three bits count them, so the three sums never mix.
        counts = np.left_shift(1, 3 * colours)[..., None]
        before = np.matmul(adjacency.transpose(0, 2, 1), counts)[..., 0]
        after = np.matmul(adjacency, counts)[..., 0]
        colours = _places((colours << 42) | (before << 21) | after)
    return colours


def _places(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[n, 7]``: how many entries of its row are smaller than each."""
    places: NDArray[np.int64] = (keys[:, :, None] > keys[:, None, :]).sum(axis=2)
    return places


def _reordered(
    adjacency: NDArray[np.int64], operations: NDArray[np.int64], order: NDArray[np.int64]
) -> Codes:
    """``[n, 26]``: codes in which vertex ``i`` is what was vertex ``order[:, i]``."""
    rows = np.arange(len(order))[:, None]
    edges = adjacency[rows, order[:, ROWS], order[:, COLUMNS]]
    codes: Codes = np.concatenate([edges, operations[rows, order[:, 1:-1]]], axis=1).astype(CODE_DTYPE)
    return codes


def _all_orders() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``[120, 7]`` orders of the inner vertices; ``[120, 26]`` which entry of a code then stands where."""
    inner = itertools.permutations(range(1, VERTICES - 1))
    orders = np.array([(0, *order, VERTICES - 1) for order in inner])
    entry = np.zeros((VERTICES, VERTICES), dtype=np.int64)
    entry[ROWS, COLUMNS] = entry[COLUMNS, ROWS] = np.arange(BITS)
    edges = entry[orders[:, ROWS], orders[:, COLUMNS]]
    return orders, np.concatenate([edges, orders[:, 1:-1] + BITS - 1], axis=1)


_ORDERS, _ORDERED_ENTRIES = _all_orders()


def _smallest(codes: Codes, colours: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[n]`` the smallest rank that a code gets by exchanging vertices of equal colours.

    Such vertices are equally deep, so no edge between them can be turned round.
    """
    fits = (colours[:, _ORDERS] == colours[:, None, :]).all(axis=2)
    row, order = np.nonzero(fits)
    ranks = np.full(fits.shape, code_tools.MAX_RANK, dtype=np.int64)
    ranks[row, order] = code_tools.ravel(codes[row[:, None], _ORDERED_ENTRIES[order]], CARDINALITIES)
    smallest: NDArray[np.int64] = ranks.min(axis=1)
    return smallest
