"""What the page says about trainings from scratch (`crlso supernet train`), as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from crlso.protocols import FloatArray
from crlso.report.cells import CARD_WIDTH, CellCard, drawing_of
from crlso.report.figures import Figure, training_figures
from crlso.report.palette import INK, method_style
from crlso.report.settings_block import Settings, settings_block
from crlso.report.statistics import spread
from crlso.report.summary import Fact
from crlso.report.supernet_summary import deviation, mean_text
from crlso.report.tables import Table, TableCell, TableRow
from crlso.report.text import DASH, count, number, short, whole_numbers, with_unit
from crlso.report.training_reading import CURVES, Architecture, Trained, TrainingRun

MOST_LINES = 12
"""So many lines stand in a plot, and so many cells are drawn."""


@dataclass(frozen=True)
class TrainingPage:
    """Everything the page says about one run."""

    key: str
    title: str
    facts: tuple[Fact, ...]
    summary: tuple[str, ...]
    verdicts: tuple[str, ...]
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    curves: tuple[Figure, ...]
    curves_caption: str
    cells: tuple[CellCard, ...]
    cells_note: str
    settings: tuple[Settings, ...]


def title(run: TrainingRun) -> str:
    """Heading of the section."""
    return f"Trainings from scratch: {run.space.name} on {run.data}"


def training_pages(runs: Sequence[TrainingRun]) -> tuple[TrainingPage, ...]:
    """One part of the page per run; where two would be called the same, the directory's name is added."""
    titles = [title(run) for run in runs]
    return tuple(
        training_page(
            run,
            f"training-{place}",
            name if titles.count(name) == 1 else f"{name} ({run.path.resolve().name})",
        )
        for place, (run, name) in enumerate(zip(runs, titles, strict=True), start=1)
    )


def training_page(run: TrainingRun, key: str, heading: str) -> TrainingPage:
    """Collect what the page says about one run.

    Args:
        run: The run.
        key: Name in the page, unique.
        heading: Its heading.
    """
    cells = tuple(_card(run, entry) for entry in run.architectures[:MOST_LINES])
    undrawn = all(card.svg is None for card in cells)
    lines = _lines(run)
    return TrainingPage(
        key=key,
        title=heading,
        facts=_facts(run),
        summary=_summary(run),
        verdicts=(),
        notes=_notes(run),
        tables=(_table(run),),
        curves=training_figures(lines, f"{key}-curve") if lines else (),
        curves_caption=_caption(run, len(lines)),
        cells=cells,
        cells_note="The texts are no architectures of the space, so the cells are not drawn."
        if undrawn
        else "",
        settings=(
            settings_block(f"Trainings {run.path.resolve().name}", run.path / "config.yaml", run.config),
        ),
    )


def training_as_plain(page: TrainingPage) -> dict[str, Any]:
    """What this part says, for machines."""
    return {
        "title": page.title,
        "summary": list(page.summary),
        "notes": list(page.notes),
        "plots": [figure.key for figure in page.curves],
        "cells": [card.arch for card in page.cells],
    }


def _values(entry: Architecture, name: str) -> FloatArray:
    """``[seeds]`` of a quantity of the trainings, NaN where unknown."""
    return np.array([getattr(training, name) for training in entry.trainings], dtype=np.float64)


def _means(run: TrainingRun, name: str) -> FloatArray:
    """``[architectures]`` means over seeds."""
    return np.array([float(spread(_values(entry, name)).mean) for entry in run.architectures])


def _facts(run: TrainingRun) -> tuple[Fact, ...]:
    out = []
    several = len(run.architectures) > 1
    test = _means(run, "test_accuracy") if several else _values(run.architectures[0], "test_accuracy")
    if np.isfinite(test).any():
        over = "architectures" if several else "seeds"
        detail = f"{run.metric}, over {over}" if np.isfinite(test).sum() > 1 else run.metric
        out.append(Fact("Test accuracy", mean_text(test), detail))
    seeds = f"{count(len(run.seeds), 'seed')} ({whole_numbers(run.seeds)}) each"
    out.append(Fact("Architectures", str(len(run.architectures)), seeds))
    out.append(Fact("Epochs", str(run.epochs)))
    return tuple(out)


def _summary(run: TrainingRun) -> tuple[str, ...]:
    number_of = count(len(run.architectures), "architecture")
    out = [
        f"{number_of} of the space {run.space.name} trained from scratch on {run.data}, with"
        f" {count(len(run.seeds), 'seed')} each, for {count(run.epochs, 'epoch')}."
    ]
    if run.data_text:
        out.append(f"Images: {run.data_text.rstrip('.')}. Networks: {run.network.rstrip('.')}.")
    if run.all_data:
        out.append(
            "The validation part was trained on too, so there is no validation accuracy; the test part was"
            " measured once, at the end."
        )
    return tuple(out)


def _notes(run: TrainingRun) -> tuple[str, ...]:
    out = []
    every = [training for entry in run.architectures for training in entry.trainings]
    done = sum(training.finished for training in every)
    if not run.finished:
        out.append(
            f"The run is unfinished: {done} of {count(len(every), 'training')} came to the end. Run the same"
            " command again to finish it."
        )
    failed = sum(training.failed for training in every)
    if failed:
        out.append(f"{count(failed, 'training')} diverged and {'is' if failed == 1 else 'are'} in no mean.")
    return tuple(out)


def _table(run: TrainingRun) -> Table:
    rows = []
    for place, entry in enumerate(run.architectures):
        cells = [
            _over_seeds(entry, "test_accuracy", 2),
            _over_seeds(entry, "valid_accuracy", 2),
            TableCell(number(entry.params, 3)),
            TableCell(number(entry.flops, 2)),
            _over_seeds(entry, "seconds", 1),
        ]
        rows.append(TableRow(_label(entry), method_style(place)[0], tuple(cells)))
    if len(run.architectures) > 1:
        spreads = [
            TableCell(mean_text(_means(run, name), decimals, unit=""), strong=True)
            if np.isfinite(_means(run, name)).any()
            else TableCell(DASH)
            for name, decimals in (("test_accuracy", 2), ("valid_accuracy", 2))
        ]
        rows.append(TableRow("mean ± deviation", INK, (*spreads, *([TableCell("")] * 3))))
    return Table(
        "Trained networks",
        ("architecture", "test (%)", "validation (%)", "weights (M)", "MACs (M)", "s per training"),
        tuple(rows),
        "Mean ± standard deviation over seeds; the median in small print. MACs: multiply-accumulate"
        " operations for one image."
        + (" The last row is over architectures." if len(run.architectures) > 1 else ""),
    )


def _over_seeds(entry: Architecture, name: str, decimals: int) -> TableCell:
    about = spread(_values(entry, name))
    if about.n == 0:
        return TableCell(DASH)
    text = number(float(about.mean), decimals)
    if about.n == 1:
        return TableCell(text)
    return TableCell(
        f"{text} ± {number(deviation(about), decimals)}",
        f"median {number(float(about.median), decimals)}, {about.n:.0f} seeds",
    )


def _label(entry: Architecture) -> str:
    return f"architecture {entry.number}"


def _lines(run: TrainingRun) -> list[tuple[str, Mapping[str, tuple[FloatArray, FloatArray]]]]:
    """Labels and curves: a line per seed of a single architecture, otherwise the means over seeds."""
    if len(run.architectures) == 1:
        named = [(f"seed {each.seed}", [each]) for each in run.architectures[0].trainings]
    else:
        named = [(_label(entry), list(entry.trainings)) for entry in run.architectures]
    made = [(label, _mean_curves(trainings)) for label, trainings in named[:MOST_LINES]]
    return [(label, curves) for label, curves in made if curves]


def _mean_curves(trainings: Sequence[Trained]) -> Mapping[str, tuple[FloatArray, FloatArray]]:
    """Epochs and means, up to the last epoch that all trainings have that have begun."""
    found = {}
    for name in CURVES:
        begun = [each.curves[name] for each in trainings if len(each.curves[name])]
        shortest = min((len(curve) for curve in begun), default=0)
        values = np.array([curve[:shortest] for curve in begun])
        if shortest and np.isfinite(values).all():
            found[name] = (np.arange(1, shortest + 1, dtype=np.float64), values.mean(axis=0))
    return found


def _caption(run: TrainingRun, lines: int) -> str:
    parts = ["By epoch; losses in nats, accuracies in %. Training: mean over the steps of the epoch."]
    if len(run.architectures) > 1 and len(run.seeds) > 1:
        parts.append("Lines are means over seeds, up to the last epoch that all have.")
    if lines == MOST_LINES < max(len(run.architectures), len(run.seeds)):
        parts.append(f"The first {lines} are shown.")
    return " ".join(parts)


def _card(run: TrainingRun, entry: Architecture) -> CellCard:
    drawing = drawing_of(entry.text, run.space)
    test = _values(entry, "test_accuracy")
    known = bool(np.isfinite(test).any())
    lines = []
    if math.isfinite(entry.params):
        lines = [
            ("weights", with_unit(short(entry.params), "M")),
            ("multiply-accumulates", with_unit(short(entry.flops), "M")),
        ]
    return CellCard(
        arch=entry.text,
        value=mean_text(test) if known else f"Architecture {entry.number}",
        regret="test accuracy" if known else "no test accuracy",
        report=tuple(lines),
        found=f"Architecture {entry.number}.",
        svg=None if drawing is None else Markup(drawing.svg),  # its texts are escaped
        wide=drawing is not None and drawing.width > CARD_WIDTH,
    )
