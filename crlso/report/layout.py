"""Places for the nodes of a drawing: rows from input to output, few crossings, no edge through a node.

The method of Sugiyama, Tagawa and Toda (1981): nodes go into rows by their longest path from an input; an edge that skips rows
gets a bend in each; barycentre sweeps order the rows; places come from a least-squares fit that keeps the distances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.optimize import isotonic_regression

from crlso.protocols import FloatArray

SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """Centres of the nodes, and for each edge the points it passes, source and target included.

    Attributes:
        centres: ``(x, row)`` of each node; ``x`` in pixels with the leftmost box edge at 0, ``row`` counted from 0.
        routes: For each edge its points ``(x, row)``.
        width: Width of the whole in pixels.
        rows: Number of rows.
    """

    centres: tuple[tuple[float, int], ...]
    routes: tuple[tuple[tuple[float, int], ...], ...]
    width: float
    rows: int


def layered(widths: Sequence[float], edges: Sequence[tuple[int, int]], gap: float, bend: float) -> Layout:
    """Lay out an acyclic graph in rows.

    Args:
        widths: Width of each node's box.
        edges: ``(source, target)``; the graph has no cycle.
        gap: Least distance between neighbours in a row.
        bend: Room for an edge that passes through a row.
    """
    row = _rows(len(widths), edges)
    chains, total = _chains(row, edges, len(widths))
    links = [pair for chain in chains for pair in zip(chain, chain[1:], strict=False)]
    level = dict(enumerate(row))
    for chain in chains:
        level.update({node: level[chain[0]] + step for step, node in enumerate(chain)})
    size = np.array([*widths, *([bend] * (total - len(widths)))], dtype=np.float64)
    order = _ordered(level, links)
    x = _placed(order, links, size, gap)
    left = float((x - size / 2).min())
    x -= left
    return Layout(
        centres=tuple((float(x[i]), level[i]) for i in range(len(widths))),
        routes=tuple(tuple((float(x[i]), level[i]) for i in chain) for chain in chains),
        width=float((x + size / 2).max()),
        rows=max(row) + 1,
    )


def _rows(size: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path from a node without predecessor; a node nothing leads to stands just before its first user."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from(edges)
    row = [0] * size
    order = list(nx.topological_sort(graph))
    for node in order:
        row[node] = max((row[p] + 1 for p in graph.predecessors(node)), default=0)
    for node in order:
        after = [row[s] for s in graph.successors(node)]
        if node != 0 and after and not list(graph.predecessors(node)):
            row[node] = min(after) - 1
    return row


def _chains(row: Sequence[int], edges: Sequence[tuple[int, int]], first: int) -> tuple[list[list[int]], int]:
    """Each edge as a chain of nodes in consecutive rows; bends get numbers from ``first`` up."""
    chains = []
    for source, target in edges:
        bends = row[target] - row[source] - 1
        chains.append([source, *range(first, first + bends), target])
        first += bends
    return chains, first


def _ordered(level: Mapping[int, int], links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Order in each row after barycentre sweeps; the best of all sweeps by number of crossings."""
    order: list[list[int]] = [[] for _ in range(max(level.values()) + 1)]
    for node, row in sorted(level.items()):
        order[row].append(node)
    above: dict[int, list[int]] = {node: [] for node in level}
    below: dict[int, list[int]] = {node: [] for node in level}
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    best, fewest = [list(nodes) for nodes in order], _crossings(order, links)
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        for nodes in order if downwards else reversed(order):
            place = {node: i for row_nodes in order for i, node in enumerate(row_nodes)}
            middle = {
                node: float(np.mean([place[other] for other in neighbours[node]]))
                if neighbours[node]
                else place[node]
                for node in nodes
            }
            nodes.sort(key=lambda node: middle[node])
        crossings = _crossings(order, links)
        if crossings < fewest:
            best, fewest = [list(nodes) for nodes in order], crossings
    return best


def _crossings(order: Sequence[Sequence[int]], links: Sequence[tuple[int, int]]) -> int:
    place = {node: (row, i) for row, nodes in enumerate(order) for i, node in enumerate(nodes)}
    spans = [(place[s], place[t]) for s, t in links]
    return sum(
        a[0][0] == b[0][0] and (a[0][1] - b[0][1]) * (a[1][1] - b[1][1]) < 0
        for i, a in enumerate(spans)
        for b in spans[:i]
    )


def _placed(
    order: Sequence[Sequence[int]], links: Sequence[tuple[int, int]], size: FloatArray, gap: float
) -> FloatArray:
    """Horizontal centres: each row as near as it can to its neighbours' mean, order and distances kept."""
    neighbours: dict[int, list[int]] = {i: [] for i in range(len(size))}
    for source, target in links:
        neighbours[source].append(target)
        neighbours[target].append(source)
    x = np.zeros(len(size))
    offsets = []
    for nodes in order:
        steps = [(size[a] + size[b]) / 2 + gap for a, b in zip(nodes, nodes[1:], strict=False)]
        offset = np.concatenate([[0.0], np.cumsum(steps)])
        offsets.append(offset)
        x[list(nodes)] = offset - offset[-1] / 2
    for sweep in range(SWEEPS):
        rows = range(len(order)) if sweep % 2 == 0 else range(len(order) - 1, -1, -1)
        for row in rows:
            nodes, offset = list(order[row]), offsets[row]
            wanted = np.array([np.mean(x[neighbours[n]]) if neighbours[n] else x[n] for n in nodes])
            x[nodes] = isotonic_regression(wanted - offset).x + offset
    return x
