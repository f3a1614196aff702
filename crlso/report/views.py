"""Latent spaces in the page: whose are shown, and what their colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Evaluator
from crlso.report.diagnostics import Diagnostics, read_diagnostics
from crlso.report.figures import Figure
from crlso.report.latent_figures import Performance, latent_figure
from crlso.report.reading import Run, read_trials
from crlso.report.studies import Study

LATENT_SPACES = 4
"""At most so many latent spaces are drawn in a study, one per method."""

_PATH = (
    "White points joined by a thin line are the evaluations in order; the orange line joins those that "
    "improved on all before; the star is the best. Colours are cut at the worst 5 % of the background points."
)


@dataclass(frozen=True)
class LatentView:
    """One latent space: whose, its plot, and what the colours are."""

    title: str
    figure: Figure
    caption: str


def with_diagnostics(study: Study) -> list[tuple[str, Run, Diagnostics]]:
    """For each method its first run with diagnostics: label, run, arrays."""
    shown = []
    for series in study.series:
        for run in series.runs:
            found = read_diagnostics(run.path)
            if found is not None and (found.has_latent or found.curves):
                shown.append((f"{series.label}, seed {run.seed}", run, found))
                break
    return shown


def latent_views(
    study: Study, key: str, shown: Sequence[tuple[str, Run, Diagnostics]], evaluator: Evaluator | None
) -> tuple[LatentView, ...]:
    """The latent spaces to draw.

    Args:
        study: Where the runs belong.
        key: Prefix of the figures' names.
        shown: What :func:`with_diagnostics` found.
        evaluator: Knows the true values of the background points; None where it is not at hand.
    """
    views: list[LatentView] = []
    for label, run, found in [entry for entry in shown if entry[2].has_latent][:LATENT_SPACES]:
        performance, source = _performance(study, found, evaluator)
        figure = latent_figure(found, performance, read_trials(run), run.sign, f"{key}-latent-{len(views)}")
        if figure is not None:
            views.append(LatentView(label, figure, f"{source} {_PATH}"))
    return tuple(views)


def _performance(study: Study, found: Diagnostics, evaluator: Evaluator | None) -> tuple[Performance, str]:
    """Colours of the background: true values where an evaluator has them all, else the model's prediction."""
    unit = f" ({study.unit})" if study.unit else ""
    if evaluator is not None and found.space_codes.size and study.metric in evaluator.metrics:
        try:
            frame = evaluator.evaluate(found.space_codes.astype(CODE_DTYPE), metrics=[study.metric])
        except UserError:
            pass  # A code outside a partial table: the prediction is shown instead, and the caption says so.
        else:
            values = frame[study.metric].to_numpy(dtype=np.float64)
            label = f"true value{unit}"
            text = f"Each point is one architecture, coloured by its true {study.metric} from the benchmark."
            return Performance(values, label, study.direction == "max"), text
    text = (
        "Each point is one architecture, coloured by the score that the model predicts (higher is better), "
        "not by true values."
    )
    return Performance(found.space_predicted, "predicted score"), text
