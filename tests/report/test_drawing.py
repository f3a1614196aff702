"""Drawings: what is dead, where things stand, and that they are sound SVG."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlso.protocols import SearchSpace
from crlso.report.cells import CARD_WIDTH
from crlso.report.drawing import draw, draw_svg, operation_colors, render
from crlso.report.layout import layered
from crlso.report.sketches import Edge, Node, Sketch, sketch
from crlso.report.svg import label_width, shortened
from crlso.spaces import EdgeCellSpace, Subset, get_space

SVG = "{http://www.w3.org/2000/svg}"
NASBENCH201 = get_space("nasbench201")


def texts(svg: str) -> list[str]:
    return [
        "".join(element.itertext()) for element in ET.fromstring(svg).iter() if element.tag.endswith("text")
    ]


def codes(space: SearchSpace, n: int, seed: int = 0) -> np.ndarray:
    return space.sample(n, np.random.default_rng(seed))


def test_edges_are_alive_exactly_on_paths_from_input_to_output() -> None:
    for code in codes(NASBENCH201, 200):
        drawn = sketch(NASBENCH201, code)
        graph = nx.DiGraph()
        graph.add_nodes_from(range(4))
        graph.add_edges_from((e.source, e.target) for e in drawn.edges if e.operation != "none")
        used = {pair for path in nx.all_simple_paths(graph, 0, 3) for pair in itertools.pairwise(path)}
        assert {(e.source, e.target) for e in drawn.edges if e.alive} == used
        assert {i for i, node in enumerate(drawn.nodes) if node.alive} == {i for pair in used for i in pair}


def test_operations_stand_on_the_edges_of_the_text() -> None:
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    drawn = sketch(NASBENCH201, NASBENCH201.parse(text))
    assert {(e.source, e.target): e.operation for e in drawn.edges} == {
        (0, 1): "nor_conv_3x3",
        (0, 2): "none",
        (1, 2): "skip_connect",
        (0, 3): "avg_pool_3x3",
        (1, 3): "nor_conv_1x1",
        (2, 3): "none",
    }
    svg = draw_svg(NASBENCH201, NASBENCH201.parse(text))
    assert sorted(texts(svg)) == sorted([*re.findall(r"\w+(?=~)", text), "in", "1", "2", "out"])
    assert ET.fromstring(svg.replace("<svg", f'<svg xmlns="{SVG[1:-1]}"')).find(f"{SVG}title").text == text


def test_a_space_of_ones_own_may_name_its_zero() -> None:
    from crlso.spaces import Roles

    space = EdgeCellSpace("own", nodes=3, operations=["off", "on"], roles=Roles(zero=("off",)))
    drawn = sketch(space, np.array([1, 1, 0]))
    assert [edge.alive for edge in drawn.edges] == [False, True, False]


@pytest.mark.parametrize("name", ["nasbench101", "toy64"])
def test_spaces_with_operations_on_nodes(name: str) -> None:
    space = get_space(name)
    for code in codes(space, 6):
        drawn = sketch(space, code)
        graph = space.graphs(code[None])
        assert [n.label for n in drawn.nodes] == [space.vocabulary[i] for i in graph.x.tolist()]
        assert [(e.source, e.target) for e in drawn.edges] == [tuple(e) for e in graph.edge_index.T.tolist()]
        svg = draw_svg(space, code)
        assert len(texts(svg)) == len(drawn.nodes)


def test_every_node_of_a_subset_is_drawn_as_in_its_space() -> None:
    rows = codes(NASBENCH201, 5)
    subset = Subset(NASBENCH201, rows)
    assert draw_svg(subset, rows[0]) == draw_svg(NASBENCH201, rows[0])


def test_a_large_network_is_drawn() -> None:
    space = get_space("fxdarts")
    drawing = draw(space, codes(space, 1)[0])
    assert len(ET.fromstring(drawing.svg)) > 100
    assert drawing.width > CARD_WIDTH


def test_cells_that_nothing_uses_are_dead() -> None:
    space = get_space("fxdarts")
    for code in codes(space, 3, seed=5):
        drawn = sketch(space, code)
        graph = nx.DiGraph((e.source, e.target) for e in drawn.edges)
        (end,) = (i for i, node in enumerate(drawn.nodes) if node.kind == "output")
        assert not list(graph.successors(end))
        used = nx.ancestors(graph, end) & (nx.descendants(graph, 0) | {0}) | {end}
        assert {i for i, node in enumerate(drawn.nodes) if node.alive} == used


def test_drawings_of_cells_fit_a_telephone() -> None:
    assert all(draw(NASBENCH201, code).width <= 310 for code in codes(NASBENCH201, 50))


def test_labels_do_not_overlap() -> None:
    for code in codes(NASBENCH201, 20):
        boxes = []
        for rect in ET.fromstring(draw_svg(NASBENCH201, code)).iter("rect"):
            x, y, width, height = (float(rect.get(k, "0")) for k in ("x", "y", "width", "height"))
            boxes.append((x, y, x + width, y + height))
        assert len(boxes) == 6
        for a, b in itertools.combinations(boxes, 2):
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_texts_are_escaped_and_cut() -> None:
    long = "x" * 60
    picture = Sketch((Node("<b>&", kind="input"), Node(long, operation=long)), (Edge(0, 1),))
    svg = render(picture, [long], title='"<script>').svg
    root = ET.fromstring(svg)
    assert "<script>" not in svg
    assert texts(svg) == ["<b>&", "x" * 21 + "…"]
    assert root.get("role") == "img"


def test_operations_have_their_own_colours() -> None:
    for name in ("nasbench201", "nasbench101", "fxdarts"):
        operations = get_space(name).operations
        assert len(set(operation_colors(operations).values())) >= len(operations)


def random_graph(data: st.DataObject) -> tuple[int, list[tuple[int, int]]]:
    size = data.draw(st.integers(2, 9))
    pairs = [(i, j) for j in range(size) for i in range(j)]
    return size, data.draw(st.lists(st.sampled_from(pairs), unique=True))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_layout_runs_downwards_without_overlap(data: st.DataObject) -> None:
    size, edges = random_graph(data)
    widths = data.draw(st.lists(st.floats(20, 150), min_size=size, max_size=size))
    found = layered(widths, edges, last=[size - 1], gap=10.0, bend=6.0)
    for (source, target), route in zip(edges, found.routes, strict=True):
        assert route[0] == found.centres[source]
        assert route[-1] == found.centres[target]
        assert [row for _, row in route] == list(range(route[0][1], route[-1][1] + 1))
    by_row: dict[int, list[tuple[float, float]]] = {}
    for (x, row), width in zip(found.centres, widths, strict=True):
        assert x - width / 2 >= -1e-6
        assert x + width / 2 <= found.width + 1e-6
        by_row.setdefault(row, []).append((x - width / 2, x + width / 2))
    for spans in by_row.values():
        for (_, end), (start, _) in itertools.pairwise(sorted(spans)):
            assert start - end >= 10.0 - 1e-6
    assert found.rows == max(row for _, row in found.centres) + 1
    assert max(row for _, row in found.centres[:-1]) < found.centres[-1][1]


def test_layout_of_a_planar_graph_has_no_crossing() -> None:
    # Two branches whose order in the input list would make them cross.
    edges = [(0, 1), (0, 2), (1, 4), (2, 3), (3, 5), (4, 5)]
    found = layered([40.0] * 6, edges, gap=10.0, bend=6.0)
    x = [centre[0] for centre in found.centres]
    assert (x[1] - x[2]) * (x[4] - x[3]) > 0


def test_shortened_curves_stay_outside_the_circles() -> None:
    curve = ((0.0, 0.0), (90.0, 10.0), (90.0, 90.0), (0.0, 100.0))
    start, _, _, end = shortened(curve, 19.0)
    assert np.hypot(*start) == pytest.approx(19.0, abs=1e-6)
    assert np.hypot(end[0], end[1] - 100.0) == pytest.approx(19.0, abs=1e-6)


def test_label_room_grows_with_the_text() -> None:
    assert label_width("ab") < label_width("abcdef") == label_width("abcdef")
    assert label_width("x" * 100) == label_width("x" * 22)
