"""Architectures as pictures: inline SVG, data flowing from top to bottom, one colour per operation.

Dead parts (no path from input to output uses them) are grey and dashed. The width stays within a telephone's
screen for NAS-Bench-201-like cells, so that labels keep their size there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from crlso.protocols import Code, SearchSpace
from crlso.report import svg
from crlso.report.layout import layered
from crlso.report.palette import DEAD, INK, OPERATION_COLORS, tint
from crlso.report.sketches import NONE, Edge, Node, Sketch, sketch

RADIUS = 17.0
MARGIN = 6.0


@dataclass(frozen=True)
class Drawing:
    """An ``<svg>`` element and its natural size in CSS pixels."""

    svg: str
    width: float
    height: float


def draw_svg(space: SearchSpace, code: Code) -> str:
    """Draw one architecture.

    Args:
        space: The space of the code.
        code: ``[d]``, valid.

    Returns:
        An ``<svg>`` element without any outside reference; its accessible name is the architecture's text.
    """
    return draw(space, code).svg


def draw(space: SearchSpace, code: Code) -> Drawing:
    """As :func:`draw_svg`, with the size."""
    return render(sketch(space, code), space.operations, title=space.format(code))


def render(picture: Sketch, operations: Sequence[str], *, title: str) -> Drawing:
    """Draw a sketch; ``operations`` fixes the colours, which are the same in all drawings of a space."""
    colors = operation_colors(operations)
    drawn = _edge_cell if picture.edge_cell else _layered
    width, height, parts = drawn(picture, colors)
    return Drawing(svg.document(width, height, title, parts), width, height)


def operation_colors(operations: Iterable[str]) -> dict[str, str]:
    """One colour per operation; grey for ``none``. More operations than colours share them in turn."""
    carrying = [operation for operation in operations if operation != NONE]
    colors = {operation: OPERATION_COLORS[i % len(OPERATION_COLORS)] for i, operation in enumerate(carrying)}
    return {**colors, NONE: DEAD}


def _edge_cell(picture: Sketch, colors: Mapping[str, str]) -> tuple[float, float, list[str]]:
    """Nodes in a column, operations as labels on the edges: neighbours straight, the others as arcs.

    Arcs from even nodes run on the right, from odd ones on the left; the further they reach, the further out.
    """
    half = max((svg.label_width(edge.operation) / 2 for edge in picture.edges), default=40.0)
    step = max(78.0, 2 * RADIUS + 44.0)

    def reach(edge: Edge) -> float:
        span = edge.target - edge.source
        if span == 1:
            return 0.0
        side = 1.0 if edge.source % 2 == 0 else -1.0
        return side * (half + 22.0 if span == 2 else 2 * half + 34.0 + 44.0 * (span - 3))

    left = max([half, RADIUS, *(half - reach(edge) for edge in picture.edges)])
    right = max([half, RADIUS, *(half + reach(edge) for edge in picture.edges)])
    centre = MARGIN + left
    ys = [MARGIN + RADIUS + step * i for i in range(len(picture.nodes))]
    lines, labels = [], []
    for edge in sorted(picture.edges, key=lambda e: e.alive):
        color = colors.get(edge.operation, INK) if edge.alive else DEAD
        start, end = (centre, ys[edge.source]), (centre, ys[edge.target])
        out = reach(edge) / 0.75
        lean = 0.12 * (end[1] - start[1])
        curve = (start, (centre + out, start[1] + lean), (centre + out, end[1] - lean), end)
        lines.append(svg.arrow(svg.shortened(curve, RADIUS + 2.0), color, alive=edge.alive))
        middle = (centre + reach(edge), (start[1] + end[1]) / 2)
        labels.append(svg.label(middle, edge.operation, color, alive=edge.alive))
    circles = [_circle(centre, y, node) for y, node in zip(ys, picture.nodes, strict=True)]
    width, height = left + right + 2 * MARGIN, ys[-1] + RADIUS + MARGIN
    return width, height, [*lines, *circles, *labels]


def _circle(x: float, y: float, node: Node) -> str:
    ink = INK if node.alive else DEAD
    fill = "#ffffff" if node.kind == "inner" else tint(ink, 0.12)
    dash = "" if node.alive else ' stroke-dasharray="3 3"'
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS:g}" fill="{fill}" stroke="{ink}" '
        f'stroke-width="1.6"{dash}/>'
        f'<text x="{x:.1f}" y="{y + 4.2:.1f}" text-anchor="middle" font-weight="600" fill="{ink}">'
        f"{escape(node.label)}</text>"
    )


def _layered(picture: Sketch, colors: Mapping[str, str]) -> tuple[float, float, list[str]]:
    """Operations as boxes in rows."""
    widths = [svg.label_width(node.label) + 8.0 for node in picture.nodes]
    ends = [(edge.source, edge.target) for edge in picture.edges]
    outputs = [i for i, node in enumerate(picture.nodes) if node.kind == "output"]
    places = layered(widths, ends, last=outputs, gap=16.0, bend=8.0)
    box, step = 28.0, 66.0

    def y(row: int) -> float:
        return MARGIN + box / 2 + step * row

    lines = []
    for edge, route in sorted(zip(picture.edges, places.routes, strict=True), key=lambda pair: pair[0].alive):
        points = [(MARGIN + x, y(row)) for x, row in route]
        points[0] = (points[0][0], points[0][1] + box / 2)
        points[-1] = (points[-1][0], points[-1][1] - box / 2 - 2.0)
        lines.append(svg.smooth_arrow(points, INK if edge.alive else DEAD, alive=edge.alive))
    boxes = []
    for node, (x, row), width in zip(picture.nodes, places.centres, widths, strict=True):
        color = colors.get(node.operation, INK) if node.alive else DEAD
        boxes.append(svg.box((MARGIN + x, y(row)), width, box, node.label, color, alive=node.alive))
    return places.width + 2 * MARGIN, y(places.rows - 1) + box / 2 + MARGIN, [*lines, *boxes]
