"""The two published forms of a DARTS architecture, the genotype text and NAS-Bench-301's ConfigSpace mapping.

A code has three entries for each of 2 cells x 4 nodes (the normal cell first): which pair of predecessors
the node has, the operation on the lower one, the operation on the higher one. Predecessors 0 and 1 are the
outputs of the cell before the previous and of the previous cell, 2 to 5 the nodes of the cell itself.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike

from crlso.errors import ArchitectureError
from crlso.protocols import CODE_DTYPE, Code
from crlso.spaces import codes as code_tools
from crlso.spaces.texts import shown

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""In NAS-Bench-301's order; DARTS's ``none`` is not among them, since a genotype never has it."""

CELLS = ("normal", "reduce")
INPUTS = 2
NODES = 4
CONCAT = tuple(range(INPUTS, INPUTS + NODES))
"""The nodes whose concatenation is the output of a cell: all of them."""

PAIRS = tuple(tuple(itertools.combinations(range(node + INPUTS), 2)) for node in range(NODES))
"""Per node: its possible pairs of predecessors, lower one first, in lexicographic order: 1, 3, 6, 10."""

CARDINALITIES = tuple(
    cardinality for pairs in PAIRS for cardinality in (len(pairs), len(OPERATIONS), len(OPERATIONS))
) * len(CELLS)

PREFIX = "NetworkSelectorDatasetInfo:darts:"
"""What the keys of NAS-Bench-301's architectures begin with."""

Pair: TypeAlias = tuple[str, int]
"""Operation and predecessor."""

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+|'[^'\n]*'|\"[^\"\n]*\"|[()\[\],=]")
_CLOSING = {"[": "]", "(": ")"}
_FIELDS = tuple(field for cell in CELLS for field in (cell, f"{cell}_concat"))


def parse_genotype(text: str) -> Code:
    """Code of a text ``Genotype(normal=[...], normal_concat=[2, 3, 4, 5], reduce=[...], reduce_concat=...)``.

    A cell is a list of 8 pairs ``('operation', predecessor)``, two for each node; the order of the two does
    not matter. ``range(2, 6)``, tuples, double quotes, white space and another order of the four fields do
    as well. Nothing is evaluated.

    Raises:
        ArchitectureError: The message has the position of the first wrong part (from 0) and what is allowed.
    """
    reader = _Reader(text)
    reader.expect("Genotype", "at the start")
    reader.expect("(", "after Genotype")
    cells: dict[str, Code] = {}
    missing = list(_FIELDS)
    while missing:
        field = reader.one_of(missing, "a field")
        missing.remove(field)
        reader.expect("=", f"after {field}")
        if field in CELLS:
            cells[field] = reader.cell(field)
        else:
            reader.concat(field)
        if missing or reader.sees(","):
            reader.expect(",", f"after {field}")
    reader.expect(")", "after the four fields")
    reader.end()
    return np.concatenate([cells[cell] for cell in CELLS])


def genotype_from_cells(normal: str, reduce: str) -> Code:
    """Code of two texts of cells, each a list of 8 pairs ``('operation', predecessor)``.

    Raises:
        ArchitectureError: As :func:`parse_genotype`; the message names the cell.
    """
    halves = []
    for name, text in zip(CELLS, (normal, reduce), strict=True):
        reader = _Reader(text, f"{name} cell, ")
        halves.append(reader.cell(name))
        reader.end()
    return np.concatenate(halves)


def cells_from_code(code: ArrayLike) -> tuple[list[Pair], list[Pair]]:
    """The 8 pairs (operation, predecessor) of the normal and of the reduction cell, by node, then source."""
    row = code_tools.as_code(code, CARDINALITIES).reshape(len(CELLS), NODES, 3).tolist()
    normal, reduce = (
        [
            (OPERATIONS[operation], source)
            for node, (pair, *operations) in enumerate(cell)
            for operation, source in zip(operations, PAIRS[node][pair], strict=True)
        ]
        for cell in row
    )
    return normal, reduce


def format_genotype(code: ArrayLike) -> str:
    """``Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=..., ...)``."""
    fields = (
        f"{name}={cell}, {name}_concat={list(CONCAT)}"
        for name, cell in zip(CELLS, cells_from_code(code), strict=True)
    )
    return f"Genotype({', '.join(fields)})"


def to_configspace(code: ArrayLike) -> dict[str, str]:
    """NAS-Bench-301's form: its keys for the operations of used edges and the inputs of nodes 3, 4 and 5.

    ``...:edge_normal_K`` is the operation on edge K, the edges of a cell being counted by node, then source;
    ``...:inputs_node_normal_N`` is ``'i_j'``, the two predecessors of node N. (Node 2 has no choice.)
    """
    config = {}
    for name, cell in zip(CELLS, cells_from_code(code), strict=True):
        for node in range(NODES):
            pairs = cell[2 * node : 2 * node + 2]
            for operation, source in pairs:
                config[_edge(name, node, source)] = operation
            if node:
                config[_inputs(name, node)] = "_".join(str(source) for _, source in pairs)
    return config


def from_configspace(config: Mapping[str, str]) -> Code:
    """Code of an architecture in NAS-Bench-301's form; keys that do not describe cells are passed over.

    Raises:
        ArchitectureError: A key of the cells is missing, has a value that is not allowed, or is not active
            (an edge whose source is none of the node's inputs).
    """
    if not isinstance(config, Mapping):
        raise ArchitectureError(f"a ConfigSpace form is a mapping, got {type(config).__name__}")
    left = {key for key in config if str(key).startswith((f"{PREFIX}edge_", f"{PREFIX}inputs_node_"))}
    code: list[int] = []
    for name in CELLS:
        for node, pairs in enumerate(PAIRS):
            texts = [f"{low}_{high}" for low, high in pairs]
            key = _inputs(name, node)
            chosen = _value(config, key, texts) if node else 0
            left.discard(key if node else "")
            code.append(chosen)
            for source in pairs[chosen]:
                key = _edge(name, node, source)
                code.append(_value(config, key, OPERATIONS))
                left.discard(key)
    if left:
        raise ArchitectureError(
            f"{min(map(str, left))!r} is not part of this architecture: "
            "edges stand only for the inputs that inputs_node_... names, and node 2 has no inputs_node_..."
        )
    return np.array(code, dtype=CODE_DTYPE)


def _edge(cell: str, node: int, source: int) -> str:
    first = sum(earlier + INPUTS for earlier in range(node))
    return f"{PREFIX}edge_{cell}_{first + source}"


def _inputs(cell: str, node: int) -> str:
    return f"{PREFIX}inputs_node_{cell}_{node + INPUTS}"


def _value(config: Mapping[str, str], key: str, allowed: Sequence[str]) -> int:
    if key not in config:
        raise ArchitectureError(f"{key!r} is missing; allowed: {', '.join(allowed)}")
    if config[key] not in allowed:
        raise ArchitectureError(f"{key!r} is {shown(config[key])}; allowed: {', '.join(allowed)}")
    return allowed.index(config[key])


@final
class _Reader:
    """One pass over a text, token by token, with the position for messages."""

    def __init__(self, text: str, what: str = "") -> None:
        if not isinstance(text, str):
            raise ArchitectureError(
                f"{what}a genotype (architecture of 'darts') is a text, got {type(text).__name__}"
            )
        self._text, self._what = text, what
        self._at = self._next = 0
        self._token = ""
        self._advance()

    def _advance(self) -> None:
        at = self._next
        while at < len(self._text) and self._text[at].isspace():
            at += 1
        found = _TOKEN.match(self._text, at)
        self._at, self._token = at, found[0] if found else self._text[at : at + 1]
        self._next = at + len(self._token)

    def sees(self, token: str) -> bool:
        return self._token == token

    def expect(self, token: str, where: str) -> None:
        if self._token != token:
            self._fail(f"expected {token!r} {where}, got {self._here()}")
        self._advance()

    def one_of(self, allowed: Sequence[str], what: str) -> str:
        token = self._token
        if token not in allowed:
            self._fail(f"expected {what}, one of {', '.join(allowed)}, got {self._here()}")
        self._advance()
        return token

    def end(self) -> None:
        if self._token:
            self._fail(f"expected the end of the text, got {self._here()}")

    def cell(self, name: str) -> Code:
        """The 12 entries of a cell: ``[('op', 0), ('op', 1), ...]``."""
        closing = self._open(f"before the pairs of the {name} cell")
        entries: list[int] = []
        for node, pairs in enumerate(PAIRS):
            where = f"node {node + INPUTS} of the {name} cell"
            start = self._at
            first = self._pair(node, where)
            self.expect(",", f"and a second pair of {where}")
            second = self._pair(node, where)
            (low, low_operation), (high, high_operation) = sorted([first, second])
            if low == high:
                self._fail(
                    f"{where} takes both inputs from {low}; an architecture of 'darts' takes two different "
                    "ones, as in NAS-Bench-301",
                    start,
                )
            entries += [pairs.index((low, high)), low_operation, high_operation]
            if node + 1 < NODES:
                self.expect(",", f"after {where}")
            elif self.sees(","):
                self._advance()
        self.expect(closing, f"after the {2 * NODES} pairs of the {name} cell")
        return np.array(entries, dtype=CODE_DTYPE)

    def concat(self, field: str) -> None:
        """``[2, 3, 4, 5]``, ``(2, 3, 4, 5)`` or ``range(2, 6)``; nothing else is an architecture here."""
        start = self._at
        if self.sees("range"):
            self._advance()
            numbers = self._numbers(f"after {field}=range")
            given = tuple(range(*numbers)) if len(numbers) == 2 else ()
        else:
            given = self._numbers(f"after {field}=")
        if given != CONCAT:
            self._fail(
                f"{field} must be {list(CONCAT)} (or range(2, 6)): the output of a cell is all of its nodes",
                start,
            )

    def _numbers(self, where: str) -> tuple[int, ...]:
        closing = self._open(where)
        numbers: list[int] = []
        while not self.sees(closing):
            numbers.append(self._number(max(CONCAT) + 1, "a node"))
            if not self.sees(closing):
                self.expect(",", f"or {closing!r} after a node")
        self._advance()
        return tuple(numbers)

    def _pair(self, node: int, where: str) -> tuple[int, int]:
        """Predecessor and operation of ``('op', predecessor)``."""
        closing = self._open(f"before an operation and a predecessor of {where}")
        name = self._token[1:-1]
        if self._token[:1] not in ("'", '"') or name not in OPERATIONS:
            self._fail(f"expected one of {', '.join(OPERATIONS)} in quotes, got {self._here()}")
        self._advance()
        self.expect(",", "after the operation")
        source = self._number(node + INPUTS - 1, f"a predecessor of {where}")
        self.expect(closing, f"after the predecessor {source}")
        return source, OPERATIONS.index(name)

    def _number(self, largest: int, what: str) -> int:
        if self._token not in map(str, range(largest + 1)):
            self._fail(f"expected {what}, 0 to {largest}, got {self._here()}")
        value = int(self._token)
        self._advance()
        return value

    def _open(self, where: str) -> str:
        token = self._token
        if token not in _CLOSING:
            self._fail(f"expected '[' or '(' {where}, got {self._here()}")
        self._advance()
        return _CLOSING[token]

    def _here(self) -> str:
        return shown(self._token) if self._token else "the end of the text"

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        where = self._at if at is None else at
        raise ArchitectureError(f"{self._what}character {where} of {shown(self._text)}: {reason}")
