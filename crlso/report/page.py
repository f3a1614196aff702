"""The page: what stands in it, as plain data, and its HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import crlso
from crlso.protocols import Evaluator, Metric, SearchSpace
from crlso.report.cells import CellCard, cell_cards
from crlso.report.curve_figures import curves_figure
from crlso.report.figures import Figure, training_figures
from crlso.report.front_figures import front_figure, front_table
from crlso.report.reading import read_trials
from crlso.report.settings_block import Settings, settings_block
from crlso.report.studies import Study
from crlso.report.summary import Fact, best_run, facts, notes, summary
from crlso.report.supernet_page import SupernetPage, supernet_as_plain
from crlso.report.supernet_reading import SupernetRun
from crlso.report.supernet_summary import title as supernet_title
from crlso.report.tables import Table, tables
from crlso.report.text import listing
from crlso.report.training_page import TrainingPage, training_as_plain
from crlso.report.training_page import title as training_title
from crlso.report.training_reading import TrainingRun
from crlso.report.verdicts import EXPLANATION, verdicts
from crlso.report.views import LatentView, latent_views, with_diagnostics


@dataclass(frozen=True)
class StudyPage:
    """Everything the page says about one study."""

    key: str
    title: str
    facts: tuple[Fact, ...]
    summary: tuple[str, ...]
    best_arch: str
    verdicts: tuple[str, ...]
    verdicts_note: str
    notes: tuple[str, ...]
    curves_title: str
    curves: Figure | None
    curves_caption: str
    front: Figure | None
    front_caption: str
    tables: tuple[Table, ...]
    cells: tuple[CellCard, ...]
    cells_note: str
    latent: tuple[LatentView, ...]
    training: tuple[Figure, ...]
    training_caption: str
    settings: tuple[Settings, ...]


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    notes: tuple[str, ...]
    studies: tuple[StudyPage, ...]
    footer: str
    supernets: tuple[SupernetPage, ...] = ()
    trainings: tuple[TrainingPage, ...] = ()

    @property
    def sections(self) -> tuple[StudyPage | SupernetPage | TrainingPage, ...]:
        """All that has a heading of its own."""
        return (*self.studies, *self.supernets, *self.trainings)


def study_page(study: Study, key: str, evaluator: Evaluator | None, space: SearchSpace | None) -> StudyPage:
    """Collect what the page says about one study."""
    metrics: Mapping[str, Metric] = evaluator.metrics if evaluator is not None else {}
    shown = with_diagnostics(study)
    best = best_run(study)
    curves = curves_figure(study, f"{key}-curves", read_trials(study.runs[0]) if len(study.runs) == 1 else ())
    cells = cell_cards(study, metrics, space)
    listed = front_table(study, metrics)
    undrawn = bool(cells) and all(card.svg is None for card in cells)
    training = [(label, found.curves) for label, _, found in shown if found.curves]
    return StudyPage(
        key=key,
        title=study.title,
        facts=facts(study),
        summary=summary(study, metrics),
        best_arch=(best.arch or "") if best is not None else "",
        verdicts=verdicts(study),
        verdicts_note=EXPLANATION,
        notes=notes(study),
        curves_title=study.quantity.capitalize(),
        curves=curves,
        curves_caption=_curves_caption(study, curves),
        front=front_figure(study, f"{key}-front", evaluator),
        front_caption=_front_caption(study),
        tables=(*tables(study, metrics), *([listed] if listed else [])),
        cells=cells,
        cells_note="The search space is not at hand, so the cells are not drawn." if undrawn else "",
        latent=latent_views(study, key, shown, evaluator),
        training=training_figures(training, f"{key}-training"),
        training_caption=_training_caption([label for label, _ in training]),
        settings=_settings(study),
    )


def render(page: Page) -> str:
    """The page as one HTML text with everything inside; texts are escaped."""
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crlso.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        page=page,
        style=_asset("page.css") + (_asset("supernet.css") if page.supernets else ""),
        script=_asset("page.js"),
        plotly=Markup(get_plotlyjs()),
        data=_json,
    )


def _asset(name: str) -> Markup:
    text = resources.files("crlso.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)


def _json(figure: Figure) -> Markup:
    """JSON that can not end the script element it stands in."""
    text = json.dumps(figure.as_data(), allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _curves_caption(study: Study, curves: Figure | None) -> str:
    parts = []
    if study.volumes:
        parts.append(
            "The hypervolume is the part of the space of objectives that what was found so far dominates"
            + (", as a share of what the best of the benchmark dominate." if study.share else ".")
        )
    elif not study.regrets:
        parts.append(
            "The best value possible is not known here, so the curves show the best value found so far."
        )
    else:
        parts.append(
            "Regret is the distance between the best value found so far and the best the benchmark holds."
        )
    if curves is not None and "median" in curves.switches:
        parts.append("Bands: 95 % Student t interval of the mean over seeds, or quartiles around the median.")
    if curves is not None and curves.meta["log"]:
        parts.append("The lowest line of the logarithmic scale stands for zero and everything below it.")
    return " ".join(parts)


def _front_caption(study: Study) -> str:
    text = "Of all runs of a method, what no other architecture that they evaluated dominates."
    return (
        f"{text} The first two of {len(study.aim.metrics)} objectives."
        if len(study.aim.metrics) > 2
        else text
    )


def _training_caption(labels: Sequence[str]) -> str:
    return f"Of {labels[0]}." if len(labels) == 1 else "One run of each method that trains a model."


def _settings(study: Study) -> tuple[Settings, ...]:
    """Settings of each comparison, and of one run per method of single searches (others differ by seed)."""
    blocks: dict[Path, Settings] = {}
    for series in study.series:
        run = series.runs[0]
        compared = run.path != run.source
        file = (run.source if compared else run.path) / "config.yaml"
        if run.config and file not in blocks:
            name = (
                f"Comparison {run.source.resolve().name}" if compared else f"{series.label}, seed {run.seed}"
            )
            blocks[file] = settings_block(name, file, run.config)
    return tuple(blocks.values())


def footer() -> str:
    """Which version made the page."""
    return (
        f"Made by crlso {crlso.__version__}. Everything in this page is in this one file; it loads nothing."
    )


def title(
    studies: Sequence[Study],
    supernets: Sequence[SupernetRun] = (),
    trainings: Sequence[TrainingRun] = (),
) -> str:
    """Heading of the page."""
    titles = [study.title for study in studies]
    titles += [supernet_title(run) for run in supernets] + [training_title(run) for run in trainings]
    if len(titles) == 1:
        return titles[0]
    places = [study.bench for study in studies]
    places += [run.space.name for run in supernets] + [run.space.name for run in trainings]
    return f"{len(titles)} studies on {listing(list(dict.fromkeys(places)))}"


def as_plain(page: Page) -> dict[str, Any]:
    """What the page says, for machines: facts, sentences and tables."""
    plain: dict[str, Any] = {
        "title": page.title,
        "notes": list(page.notes),
        "studies": [
            {
                "title": study.title,
                "summary": list(study.summary),
                "verdicts": list(study.verdicts),
                "notes": list(study.notes),
                "plots": [
                    f.key
                    for f in (study.curves, study.front, *(v.figure for v in study.latent), *study.training)
                    if f
                ],
                "cells": [card.arch for card in study.cells],
            }
            for study in page.studies
        ],
    }
    if page.supernets:
        plain["supernets"] = [supernet_as_plain(supernet) for supernet in page.supernets]
    if page.trainings:
        plain["trainings"] = [training_as_plain(training) for training in page.trainings]
    return plain
