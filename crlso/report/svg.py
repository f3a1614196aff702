"""The few SVG elements that drawings are made of. Texts are escaped here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from html import escape

from crlso.report.palette import DEAD, INK, tint

Point = tuple[float, float]
Bezier = tuple[Point, Point, Point, Point]

FONT_SIZE = 12.0
LONGEST = 22
"""Longer labels are cut; the whole text shows when the pointer rests on them."""


def document(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """An inline ``<svg>`` that never grows beyond its natural size."""
    return (
        f'<svg class="cell" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="{FONT_SIZE:g}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def label_width(text: str) -> float:
    """Room for a label in pixels (a generous estimate: fonts differ)."""
    return 6.6 * min(len(text), LONGEST) + 12.0


def label(centre: Point, text: str, color: str, *, alive: bool) -> str:
    """An operation's name on an edge."""
    return box(centre, label_width(text), 20.0, text, color, alive=alive)


def box(centre: Point, width: float, height: float, text: str, color: str, *, alive: bool) -> str:
    """A rounded box with a text in it."""
    x, y = centre
    fill = tint(color, 0.14) if alive else "#ffffff"
    ink = INK if alive else "#6b7785"
    dash = "" if alive else ' stroke-dasharray="3 3"'
    shown = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return (
        f"<g><title>{escape(text)}</title>"
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{min(height / 2, 10):g}" fill="{fill}" stroke="{color}" stroke-width="1.4"{dash}/>'
        f'<text x="{x:.1f}" y="{y + 4.2:.1f}" text-anchor="middle" fill="{ink}">{escape(shown)}</text></g>'
    )


def arrow(curve: Bezier, color: str, *, alive: bool) -> str:
    """A cubic Bezier curve with a head at its end."""
    start, first, second, end = curve
    path = f"M{_at(start)} C{_at(first)} {_at(second)} {_at(end)}"
    return _line(path, color, alive=alive) + _head(end, second if second != end else start, color)


def smooth_arrow(points: Sequence[Point], color: str, *, alive: bool) -> str:
    """A curve downwards through points, vertical at each of them, with a head at its end."""
    path = f"M{_at(points[0])}"
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        path += f" C{_at((x0, middle))} {_at((x1, middle))} {_at((x1, y1))}"
    x, y = points[-1]
    return _line(path, color, alive=alive) + _head((x, y), (x, y - 10.0), color)


def shortened(curve: Bezier, radius: float) -> Bezier:
    """The part of a curve outside circles of ``radius`` around its two ends."""
    start = _first_outside(curve, radius)
    rest = _split(curve, start)[1]
    backwards: Bezier = (rest[3], rest[2], rest[1], rest[0])
    end = _first_outside(backwards, radius)
    kept = _split(backwards, end)[1]
    return kept[3], kept[2], kept[1], kept[0]


def _first_outside(curve: Bezier, radius: float) -> float:
    """Parameter where the curve leaves the circle around its first point, by bisection on its first half."""
    low, high = 0.0, 0.5
    for _ in range(30):
        middle = (low + high) / 2
        if math.dist(_split(curve, middle)[0][3], curve[0]) < radius:
            low = middle
        else:
            high = middle
    return high


def _split(curve: Bezier, t: float) -> tuple[Bezier, Bezier]:
    """De Casteljau's construction: the curve before and after a parameter."""

    def between(a: Point, b: Point) -> Point:
        return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t

    p0, p1, p2, p3 = curve
    q0, q1, q2 = between(p0, p1), between(p1, p2), between(p2, p3)
    r0, r1 = between(q0, q1), between(q1, q2)
    middle = between(r0, r1)
    return (p0, q0, r0, middle), (middle, r1, q2, p3)


def _line(path: str, color: str, *, alive: bool) -> str:
    style = 'stroke-width="1.9"' if alive else 'stroke-width="1.2" stroke-dasharray="4 4"'
    return f'<path d="{path}" fill="none" stroke="{color if alive else DEAD}" {style}/>'


def _head(tip: Point, towards: Point, color: str) -> str:
    """A filled triangle at ``tip``, coming from ``towards``."""
    length = math.dist(tip, towards) or 1.0
    ux, uy = (tip[0] - towards[0]) / length, (tip[1] - towards[1]) / length
    back = (tip[0] - 8.0 * ux, tip[1] - 8.0 * uy)
    wings = [(back[0] - side * 3.8 * uy, back[1] + side * 3.8 * ux) for side in (1.0, -1.0)]
    return f'<path d="M{_at(tip)} L{_at(wings[0])} L{_at(wings[1])} Z" fill="{color}"/>'


def _at(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"
