"""All classes of NAS-Bench-101: one code of each of the 423,624, within seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Codes
from crlso.spaces import codes as code_tools
from crlso.spaces.nasbench101_cells import (
    BITS,
    COLUMNS,
    INNER,
    MAX_EDGES,
    OPERATIONS,
    ROWS,
    VERTICES,
    class_ranks,
    of_ranks,
    pruned,
)

CLASSES = 423_624
"""Number of classes, as published: 1, 6, 84, 2,441, 62,010 and 359,082 of 2 to 7 vertices."""

_GRAPHS = 256  # given all their operations at a time: up to 62,208 cells


def enumerate_classes(
    largest: int = VERTICES, progress: Callable[[int, str], None] | None = None
) -> Iterator[tuple[int, Codes]]:
    """One code of each class of cells, small cells first; two cells are of one class if they are isomorphic.

    Graphs are enumerated first, up to isomorphism and without operations; then each gets all combinations of
    operations. Isomorphic cells have isomorphic graphs, so the chunks share no class.

    Args:
        largest: Number of vertices of the largest cells, 2 to 7, input and output included.
        progress: Called after each chunk with the number of classes so far (of :data:`CLASSES` if ``largest``
            is 7) and a note.

    Yields:
        The number of vertices, and codes ``[m, 26]`` of cells that use just as many: the same codes as
        :meth:`~crlso.spaces.nasbench101.NASBench101Space.canonical` gives for any member of their class.

    Raises:
        UserError: ``largest`` is not between 2 and 7.
    """
    if not 2 <= largest <= VERTICES:
        raise UserError(f"cells have 2 to {VERTICES} vertices, got {largest}")
    return _enumerate(largest, progress)


def _enumerate(largest: int, progress: Callable[[int, str], None] | None) -> Iterator[tuple[int, Codes]]:
    done = 0
    for vertices in range(2, largest + 1):
        graphs = _graphs(vertices)
        for start in range(0, len(graphs), _GRAPHS):
            cells = _with_operations(graphs[start : start + _GRAPHS], vertices - 2)
            codes = of_ranks(np.unique(class_ranks(cells)))
            done += len(codes)
            yield vertices, codes
            if progress is not None:
                progress(done, f"{vertices} vertices")


def _graphs(vertices: int) -> Codes:
    """``[m, 26]`` all graphs of so many vertices, up to isomorphism, as cells with operation 0 throughout."""
    used = np.array([*range(vertices - 1), VERTICES - 1])
    bits = np.flatnonzero(np.isin(ROWS, used) & np.isin(COLUMNS, used))
    found = [np.zeros(0, dtype=np.int64)]
    for block in code_tools.enumerate_codes((2,) * len(bits)):
        cells = np.zeros((len(block), BITS + INNER), dtype=CODE_DTYPE)
        cells[:, bits] = block
        cells = cells[block.sum(axis=1) <= MAX_EDGES]
        whole = pruned(cells)[0].sum(axis=1) == vertices  # nothing to prune
        found.append(np.unique(class_ranks(cells[whole])))
    return of_ranks(np.unique(np.concatenate(found)))


def _with_operations(graphs: Codes, inner: int) -> Codes:
    """``[m * 3^inner, 26]`` each graph with all combinations of operations on its inner vertices."""
    choices = np.concatenate(list(code_tools.enumerate_codes((len(OPERATIONS),) * inner)))
    cells = np.repeat(graphs, len(choices), axis=0)
    cells[:, BITS : BITS + inner] = np.tile(choices, (len(graphs), 1))
    return cells
