"""What a drawing of an architecture shows, before it is laid out: nodes, edges, and which of them are dead.

A node or edge is dead when no path from an input to an output runs through it: the network is the same
without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import networkx as nx
import numpy as np

from crlso.protocols import Code, SearchSpace
from crlso.spaces import EdgeCellSpace, Subset

NONE = "none"
"""The operation that carries nothing."""


@dataclass(frozen=True)
class Node:
    """A node; ``operation`` is empty where it only adds up (a state of a cell with operations on edges)."""

    label: str
    operation: str = ""
    kind: Literal["input", "output", "inner"] = "inner"
    alive: bool = True


@dataclass(frozen=True)
class Edge:
    """An edge along the data flow; ``operation`` is empty where it only carries."""

    source: int
    target: int
    operation: str = ""
    alive: bool = True


@dataclass(frozen=True)
class Sketch:
    """Nodes and edges; ``edge_cell`` says that operations sit on the edges of a complete graph."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    edge_cell: bool = False


def sketch(space: SearchSpace, code: Code) -> Sketch:
    """Nodes and edges of one architecture.

    Args:
        space: Its space; cells with operations on edges are shown so, all others by ``space.graphs``.
        code: ``[d]``.
    """
    inner = space.space if isinstance(space, Subset) else space
    if isinstance(inner, EdgeCellSpace):
        operations = [inner.operations[int(choice)] for choice in code]
        return edge_cell_sketch(inner.edges, operations, inner.roles.zero)
    return _graph_sketch(inner, code)


def edge_cell_sketch(
    edges: Sequence[tuple[int, int]], operations: Sequence[str], zero: Sequence[str] = (NONE,)
) -> Sketch:
    """A cell whose node 0 is the input and whose last node is the output, one operation per edge.

    Args:
        edges: ``(source, target)`` of each edge.
        operations: The operation on each edge.
        zero: Operations that carry nothing.
    """
    last = max(target for _, target in edges)
    carrying = [edge for edge, operation in zip(edges, operations, strict=True) if operation not in zero]
    used = _on_a_path(last + 1, carrying, [0], [last])
    nodes = [
        Node(
            "in" if i == 0 else "out" if i == last else str(i),
            kind="input" if i == 0 else "output" if i == last else "inner",
            alive=i in used,
        )
        for i in range(last + 1)
    ]
    drawn = [
        Edge(s, t, operation, alive=operation not in zero and s in used and t in used)
        for (s, t), operation in zip(edges, operations, strict=True)
    ]
    return Sketch(tuple(nodes), tuple(drawn), edge_cell=True)


def _graph_sketch(space: SearchSpace, code: Code) -> Sketch:
    """Operations on nodes, from the graph that the encoder sees."""
    graph = space.graphs(np.asarray(code)[None, :])
    labels = [space.vocabulary[int(i)] for i in graph.x]
    edges = [(int(s), int(t)) for s, t in graph.edge_index.T.tolist()]
    inputs = [i for i, label in enumerate(labels) if label == space.vocabulary[0]]
    # Spaces of several cells label the outputs of nodes and cells so, too; the network's stands last.
    places = {int(p): i for i, p in enumerate(graph.position) if labels[i] == space.vocabulary[1]}
    outputs = [places[max(places)]]
    off = {i for i, label in enumerate(labels) if label == NONE}
    used = _on_a_path(len(labels), [e for e in edges if not off & set(e)], inputs, outputs)
    nodes = [
        Node(
            label,
            operation="" if label in space.vocabulary[:2] else label,
            kind="input" if i in inputs else "output" if i in outputs else "inner",
            alive=i in used,
        )
        for i, label in enumerate(labels)
    ]
    drawn = [Edge(s, t, alive=s in used and t in used) for s, t in edges]
    return Sketch(tuple(nodes), tuple(drawn))


def _on_a_path(
    size: int, edges: Iterable[tuple[int, int]], inputs: Sequence[int], outputs: Sequence[int]
) -> set[int]:
    """Nodes on a path from an input to an output."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from(edges)
    reached = set(inputs).union(*(nx.descendants(graph, i) for i in inputs))
    reaching = set(outputs).union(*(nx.ancestors(graph, o) for o in outputs))
    return reached & reaching
