"""NAS-Bench-Graph: graph neural networks of four operations, each applied to one earlier value.

A code has eight entries: the source of each of the four nodes (0 the raw input, 1 to 3 an earlier node), then
the operation of each. Nodes that feed no other are leaves, and the network's output gets their values.

By the rule ``exact``, two networks are the same if the same is left of them without skip connections: a tree
of operations, with the number of times that the output gets the value of each. (The output concatenates: it
differs in width, and the benchmark in the number of weights, if it gets a value twice.) Siblings have no
order. The output never gets the raw input: the benchmark drops skip connections between the two. This gives
26,206 classes, which are those of the benchmark's own hash: the rules ``exact`` and ``official`` are one.

Four skip connections are no architecture: no operation is left, and the benchmark has no record of it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import ArchitectureError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes, Keys, Rule
from crlso.spaces import codes as code_tools
from crlso.spaces.batching import select_batch
from crlso.spaces.tokens import Tokens

if TYPE_CHECKING:
    from torch_geometric.data import Batch

OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
"""The benchmark's own names, in the order of its hash."""

NODES = 4
CARDINALITIES = (*range(1, NODES + 1), *(len(OPERATIONS),) * NODES)

LINKS = (
    (0, 0, 0, 0),
    (0, 0, 0, 1),
    (0, 0, 1, 1),
    (0, 0, 1, 2),
    (0, 0, 1, 3),
    (0, 1, 1, 1),
    (0, 1, 1, 2),
    (0, 1, 2, 2),
    (0, 1, 2, 3),
)
"""The benchmark's macro structures, as sources of the nodes: one for each of the nine trees of four nodes."""

_SKIP = OPERATIONS.index("skip")
_PATTERNS = (
    *CARDINALITIES[:NODES],
    *(2,) * NODES,
)  # sources, and whether each operation is a skip connection
_DIGITS = 10 ** np.arange(NODES - 1, -1, -1)  # of the operations, in a hash
_WIRES = np.array(
    [(source, node) for node in range(1, NODES + 1) for source in range(node)]
    + [(node, NODES + 1) for node in range(1, NODES + 1)]
).T


@final
class NASBenchGraphSpace:
    """The architectures of NAS-Bench-Graph; a text is ``Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb'])``.

    That is how the benchmark's package has them written, with the nodes in any order that puts sources first;
    the code keeps the order.

    Example:
        >>> space = NASBenchGraphSpace()
        >>> code = space.parse("Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb'])")
        >>> space.format(space.canonical(code)[0])
        "Arch([0, 1, 1, 2], ['gcn', 'gin', 'cheb', 'fc'])"
    """

    @property
    def name(self) -> str:
        """``nas_bench_graph``."""
        return "nas_bench_graph"

    @property
    def operations(self) -> tuple[str, ...]:
        """The benchmark's own names, in the order of its hash."""
        return OPERATIONS

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """1, 2, 3, 4 sources, then 9 operations four times."""
        return CARDINALITIES

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """``input``, ``output``, then the operations."""
        return ("input", "output", *OPERATIONS)

    @property
    def positions(self) -> int:
        """Input, the four nodes, output."""
        return NODES + 2

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All three rules of sameness."""
        return ("code", "exact", "official")

    @property
    def size(self) -> int:
        """Number of codes, 157,464; the 24 of skip connections alone are not valid."""
        return code_tools.count(CARDINALITIES)

    def __repr__(self) -> str:
        return "NASBenchGraphSpace()"

    def parse(self, text: str) -> Code:
        """Code of a text ``Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb'])``.

        Raises:
            ArchitectureError: The message has the position of the first wrong part (from 0) and what is
                allowed.
        """
        tokens = Tokens(text, self.name)
        tokens.expect("Arch", "at the start")
        tokens.expect("(", "after Arch")
        closing = tokens.opening("before the sources of the nodes")
        links = []
        for node in range(NODES):
            if node:
                tokens.expect(",", f"and the source of node {node + 1}")
            links.append(tokens.number(node, f"the source of node {node + 1}"))
        tokens.expect(closing, "after four sources")
        tokens.expect(",", "and a list of operations")
        start = tokens.at
        closing = tokens.opening("before the operations of the nodes")
        operations = []
        for node in range(NODES):
            if node:
                tokens.expect(",", f"and the operation of node {node + 1}")
            operations.append(OPERATIONS.index(tokens.quoted(OPERATIONS)))
        tokens.expect(closing, "after four operations")
        tokens.expect(")", "at the end")
        tokens.end()
        if operations == [_SKIP] * NODES:
            tokens.fail("four skip connections are no architecture; one operation must be another", start)
        return np.array([*links, *operations], dtype=CODE_DTYPE)

    def format(self, code: ArrayLike) -> str:
        """``Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb'])``."""
        row = code_tools.as_code(code, CARDINALITIES).tolist()
        return f"Arch({row[:NODES]}, {[OPERATIONS[value] for value in row[NODES:]]})"

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]``: uniform over the valid codes (by rejection), with replacement.

        The source of each node is so uniform over what stands before it, as in the package's example of a
        search; its nine macro structures are not equally likely.
        """
        drawn = code_tools.sample_uniform(n, CARDINALITIES, rng)
        while len(again := np.flatnonzero(~self.is_valid(drawn))):
            drawn[again] = code_tools.sample_uniform(len(again), CARDINALITIES, rng)
        return drawn

    def enumerate(self) -> Iterator[Codes]:
        """All valid codes in lexicographic order, in chunks."""
        for block in code_tools.enumerate_codes(CARDINALITIES):
            yield block[self.is_valid(block)]

    def neighbors(self, code: ArrayLike) -> Codes:
        """``[m, d]``: one node with another source or another operation, as far as valid; 38, rarely 37."""
        edits = code_tools.one_edit(code_tools.as_code(code, CARDINALITIES), CARDINALITIES)
        return edits[self.is_valid(edits)]

    def is_valid(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: entries in range, and one operation or more that is no skip connection."""
        matrix = code_tools.as_matrix(codes, CARDINALITIES)
        works = (matrix[:, NODES:] != _SKIP).any(axis=1)
        return np.asarray(code_tools.in_range(matrix, CARDINALITIES) & works, dtype=np.bool_)

    def repair(self, codes: ArrayLike) -> Codes:
        """``[n, d]``: where all operations are skip connections, the first one becomes ``gat``."""
        repaired = code_tools.as_codes(codes, CARDINALITIES).copy()
        repaired[~self.is_valid(repaired), NODES] = 0
        return repaired

    def hashes(self, codes: ArrayLike) -> NDArray[np.int64]:
        """``[n]`` the benchmark's hashes (``valid_hash``), the keys of its tables.

        Five decimal digits: the macro structure, an index into :data:`LINKS`, and the four operations of the
        benchmark's representative.
        """
        chosen = self.canonical(codes, "official").astype(np.int64)
        structures = _link_ranks()[code_tools.ravel(chosen[:, :NODES], CARDINALITIES[:NODES])]
        return np.asarray(structures * 10**NODES + chosen[:, NODES:] @ _DIGITS, dtype=np.int64)

    def from_hashes(self, hashes: ArrayLike) -> Codes:
        """``[n, d]`` the benchmark's representatives of hashes ``[n]``.

        Raises:
            ArchitectureError: A number that is the hash of no architecture.
        """
        numbers = np.asarray(hashes, dtype=np.int64)
        links, digits = numbers // 10**NODES, numbers[:, None] // _DIGITS % 10
        known = (links >= 0) & (links < len(LINKS)) & (digits < len(OPERATIONS)).all(axis=1)
        codes = np.concatenate(
            [np.array(LINKS)[np.where(known, links, 0)], np.where(known[:, None], digits, 0)], axis=1
        ).astype(CODE_DTYPE)
        if not (right := known & self.is_valid(codes) & (self.hashes(codes) == numbers)).all():
            wrong = int(numbers[np.flatnonzero(~right)[0]])
            raise ArchitectureError(f"{wrong} is the hash of no architecture of 'nas_bench_graph'")
        return codes

    def class_keys(self, codes: ArrayLike, rule: Rule = "exact") -> Keys:
        """``[n]``: the benchmark's hashes, or ranks of the codes."""
        code_tools.check_rule(rule, self.name, self.rules)
        if rule == "code":
            return code_tools.code_keys(code_tools.as_codes(codes, CARDINALITIES), CARDINALITIES)
        return self.hashes(codes).astype(np.uint64)

    def canonical(self, codes: ArrayLike, rule: Rule = "exact") -> Codes:
        """``[n, d]``: the benchmark's representative of each row's class.

        It has as many skip connections as can be in front, one after the other, then what they leave; the
        nodes are in the order that gives one of :data:`LINKS`, among several the one whose operations come
        first.
        """
        code_tools.check_rule(rule, self.name, self.rules)
        checked = code_tools.as_codes(codes, CARDINALITIES)
        if rule == "code":
            return checked
        chosen = np.empty_like(checked)
        operations = np.concatenate([checked[:, NODES:], np.full((len(checked), 1), _SKIP)], axis=1)
        skips = operations[:, :NODES] == _SKIP
        # All with the same sources and the same places of skip connections are rearranged alike.
        patterns = code_tools.ravel(np.concatenate([checked[:, :NODES], skips], axis=1), _PATTERNS)
        found, starts = np.unique(np.sort(patterns), return_index=True)
        grouped = np.split(np.argsort(patterns, kind="stable"), starts)[1:]
        for pattern, rows in zip(code_tools.unravel(found, _PATTERNS).tolist(), grouped, strict=True):
            link, orders = _arrangements(tuple(pattern[:NODES]), tuple(pattern[NODES:]))
            candidates = operations[rows][:, orders]  # [rows, orders, 4]
            first = (candidates @ _DIGITS).argmin(axis=1)
            chosen[rows, :NODES] = link
            chosen[rows, NODES:] = candidates[np.arange(len(rows)), first]
        return chosen

    def graphs(self, codes: ArrayLike) -> Batch:
        """The input, the four operations, the output; leaves lead to the output."""
        checked = code_tools.as_codes(codes, CARDINALITIES)
        labels = np.ones((len(checked), self.positions), dtype=np.int64)
        labels[:, 0], labels[:, 1:-1] = 0, checked[:, NODES:] + 2
        links = checked[:, :NODES]
        fed = np.stack([links[:, node - 1] == source for source, node in _WIRES.T[:-NODES]], axis=1)
        leaves = np.stack([(links != node).all(axis=1) for node in range(1, NODES + 1)], axis=1)
        present = np.ones(labels.shape, dtype=np.bool_)
        return select_batch(labels, present, _WIRES, np.concatenate([fed, leaves], axis=1))


def nas_bench_graph() -> NASBenchGraphSpace:
    """The NAS-Bench-Graph space."""
    return NASBenchGraphSpace()


@functools.cache
def _link_ranks() -> NDArray[np.int64]:
    """``[24]``: index into :data:`LINKS` of the sources with a rank, -1 where they are another order."""
    ranks = np.full(code_tools.count(CARDINALITIES[:NODES]), -1, dtype=np.int64)
    ranks[code_tools.ravel(LINKS, CARDINALITIES[:NODES])] = np.arange(len(LINKS))
    return ranks


@functools.cache
def _arrangements(
    links: tuple[int, ...], skips: tuple[int, ...]
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """The representative's macro structure, and where its operations come from: ``[orders, 4]``.

    Args:
        links: Sources of the four nodes.
        skips: Whether each is a skip connection.

    Returns:
        One of :data:`LINKS`, and all orders of the nodes that give it; an entry is the node, from 0, of the
        architecture whose operation it is, or 4 for a skip connection.
    """
    labels, parents = _contracted(links, skips)
    found: dict[tuple[int, ...], list[list[int]]] = {}
    for order in itertools.permutations(range(NODES)):
        place = {-1: 0, **{node: index + 1 for index, node in enumerate(order)}}
        link = tuple(place[parents[node]] for node in order)
        if link in LINKS:
            found.setdefault(link, []).append([labels[node] for node in order])
    ((link, orders),) = found.items()  # a tree has one listed form
    return link, np.unique(np.array(orders, dtype=np.int64), axis=0)


def _contracted(links: tuple[int, ...], skips: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """The nodes of an equal architecture with as many skip connections in front as can be.

    Returns:
        Per node, in an arbitrary order: its operation as in :func:`_arrangements`, and its source among these
        nodes, -1 for the input.
    """
    # What each value is without skip connections: -1 the input, otherwise the node that computes it.
    values = [-1]
    for node in range(NODES):
        values.append(values[links[node]] if skips[node] else node)
    leaves = [node for node in range(NODES) if node + 1 not in links]
    copies = [values[node + 1] for node in leaves]  # what the output gets
    kept = [node for node in range(NODES) if not skips[node]]
    sources = {node: values[links[node]] for node in kept}
    # A value that the output gets, and something else or the output again uses, needs skip connections.
    spare = [
        value
        for value in kept
        for _ in range(copies.count(value))
        if value in sources.values() or copies.count(value) > 1
    ]
    front = NODES - len(kept) - len(spare)
    place = {-1: front - 1, **{node: front + index for index, node in enumerate(kept)}}
    labels = [NODES] * front + kept + [NODES] * len(spare)
    parents = [index - 1 for index in range(front)]
    parents += [place[sources[node]] for node in kept] + [place[value] for value in spare]
    return labels, parents
