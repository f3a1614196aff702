"""NAS-Bench-101's official class of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import ArchitectureError
from crlso.spaces.nasbench101 import module_hash


@final
class ModelSpec:
    """A cell: matrix and operations as given (``original_*``) and pruned (``matrix``, ``ops``).

    Args:
        matrix: ``[V, V]`` upper-triangular adjacency matrix of 0 and 1.
        ops: ``V`` names, ``input`` first, ``output`` last.
        data_format: Kept, not used.

    Raises:
        ArchitectureError: A ``ValueError``: not square, not upper-triangular, or another size than ``ops``.
    """

    def __init__(self, matrix: Any, ops: Sequence[str], data_format: str = "channels_last") -> None:
        given = np.array(matrix)
        if given.ndim != 2 or given.shape[0] != given.shape[1]:
            raise ArchitectureError(f"matrix must be square, got shape {given.shape}")
        if len(given) != len(ops):
            raise ArchitectureError(f"matrix has {len(given)} rows, but there are {len(ops)} ops")
        if np.tril(given).any():
            raise ArchitectureError("matrix must be upper triangular")
        self.original_matrix: NDArray[Any] = given
        self.original_ops = list(ops)
        used = _used(given)
        self.valid_spec = len(used) >= 2
        # None where no path leads from input to output, as officially.
        self.matrix: Any = given[np.ix_(used, used)] if self.valid_spec else None
        self.ops: Any = [self.original_ops[vertex] for vertex in used] if self.valid_spec else None
        self.data_format = data_format

    def hash_spec(self, canonical_ops: Sequence[str]) -> str:
        """The module hash, with operations numbered by their place in ``canonical_ops``.

        Raises:
            ArchitectureError: An operation is not among them, or the cell is not connected.
        """
        if not self.valid_spec:
            raise ArchitectureError("matrix: no path leads from input to output, so there is no hash")
        order = list(canonical_ops)
        for name in self.ops[1:-1]:
            if name not in order:
                raise ArchitectureError(f"operation {name!r} is not among {', '.join(order)}")
        return module_hash(self.matrix.tolist(), [-1, *(order.index(name) for name in self.ops[1:-1]), -2])


def _used(matrix: NDArray[Any]) -> list[int]:
    """Vertices on paths from the first to the last one; of any number of vertices."""
    edges = matrix != 0
    last = len(edges) - 1
    forward, backward = {0}, {last}
    for vertex in range(1, last + 1):
        if any(edges[source, vertex] for source in forward):
            forward.add(vertex)
    for vertex in range(last - 1, -1, -1):
        if any(edges[vertex, target] for target in backward):
            backward.add(vertex)
    return sorted(forward & backward)
