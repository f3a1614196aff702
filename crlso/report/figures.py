"""The plots of the report, as plotly figures in plain data (dicts and lists, ready for JSON)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crlso.protocols import BoolArray, FloatArray
from crlso.report.diagnostics import Diagnostics
from crlso.report.palette import ACCENT, GRID, INK, MUTED, method_style, translucent
from crlso.report.statistics import spread
from crlso.report.studies import Study
from crlso.runs.trials import Trial

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
BACKGROUND_POINTS = 3000
"""At most so many points of the latent space are drawn; more make the page slow and nothing clearer."""
DECADES = 4
"""A logarithmic axis reaches no further down from the highest mean."""


@dataclass(frozen=True)
class Figure:
    """One plot.

    Attributes:
        key: Name in the page, unique.
        title: What it shows, in words; also its label for screen readers.
        data: Plotly traces.
        layout: Plotly layout.
        height: Height in CSS pixels.
        switches: Names of the controls the page puts above it (``log``, ``median``).
    """

    key: str
    title: str
    data: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any]
    height: int = 420
    switches: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """What the page hands to plotly, and to its own controls."""
        return {"data": list(self.data), "layout": dict(self.layout), "meta": dict(self.meta)}


def curves_figure(study: Study, key: str, trials: Sequence[Trial] = ()) -> Figure | None:
    """Regret (or best value so far) after each evaluation: mean with 95 % interval, or median with quartiles.

    Args:
        study: All methods of a picture.
        key: Name of the figure.
        trials: Evaluations of the only run, drawn as points; none where there are several runs.

    Returns:
        None where no run has evaluated anything.
    """
    traces = [_every_evaluation(study, trials)] if trials else []
    positive = [np.empty(0)]
    for index, series in enumerate(study.series):
        if not np.isfinite(series.scores).any():
            continue
        about = spread(series.scores)
        positive.append(about.mean[about.mean > 0.0])
        label = series.label if series.finished else f"{series.label} (unfinished)"
        low = np.maximum(about.low, 0.0) if study.optimum is not None else about.low
        views = {"mean": (about.mean, low, about.high)}
        if (about.n > 1).any():
            views["median"] = (about.median, about.lower_quartile, about.upper_quartile)
        else:
            views["median"] = views["mean"]
        for view, (middle, lower, upper) in views.items():
            line = _Line(label, *method_style(index), view, middle, lower, upper)
            traces += line.traces()
    if not traces:
        return None
    layout = _layout("evaluations", f"{study.quantity} ({study.unit})" if study.unit else study.quantity)
    scale = _log_scale(np.concatenate(positive)) if study.optimum is not None else {}
    layout["yaxis"] |= scale.get("axis", {})
    longest = max(series.scores.shape[1] for series in study.series)
    layout["xaxis"]["range"] = [1 - 0.02 * longest, 1.02 * longest]
    several = any(len(series.runs) > 1 for series in study.series)
    switches = (("log",) if scale else ()) + (("median",) if several else ())
    title = f"{study.quantity.capitalize()} after each evaluation"
    return Figure(key, title, tuple(traces), layout, 440, switches, {"log": scale})


def _log_scale(positive: FloatArray) -> dict[str, Any]:
    """A logarithmic axis whose lowest tick stands for zero; empty where nothing is positive."""
    if not positive.size:
        return {}
    top = math.ceil(math.log10(positive.max()))
    bottom = max(math.floor(math.log10(positive.min())) - 1, top - DECADES)
    decades = list(range(bottom, top + 1))
    words = [f"≤ {10.0**bottom:g}", *(f"{10.0**decade:g}" for decade in decades[1:])]
    axis = {"type": "log", "tickmode": "array", "tickvals": [10.0**d for d in decades], "ticktext": words}
    return {"floor": 10.0**bottom, "axis": axis}


def _every_evaluation(study: Study, trials: Sequence[Trial]) -> dict[str, Any]:
    """The value of each evaluation of a run, as a point."""
    values = np.array([trial.value for trial in trials], dtype=np.float64)
    scores = values if study.optimum is None else np.abs(study.optimum - values)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "each evaluation",
        "x": list(range(1, len(trials) + 1)),
        "y": rounded(scores.tolist()),
        "customdata": [plain(trial.arch) for trial in trials],
        "hovertemplate": "evaluation %{x}: %{y}<br>%{customdata}<extra></extra>",
        "marker": {"size": 5, "color": translucent(MUTED, 0.5)},
        "meta": {"view": "both"},
    }


@dataclass(frozen=True)
class _Line:
    """One method's curve with its band, in one of the two views."""

    label: str
    color: str
    dash: str
    view: str
    middle: FloatArray
    low: FloatArray
    high: FloatArray

    def traces(self) -> list[dict[str, Any]]:
        """The band, where there is one, and the line on top of it."""
        known = np.isfinite(self.low) & np.isfinite(self.high)
        return [*([self._band(known)] if known.any() else []), self._middle(known)]

    def _shared(self) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "lines",
            "legendgroup": self.label,
            "visible": self.view == "mean",
            "meta": {"view": self.view},
        }

    def _band(self, known: BoolArray) -> dict[str, Any]:
        x = np.arange(1, len(self.middle) + 1)[known]
        return {
            **self._shared(),
            "x": [*x.tolist(), *x[::-1].tolist()],
            "y": rounded([*self.high[known].tolist(), *self.low[known][::-1].tolist()]),
            "fill": "toself",
            "fillcolor": translucent(self.color, 0.16),
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
        }

    def _middle(self, known: BoolArray) -> dict[str, Any]:
        columns = (self.middle.tolist(), self.low.tolist(), self.high.tolist())
        hover = "%{customdata[0]}"
        if known.any():
            word = "95 % interval" if self.view == "mean" else "quartiles"
            hover = f"{self.view} %{{customdata[0]}}<br>{word} %{{customdata[1]}} to %{{customdata[2]}}"
        return {
            **self._shared(),
            "x": list(range(1, len(self.middle) + 1)),
            "y": rounded(columns[0]),
            "customdata": [rounded(row) for row in zip(*columns, strict=True)],
            "name": plain(self.label),
            "line": {
                "width": 2.4,
                "shape": "linear" if known.any() else "hv",
                "color": self.color,
                "dash": self.dash,
            },
            "hovertemplate": f"<b>{plain(self.label)}</b><br>evaluation %{{x}}<br>{hover}<extra></extra>",
        }


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
    layout = _layout("first principal component", "second principal component")
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


def training_figures(
    curves: Sequence[tuple[str, Mapping[str, tuple[FloatArray, FloatArray]]]], key: str
) -> tuple[Figure, ...]:
    """One small plot per training curve.

    Args:
        curves: For each run its label and its curves by name.
        key: Prefix of the figures' names.
    """
    names = list(dict.fromkeys(name for _, own in curves for name in own))
    figures = []
    for place, name in enumerate(names):
        traces = []
        for index, (label, own) in enumerate(curves):
            if name in own:
                x, y = own[name]
                color, dash = method_style(index)
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "lines" if len(x) > 1 else "markers",
                        "name": plain(label),
                        "x": rounded(x.tolist()),
                        "y": rounded(y.tolist()),
                        "line": {"color": color, "dash": dash, "width": 1.8},
                        "hovertemplate": f"{plain(label)}<br>%{{x}}: %{{y:.4g}}<extra></extra>",
                    }
                )
        layout = _layout("", "")
        layout["showlegend"] = len(curves) > 1
        layout["margin"] = {"l": 54, "r": 10, "t": 10 if len(curves) == 1 else 34, "b": 34}
        figures.append(Figure(f"{key}-{place}", name.replace("_", " "), tuple(traces), layout, 220))
    return tuple(figures)


def rounded(values: Sequence[float]) -> list[float | None]:
    """Six significant digits (a quarter of the file's size); None, which JSON knows, for NaN."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def plain(text: str) -> str:
    """A text for plotly's labels, which read a little HTML: no tag can begin and no entity can hide in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _short(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "failed"


def _layout(x_title: str, y_title: str) -> dict[str, Any]:
    axis = {
        "gridcolor": GRID,
        "linecolor": "#9aa5b1",
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": "#9aa5b1",
        "ticklen": 4,
        "tickfont": {"size": 12, "color": MUTED},
        "automargin": True,
    }
    return {
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 58, "r": 14, "t": 44, "b": 50},
        "xaxis": {**axis, "title": {"text": plain(x_title), "standoff": 8}},
        "yaxis": {**axis, "title": {"text": plain(y_title), "standoff": 8}},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": "#9aa5b1", "font": {"color": INK, "size": 12}},
        "dragmode": False,
    }
