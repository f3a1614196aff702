"""Cells as networks, built and run without anything of crlso.spaces.canonical: the oracle of its tests.

The construction differs on purpose: multiplicities are numbers of paths through identity edges in a graph
with a node per edge of the cell, and equality is networkx's isomorphism.
"""

from __future__ import annotations

import networkx as nx
import numpy as np


def network(space, code) -> nx.DiGraph:
    """Operations as nodes (``kind``, ``slots``: the edges of the cell they stand for), times on the edges."""
    roles = space.roles
    flow = nx.DiGraph()
    flow.add_nodes_from([("sum", 0), ("sum", space.nodes - 1)])
    kinds = {}
    for slot, ((source, node), value) in enumerate(zip(space.edges, code, strict=True)):
        name = space.operations[value]
        if name not in roles.zero:
            kinds[slot] = name
            flow.add_edge(("sum", source), ("op", slot))
            flow.add_edge(("op", slot), ("sum", node))
    start, end = ("sum", 0), ("sum", space.nodes - 1)
    alive = (nx.descendants(flow, start) | {start}) & (nx.ancestors(flow, end) | {end})
    flow = flow.subgraph(alive if end in alive and start in alive else [])
    terms = [
        ("op", slot) for slot, name in kinds.items() if ("op", slot) in flow and name not in roles.identity
    ]

    graph = nx.DiGraph()
    graph.add_node("input", kind="input", slots=())
    graph.add_node("output", kind="output", slots=())
    if not len(flow):
        return graph
    graph.add_nodes_from((term, {"kind": kinds[term[1]], "slots": (term[1],)}) for term in terms)
    order = list(nx.topological_sort(flow))
    for origin, name in [(start, "input"), *((term, term) for term in terms)]:
        paths = dict.fromkeys(order, 0)  # from the origin, through sums and identity edges only
        paths[origin] = 1
        for here in order:
            if paths[here] and (here == origin or here not in graph):
                for there in flow.successors(here):
                    paths[there] += paths[here]
        for term in terms:
            if paths[term] and term != origin:
                graph.add_edge(name, term, times=paths[term])
        if paths[end] and origin != end:
            graph.add_edge(name, "output", times=paths[end])
    while twins := _equal_pools(graph, roles.pure):
        keep, drop = twins
        for _, target, times in list(graph.out_edges(drop, data="times")):
            before = graph.get_edge_data(keep, target, {"times": 0})["times"]
            graph.add_edge(keep, target, times=before + times)
        graph.nodes[keep]["slots"] += graph.nodes[drop]["slots"]
        graph.remove_node(drop)
    return graph


def _equal_pools(graph, pure):
    seen = {}
    for node, kind in graph.nodes(data="kind"):
        if kind in pure:
            value = (kind, frozenset(graph.in_edges(node, data="times")))
            value = (kind, frozenset((source, times) for source, _, times in value[1]))
            if value in seen:
                return seen[value], node
            seen[value] = node
    return None


def matcher(first, second):
    return nx.isomorphism.DiGraphMatcher(
        first,
        second,
        node_match=nx.isomorphism.categorical_node_match("kind", None),
        edge_match=nx.isomorphism.categorical_edge_match("times", None),
    )


def outline(graph):
    """Equal for isomorphic networks; tells most others apart."""
    node_names = {
        node: (
            kind,
            tuple(
                sorted(
                    (graph.nodes[source]["kind"], times) for source, _, times in graph.in_edges(node, "times")
                )
            ),
            tuple(
                sorted(
                    (graph.nodes[target]["kind"], times)
                    for _, target, times in graph.out_edges(node, "times")
                )
            ),
        )
        for node, kind in graph.nodes(data="kind")
    }
    return tuple(sorted(node_names.values()))


def run(space, code, weights, x):
    """The cell on vectors ``[n, width]``; an operation with weights at slot i is ``tanh(. @ weights[i])``."""
    values = [x] + [np.zeros_like(x) for _ in range(space.nodes - 1)]
    for slot, ((source, node), value) in enumerate(zip(space.edges, code, strict=True)):
        name = space.operations[value]
        given = values[source]
        if name in space.roles.zero:
            continue
        if name in space.roles.identity:
            values[node] = values[node] + given
        elif name in space.roles.pure:
            values[node] = values[node] + np.maximum(given, np.roll(given, 1, axis=1))
        else:
            kind = space.operations.index(name)
            values[node] = values[node] + np.tanh((kind + 1) * given @ weights[slot])
    return values[-1]
