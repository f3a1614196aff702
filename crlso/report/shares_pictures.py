"""Architecture weights over time as pictures: for every edge the shares of its operations, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from crlso.protocols import FloatArray
from crlso.report.drawing import operation_colors
from crlso.report.palette import MUTED
from crlso.report.sketches import NONE
from crlso.report.supernet_reading import SupernetRun, SupernetSearch
from crlso.report.supernet_summary import kind_name
from crlso.report.text import count, number

PICTURES = 4
"""Searches that are pictured, the first ones."""
MOST_POINTS = 101
"""Longer searches show so many of their epochs, evenly chosen: more would not be seen in a small panel."""
# A fine grid, so that places are whole numbers and the page stays small.
WIDTH, HEIGHT, GROUND = 800, 440, 380


@dataclass(frozen=True)
class Panel:
    """One edge: its label, the operation with the largest share at the end (``none`` aside), its picture."""

    label: str
    strongest: str
    color: str
    svg: Markup


@dataclass(frozen=True)
class KindPanels:
    """All edges of a kind of cell."""

    kind: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class SharesPicture:
    """One search."""

    title: str
    kinds: tuple[KindPanels, ...]


@dataclass(frozen=True)
class OperationKey:
    """What a colour stands for."""

    operation: str
    color: str


def operation_keys(run: SupernetRun) -> tuple[OperationKey, ...]:
    """The colours of all operations, in the order in which they are stacked from the bottom."""
    colors = operation_colors(run.operations)
    return tuple(OperationKey(operation, colors[operation]) for operation in run.operations)


def shares_pictures(run: SupernetRun) -> tuple[SharesPicture, ...]:
    """The first searches that have shares, at most :data:`PICTURES`."""
    known = [search for search in run.searches if search.shares is not None]
    return tuple(_picture(run, search) for search in known[:PICTURES])


def _picture(run: SupernetRun, search: SupernetSearch) -> SharesPicture:
    assert search.shares is not None
    kinds = tuple(
        KindPanels(
            kind_name(kind).capitalize(),
            tuple(
                _panel(run, kind, edge, search.shares[:, place, row]) for row, edge in enumerate(run.edges)
            ),
        )
        for place, kind in enumerate(run.kinds)
    )
    return SharesPicture(f"Seed {search.seed}", kinds)


def _panel(run: SupernetRun, kind: str, edge: tuple[int, int], shares: FloatArray) -> Panel:
    colors = operation_colors(run.operations)
    last = dict(zip(run.operations, shares[-1].tolist(), strict=True))
    ranked = sorted(last, key=lambda operation: -last[operation])
    carrying = [operation for operation in ranked if operation != NONE] or ranked
    label = f"{edge[0]} → {edge[1]}"
    epochs = len(shares) - 1
    ends = ", ".join(f"{operation} {number(last[operation], 2)}" for operation in ranked[:3])
    title = f"{kind_name(kind)}, edge {label}: shares after {count(epochs, 'epoch')}: {ends}"
    return Panel(
        label,
        f"{carrying[0]} {number(last[carrying[0]], 2)}",
        colors[carrying[0]],
        Markup(_svg(shares, [colors[operation] for operation in run.operations], title)),  # escaped there
    )


def _svg(shares: FloatArray, colors: Sequence[str], title: str) -> str:
    epochs = len(shares) - 1
    chosen = np.unique(np.linspace(0, epochs, min(epochs + 1, MOST_POINTS)).round().astype(np.int64))
    if epochs == 0:  # before the first epoch: the same from edge to edge
        chosen = np.zeros(2, dtype=np.int64)
    tops = np.cumsum(shares[chosen], axis=1)
    tops /= np.maximum(tops[:, -1:], 1.0)
    x = np.linspace(0, WIDTH, len(chosen)).round().astype(np.int64)
    y = (GROUND * (1.0 - tops)).round().astype(np.int64)
    # From the top down: each area covers what lies below it.
    areas = [_area(x, y[:, place], colors[place]) for place in reversed(range(len(colors)))]
    text = f'<text y="{HEIGHT - 4}" font-size="54" fill="{MUTED}"'
    return (
        f'<svg class="shares" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui, sans-serif">'
        f"<title>{escape(title)}</title>{''.join(areas)}"
        f'{text} x="0">0</text>{text} x="{WIDTH}" text-anchor="end">{epochs}</text></svg>'
    )


def _area(x: NDArray[np.int64], y: NDArray[np.int64], color: str) -> str:
    steps = "".join(f"l{dx} {dy}" for dx, dy in zip(np.diff(x), np.diff(y), strict=True))
    path = f"M0 {GROUND}V{y[0]}{steps}V{GROUND}Z"
    return f'<path d="{path}" fill="{color}" stroke="#fff" stroke-width="3"/>'
