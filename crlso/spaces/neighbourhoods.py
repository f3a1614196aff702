"""How alike two architectures are, by the neighbourhoods of their nodes that are the same."""

from __future__ import annotations

from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from crlso.protocols import Codes, FloatArray, SearchSpace

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
"""Odd, from the golden ratio: multiplying by it spreads bits, as in Knuth's multiplicative hashing."""


@final
class WeisfeilerLehman:
    """Shares of equal neighbourhoods of two graphs (Shervashidze et al. 2011; for cells Ru et al. 2021).

    A node's label is its operation; in every round it becomes a label of itself and of the multisets of its
    predecessors' and successors' labels. The similarity of two graphs is the cosine of their counts of all
    labels of all rounds: 1 for graphs that the refinement can not tell apart.

    Departure: labels are 64-bit hashes whose multisets are summed, so that two different ones coincide with a
    chance of about 2^-64 a pair, and graphs are compared with directed edges.

    Args:
        space: Turns codes into graphs.
        rounds: Of the refinement.
    """

    def __init__(self, space: SearchSpace, rounds: int = 2) -> None:
        self._space = space
        self._rounds = rounds

    def similarity(self, one: Codes, other: Codes) -> FloatArray:
        """``[n, d]``, ``[m, d]`` -> ``[n, m]`` cosines, between 0 and 1."""
        rows, labels, counts = self._counts(np.concatenate([one, other]))
        width = int(labels.max()) + 1
        table = sparse.csr_array((counts, (rows, labels)), shape=(len(one) + len(other), width))
        lengths = np.sqrt(np.asarray(table.power(2).sum(1)).reshape(-1))
        products: FloatArray = (table[: len(one)] @ table[len(one) :].T).toarray()
        cosines: FloatArray = products / np.outer(lengths[: len(one)], lengths[len(one) :])
        return cosines

    def _counts(self, codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
        """Graph, label (small numbers from 0) and count of every label that a graph has."""
        graphs = self._space.graphs(codes)
        owner = graphs.batch.numpy()
        source, target = graphs.edge_index.numpy()
        labels = _spread(graphs.x.numpy().astype(np.uint64).reshape(-1) + np.uint64(1))
        rounds = [labels]
        for _ in range(self._rounds):
            before, after = np.zeros_like(labels), np.zeros_like(labels)
            np.add.at(before, target, _spread(labels)[source])
            np.add.at(after, source, _spread(labels + _MIX)[target])
            labels = _spread(labels + _MIX * _spread(before) + _spread(after + np.uint64(1)))
            rounds.append(labels)
        _, small = np.unique(np.concatenate(rounds), return_inverse=True)
        pairs = np.tile(owner, len(rounds)).astype(np.int64) * (int(small.max()) + 1) + small.reshape(-1)
        found, counts = np.unique(pairs, return_counts=True)
        rows, columns = np.divmod(found, int(small.max()) + 1)
        return rows, columns, counts.astype(np.float64)


def _spread(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit numbers that spreads every bit over all others (multiply, shift, xor)."""
    with np.errstate(over="ignore"):
        mixed = (numbers ^ (numbers >> np.uint64(31))) * _MIX
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX
        spread: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(32))
    return spread
