"""What the page says about a supernet run, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from crlso.report.cells import CARD_WIDTH, CellCard, drawing_of
from crlso.report.figures import Figure
from crlso.report.settings_block import Settings, settings_block
from crlso.report.shares_pictures import (
    OperationKey,
    SharesPicture,
    operation_keys,
    shares_pictures,
)
from crlso.report.shrinking_figures import CAPTION as SHRINKING_CAPTION
from crlso.report.shrinking_figures import shrinking_figures
from crlso.report.summary import Fact
from crlso.report.supernet_figures import curve_figures
from crlso.report.supernet_reading import SupernetRun, SupernetSearch
from crlso.report.supernet_sets import CAPTION, SetView, set_views
from crlso.report.supernet_summary import (
    EXPLANATION,
    facts,
    headline_metrics,
    notes,
    summary,
    title,
    verdicts,
)
from crlso.report.supernet_tables import supernet_tables
from crlso.report.tables import Table
from crlso.report.text import count, listing, number, short, with_unit


@dataclass(frozen=True)
class SupernetPage:
    """Everything the page says about one run."""

    key: str
    title: str
    facts: tuple[Fact, ...]
    summary: tuple[str, ...]
    verdicts: tuple[str, ...]
    verdicts_note: str
    notes: tuple[str, ...]
    curves: tuple[Figure, ...]
    curves_caption: str
    shrinking: tuple[Figure, ...]
    shrinking_caption: str
    pictures: tuple[SharesPicture, ...]
    keys: tuple[OperationKey, ...]
    pictures_caption: str
    cells: tuple[CellCard, ...]
    cells_note: str
    sets: tuple[SetView, ...]
    sets_caption: str
    tables: tuple[Table, ...]
    settings: tuple[Settings, ...]


def supernet_pages(runs: Sequence[SupernetRun]) -> tuple[SupernetPage, ...]:
    """One part of the page per run; where two would be called the same, the directory's name is added."""
    titles = [title(run) for run in runs]
    pages = []
    for place, (run, name) in enumerate(zip(runs, titles, strict=True), start=1):
        own = name if titles.count(name) == 1 else f"{name} ({run.path.resolve().name})"
        pages.append(supernet_page(run, f"supernet-{place}", own))
    return tuple(pages)


def supernet_page(run: SupernetRun, key: str, heading: str) -> SupernetPage:
    """Collect what the page says about one run.

    Args:
        run: The run.
        key: Name in the page, unique.
        heading: Its heading.
    """
    # A picture of every operator of every cell would be of many hundreds.
    pictures = () if run.per_node else shares_pictures(run)
    cells = tuple(_card(run, search) for search in run.searches if search.architecture is not None)
    undrawn = bool(cells) and all(card.svg is None for card in cells)
    said = verdicts(run)
    return SupernetPage(
        key=key,
        title=heading,
        facts=facts(run),
        summary=summary(run),
        verdicts=said,
        verdicts_note=EXPLANATION if said and len(run.searches) > 1 else "",
        notes=notes(run),
        curves=curve_figures(run, key),
        curves_caption=_curves_caption(run),
        shrinking=shrinking_figures(run, key),
        shrinking_caption=SHRINKING_CAPTION,
        pictures=pictures,
        keys=() if run.per_node else operation_keys(run),
        pictures_caption=_pictures_caption(run, len(pictures)),
        cells=cells,
        cells_note="The texts are no architectures of the space, so the cells are not drawn."
        if undrawn
        else "",
        sets=set_views(run),
        sets_caption=CAPTION,
        tables=supernet_tables(run),
        settings=(
            settings_block(
                f"Supernet search {run.path.resolve().name}", run.path / "config.yaml", run.config
            ),
        ),
    )


def supernet_as_plain(page: SupernetPage) -> dict[str, Any]:
    """What this part says, for machines."""
    return {
        "title": page.title,
        "summary": list(page.summary),
        "verdicts": list(page.verdicts),
        "notes": list(page.notes),
        "plots": [figure.key for figure in (*page.curves, *page.shrinking)],
        "pictures": [picture.title for picture in page.pictures],
        "cells": [card.arch for card in page.cells],
        "sets": [view.title for view in page.sets],
    }


def _card(run: SupernetRun, search: SupernetSearch) -> CellCard:
    text, result = search.architecture or "", search.result
    drawing = drawing_of(text, run.space)
    trained = result is not None and math.isfinite(result.test_accuracy)
    lines: list[tuple[str, str]] = []
    if result is not None:
        lines = [
            ("weights", with_unit(short(result.params), "M")),
            ("multiply-accumulates", with_unit(short(result.flops), "M")),
            ("validation accuracy", with_unit(number(result.valid_accuracy, 2), "%")),
            ("supernet's validation accuracy", with_unit(number(result.shared_valid_accuracy, 2), "%")),
        ]
        values = result.table_values
        lines += [
            (f"{result.table}: {name}", with_unit(number(values[name].value, 2), "%"))
            for name in headline_metrics(run)
            if name in values
        ]
    done = f"{len(search.epochs)} of {count(run.epochs, 'epoch')}"
    found = f"Derived by the search with seed {search.seed}."
    if not search.derived:
        found = f"What the shares of seed {search.seed} stand for after {done}."
    return CellCard(
        arch=text,
        value=with_unit(number(result.test_accuracy, 2), "%")
        if result is not None and trained
        else f"Seed {search.seed}",
        regret="test accuracy" if trained else "no test accuracy",
        report=tuple(lines),
        found=found,
        svg=None if drawing is None else Markup(drawing.svg),  # its texts are escaped
        wide=drawing is not None and drawing.width > CARD_WIDTH,
    )


def _curves_caption(run: SupernetRun) -> str:
    parts = []
    if sum(bool(search.epochs) for search in run.searches) > 1:
        parts.append(
            "Thick lines are means over searches, up to the last epoch that all have; thin ones are searches."
        )
    if run.per_node:
        parts.append(
            "Accuracies are those of the supernet with what is left of its operators. Entropy: that of a "
            "node's shares over all operators that enter it, mean over the nodes of a cell. Skip connections "
            "and convolutions are those that are left."
        )
        return " ".join(parts)
    parts.append(
        "Accuracies are those of the supernet with its mixture of operations. Entropy: "
        f"{number(math.log(len(run.operations)), 2)} nats where all {len(run.operations)} operations of an "
        "edge have equal shares, 0 where one has all. Skip connections and convolutions are those of the "
        "cells that the shares stand for."
    )
    return " ".join(parts)


def _pictures_caption(run: SupernetRun, shown: int) -> str:
    targets = {target for _, target in run.edges}
    inputs = sorted({source for source, _ in run.edges} - targets)
    what = "is the cell's input" if len(inputs) == 1 else "are the cell's inputs"
    states = f"State{'s' if len(inputs) > 1 else ''} {listing([str(state) for state in inputs])} {what}."
    parts = [
        "One panel per edge, named by the states that it joins: from left to right the epochs, from the "
        "start of the search on; the height of a colour is the operation's share of the edge. Beside the "
        "name: the operation with the largest share at the end, apart from none.",
        states,
    ]
    known = sum(search.shares is not None for search in run.searches)
    if shown < known:
        parts.append(f"The first {shown} of {known} searches are shown.")
    return " ".join(parts)
