"""DARTS, the space of NAS-Bench-301: a normal and a reduction cell of 4 nodes, two operations into each.

A node takes two different predecessors, as NAS-Bench-301's ConfigSpace form has it (a genotype text could
name the same one twice; none of the 10,214 published genotypes that this was checked with does, and they are
refused). So a code has three entries per node, see :mod:`crlso.spaces.genotype`: every code is valid, and
every genotype has one code, whatever the order of its pairs. The space has 1.08e18 architectures.

The rule ``exact``: two codes are the same network if every node of both cells has the same value. Operations
on predecessors are summed; a skip connection passes on what it gets, and pools of the same value are the
same value, so a node after such nodes may reach one sum in several ways. In the reduction cell, operations
on the cell's two inputs have stride 2: a skip connection there is a factorised reduction, with weights of its
own. Renumberings of nodes are not identified, as they permute the channels of the cell's output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.protocols import BoolArray, Code, Codes, Keys, Rule
from crlso.spaces import codes as code_tools
from crlso.spaces import genotype
from crlso.spaces.batching import select_batch
from crlso.spaces.genotype import CARDINALITIES, CELLS, INPUTS, NODES, OPERATIONS, PAIRS

if TYPE_CHECKING:
    from torch_geometric.data import Batch

Hashes = NDArray[np.uint64]

_SKIP = OPERATIONS.index("skip_connect")
_WEIGHTED = np.array(["conv" in name for name in OPERATIONS])
_REDUCTION = CELLS.index("reduce")
_EDGES = tuple((source, node) for node in range(NODES) for source in range(node + INPUTS))
_CELL_SLOTS = INPUTS + len(_EDGES) + NODES + 1
_CHUNK = 4096  # rows whose candidates canonical() holds at once


@final
class DARTSSpace:
    """Genotypes of DARTS; the text form is ``Genotype(normal=[('sep_conv_3x3', 0), ...], ...)``.

    Every code is valid. One edit changes one operation of a node, or its pair of predecessors (the operations
    then stay in the order of the predecessors).

    Example:
        >>> space = DARTSSpace()
        >>> code = space.sample(1, np.random.default_rng(0))[0]
        >>> bool((space.parse(space.format(code)) == code).all())
        True
    """

    @property
    def name(self) -> str:
        """``darts``."""
        return "darts"

    @property
    def operations(self) -> tuple[str, ...]:
        """The seven operations, in NAS-Bench-301's order."""
        return OPERATIONS

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Per cell and node: 1, 3, 6 or 10 pairs of predecessors, then 7 operations twice."""
        return CARDINALITIES

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """``input``, ``output`` (of a node or a cell, and what a cell takes in), then the operations."""
        return ("input", "output", *OPERATIONS)

    @property
    def positions(self) -> int:
        """The stem, and for each cell its inputs, possible edges, nodes and output."""
        return 1 + len(CELLS) * _CELL_SLOTS

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of sameness that it has; there is no published one."""
        return ("code", "exact")

    @property
    def size(self) -> int:
        """Number of codes, all of them valid."""
        return code_tools.count(CARDINALITIES)

    def __repr__(self) -> str:
        return "DARTSSpace()"

    def parse(self, text: str) -> Code:
        """Code of a genotype text, see :func:`crlso.spaces.genotype.parse_genotype`.

        Raises:
            ArchitectureError: The message has the position of the first wrong part (from 0) and what is
                allowed.
        """
        return genotype.parse_genotype(text)

    def format(self, code: ArrayLike) -> str:
        """``Genotype(normal=[...], normal_concat=[2, 3, 4, 5], reduce=[...], reduce_concat=...)``."""
        return genotype.format_genotype(code)

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]``: uniform over all codes, which is uniform over genotypes, with replacement."""
        return code_tools.sample_uniform(n, CARDINALITIES, rng)

    def enumerate(self) -> Iterator[Codes]:
        """All codes in lexicographic order, in chunks: nobody waits for the end."""
        return code_tools.enumerate_codes(CARDINALITIES)

    def neighbors(self, code: ArrayLike) -> Codes:
        """``[128, d]``: 96 with another operation, 32 with another pair of predecessors of one node."""
        return code_tools.one_edit(code_tools.as_code(code, CARDINALITIES), CARDINALITIES)

    def is_valid(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: whether all entries lie inside their cardinalities; nothing else can be wrong."""
        return code_tools.in_range(code_tools.as_matrix(codes, CARDINALITIES), CARDINALITIES)

    def repair(self, codes: ArrayLike) -> Codes:
        """The codes themselves: every code is valid."""
        return code_tools.as_codes(codes, CARDINALITIES)

    def class_keys(self, codes: ArrayLike, rule: Rule = "exact") -> Keys:
        """``[n]`` keys: of the codes, or of the values of all nodes."""
        code_tools.check_rule(rule, self.name, self.rules)
        checked = code_tools.as_codes(codes, CARDINALITIES)
        if rule == "code":
            return code_tools.code_keys(checked, CARDINALITIES)
        keys = np.zeros(len(checked), dtype=np.uint64)
        for values in _node_values(checked):
            for node in range(INPUTS, INPUTS + NODES):
                keys = _mixed(keys + values[:, node])
        return keys

    def canonical(self, codes: ArrayLike, rule: Rule = "exact") -> Codes:
        """``[n, d]``: the smallest code, in lexicographic order, of each row's class.

        The classes are such that each node can be chosen on its own: the smallest of the ways in which it
        reaches its value from the values of the nodes before it.
        """
        code_tools.check_rule(rule, self.name, self.rules)
        checked = code_tools.as_codes(codes, CARDINALITIES)
        if rule == "code":
            return checked
        smallest = checked.copy()
        for start in range(0, len(checked), _CHUNK):
            rows = checked[start : start + _CHUNK]
            entries = smallest[start : start + _CHUNK].reshape(-1, len(CELLS), NODES, 3)
            for cell, values in enumerate(_node_values(rows)):
                for node, pairs in enumerate(PAIRS):
                    terms = _terms(values[:, : node + INPUTS], cell, node)
                    low, high = np.array(pairs).T
                    reached = terms[:, low, :, None] + terms[:, high, None, :]  # [n, pairs, 7, 7]
                    same = reached == values[:, node + INPUTS, None, None, None]
                    first = same.reshape(len(rows), -1).argmax(axis=1)
                    entries[:, cell, node] = np.stack(np.unravel_index(first, same.shape[1:]), axis=1)
        return smallest

    def graphs(self, codes: ArrayLike) -> Batch:
        """The stem (``input``), then the normal cell, then the reduction cell, which takes the stem and it.

        A cell is two nodes ``output`` for what it takes in, its eight operations, a node ``output`` for each
        of its nodes, and one for the cell; 31 nodes in all.
        """
        checked = code_tools.as_codes(codes, CARDINALITIES)
        n = len(checked)
        labels = np.ones((n, self.positions), dtype=np.int64)
        labels[:, 0] = 0
        present = np.ones((n, self.positions), dtype=np.bool_)
        sources, operations = decoded(checked)
        first_edge = np.array([_EDGES.index((0, node)) for node in range(NODES)])
        for cell in range(len(CELLS)):
            begin = _slots(cell)[1]
            present[:, begin : begin + len(_EDGES)] = False
            edges = begin + first_edge[None, :, None] + sources[:, cell]  # [n, nodes, 2]
            rows = np.arange(n)[:, None, None]
            present[rows, edges] = True
            labels[rows, edges] = operations[:, cell] + 2
        wires = _wires()
        return select_batch(labels, present, wires, present[:, wires[0]] & present[:, wires[1]])


def darts() -> DARTSSpace:
    """The DARTS space, which is that of NAS-Bench-301."""
    return DARTSSpace()


def decoded(codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Predecessors and operations, ``[n, cells, nodes, 2]`` each, of checked codes; lower source first."""
    entries = codes.reshape(-1, len(CELLS), NODES, 3).astype(np.int64)
    sources = np.stack([np.array(pairs)[entries[:, :, node, 0]] for node, pairs in enumerate(PAIRS)], axis=2)
    return sources, entries[..., 1:]


def _node_values(codes: Codes) -> list[Hashes]:
    """Per cell ``[n, 6]`` hashes of the values of its inputs and nodes: equal values, equal hashes.

    A value is a sum of terms with multiplicities; its hash is the sum of the terms' hashes modulo 2^64.
    """
    sources, operations = decoded(codes)
    found = []
    rows = np.arange(len(codes))
    for cell in range(len(CELLS)):
        values = np.zeros((len(codes), INPUTS + NODES), dtype=np.uint64)
        values[:, :INPUTS] = _mixed(np.arange(1, INPUTS + 1, dtype=np.uint64))
        for node in range(NODES):
            terms = _terms(values[:, : node + INPUTS], cell, node)
            for side in range(2):
                values[:, node + INPUTS] += terms[
                    rows, sources[:, cell, node, side], operations[:, cell, node, side]
                ]
        found.append(values)
    return found


def _terms(values: Hashes, cell: int, node: int) -> Hashes:
    """``[n, sources, 7]``: what each operation of a node adds to it, from the values of its predecessors.

    Weights belong to the node: the same convolution of the same value at another node is another term.
    """
    kinds = np.arange(1, len(OPERATIONS) + 1, dtype=np.uint64)
    owner = np.where(_WEIGHTED, np.uint64((node + 1) << 8), np.uint64(0))
    terms = _mixed(_mixed(values)[:, :, None] + (kinds + owner))
    skips = slice(INPUTS, None) if cell == _REDUCTION else slice(None)
    terms[:, skips, _SKIP] = values[:, skips]
    if cell == _REDUCTION:  # stride 2: a factorised reduction, with weights
        terms[:, :INPUTS, _SKIP] = _mixed(
            _mixed(values[:, :INPUTS]) + (kinds[_SKIP] + np.uint64((node + 1) << 8))
        )
    return terms


def _mixed(numbers: Hashes) -> Hashes:
    """The step of splitmix64 (Steele, Lea, Flood 2014) on each number: a bijection that scatters bits."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def _slots(cell: int) -> tuple[int, int, int, int]:
    """Where a cell's inputs, edges, nodes and output begin among the slots of a graph."""
    inputs = 1 + cell * _CELL_SLOTS
    edges = inputs + INPUTS
    nodes = edges + len(_EDGES)
    return inputs, edges, nodes, nodes + NODES


def _wires() -> NDArray[np.int64]:
    """``[2, T]`` all possible wires between slots."""
    wires = []
    earlier = [0, 0]  # the slots that the two inputs of the next cell come from
    for cell in range(len(CELLS)):
        inputs, edges, nodes, output = _slots(cell)
        wires += [(slot, inputs + place) for place, slot in enumerate(earlier)]
        for edge, (source, node) in enumerate(_EDGES):
            start = inputs + source if source < INPUTS else nodes + source - INPUTS
            wires += [(start, edges + edge), (edges + edge, nodes + node)]
        wires += [(nodes + node, output) for node in range(NODES)]
        earlier = [earlier[1], output]
    return np.array(wires, dtype=np.int64).T
