"""Cells with an operation on every edge of a complete directed acyclic graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import BoolArray, Code, Codes, Keys, Rule
from crlso.spaces import codes as code_tools
from crlso.spaces.batching import make_batch
from crlso.spaces.canonical import CellClasses
from crlso.spaces.declared import declaration
from crlso.spaces.roles import Roles, check_operations
from crlso.spaces.texts import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch_geometric.data import Batch

MAX_NODES = 16


@final
class EdgeCellSpace:
    """Complete DAG on ``nodes`` nodes, one operation per edge; NAS-Bench-201's cell is one instance.

    Node 0 is the input, the last node the output; a node is the sum of its incoming edges. A code has one
    entry per edge, an index into :attr:`operations`, with the edges in the order of the NAS-Bench-201 text:
    (0,1), (0,2), (1,2), (0,3), (1,3), (2,3), ... Every code is valid.

    Args:
        name: What the space is called in messages and files.
        nodes: Number of nodes, 2 to 16.
        operations: Operation names; an entry of a code is an index into them.
        roles: Which operations are zero, identity or free of weights; by default by their usual names.

    Example:
        >>> space = EdgeCellSpace("toy", nodes=3, operations=["none", "skip_connect", "conv"])
        >>> space.parse("|conv~0|+|none~0|skip_connect~1|").tolist()
        [2, 0, 1]
        >>> space.format(np.array([2, 0, 1]))
        '|conv~0|+|none~0|skip_connect~1|'
    """

    def __init__(
        self, name: str, *, nodes: int, operations: Sequence[str], roles: Roles | None = None
    ) -> None:
        if not 2 <= nodes <= MAX_NODES:
            raise UserError(f"space {name!r}: nodes must lie between 2 and {MAX_NODES}, got {nodes}")
        self._name = name
        self._nodes = nodes
        self._operations = check_operations(operations)
        self._roles = Roles.default(self._operations) if roles is None else roles
        self._roles.check(self._operations)
        self._edges = tuple((source, node) for node in range(1, nodes) for source in range(node))
        self._classes = CellClasses(self._edges, self._operations, self._roles)

    @property
    def name(self) -> str:
        """What the space is called."""
        return self._name

    @property
    def nodes(self) -> int:
        """Number of nodes of the cell."""
        return self._nodes

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """``(source, node)`` of each entry of a code."""
        return self._edges

    @property
    def operations(self) -> tuple[str, ...]:
        """Operation names, in the order of the code's values."""
        return self._operations

    @property
    def roles(self) -> Roles:
        """Which operations are zero, identity or free of weights."""
        return self._roles

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of operations, once per edge."""
        return (len(self._operations),) * len(self._edges)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """``input``, ``output``, then the operations."""
        return ("input", "output", *self._operations)

    @property
    def positions(self) -> int:
        """Input, one per edge, output."""
        return len(self._edges) + 2

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All three rules of sameness, see :mod:`crlso.spaces.canonical`."""
        return ("code", "exact", "official")

    @property
    def size(self) -> int:
        """Number of codes, all of them valid."""
        return code_tools.count(self.cardinalities)

    def __repr__(self) -> str:
        return f"EdgeCellSpace({self._name!r}, nodes={self._nodes}, operations={list(self._operations)})"

    def to_dict(self) -> dict[str, Any]:
        """The declaration as plain data, as it stands in YAML; :func:`edge_cell_from_dict` reads it."""
        roles = self._roles
        return {
            "space": "edge_cell",
            "name": self._name,
            "nodes": self._nodes,
            "operations": list(self._operations),
            "roles": {"zero": list(roles.zero), "identity": list(roles.identity), "pure": list(roles.pure)},
        }

    def parse(self, text: str) -> Code:
        """Code of a text such as ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

        Raises:
            ArchitectureError: The message has the position of the first wrong character (from 0) and what may
                stand there.
        """
        if not isinstance(text, str):
            raise ArchitectureError(f"an architecture of {self._name!r} is a text, got {type(text).__name__}")
        start = len(text) - len(text.lstrip())
        return _Reader(text.rstrip(), start, self).cell()

    def format(self, code: ArrayLike) -> str:
        """``|op~0|+|op~0|op~1|+...``: the edges into node 1, node 2, ..., each with its source."""
        row = code_tools.as_code(code, self.cardinalities).tolist()
        texts = [
            f"{self._operations[value]}~{source}" for value, (source, _) in zip(row, self._edges, strict=True)
        ]
        groups = (texts[node * (node - 1) // 2 : node * (node + 1) // 2] for node in range(1, self._nodes))
        return "+".join(f"|{'|'.join(group)}|" for group in groups)

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]``: uniform over all codes, with replacement."""
        return code_tools.sample_uniform(n, self.cardinalities, rng)

    def enumerate(self) -> Iterator[Codes]:
        """All codes in lexicographic order, in chunks."""
        return code_tools.enumerate_codes(self.cardinalities)

    def neighbors(self, code: ArrayLike) -> Codes:
        """``[edges * (operations - 1), d]``: one edge with another operation, in a fixed order."""
        return code_tools.one_edit(code_tools.as_code(code, self.cardinalities), self.cardinalities)

    def is_valid(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: whether all entries are operation indices; nothing else can be wrong."""
        matrix = code_tools.as_matrix(codes, self.cardinalities)
        return code_tools.in_range(matrix, self.cardinalities)

    def repair(self, codes: ArrayLike) -> Codes:
        """The codes themselves: every code is valid."""
        return code_tools.as_codes(codes, self.cardinalities)

    def connected(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: whether a path without zero operations leads from input to output."""
        return self._classes.connected(code_tools.as_codes(codes, self.cardinalities))

    def class_keys(self, codes: ArrayLike, rule: Rule = "exact") -> Keys:
        """``[n]`` keys of the classes of equal networks; rules as in :mod:`crlso.spaces.canonical`."""
        code_tools.check_rule(rule, self._name, self.rules)
        return self._classes.keys(code_tools.as_codes(codes, self.cardinalities), rule)

    def official_names(self, codes: ArrayLike) -> list[str]:
        """``[n]`` texts of the rule ``official``: what ``to_unique_str(consider_zero=True)`` gives."""
        return self._classes.official_names(code_tools.as_codes(codes, self.cardinalities))

    def canonical(self, codes: ArrayLike, rule: Rule = "exact") -> Codes:
        """``[n, d]``: the smallest code, in lexicographic order, of each row's class.

        Raises:
            UserError: More than 100,000 codes: use :meth:`class_keys`.
        """
        code_tools.check_rule(rule, self._name, self.rules)
        checked = code_tools.as_codes(codes, self.cardinalities)
        if rule == "code":
            return checked
        return self._classes.smallest(checked, rule, self._name)

    def graphs(self, codes: ArrayLike) -> Batch:
        """Operations on nodes: input, one node per edge of the cell, output; ``edges + 2`` nodes per graph.

        Node (i, j) feeds all nodes (j, k); the input feeds all (0, j); all (i, last) feed the output. Zero
        operations keep their node, so that graphs are one-to-one on codes.
        """
        checked = code_tools.as_codes(codes, self.cardinalities)
        n, d = checked.shape
        x = np.empty((n, d + 2), dtype=np.int64)
        x[:, 0], x[:, 1:-1], x[:, -1] = 0, checked.astype(np.int64) + 2, 1
        wires = self._wires()
        return make_batch(
            x.reshape(-1),
            np.tile(np.arange(d + 2), n),
            np.tile(wires, n),
            np.full(n, d + 2),
            np.full(n, wires.shape[1]),
        )

    def _wires(self) -> NDArray[np.int64]:
        """``[2, E]`` data flow between the slots of one graph, the same for all codes."""
        slot = {edge: index + 1 for index, edge in enumerate(self._edges)}
        last = self._nodes - 1
        pairs = [(0, slot[edge]) for edge in self._edges if edge[0] == 0]
        pairs += [
            (slot[first], slot[second])
            for first in self._edges
            for second in self._edges
            if first[1] == second[0]
        ]
        pairs += [(slot[edge], len(slot) + 1) for edge in self._edges if edge[1] == last]
        return np.array(pairs, dtype=np.int64).T


class _Reader:
    """One pass over the text of a cell, with the position for messages."""

    def __init__(self, text: str, start: int, space: EdgeCellSpace) -> None:
        self._text, self._at, self._space = text, start, space

    def cell(self) -> Code:
        code = []
        for node in range(1, self._space.nodes):
            if node > 1:
                self._expect("+", f"before the edges into node {node}")
            self._expect("|", f"before the edges into node {node}")
            for source in range(node):
                code.append(self._operation())
                self._source(source, node)
                self._expect("|", f"after edge {source}->{node}")
        if self._at < len(self._text):
            self._fail(f"the end of the text (a cell of {self._space.nodes} nodes is complete)")
        return np.array(code, dtype=np.int16)

    def _expect(self, mark: str, where: str) -> None:
        if not self._text.startswith(mark, self._at):
            self._fail(f"{mark!r} {where}")
        self._at += len(mark)

    def _operation(self) -> int:
        stop = min(
            (at for mark in "~|+" if (at := self._text.find(mark, self._at)) >= 0), default=len(self._text)
        )
        name = self._text[self._at : stop]
        if name not in self._space.operations:
            found = shown(name) if name else self._here()
            self._fail(f"one of {', '.join(self._space.operations)}", found)
        self._at = stop
        return self._space.operations.index(name)

    def _source(self, source: int, node: int) -> None:
        self._expect("~", f"and the source node {source}")
        digits = 0
        while self._text[self._at + digits : self._at + digits + 1].isdigit():
            digits += 1
        if self._text[self._at : self._at + digits] != str(source):
            given = self._text[self._at : self._at + digits]
            self._fail(f"source node {source} (edge {source}->{node})", shown(given) if given else None)
        self._at += digits

    def _here(self) -> str:
        return repr(self._text[self._at]) if self._at < len(self._text) else "the end of the text"

    def _fail(self, allowed: str, found: str | None = None) -> None:
        raise ArchitectureError(
            f"character {self._at} of {shown(self._text)}: expected {allowed}, got {found or self._here()}"
        )


def edge_cell_from_dict(data: Mapping[str, Any]) -> EdgeCellSpace:
    """The space of a declaration ``{space: edge_cell, name: n, nodes: 3, operations: [...], roles: {...}}``.

    ``roles`` is optional, and so is each of its lists ``zero``, ``identity`` and ``pure``; a list that is
    left out goes by the usual names (:meth:`Roles.default`).

    Raises:
        UserError: A key is missing, unknown, or has a value of the wrong kind.
    """
    fields = declaration(data, required=("name", "nodes", "operations"), optional=("roles",))
    return EdgeCellSpace(
        fields.text("name"),
        nodes=fields.whole("nodes"),
        operations=check_operations(fields.items("operations")),
        roles=fields.roles("roles", fields.items("operations")),
    )
