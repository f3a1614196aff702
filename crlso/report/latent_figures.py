"""The plot of a latent space in two dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crlso.protocols import FloatArray
from crlso.report.diagnostics import Diagnostics
from crlso.report.figures import Figure, base_layout, plain, rounded
from crlso.report.palette import ACCENT, INK, translucent
from crlso.runs.trials import Trial

BACKGROUND_POINTS = 3000
"""At most so many points of the latent space are drawn; more make the page slow and nothing clearer."""


@dataclass(frozen=True)
class Performance:
    """Values that colour the latent space.

    Attributes:
        values: ``[p]`` one per background point; NaN where unknown.
        label: What they are, for the colour bar.
        larger_is_better: False where small values are good.
    """

    values: FloatArray
    label: str
    larger_is_better: bool = True


def latent_figure(
    diagnostics: Diagnostics, performance: Performance, trials: Sequence[Trial], sign: float, key: str
) -> Figure | None:
    """The latent space in two dimensions, the background coloured by performance, the search's path on top.

    Args:
        diagnostics: Places of background points and trials.
        performance: Colours of the background points.
        trials: Evaluations in order; their places are ``diagnostics.trial_latent``.
        sign: +1 where larger values are better, -1 where smaller are.
        key: Name of the figure.

    Returns:
        None where there are no points.
    """
    points = diagnostics.space_latent
    if not len(points) and not len(diagnostics.trial_latent):
        return None
    traces = [_background(points, performance)] if len(points) else []
    traces += _path(diagnostics.trial_latent, trials, sign)
    layout = base_layout("first principal component", "second principal component")
    layout["hovermode"] = "closest"
    layout["margin"]["b"] = 118
    layout["legend"]["itemsizing"] = "constant"
    return Figure(key, "Latent space in two dimensions, with the search's path", tuple(traces), layout, 600)


def _background(points: FloatArray, performance: Performance) -> dict[str, Any]:
    keep = np.linspace(0, len(points) - 1, min(len(points), BACKGROUND_POINTS)).astype(np.int64)
    values = performance.values[keep]
    known = values[np.isfinite(values)]
    # The worst cells (at chance level) lie far below all others: uncut they would take all the colours.
    worst, best = (5.0, 100.0) if performance.larger_is_better else (0.0, 95.0)
    low, high = np.percentile(known, [worst, best]).tolist() if known.size else (0.0, 1.0)
    order = np.argsort(np.where(np.isfinite(values), values, -np.inf))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "architectures",
        "x": rounded(points[keep][order, 0].tolist()),
        "y": rounded(points[keep][order, 1].tolist()),
        "customdata": rounded(values[order].tolist()),
        "hovertemplate": plain(performance.label) + " %{customdata}<extra></extra>",
        "marker": {
            "size": 5,
            "opacity": 0.75,
            "color": rounded(values[order].tolist()),
            "cmin": low,
            "cmax": high if high > low else low + 1.0,
            "colorscale": "Viridis",
            "reversescale": not performance.larger_is_better,
            "colorbar": {
                "orientation": "h",
                "title": {"text": plain(performance.label), "side": "bottom", "font": {"size": 13}},
                "thickness": 10,
                "len": 0.9,
                "x": 0.5,
                "xanchor": "center",
                "y": -0.13,
                "yanchor": "top",
                "outlinewidth": 0,
                "nticks": 6,
            },
        },
    }


def _path(places: FloatArray, trials: Sequence[Trial], sign: float) -> list[dict[str, Any]]:
    """All evaluations joined in order, the improvements numbered, the best with a star."""
    n = min(len(places), len(trials))
    if n == 0:
        return []
    places = places[:n]
    values = np.array([trial.value for trial in trials[:n]], dtype=np.float64)
    ranks = np.where(np.isfinite(values), sign * values, -np.inf)
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(ranks)[:-1]])
    steps = np.flatnonzero(ranks > best_before)
    hover = [f"evaluation {i + 1}: {_short(values[i])}<br>{plain(trials[i].arch)}" for i in range(n)]

    def trace(name: str, rows: np.ndarray, **more: Any) -> dict[str, Any]:
        return {
            "type": "scatter",
            "name": name,
            "x": rounded(places[rows, 0].tolist()),
            "y": rounded(places[rows, 1].tolist()),
            "text": [hover[i] for i in rows],
            "hovertemplate": "%{text}<extra></extra>",
            **more,
        }

    everything = np.arange(n)
    outline = {"color": INK, "width": 1}
    traces = [
        trace(
            "evaluations, in order",
            everything,
            mode="lines+markers",
            line={"color": translucent(INK, 0.28), "width": 1},
            marker={"size": 6, "color": "#ffffff", "line": outline},
        )
    ]
    if len(steps):
        traces.append(
            trace(
                "improvements",
                steps,
                mode="lines+markers",
                line={"color": ACCENT, "width": 2.2},
                marker={"size": 9, "color": ACCENT, "line": {"color": "#ffffff", "width": 1.2}},
            )
        )
        traces.append(
            trace(
                "best",
                steps[-1:],
                mode="markers",
                marker={"symbol": "star", "size": 19, "color": ACCENT, "line": {"color": INK, "width": 1.2}},
            )
        )
    return traces


def _short(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "does not count"
