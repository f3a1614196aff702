"""Free topologies (FX-DARTS): every cell its own, any number of operators per node, a bit for each.

The space is as the abstract of arXiv 2504.20079 has it: cells do not share a topology, and a node keeps any
number of operators, several of one predecessor too. The rest follows DARTS: a cell has two inputs, the
outputs of the two cells before it (the stem where there are none), and its output concatenates its nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes, Keys, Rule
from crlso.spaces import codes as code_tools
from crlso.spaces.batching import select_batch
from crlso.spaces.declared import declaration
from crlso.spaces.genotype import OPERATIONS
from crlso.spaces.roles import check_operations
from crlso.spaces.texts import shown

if TYPE_CHECKING:
    from torch_geometric.data import Batch

_INPUTS = 2
_CHUNK = 1024  # codes per chunk of an enumeration: they are long


@final
class FreeTopologySpace:
    """Cells x nodes x predecessors x operations, one bit each; every node keeps one operator or more.

    The text form writes a cell as ``|op~p|op~p|+|op~p|``, one group per node with its operators by
    predecessor, and the cells after one another with ``/`` between. Predecessors 0 and 1 are the outputs of
    the cell before the previous and of the previous cell, 2, 3, ... the nodes of the cell itself.

    By the rule ``exact`` two codes are the same network if they differ in cells only whose output nothing
    uses. Renumberings of nodes are not identified: they permute the channels of a cell's output.

    Args:
        name: What the space is called in messages and files.
        cells: Number of cells.
        nodes: Number of nodes of a cell.
        operations: Operation names.
    """

    def __init__(self, name: str, *, cells: int, nodes: int, operations: Sequence[str] = OPERATIONS) -> None:
        if cells < 1 or nodes < 1:
            raise UserError(f"space {name!r}: cells and nodes must be 1 or more, got {cells} and {nodes}")
        self._name, self._cells, self._nodes = name, cells, nodes
        self._operations = check_operations(operations)
        slots = [
            (cell, node, source, operation)
            for cell in range(cells)
            for node in range(nodes)
            for source in range(node + _INPUTS)
            for operation in range(len(operations))
        ]
        self._cell, self._node, self._source, self._operation = np.array(slots, dtype=np.int64).T
        self._group = self._cell * nodes + self._node  # the node of each bit, counted through all cells
        self._starts = np.flatnonzero(np.diff(self._group, prepend=-1))  # first bit of each node

    @property
    def name(self) -> str:
        """What the space is called."""
        return self._name

    @property
    def operations(self) -> tuple[str, ...]:
        """Operation names."""
        return self._operations

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self._cells

    @property
    def nodes(self) -> int:
        """Number of nodes of a cell."""
        return self._nodes

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(source, target) of every edge of a cell, by target; states 0 and 1 are inputs, then come nodes.

        A code is ``[cells, edges, operations]`` in that order.
        """
        targets = range(_INPUTS, _INPUTS + self._nodes)
        return tuple((source, target) for target in targets for source in range(target))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """2 for each possible operator."""
        return (2,) * len(self._group)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """``input``, ``output`` (of a node, a cell, the network), then the operations."""
        return ("input", "output", *self._operations)

    @property
    def positions(self) -> int:
        """The stem, the nodes, the cells' outputs, the possible operators."""
        return 1 + self._cells * (self._nodes + 1) + len(self._group)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of sameness that it has; there is no published one."""
        return ("code", "exact")

    @property
    def size(self) -> int:
        """Number of bit patterns; those with an empty node are not valid."""
        return code_tools.count(self.cardinalities)

    def to_dict(self) -> dict[str, Any]:
        """The declaration as plain data, as it stands in YAML; :func:`free_topology_from_dict` reads it."""
        return {
            "space": "free_topology",
            "name": self._name,
            "cells": self._cells,
            "nodes": self._nodes,
            "operations": list(self._operations),
        }

    def __repr__(self) -> str:
        return f"FreeTopologySpace({self._name!r}, cells={self._cells}, nodes={self._nodes})"

    def parse(self, text: str) -> Code:
        """Code of a text ``|op~p|...|+|op~p|.../|...``.

        Raises:
            ArchitectureError: The message has the position of the first wrong part (from 0) and what is
            allowed.
        """
        if not isinstance(text, str):
            raise ArchitectureError(f"an architecture of {self._name!r} is a text, got {type(text).__name__}")
        code = np.zeros(len(self._group), dtype=CODE_DTYPE)
        at = 0
        cells = text.split("/")
        for cell, cell_text in enumerate(cells):
            groups = cell_text.split("+")
            if cell >= self._cells or len(groups) != self._nodes:
                expected = (
                    f"{self._cells} cells of {self._nodes} nodes, {self._cells * self._nodes} groups in all"
                )
                raise ArchitectureError(
                    f"character {at}: expected {expected}, "
                    f"got {len(groups)} groups in cell {cell} of {len(cells)}"
                )
            for node, group in enumerate(groups):
                self._parse_group(group, at, cell, node, code)
                at += len(group) + 1
        if len(cells) < self._cells:
            raise ArchitectureError(f"character {len(text)}: expected {self._cells} cells, got {len(cells)}")
        return code

    def _parse_group(self, group: str, at: int, cell: int, node: int, code: Code) -> None:
        if len(group) < 2 or group[0] != "|" or group[-1] != "|":
            raise ArchitectureError(
                f"character {at}: expected |operation~predecessor|..., got {shown(group)}"
            )
        at += 1
        for part in group[1:-1].split("|"):
            name, _, source = part.partition("~")
            if name not in self._operations:
                raise ArchitectureError(
                    f"character {at}: expected one of {', '.join(self._operations)}, got {shown(name)}"
                )
            allowed = range(node + _INPUTS)
            if source not in map(str, allowed):
                where = at + len(name) + 1
                raise ArchitectureError(
                    f"character {where}: expected a predecessor from 0 to {allowed[-1]}, got {shown(source)}"
                )
            offset = int(source) * len(self._operations) + self._operations.index(name)
            bit = self._starts[cell * self._nodes + node] + offset
            if code[bit]:
                raise ArchitectureError(
                    f"character {at}: {part!r} stands twice in node {node} of cell {cell}"
                )
            code[bit] = 1
            at += len(part) + 1

    def format(self, code: ArrayLike) -> str:
        """The operators of each node by predecessor, then in the order of the operations."""
        row = code_tools.as_code(code, self.cardinalities)
        groups: list[list[str]] = [[] for _ in range(self._cells * self._nodes)]
        for bit in np.flatnonzero(row):
            groups[self._group[bit]].append(f"{self._operations[self._operation[bit]]}~{self._source[bit]}")
        texts = [f"|{'|'.join(group)}|" for group in groups]
        cells = (texts[cell * self._nodes : (cell + 1) * self._nodes] for cell in range(self._cells))
        return "/".join("+".join(cell) for cell in cells)

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]``: per node, the operator count uniform from 1 to all, then a uniform subset of that size.

        (Bits drawn one by one would nearly always give half of the operators.)
        """
        if n < 0:
            raise UserError(f"the number of samples must be 0 or more, got {n}")
        codes = np.zeros((n, len(self._group)), dtype=CODE_DTYPE)
        for bits in np.split(np.arange(len(self._group)), self._starts[1:]):
            order = rng.random((n, len(bits))).argsort(axis=1).argsort(axis=1)
            counts = rng.integers(1, len(bits) + 1, size=(n, 1))
            codes[:, bits] = order < counts
        return codes

    def enumerate(self) -> Iterator[Codes]:
        """All valid codes in lexicographic order, in chunks; astronomically many but for tiny instances."""
        widths = np.diff([*self._starts, len(self._group)]).tolist()
        values = [1] * len(widths)  # the bits of each node as a number, never 0
        block: list[list[int]] = []
        while values:
            block.append([int(bit) for v, w in zip(values, widths, strict=True) for bit in f"{v:0{w}b}"])
            values = _next(values, widths)
            if len(block) == _CHUNK or not values:
                yield np.array(block, dtype=CODE_DTYPE)
                block = []

    def neighbors(self, code: ArrayLike) -> Codes:
        """``[m, d]``: one operator more or less, as far as every node keeps one."""
        edits = code_tools.one_edit(code_tools.as_code(code, self.cardinalities), self.cardinalities)
        return edits[self.is_valid(edits)]

    def is_valid(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: entries are bits, and every node has one operator or more."""
        matrix = code_tools.as_matrix(codes, self.cardinalities)
        valid = code_tools.in_range(matrix, self.cardinalities)
        valid[valid] = self._counts(matrix[valid]).all(axis=1)
        return valid

    def repair(self, codes: ArrayLike) -> Codes:
        """``[n, d]``: an empty node gets its first operator (first predecessor, first operation)."""
        repaired = code_tools.as_codes(codes, self.cardinalities).copy()
        row, node = np.nonzero(self._counts(repaired) == 0)
        repaired[row, self._starts[node]] = 1
        return repaired

    def class_keys(self, codes: ArrayLike, rule: Rule = "exact") -> Keys:
        """``[n]``: keys of the canonical codes."""
        return code_tools.code_keys(self.canonical(codes, rule), self.cardinalities)

    def canonical(self, codes: ArrayLike, rule: Rule = "exact") -> Codes:
        """``[n, d]``: cells whose output nothing uses have the first operator only in each node."""
        code_tools.check_rule(rule, self._name, self.rules)
        checked = code_tools.as_codes(codes, self.cardinalities)
        if rule == "code":
            return checked
        plain = np.zeros(len(self._group), dtype=CODE_DTYPE)
        plain[self._starts] = 1
        return np.where(self.used(checked)[:, self._cell], checked, plain).astype(CODE_DTYPE)

    def used(self, codes: ArrayLike, outputs: Sequence[int] = ()) -> BoolArray:
        """``[n, cells]``: whether the network's output, that of the last cell, depends on each cell.

        Args:
            codes: ``[n, d]``.
            outputs: Cells whose output is wanted too.
        """
        checked = code_tools.as_codes(codes, self.cardinalities)
        used = np.zeros((len(checked), self._cells), dtype=np.bool_)
        used[:, [-1, *outputs]] = True
        for cell in range(self._cells - 1, 0, -1):
            for source in range(_INPUTS):
                earlier = cell - _INPUTS + source
                if earlier >= 0:
                    taken = checked[:, (self._cell == cell) & (self._source == source)].any(axis=1)
                    used[:, earlier] |= used[:, cell] & taken
        return used

    def graphs(self, codes: ArrayLike) -> Batch:
        """The stem (``input``), every operator, and an ``output`` node for each node and cell."""
        checked = code_tools.as_codes(codes, self.cardinalities)
        n = len(checked)
        fixed = 1 + self._cells * (self._nodes + 1)
        labels = np.concatenate([[0], np.ones(fixed - 1, dtype=np.int64), self._operation + 2])
        present = np.concatenate([np.ones((n, fixed), dtype=np.bool_), checked > 0], axis=1)
        wires = self._wires(fixed)
        connected = present[:, wires[0]] & present[:, wires[1]]
        return select_batch(np.tile(labels, (n, 1)), present, wires, connected)

    def _wires(self, fixed: int) -> NDArray[np.int64]:
        """``[2, T]`` slots: the stem 0, the nodes, the cells' outputs, then an operator for each bit."""
        operators = fixed + np.arange(len(self._group))
        outputs = 1 + self._cells * self._nodes + np.arange(self._cells)
        earlier = self._cell - _INPUTS + self._source  # cell that predecessors 0 and 1 stand for
        outside = np.where(earlier >= 0, outputs[np.maximum(earlier, 0) % self._cells], 0)
        inside = 1 + self._cell * self._nodes + self._source - _INPUTS
        into = np.stack([np.where(self._source < _INPUTS, outside, inside), operators])
        out = np.stack([operators, 1 + self._group])
        nodes = 1 + np.arange(self._cells * self._nodes)
        collect = np.stack([nodes, np.repeat(outputs, self._nodes)])
        return np.concatenate([into, out, collect], axis=1)

    def _counts(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        """``[n, cells * nodes]`` operators per node."""
        return np.add.reduceat(codes.astype(np.int64), self._starts, axis=1)


def _next(values: Sequence[int], widths: Sequence[int]) -> list[int]:
    """The digits after ``values``; digit i runs from 1 to ``2 ** widths[i] - 1``; empty after the last."""
    following = list(values)
    for place in range(len(following) - 1, -1, -1):
        if following[place] < 2 ** widths[place] - 1:
            following[place] += 1
            return following
        following[place] = 1
    return []


def fxdarts() -> FreeTopologySpace:
    """The FX-DARTS space of CIFAR-10: 8 cells of 4 nodes, DARTS's 7 operations, 784 bits."""
    return FreeTopologySpace("fxdarts", cells=8, nodes=4)


def free_topology_from_dict(data: Mapping[str, Any]) -> FreeTopologySpace:
    """The space of a declaration ``{space: free_topology, name: n, cells: 8, nodes: 4, operations: [...]}``.

    Raises:
        UserError: A key is missing, unknown, or has a value of the wrong kind.
    """
    fields = declaration(data, required=("name", "cells", "nodes", "operations"))
    return FreeTopologySpace(
        fields.text("name"),
        cells=fields.whole("cells"),
        nodes=fields.whole("nodes"),
        operations=fields.items("operations"),
    )
