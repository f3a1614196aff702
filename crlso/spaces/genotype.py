"""The two published forms of a DARTS architecture, the genotype text and NAS-Bench-301's ConfigSpace mapping.

A code has three entries for each of 2 cells x 4 nodes (the normal cell first): which pair of predecessors
the node has, the operation on the lower one, the operation on the higher one. Predecessors 0 and 1 are the
outputs of the cell before the previous and of the previous cell, 2 to 5 the nodes of the cell itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from crlso.errors import ArchitectureError
from crlso.protocols import CODE_DTYPE, Code
from crlso.spaces import codes as code_tools
from crlso.spaces.texts import shown
from crlso.spaces.tokens import Tokens

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

_FIELDS = tuple(field for cell in CELLS for field in (cell, f"{cell}_concat"))


def parse_genotype(text: str) -> Code:
    """Code of a text ``Genotype(normal=[...], normal_concat=[2, 3, 4, 5], reduce=[...], reduce_concat=...)``.

    A cell is a list of 8 pairs ``('operation', predecessor)``, two for each node; the order of the two does
    not matter. ``range(2, 6)``, tuples, double quotes, white space and another order of the four fields do
    as well. Nothing is evaluated.

    Raises:
        ArchitectureError: The message has the position of the first wrong part (from 0) and what is allowed.
    """
    tokens = Tokens(text, "darts")
    tokens.expect("Genotype", "at the start")
    tokens.expect("(", "after Genotype")
    cells: dict[str, Code] = {}
    missing = list(_FIELDS)
    while missing:
        field = tokens.one_of(missing, "a field")
        missing.remove(field)
        tokens.expect("=", f"after {field}")
        if field in CELLS:
            cells[field] = _cell(tokens, field)
        else:
            _concat(tokens, field)
        if missing:
            tokens.expect(",", f"after {field}")
    tokens.skips(",")
    tokens.expect(")", "after the four fields")
    tokens.end()
    return np.concatenate([cells[cell] for cell in CELLS])


def genotype_from_cells(normal: str, reduce: str) -> Code:
    """Code of two texts of cells, each a list of 8 pairs ``('operation', predecessor)``.

    Raises:
        ArchitectureError: As :func:`parse_genotype`; the message names the cell.
    """
    halves = []
    for name, text in zip(CELLS, (normal, reduce), strict=True):
        tokens = Tokens(text, "darts", f"{name} cell, ")
        halves.append(_cell(tokens, name))
        tokens.end()
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


def _cell(tokens: Tokens, name: str) -> Code:
    """The 12 entries of a cell ``[('op', 0), ('op', 1), ...]``."""
    closing = tokens.opening(f"before the pairs of the {name} cell")
    entries: list[int] = []
    for node, pairs in enumerate(PAIRS):
        where = f"node {node + INPUTS} of the {name} cell"
        if node:
            tokens.expect(",", f"and the pairs of {where}")
        start = tokens.at
        first = _pair(tokens, node, where)
        tokens.expect(",", f"and a second pair of {where}")
        (low, low_operation), (high, high_operation) = sorted([first, _pair(tokens, node, where)])
        if low == high:
            tokens.fail(
                f"{where} takes both inputs from {low}; an architecture of 'darts' takes two different "
                "ones, as in NAS-Bench-301",
                start,
            )
        entries += [pairs.index((low, high)), low_operation, high_operation]
    tokens.skips(",")
    tokens.expect(closing, f"after the {2 * NODES} pairs of the {name} cell")
    return np.array(entries, dtype=CODE_DTYPE)


def _pair(tokens: Tokens, node: int, where: str) -> tuple[int, int]:
    """Predecessor and operation of ``('op', predecessor)``."""
    closing = tokens.opening(f"before an operation and a predecessor of {where}")
    name = tokens.quoted(OPERATIONS)
    tokens.expect(",", "after the operation")
    source = tokens.number(node + INPUTS - 1, f"a predecessor of {where}")
    tokens.expect(closing, f"after the predecessor {source}")
    return source, OPERATIONS.index(name)


def _concat(tokens: Tokens, field: str) -> None:
    """``[2, 3, 4, 5]``, ``(2, 3, 4, 5)`` or ``range(2, 6)``; nothing else is an architecture here."""
    start = tokens.at
    expected, closing = CONCAT, ")"
    if tokens.skips("range"):
        expected = (CONCAT[0], CONCAT[-1] + 1)
        tokens.expect("(", "after range")
    else:
        closing = tokens.opening(f"in {field}")
    numbers: list[int] = []
    while not tokens.skips(closing):
        numbers.append(tokens.number(CONCAT[-1] + 1, "a node"))
        if not tokens.sees(closing):
            tokens.expect(",", f"or {closing!r} after a node")
    if tuple(numbers) != expected:
        tokens.fail(
            f"{field} must be {list(CONCAT)} (or range(2, 6)): the output of a cell is all of its nodes",
            start,
        )
