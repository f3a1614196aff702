"""The best architectures of a study, as cards with a drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from crlso.errors import UserError
from crlso.protocols import Metric, SearchSpace
from crlso.report.drawing import Drawing, draw
from crlso.report.reading import Run
from crlso.report.studies import Study
from crlso.report.text import count, listing, number, short, with_unit

MOST = 6
"""So many cards; more only where every method has a best architecture of its own."""
CARD_WIDTH = 350.0
"""Wider drawings take the width of the page; others fit a card, where they shrink by a tenth at most."""


@dataclass(frozen=True)
class CellCard:
    """One architecture: what it is worth, its drawing (None where its space is unknown), who found it.

    ``wide``: the drawing needs the width of the page.
    """

    arch: str
    value: str
    regret: str
    report: tuple[tuple[str, str], ...]
    found: str
    svg: Markup | None
    wide: bool


def best_runs(study: Study) -> list[list[Run]]:
    """Runs grouped by the architecture they ended with, the best architecture first."""
    groups: dict[str, list[Run]] = {}
    for run in study.runs:
        if run.arch is not None and math.isfinite(run.value):
            groups.setdefault(run.arch, []).append(run)
    sign = 1.0 if study.direction == "max" else -1.0
    return sorted(groups.values(), key=lambda runs: (-sign * runs[0].value, -len(runs)))


def cell_cards(
    study: Study, metrics: Mapping[str, Metric], space: SearchSpace | None
) -> tuple[CellCard, ...]:
    """The best architectures, and at least the best of each method."""
    ranked = best_runs(study)
    wanted = list(range(min(MOST, len(ranked))))
    for series in study.series:
        own = [i for i, runs in enumerate(ranked) if any(run in series.runs for run in runs)]
        wanted += own[:1]
    cards = []
    for place in sorted(set(wanted)):
        runs = ranked[place]
        drawing = drawing_of(runs[0].arch or "", space)
        first, regret = runs[0], study.regret(runs[0].value)
        cards.append(
            CellCard(
                arch=first.arch or "",
                value=with_unit(number(first.value, study.decimals), study.unit),
                regret=""
                if regret is None
                else f"regret {with_unit(number(regret, study.decimals), study.unit)}",
                report=report_lines(first.report, metrics),
                found=f"Found by {who_found(study, runs)}.",
                svg=None if drawing is None else Markup(drawing.svg),  # its texts are escaped
                wide=drawing is not None and drawing.width > CARD_WIDTH,
            )
        )
    return tuple(cards)


def report_lines(report: Mapping[str, float], metrics: Mapping[str, Metric]) -> tuple[tuple[str, str], ...]:
    """Names and values of reported metrics, with units where they are known."""
    return tuple(
        (name, with_unit(short(value), metrics[name].unit if name in metrics else ""))
        for name, value in report.items()
    )


def who_found(study: Study, runs: list[Run]) -> str:
    """``crlso in 12 of 30 runs and local in 3 of 30 runs``; ``crlso, seed 0`` where one run of each did."""
    parts = []
    for series in study.series:
        own = [run for run in series.runs if any(run is other for other in runs)]
        if len(series.runs) == 1 and own:
            parts.append(f"{series.label}, seed {own[0].seed}" if len(study.series) == 1 else series.label)
        elif own:
            parts.append(f"{series.label} in {len(own)} of {count(len(series.runs), 'run')}")
    return listing(parts)


def drawing_of(arch: str, space: SearchSpace | None) -> Drawing | None:
    """The drawing, None where the space is unknown or does not have this architecture."""
    if space is None:
        return None
    try:
        return draw(space, space.parse(arch))
    except UserError:
        return None
