"""Curves of supernet searches: losses, accuracies, and what becomes of the architecture, by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crlso.protocols import FloatArray
from crlso.report.figures import Figure, base_layout, plain, rounded
from crlso.report.palette import DEAD, method_style, translucent
from crlso.report.supernet_reading import Epoch, SupernetRun

HEIGHT = 260


@dataclass(frozen=True)
class _Line:
    """One quantity: its name and its value in an epoch, NaN where it was not measured."""

    label: str
    value: Callable[[Epoch], float]


def curve_figures(run: SupernetRun, key: str) -> tuple[Figure, ...]:
    """One small plot per quantity, one line per search, and their mean where there are several.

    Args:
        run: Of which searches.
        key: Prefix of the figures' names.

    Returns:
        None at all before the first epoch; the eigenvalue only where it was measured.
    """
    losses = [
        _Line("training part", lambda epoch: epoch.train_loss),
        _Line("validation part", lambda epoch: epoch.valid_loss),
    ]
    accuracies = [
        _Line("training part", lambda epoch: epoch.train_accuracy),
        _Line("validation part", lambda epoch: epoch.valid_accuracy),
    ]
    entropy = _per_kind(run, lambda epoch: epoch.entropy)
    skips = _per_kind(run, lambda epoch: epoch.skips)
    convolutions = _per_kind(run, lambda epoch: epoch.convolutions)
    eigenvalue = [_Line("eigenvalue", lambda epoch: epoch.eigenvalue)]
    made = [
        _figure(run, f"{key}-loss", "Loss (nats)", losses),
        _figure(run, f"{key}-accuracy", "Accuracy (%)", accuracies),
        _figure(run, f"{key}-entropy", "Entropy of the shares (nats)", entropy, from_zero=True),
        _figure(run, f"{key}-skips", "Skip connections", skips, limit=run.skip_limit, whole=True),
        _figure(run, f"{key}-convolutions", "Convolutions", convolutions, whole=True),
        _figure(run, f"{key}-eigenvalue", "Dominant eigenvalue", eigenvalue),
    ]
    return tuple(figure for figure in made if figure is not None)


def _per_kind(run: SupernetRun, values: Callable[[Epoch], Sequence[float]]) -> list[_Line]:
    def of_kind(place: int) -> Callable[[Epoch], float]:
        return lambda epoch: values(epoch)[place]

    return [_Line(kind, of_kind(place)) for place, kind in enumerate(run.kinds)]


def _figure(
    run: SupernetRun,
    key: str,
    title: str,
    lines: Sequence[_Line],
    *,
    limit: int | None = None,
    from_zero: bool = False,
    whole: bool = False,
) -> Figure | None:
    traces: list[dict[str, Any]] = []
    longest = max((search.epochs[-1].number for search in run.searches if search.epochs), default=0)
    for place, line in enumerate(lines):
        traces += _traces(run, line, *method_style(place))
    if not traces:
        return None
    if limit is not None:
        traces.append(_limit(f"limit ({run.kinds[0]})", limit, longest))
    layout = base_layout("epoch", "")
    layout["margin"] = {"l": 54, "r": 10, "t": 34, "b": 44}
    layout["showlegend"] = len(lines) > 1 or limit is not None
    if whole:
        highest = max(value for trace in traces for value in trace["y"] if value is not None)
        layout["yaxis"] |= {"tick0": 0, "dtick": max(1, math.ceil(highest / 6))}
    if from_zero or whole:
        layout["yaxis"]["rangemode"] = "tozero"
    return Figure(key, title, tuple(traces), layout, HEIGHT)


def _traces(run: SupernetRun, line: _Line, color: str, dash: str) -> list[dict[str, Any]]:
    """A line per search, thin and pale below their mean where there are several."""
    found = []
    for search in run.searches:
        pairs = [(epoch.number, line.value(epoch)) for epoch in search.epochs]
        pairs = [(number, value) for number, value in pairs if np.isfinite(value)]
        if pairs:
            found.append((search.seed, np.array(pairs)))
    several = len(found) > 1
    style = {"width": 1.2, "color": translucent(color, 0.35)} if several else {"width": 2.0, "color": color}
    traces = [
        _trace(line, f"{line.label}, seed {seed}", points, {**style, "dash": dash}, legend=not several)
        for seed, points in found
    ]
    if several:
        mean = _mean([points for _, points in found])
        if len(mean):
            style = {"width": 2.4, "color": color, "dash": dash}
            traces.append(_trace(line, f"{line.label}, mean", mean, style, legend=True))
    return traces


def _mean(searches: Sequence[FloatArray]) -> FloatArray:
    """``[t, 2]`` epoch and mean over searches, at the epochs that all have."""
    common = set.intersection(*({int(number) for number in points[:, 0]} for points in searches))
    rows = [points[np.isin(points[:, 0], list(common))] for points in searches]
    mean: FloatArray = np.mean(rows, axis=0).reshape(-1, 2)
    return mean


def _trace(
    line: _Line, name: str, points: FloatArray, style: dict[str, Any], *, legend: bool
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if len(points) > 1 else "markers",
        "name": plain(line.label),
        "legendgroup": plain(line.label),
        "showlegend": legend,
        "x": points[:, 0].astype(int).tolist(),
        "y": rounded(points[:, 1].tolist()),
        "line": style,
        "marker": {"color": style["color"]},
        "hovertemplate": f"{plain(name)}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>",
    }


def _limit(name: str, limit: int, epochs: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(name),
        "x": [1, max(epochs, 2)],
        "y": [limit, limit],
        "line": {"width": 1.2, "dash": "dot", "color": DEAD},
        "hoverinfo": "skip",
    }
