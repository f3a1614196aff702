"""NAS-Bench-101: operations on nodes, up to 7 vertices and 9 edges; number of weights by formula.

A code is of fixed length: 21 bits of the upper triangle of the adjacency matrix, row by row, then the
operation of each of the 5 inner vertices. Vertices that lie on no path from input to output take no part in
the network; the benchmark prunes them before it counts vertices and edges or hashes, and so does everything
here. Pruned cells fall into 423,624 classes, see :meth:`NASBench101Space.classes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import ArchitectureError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes, FloatArray, Keys, Rule
from crlso.spaces import codes as code_tools
from crlso.spaces import nasbench101_cells as cells
from crlso.spaces.batching import select_batch
from crlso.spaces.nasbench101_cells import (
    BITS,
    CARDINALITIES,
    COLUMNS,
    INNER,
    MAX_EDGES,
    OPERATIONS,
    ROWS,
    VERTICES,
    module_hash,
)
from crlso.spaces.nasbench101_classes import enumerate_classes
from crlso.spaces.nasbench101_texts import cell_text, from_record, from_records, read_cell, to_record

if TYPE_CHECKING:
    from torch_geometric.data import Batch

__all__ = [
    "MAX_EDGES",
    "OPERATIONS",
    "VERTICES",
    "NASBench101Space",
    "from_record",
    "from_records",
    "module_hash",
    "nasbench101",
    "parameters",
    "to_record",
]

# Input channels, output channels and number of such modules: three stacks of three, and the first
# module of the second and of the third stack doubles the channels.
_MODULES = ((128, 128, 3), (128, 256, 1), (256, 256, 2), (256, 512, 1), (512, 512, 2))
_STEM, _CLASSES = 128, 10

_DRAWN = 2**17  # codes drawn at a time: tens of megabytes


@final
class NASBench101Space:
    """The cells of NAS-Bench-101; the text form is JSON, ``{"matrix": [[...], ...], "ops": [...]}``.

    A code is valid by the benchmark's rules: a path leads from input to output, and at most 9 edges are left
    after pruning (more than 7 vertices no code has). The rules ``exact`` and ``official`` are one: equal are
    cells that are isomorphic once they are pruned. The benchmark's own :meth:`hashes` agree: they are
    different for all 423,624 classes.
    """

    @property
    def name(self) -> str:
        """``nasbench101``."""
        return "nasbench101"

    @property
    def operations(self) -> tuple[str, ...]:
        """The benchmark's own names, in the order of its labels."""
        return OPERATIONS

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """2 for each of 21 possible edges, 3 for each of 5 operations."""
        return CARDINALITIES

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """``input``, ``output``, then the operations."""
        return ("input", "output", *OPERATIONS)

    @property
    def positions(self) -> int:
        """The 7 vertices."""
        return VERTICES

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All three rules of sameness."""
        return ("code", "exact", "official")

    @property
    def size(self) -> int:
        """Number of codes; many are not valid, and the valid ones fall into 423,624 classes."""
        return code_tools.count(CARDINALITIES)

    def __repr__(self) -> str:
        return "NASBench101Space()"

    def parse(self, text: str) -> Code:
        """Code of a JSON text: upper-triangular 0/1 matrix, operations from ``input`` to ``output``.

        Cells of fewer than 7 vertices get unconnected vertices before the output. Cells of more vertices are
        refused, also where pruning would leave 7 or fewer: no code holds them.

        Raises:
            ArchitectureError: The message says which part is wrong and what is allowed there.
        """
        return read_cell(text)

    def format(self, code: ArrayLike) -> str:
        """JSON of the matrix and the operations; the last vertices without edges are left out."""
        return cell_text(code_tools.as_code(code, CARDINALITIES))

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]``: uniform over the valid codes (by rejection), with replacement."""
        kept = [code_tools.sample_uniform(min(n, 0), CARDINALITIES, rng)]  # refuses a negative n
        missing = n
        while missing > 0:
            drawn = code_tools.sample_uniform(min(4 * missing + 16, _DRAWN), CARDINALITIES, rng)
            kept.append(drawn[self.is_valid(drawn)][:missing])
            missing -= len(kept[-1])
        return np.concatenate(kept)

    def enumerate(self) -> Iterator[Codes]:
        """All valid codes in lexicographic order, in chunks: hundreds of millions."""
        operations = np.concatenate(list(code_tools.enumerate_codes((len(OPERATIONS),) * INNER)))
        for block in code_tools.enumerate_codes((2,) * BITS, chunk=256):
            padded = np.concatenate([block, np.zeros((len(block), INNER), dtype=CODE_DTYPE)], axis=1)
            if len(good := block[self.is_valid(padded)]):
                yield np.concatenate(
                    [np.repeat(good, len(operations), axis=0), np.tile(operations, (len(good), 1))], axis=1
                )

    def neighbors(self, code: ArrayLike) -> Codes:
        """``[m, d]``: one edge more or less, or one other operation, as far as valid."""
        edits = code_tools.one_edit(code_tools.as_code(code, CARDINALITIES), CARDINALITIES)
        return edits[self.is_valid(edits)]

    def is_valid(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: entries in range, input and output connected, at most 9 edges after pruning."""
        matrix = code_tools.as_matrix(codes, CARDINALITIES)
        valid = code_tools.in_range(matrix, CARDINALITIES)
        edges = cells.pruned(matrix[valid])[1].sum(axis=1)
        valid[valid] = (edges > 0) & (edges <= MAX_EDGES)
        return valid

    def repair(self, codes: ArrayLike) -> Codes:
        """``[n, d]``: an unconnected cell gets the edge input-output; one with too many edges loses some.

        Edges go one by one: each time the one whose loss leaves the most edges after pruning, the first in
        the order of the code among equals.
        """
        repaired = code_tools.as_codes(codes, CARDINALITIES).copy()
        unconnected = cells.pruned(repaired)[1].sum(axis=1) == 0
        repaired[unconnected, VERTICES - 2] = 1  # edge (0, 6)
        while len(crowded := np.flatnonzero(~self.is_valid(repaired))):
            repaired[crowded] = _without_one_edge(repaired[crowded])
        return repaired

    def prune(self, codes: ArrayLike) -> Codes:
        """``[n, d]`` pruned cells: used vertices first, in their order, then unconnected ones, all 0.

        These are the codes that :meth:`parse` gives for the texts of the pruned cells.

        Raises:
            ArchitectureError: A code is not valid.
        """
        return cells.compact(_valid(codes))

    def hashes(self, codes: ArrayLike) -> list[str]:
        """The benchmark's module hashes: 32 hexadecimal digits per code. A class is hashed only once.

        Raises:
            ArchitectureError: A code is not valid.
        """
        return cells.hashes(_valid(codes))

    def class_keys(self, codes: ArrayLike, rule: Rule = "exact") -> Keys:
        """``[n]``: ranks of the codes, or those of the :meth:`canonical` ones.

        Raises:
            ArchitectureError: A code is not valid.
        """
        code_tools.check_rule(rule, self.name, self.rules)
        if rule == "code":
            return code_tools.code_keys(code_tools.as_codes(codes, CARDINALITIES), CARDINALITIES)
        return cells.class_ranks(_valid(codes)).astype(np.uint64)

    def canonical(self, codes: ArrayLike, rule: Rule = "exact") -> Codes:
        """``[n, d]``: one pruned code for all cells of a class; the codes themselves by the rule ``code``.

        Raises:
            ArchitectureError: A code is not valid.
        """
        code_tools.check_rule(rule, self.name, self.rules)
        if rule == "code":
            return code_tools.as_codes(codes, CARDINALITIES)
        return cells.of_ranks(cells.class_ranks(_valid(codes)))

    def classes(
        self, largest: int = VERTICES, progress: Callable[[int, str], None] | None = None
    ) -> Iterator[tuple[int, Codes]]:
        """The :meth:`canonical` code of every class, in chunks, small cells first.

        For samples that are uniform over classes, make a :class:`~crlso.spaces.Subset` of them.

        Args:
            largest: Number of vertices of the largest cells, 2 to 7, input and output included.
            progress: Called with the number of classes so far and a note after each chunk.

        Yields:
            Number of vertices of the pruned cells, and their codes ``[m, d]``.

        Raises:
            UserError: ``largest`` is not between 2 and 7.
        """
        return enumerate_classes(largest, progress)

    def graphs(self, codes: ArrayLike) -> Batch:
        """All 7 vertices and all edges of the matrix, pruned or not: one-to-one on codes."""
        checked = code_tools.as_codes(codes, CARDINALITIES)
        labels = np.zeros((len(checked), VERTICES), dtype=np.int64)
        labels[:, 1:-1], labels[:, -1] = checked[:, BITS:] + 2, 1
        present = np.ones(labels.shape, dtype=np.bool_)
        return select_batch(labels, present, np.stack([ROWS, COLUMNS]), checked[:, :BITS] > 0)


def nasbench101() -> NASBench101Space:
    """The NAS-Bench-101 space."""
    return NASBench101Space()


def parameters(codes: ArrayLike) -> FloatArray:
    """``[n]`` number of weights in millions of the whole network, as the benchmark counts them.

    Stem: 3x3 convolution to 128 channels. Three stacks of three modules, the second and the third of which
    double the channels. Classifier: 512 to 10, with bias. All convolutions are without bias and followed
    by normalisation, which has 2 weights a channel. The channels of a module's output are split over the
    vertices that lead to it; a remainder goes to the first of these, one channel each. Other vertices are as
    wide as the widest they lead to. Edges from the input are 1x1 convolutions.

    Because of the remainder, isomorphic cells can differ by some weights: 128 channels over three vertices
    are 43, 43 and 42. The benchmark's table holds the number for the one member of a class that was trained.

    Raises:
        ArchitectureError: A code is not valid.
    """
    weights = [np.zeros(0, dtype=np.int64), *map(_weights, cells.chunks(_valid(codes)))]
    return np.concatenate(weights) / 1e6


def _weights(codes: Codes) -> NDArray[np.int64]:
    _, adjacency, operations = cells.pruned_matrices(codes)
    total = np.full(len(adjacency), 27 * _STEM + 2 * _STEM + (_MODULES[-1][1] + 1) * _CLASSES)
    for inputs, outputs, modules in _MODULES:
        channels = _channels(adjacency, outputs)
        kernels = np.take([9, 1, 0], operations[:, 1:-1])  # pooling has no weights
        weights = (kernels * channels**2 + 2 * (kernels > 0) * channels).sum(axis=1)
        projected = (adjacency[:, 0, 1:-1] * channels).sum(axis=1) + adjacency[:, 0, -1] * outputs
        total += modules * (weights + (inputs + 2) * projected)
    return total


def _channels(adjacency: NDArray[np.int64], outputs: int) -> NDArray[np.int64]:
    """``[n, 5]`` channels of the inner vertices of pruned cells, 0 for unused ones."""
    last = adjacency[:, 1:-1, -1]
    share, remainder = np.divmod(outputs, np.maximum(last.sum(axis=1, keepdims=True), 1))
    channels: NDArray[np.int64] = last * (share + (last.cumsum(axis=1) <= remainder))
    for vertex in range(INNER - 2, -1, -1):
        wider = (adjacency[:, vertex + 1, 1:-1] * channels).max(axis=1)
        channels[:, vertex] = np.where(last[:, vertex], channels[:, vertex], wider)
    return channels


def _valid(codes: ArrayLike) -> Codes:
    checked = code_tools.as_codes(codes, CARDINALITIES)
    edges = cells.pruned(checked)[1].sum(axis=1)
    if (wrong := (edges == 0) | (edges > MAX_EDGES)).any():
        row = int(np.flatnonzero(wrong)[0])
        reason = "no path leads from input to output"
        if edges[row]:
            reason = f"{edges[row]} edges are left after pruning, at most {MAX_EDGES} may be"
        raise ArchitectureError(f"code {row} is not a valid cell: {reason}")
    return checked


def _without_one_edge(codes: Codes) -> Codes:
    n, d = codes.shape
    trials = np.repeat(codes[:, None], BITS, axis=1)  # [n, 21, d]: trial i lacks edge i
    trials[:, np.arange(BITS), np.arange(BITS)] = 0
    left = cells.pruned(trials.reshape(-1, d))[1].sum(axis=1).reshape(n, BITS)
    before = cells.pruned(codes)[1].sum(axis=1)[:, None]
    left = np.where(left < before, left, -1)  # taking away an edge that is pruned anyway would not help
    fewer: Codes = trials[np.arange(n), left.argmax(axis=1)]
    return fewer
