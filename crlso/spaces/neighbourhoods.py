"""How alike two architectures are, by the neighbourhoods of their nodes that are the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

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
        counts = self.counts(np.concatenate([one, other]))
        _, columns = np.unique(counts.labels, return_inverse=True)
        rows = counts.shares(columns.reshape(-1), int(columns.max()) + 1)
        cosines: FloatArray = (rows[: len(one)] @ rows[len(one) :].T).toarray()
        return cosines

    def counts(self, codes: Codes) -> LabelCounts:
        """Counts of the labels of all rounds in each graph of ``[n, d]`` codes."""
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
        every, small = np.unique(np.concatenate(rounds), return_inverse=True)
        pairs = np.tile(owner, len(rounds)).astype(np.int64) * len(every) + small.reshape(-1)
        found, counts = np.unique(pairs, return_counts=True)
        rows, columns = np.divmod(found, len(every))
        return LabelCounts(len(codes), rows, every[columns], counts.astype(np.float64))


@dataclass(frozen=True)
class LabelCounts:
    """How often labels stand in graphs; one entry for each graph and label that it has.

    Attributes:
        graphs: Number of graphs n.
        rows: ``[e]`` graph of each entry.
        labels: ``[e]`` its label.
        counts: ``[e]`` how often the graph has it.
    """

    graphs: int
    rows: NDArray[np.int64]
    labels: NDArray[np.uint64]
    counts: FloatArray

    def shares(self, columns: NDArray[np.int64], width: int) -> sparse.csr_array:
        """``[n, width]``: rows of counts divided by their length, all labels included in it.

        Args:
            columns: ``[e]`` column of each entry's label; -1: the label has none.
            width: Number of columns.
        """
        lengths = np.sqrt(np.bincount(self.rows, np.square(self.counts), self.graphs))
        kept = columns >= 0
        return sparse.csr_array(
            ((self.counts / lengths[self.rows])[kept], (self.rows[kept], columns[kept])),
            shape=(self.graphs, width),
        )


@final
class Coordinates:
    """Points whose inner products come near to the similarity of neighbourhoods (Williams, Seeger 2001).

    With the similarities K = V L V' of landmarks, an architecture with similarities k to them lies at
    ``k' V L^-1/2``, of the largest eigenvalues L: inner products of landmarks are their similarities where
    the dimension suffices, others are approximated (Nystroem). As K = R R' for sparse counts R, these are the
    products of an architecture's counts with the first right singular vectors of R.

    Args:
        neighbourhoods: The similarity.
        landmarks: ``[m, d]`` architectures.
        dimension: Of the points; what exceeds the rank of K is zero.
    """

    def __init__(self, neighbourhoods: WeisfeilerLehman, landmarks: Codes, dimension: int) -> None:
        self._neighbourhoods = neighbourhoods
        self.landmarks = landmarks
        self._dimension = dimension

    def __call__(self, codes: Codes) -> FloatArray:
        """``[n, d]`` -> ``[n, dimension]``, of length 1 at most."""
        counts = self._neighbourhoods.counts(codes)
        labels, axes = self._axes
        places = np.minimum(np.searchsorted(labels, counts.labels), len(labels) - 1)
        columns = np.where(labels[places] == counts.labels, places, -1)
        points: FloatArray = counts.shares(columns, len(labels)) @ axes
        return points

    @cached_property
    def _axes(self) -> tuple[NDArray[np.uint64], FloatArray]:
        """Labels of the landmarks, ascending, and ``[labels, dimension]`` what each adds to a point."""
        counts = self._neighbourhoods.counts(self.landmarks)
        labels, columns = np.unique(counts.labels, return_inverse=True)
        rows = counts.shares(columns.reshape(-1), len(labels))
        rank = min(self._dimension, *rows.shape)
        if rank < min(rows.shape):
            # Lanczos' method begins with a vector of ones, so that nothing here is random.
            _, values, vectors = svds(rows, k=rank, v0=np.ones(min(rows.shape)))
        else:
            _, values, vectors = np.linalg.svd(rows.toarray(), full_matrices=False)
        order = np.argsort(-values)[:rank]
        order = order[values[order] > 1e-5 * values.max()]
        axes: FloatArray = np.zeros((len(labels), self._dimension))
        axes[:, : len(order)] = vectors[order].T
        return labels, axes


def _spread(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit numbers that spreads every bit over all others (multiply, shift, xor)."""
    with np.errstate(over="ignore"):
        mixed = (numbers ^ (numbers >> np.uint64(31))) * _MIX
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX
        spread: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(32))
    return spread
