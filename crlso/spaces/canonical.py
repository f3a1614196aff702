"""Which cells with operations on edges are the same network.

Three rules, from finest to coarsest reading of "the same" (counts for NAS-Bench-201):

* ``code``: equal codes. 15,625 classes.
* ``official``: equal texts by the benchmark's published rule (``to_unique_str(consider_zero=True)`` of its
  ``Structure``): a node is named by the sorted names of its incoming edges; an edge is named ``#`` if it is
  zero, like its source if it is the identity, and ``(source)@operation`` otherwise. 6,466 classes. It is
  kept because published numbers use it, but it is no equivalence of networks: it lets a sum with a zero
  term differ from the sum without, and does not see whether two equal terms are one operation with shared
  weights or two operations.
* ``exact``: identical networks. Zero edges and whatever does not lie between input and output are dropped;
  identity edges are contracted, so that a node is a sum of terms with multiplicities; operations without
  weights on equal values are one term; operations with weights are each their own. What is left is a graph
  of operations, compared up to renumbering. 5,260 classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np

from crlso.protocols import BoolArray, Codes, Keys, Rule
from crlso.spaces import codes as code_tools
from crlso.spaces.roles import Roles

Value: TypeAlias = tuple[tuple[int, int], ...]
"""A sum: (number of the term, multiplicity), sorted. Term 0 is the input, term i >= 1 the i-th operation."""
Network: TypeAlias = tuple[tuple[tuple[int, Value], ...], Value]
"""Operations (kind, the sum it is applied to), each after its terms, and the sum that is the output."""

_DROPPED = -1
_MEMORY = 200_000  # structures and texts remembered per space; beyond, they are worked out again


@final
class CellClasses:
    """Class keys and representatives of cells with operations on edges.

    Args:
        edges: ``(source, node)`` of each entry of a code, sorted by node, then source; node 0 is the input.
        operations: Operation names; the entries of a code are indices into them.
        roles: Which of them are zero, identity or free of weights.
    """

    def __init__(self, edges: Sequence[tuple[int, int]], operations: Sequence[str], roles: Roles) -> None:
        self._edges = tuple(edges)
        self._operations = tuple(operations)
        self._nodes = max(node for _, node in edges) + 1
        self._zero = np.array([name in roles.zero for name in operations])
        self._identity = frozenset(i for i, name in enumerate(operations) if name in roles.identity)
        self._pure = frozenset(i for i, name in enumerate(operations) if name in roles.pure)
        self._keys: dict[Network, int] = {}
        self._representatives: dict[Rule, tuple[Keys, Codes]] = {}

    def connected(self, codes: Codes) -> BoolArray:
        """``[n]``: whether a path of edges that are not zero leads from input to output."""
        forward, _ = self._reach(~self._zero[codes])
        return forward[:, -1]

    def keys(self, codes: Codes, rule: Rule) -> Keys:
        """``[n]`` class keys of checked codes."""
        cardinalities = (len(self._operations),) * len(self._edges)
        if rule == "code":
            return code_tools.code_keys(codes, cardinalities)
        if rule == "official":
            return code_tools.digest_keys(name.encode() for name in self.official_names(codes))
        if len(codes) == 0:
            return np.zeros(0, dtype=np.uint64)
        rows, inverse = np.unique(code_tools.rows_as_keys(self._reduced(codes)), return_inverse=True)
        reduced = rows.view(">i2").reshape(len(rows), -1)
        return np.array([self._exact(row) for row in reduced.tolist()], dtype=np.uint64)[inverse]

    def official_names(self, codes: Codes) -> list[str]:
        """The benchmark's own text of each cell's class, which the rule ``official`` compares."""
        names: dict[tuple[int, ...], str] = {}
        return [self._official(row, names) for row in codes.tolist()]

    def smallest(self, codes: Codes, rule: Rule, space: str) -> Codes:
        """``[n, d]``: the smallest code of each row's class; lists the whole space at the first call.

        Raises:
            UserError: The space, named in the message, has more than 100,000 codes.
        """
        if rule not in self._representatives:
            everything = code_tools.all_codes(space, (len(self._operations),) * len(self._edges))
            keys, first = np.unique(self.keys(everything, rule), return_index=True)  # first: the smallest
            self._representatives[rule] = keys, everything[first]
        keys, representatives = self._representatives[rule]
        return representatives[np.searchsorted(keys, self.keys(codes, rule))]

    def _reach(self, open_edges: BoolArray) -> tuple[BoolArray, BoolArray]:
        """``[n, nodes]`` each: reached from the input; reaching the output; by open edges ``[n, edges]``."""
        forward = np.zeros((len(open_edges), self._nodes), dtype=np.bool_)
        backward = forward.copy()
        forward[:, 0] = backward[:, -1] = True
        for index, (source, node) in enumerate(self._edges):  # sorted by node: sources are complete
            forward[:, node] |= forward[:, source] & open_edges[:, index]
        for index, (source, node) in reversed(list(enumerate(self._edges))):
            backward[:, source] |= backward[:, node] & open_edges[:, index]
        return forward, backward

    def _reduced(self, codes: Codes) -> Codes:
        """The codes with -1 at every edge that is zero or lies on no path from input to output."""
        open_edges = ~self._zero[codes]
        forward, backward = self._reach(open_edges)
        sources, nodes = np.array(self._edges).T
        used = open_edges & forward[:, sources] & backward[:, nodes]
        return np.where(used, codes, _DROPPED).astype(np.int16)

    def _network(self, reduced: Sequence[int]) -> Network:
        values: list[dict[int, int]] = [{0: 1}] + [{} for _ in range(self._nodes - 1)]
        sums: dict[int, Value] = {}
        operations: list[tuple[int, Value]] = []
        merged: dict[tuple[int, Value], int] = {}
        for (source, node), operation in zip(self._edges, reduced, strict=True):
            if operation == _DROPPED:
                continue
            value = values[node]
            if operation in self._identity:
                for term, times in values[source].items():
                    value[term] = value.get(term, 0) + times
                continue
            if source not in sums:
                sums[source] = tuple(sorted(values[source].items()))
            applied = (operation, sums[source])
            term = merged.get(applied, 0)
            if term == 0:
                operations.append(applied)
                term = len(operations)
                if operation in self._pure:
                    merged[applied] = term
            value[term] = value.get(term, 0) + 1
        return tuple(operations), tuple(sorted(values[-1].items()))

    def _exact(self, reduced: Sequence[int]) -> int:
        network = self._network(reduced)
        key = self._keys.get(network)
        if key is None:
            if len(self._keys) >= _MEMORY:
                self._keys.clear()
            key = int(code_tools.digest_keys([repr(certificate(network)).encode()])[0])
            self._keys[network] = key
        return key

    def _official(self, code: Sequence[int], names: dict[tuple[int, ...], str]) -> str:
        """The official text of a cell; ``names`` remembers those of nodes, which many cells share."""
        texts = ["0"]
        for node in range(1, self._nodes):
            prefix = tuple(code[: node * (node + 1) // 2])
            name = names.get(prefix)
            if name is None:
                name = self._official_node(prefix[-node:], texts)
                names[prefix] = name
            texts.append(name)
        return texts[-1]

    def _official_node(self, incoming: Sequence[int], texts: Sequence[str]) -> str:
        parts = []
        for operation, source in zip(incoming, texts, strict=True):
            if self._zero[operation] or source == "#":
                parts.append("#")
            elif operation in self._identity:
                parts.append(source)
            else:
                parts.append(f"({source})@{self._operations[operation]}")
        return "+".join(sorted(parts))


def certificate(network: Network) -> Network:
    """The network renumbered: equal for two networks if and only if they are isomorphic.

    Colours are refined until stable; where equal colours remain, each member of the first such group is set
    apart in turn and the smallest result wins. Terms that are interchangeable need one try only.
    """
    operations, output = network
    return min(_renumbered(network, colours) for colours in _discrete(network, _initial(operations, output)))


def _initial(operations: Sequence[tuple[int, Value]], output: Value) -> list[int]:
    in_output = dict(output)
    kinds = [(-1, in_output.get(0, 0))]
    kinds += [(operation, in_output.get(term, 0)) for term, (operation, _) in enumerate(operations, 1)]
    return _ranks(kinds)


def _ranks(signatures: Sequence[Any]) -> list[int]:
    order = {signature: rank for rank, signature in enumerate(sorted(set(signatures)))}
    return [order[signature] for signature in signatures]


def _uses(operations: Sequence[tuple[int, Value]]) -> list[list[tuple[int, int]]]:
    """Per term: (the term computed from it, multiplicity)."""
    uses: list[list[tuple[int, int]]] = [[] for _ in range(len(operations) + 1)]
    for term, (_, value) in enumerate(operations, 1):
        for source, times in value:
            uses[source].append((term, times))
    return uses


def _refined(network: Network, uses: Sequence[Sequence[tuple[int, int]]], colours: list[int]) -> list[int]:
    """The coarsest refinement in which terms of a colour have equally coloured sources and uses."""
    sources: list[Value] = [(), *(value for _, value in network[0])]
    while (before := len(set(colours))) < len(colours):
        colours = _ranks(
            [
                (
                    colours[term],
                    tuple(sorted((colours[other], times) for other, times in sources[term])),
                    tuple(sorted((colours[other], times) for other, times in uses[term])),
                )
                for term in range(len(colours))
            ]
        )
        if len(set(colours)) == before:
            break
    return colours


def _discrete(network: Network, colours: list[int]) -> list[list[int]]:
    """All colourings without equal colours that individualisation and refinement lead to."""
    uses = _uses(network[0])
    colours = _refined(network, uses, colours)
    tied = [colour for colour, times in Counter(colours).items() if times > 1]
    if not tied:
        return [colours]
    group = [term for term, colour in enumerate(colours) if colour == min(tied)]
    twins = len({(network[0][term - 1][1], tuple(uses[term])) for term in group}) == 1
    found = []
    for chosen in group[:1] if twins else group:
        apart = [2 * colour + 1 for colour in colours]
        apart[chosen] -= 1
        found += _discrete(network, _ranks(apart))
    return found


def _renumbered(network: Network, colours: Sequence[int]) -> Network:
    """The network with terms numbered by colour (the input keeps 0: its colour is the smallest)."""
    operations, output = network

    def renamed(value: Value) -> Value:
        return tuple(sorted((colours[term], times) for term, times in value))

    order = sorted(range(1, len(colours)), key=colours.__getitem__)
    return (
        tuple((operations[term - 1][0], renamed(operations[term - 1][1])) for term in order),
        renamed(output),
    )
