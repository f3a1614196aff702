"""The plot of regret, or of the best value so far, against evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crlso.protocols import BoolArray, FloatArray
from crlso.report.figures import Figure, base_layout, plain, rounded
from crlso.report.palette import MUTED, method_style, translucent
from crlso.report.statistics import spread
from crlso.report.studies import Study
from crlso.runs.trials import Trial

DECADES = 4
"""A logarithmic axis reaches no further down from the highest mean."""


def curves_figure(study: Study, key: str, trials: Sequence[Trial] = ()) -> Figure | None:
    """Regret, hypervolume or best value after each evaluation: mean and 95 % interval, median and quartiles.

    Args:
        study: All methods of a picture.
        key: Name of the figure.
        trials: Evaluations of the only run, drawn as points; none where there are several runs.

    Returns:
        None where no run has evaluated anything.
    """
    traces = [_every_evaluation(study, trials)] if trials and not study.volumes else []
    positive = [np.empty(0)]
    for index, series in enumerate(study.series):
        if not np.isfinite(series.scores).any():
            continue
        about = spread(series.scores)
        positive.append(about.mean[about.mean > 0.0])
        label = series.label if series.finished else f"{series.label} (unfinished)"
        low = np.maximum(about.low, 0.0) if study.regrets else about.low
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
    unit = f" ({study.score_unit})" if study.score_unit else ""
    layout = base_layout("evaluations", study.quantity + unit)
    scale = _log_scale(np.concatenate(positive)) if study.regrets else {}
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
