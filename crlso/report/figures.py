"""Plots of the report, as plotly figures in plain data (dicts and lists, ready for JSON): what all share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crlso.protocols import FloatArray
from crlso.report.palette import GRID, INK, MUTED, method_style

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"


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
        layout = base_layout("", "")
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


def base_layout(x_title: str, y_title: str) -> dict[str, Any]:
    """Axes, fonts, margins and legend of every plot."""
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
