"""Places for the nodes of a drawing: rows from input to output, few crossings, no edge through a node.

The method of Sugiyama, Tagawa and Toda (1981): nodes go into rows by their longest path from an input; an
edge that skips rows gets a bend in each; barycentre sweeps order the rows; places come from a least-squares
fit that keeps the distances.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from crlso.protocols import FloatArray

SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """Centres of the nodes, and for each edge the points it passes, source and target included.

    Attributes:
        centres: ``(x, row)`` of each node, ``x`` in pixels from the left edge of the leftmost box.
        routes: For each edge its points ``(x, row)``.
        width: Width of the whole in pixels.
        rows: Number of rows.
    """

    centres: tuple[tuple[float, int], ...]
    routes: tuple[tuple[tuple[float, int], ...], ...]
    width: float
    rows: int


def layered(
    widths: Sequence[float],
    edges: Sequence[tuple[int, int]],
    *,
    last: Sequence[int] = (),
    gap: float,
    bend: float,
) -> Layout:
    """Lay out an acyclic graph in rows.

    Args:
        widths: Width of each node's box.
        edges: ``(source, target)``; the graph has no cycle.
        last: Nodes that stand in a row below all others (the outputs).
        gap: Least distance between neighbours in a row.
        bend: Room for an edge that passes through a row.
    """
    row = _rows(len(widths), edges, last)
    chains, total = _chains(row, edges, len(widths))
    links = [pair for chain in chains for pair in itertools.pairwise(chain)]
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


def _rows(size: int, edges: Sequence[tuple[int, int]], last: Sequence[int]) -> list[int]:
    """Longest path from a source; a source other than node 0 stands just before its first user."""
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
    sinks = [node for node in last if not graph.out_degree(node)]
    others = [row[node] for node in range(size) if node not in sinks]
    for node in sinks:
        row[node] = max(others, default=-1) + 1
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
    place = np.zeros(len(level))
    for nodes in order:
        place[nodes] = np.arange(len(nodes))
    pairs = _by_row(level, links)
    best, fewest = [list(nodes) for nodes in order], _crossings(place, pairs)
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for nodes in order if sweep % 2 == 0 else reversed(order):
            middle = {n: float(place[neighbours[n]].mean()) if neighbours[n] else place[n] for n in nodes}
            nodes.sort(key=lambda node: middle[node])
            place[nodes] = np.arange(len(nodes))
        crossings = _crossings(place, pairs)
        if crossings < fewest:
            best, fewest = [list(nodes) for nodes in order], crossings
    return best


def _by_row(level: Mapping[int, int], links: Sequence[tuple[int, int]]) -> list[NDArray[np.int64]]:
    """Links ``[k, 2]`` that leave each row."""
    rows: dict[int, list[tuple[int, int]]] = {}
    for source, target in links:
        rows.setdefault(level[source], []).append((source, target))
    return [np.array(pairs, dtype=np.int64) for pairs in rows.values()]


def _crossings(place: FloatArray, pairs: Sequence[NDArray[np.int64]]) -> int:
    """Number of pairs of links that cross, from each node's place in its row."""
    total = 0
    for links in pairs:
        upper, lower = place[links].T
        total += int(((upper[:, None] - upper) * (lower[:, None] - lower) < 0).sum()) // 2
    return total


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
        steps = [(size[a] + size[b]) / 2 + gap for a, b in itertools.pairwise(nodes)]
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
