"""The sets that shrinking searches leave: accuracy against weights as pictures, and all members in tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from markupsafe import Markup

from crlso.report import svg
from crlso.report.palette import DEAD, GRID, INK, METHOD_COLORS, MUTED
from crlso.report.supernet_reading import SupernetRun, SupernetSearch, read_supernet
from crlso.report.tables import Table, TableCell, TableRow
from crlso.report.text import count, number, short, with_unit
from crlso.runs.files import write_aside
from crlso.runs.pareto import Member

WIDTH, HEIGHT = 460.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 16.0, 30.0, 44.0
CAPTION = (
    "Validation accuracy against weights. Filled: non-dominated, no other member is as accurate with as few "
    "weights and as few multiply-accumulates; with its number. Hollow: dominated. The line: the best "
    "accuracy with at most so many weights. All pictures have the same axes."
)
_NEAR = 14.0  # pixels between labels


@dataclass(frozen=True)
class SetView:
    """The set of one search: its picture (``None``: no member is verified), what is not in it, its table."""

    title: str
    svg: Markup | None
    note: str
    table: Table


def set_views(run: SupernetRun) -> tuple[SetView, ...]:
    """One per search that has left a set."""
    sets = [search for search in run.searches if search.members]
    verified = [member for search in sets for member in search.members if _is_verified(member)]
    axes = _Axes.around(verified) if verified else None
    return tuple(_view(search, axes) for search in sets)


def write_pictures(path: Path) -> None:
    """Each set's picture, as ``pareto.svg`` beside its ``pareto.csv``; of members that are verified.

    Args:
        path: A directory of `crlso supernet search`.

    Raises:
        RunError: A damaged file, or the disk is full or read-only.
    """
    run = read_supernet(path)
    views = set_views(run)
    sets = [search for search in run.searches if search.members]
    for search, view in zip(sets, views, strict=True):
        if view.svg is not None:
            # In a file of its own an SVG says what it is.
            text = str(view.svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
            with write_aside(path / "seeds" / str(search.seed) / "pareto.svg", "w") as file:
                file.write(f"{text}\n")


def _view(search: SupernetSearch, axes: _Axes | None) -> SetView:
    shown = sum(map(_is_verified, search.members))
    missing = len(search.members) - shown
    note = f"{count(missing, 'member')} not verified, and so not in the picture." if missing else ""
    kept = sum(member.non_dominated for member in search.members)
    title = f"Seed {search.seed}: {count(len(search.members), 'member')}, {kept} non-dominated"
    # Texts in it are escaped.
    picture = Markup(_picture(search, axes, title)) if axes is not None and shown else None
    return SetView(title, picture, note, _table(search))


def _table(search: SupernetSearch) -> Table:
    rows = []
    for place, member in enumerate(search.members):
        figures = (
            str(member.step),
            str(member.operators),
            short(member.params),
            short(member.flops),
            number(member.shared_valid_accuracy, 2),
            number(member.valid_accuracy, 2),
        )
        cells = tuple(TableCell(text, strong=member.non_dominated) for text in figures)
        color = METHOD_COLORS[0] if member.non_dominated else DEAD
        rows.append(TableRow(f"member {place}", color, cells))
    return Table(
        f"Members of the set, seed {search.seed}",
        ("member", "step", "operators", "weights (M)", "MACs (M)", "supernet (%)", "verified (%)"),
        tuple(rows),
        "Bold: non-dominated. Step: of the search, after which the member was taken. Supernet: validation "
        "accuracy of the supernet that had shrunk to it, at that step; verified: after a training from "
        "scratch where the recipe asks for one, otherwise the same. MACs: multiply-accumulate operations for "
        "one image.",
    )


def _is_verified(member: Member) -> bool:
    return math.isfinite(member.valid_accuracy)


@dataclass(frozen=True)
class _Axes:
    """Ranges and ticks: weights in millions to the right, accuracy in % upwards."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    @classmethod
    def around(cls, members: Sequence[Member]) -> _Axes:
        return cls(
            ticks(0.0, max(member.params for member in members)),
            ticks(
                min(member.valid_accuracy for member in members),
                max(member.valid_accuracy for member in members),
            ),
        )

    def at(self, params: float, accuracy: float) -> svg.Point:
        right = (params - self.x[0]) / (self.x[-1] - self.x[0])
        up = (accuracy - self.y[0]) / (self.y[-1] - self.y[0])
        return LEFT + right * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def parts(self) -> list[str]:
        """Grid, numbers and names."""
        made = []
        for value, text in zip(self.x, _texts(self.x), strict=True):
            x, _ = self.at(value, self.y[0])
            made.append(_line((x, TOP), (x, HEIGHT - BOTTOM), GRID))
            made.append(_text((x, HEIGHT - BOTTOM + 16), text, "middle"))
        for value, text in zip(self.y, _texts(self.y), strict=True):
            _, y = self.at(self.x[0], value)
            made.append(_line((LEFT, y), (WIDTH - RIGHT, y), GRID))
            made.append(_text((LEFT - 6, y + 4), text, "end"))
        made.append(_text((WIDTH - RIGHT, HEIGHT - 8), "weights (M)", "end"))
        made.append(_text((4, 14), "validation accuracy (%)", "start"))
        return made


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Three to seven round numbers, equally far apart, of which the outer ones enclose the range."""
    span = high - low
    if not span > 1e-9 * max(abs(low), abs(high), 1e-6):  # all the same
        span = max(abs(high) / 10, 1e-6)
        low, high = low - span / 2, high + span / 2
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(float(f"{place * step:.12g}") for place in range(first, last + 1))


def _texts(values: Sequence[float]) -> list[str]:
    """All with as many decimals as the distance between them needs."""
    step = values[1] - values[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [number(value, decimals) for value in values]


def _picture(search: SupernetSearch, axes: _Axes, title: str) -> str:
    members = [(place, member) for place, member in enumerate(search.members) if _is_verified(member)]
    parts = [*axes.parts(), _staircase([member for _, member in members], axes)]
    labelled: list[svg.Point] = []
    # The dominated ones first, so that they cover none of the others.
    for place, member in sorted(members, key=lambda pair: (pair[1].non_dominated, pair[1].params)):
        point = axes.at(member.params, member.valid_accuracy)
        said = f"member {place}: {with_unit(short(member.params), 'M')} weights, " + with_unit(
            number(member.valid_accuracy, 2), "%"
        )
        parts.append(_point(point, said, kept=member.non_dominated))
        if member.non_dominated and all(math.dist(point, other) >= _NEAR for other in labelled):
            labelled.append(point)
            parts.append(_text((point[0], point[1] - 8), str(place), "middle", INK))
    return svg.document(WIDTH, HEIGHT, f"{title}: validation accuracy against weights", parts)


def _staircase(members: Sequence[Member], axes: _Axes) -> str:
    ranked = sorted(members, key=lambda member: (member.params, -member.valid_accuracy))
    best = np.maximum.accumulate([member.valid_accuracy for member in ranked])
    x, y = axes.at(ranked[0].params, float(best[0]))
    path = f"M{x:.1f},{y:.1f}"
    for member, accuracy in zip(ranked[1:], best[1:], strict=True):
        x, y = axes.at(member.params, float(accuracy))
        path += f"H{x:.1f}V{y:.1f}"
    style = f'fill="none" stroke="{METHOD_COLORS[0]}" stroke-opacity="0.45"'
    return f'<path d="{path}H{WIDTH - RIGHT:.1f}" {style}/>'


def _point(at: svg.Point, said: str, *, kept: bool) -> str:
    fill, stroke = (METHOD_COLORS[0], METHOD_COLORS[0]) if kept else ("#ffffff", DEAD)
    return (
        f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4.5" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="1.5"><title>{escape(said)}</title></circle>'
    )


def _line(start: svg.Point, end: svg.Point, color: str) -> str:
    path = f"M{start[0]:.1f},{start[1]:.1f}L{end[0]:.1f},{end[1]:.1f}"
    return f'<path d="{path}" stroke="{color}"/>'


def _text(at: svg.Point, text: str, anchor: str, color: str = MUTED) -> str:
    return (
        f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'
    )
