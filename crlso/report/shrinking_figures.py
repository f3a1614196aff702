"""What becomes of a supernet that shrinks: its operators, how fast they go, what a step costs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crlso.report.figures import Figure, base_layout, plain, rounded
from crlso.report.palette import method_style
from crlso.report.supernet_figures import HEIGHT
from crlso.report.supernet_reading import SupernetRun

CAPTION = (
    "By step of the search. Operators: those that are left, and those that the network still computes "
    "(removed ones are left out every few steps). Rate: moving average of the operators that go per step, "
    "beside the target that it is steered to by the weight of the objective. CPU seconds of a step: means "
    "between two looks."
)
_PLOTS = (
    ("operators", "Operators", ("alive", "physical"), ("left", "computed"), False),
    ("rate", "Operators removed per step", ("rate", "target"), ("rate", "target"), False),
    ("weight", "Weight of the objective", ("weight",), ("weight",), True),
    ("cost", "CPU seconds per step", ("cpu_seconds",), ("CPU seconds",), False),
)
_MOST_POINTS = 600


def shrinking_figures(run: SupernetRun, key: str) -> tuple[Figure, ...]:
    """One small plot per quantity, a line per search; none where nothing shrinks.

    Args:
        run: Of which searches.
        key: Prefix of the figures' names.
    """
    traced = [search for search in run.searches if len(search.trace.get("step", ()))]
    if not traced:
        return ()
    figures = []
    for name, title, columns, labels, logarithmic in _PLOTS:
        traces = []
        for place, (column, label) in enumerate(zip(columns, labels, strict=True)):
            for search in traced:
                style = method_style(place)
                first = search is traced[0]
                traces.append(
                    _line(f"{label}, seed {search.seed}", label, search.trace, column, style, legend=first)
                )
        layout = base_layout("step", "")
        layout["margin"] = {"l": 54, "r": 10, "t": 34, "b": 44}
        layout["showlegend"] = len(columns) > 1
        layout["yaxis"] |= {"type": "log"} if logarithmic else {"rangemode": "tozero"}
        figures.append(Figure(f"{key}-shrinking-{name}", title, tuple(traces), layout, HEIGHT))
    return tuple(figures)


def _line(
    name: str,
    group: str,
    trace: Any,
    column: str,
    style: tuple[str, str],
    *,
    legend: bool,
) -> dict[str, Any]:
    color, dash = style
    at = _places(len(trace["step"]))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(group),
        "legendgroup": plain(group),
        "showlegend": legend,
        "x": trace["step"][at].astype(int).tolist(),
        "y": rounded(trace[column][at].tolist()),
        "line": {"width": 1.5, "color": color, "dash": dash},
        "hovertemplate": f"{plain(name)}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
    }


def _places(count: int) -> NDArray[np.int64]:
    """So many that a line looks the same, the last one among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).astype(np.int64))
