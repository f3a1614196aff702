"""The front as a scatter plot, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crlso.errors import UserError
from crlso.protocols import Evaluator, FloatArray, Metric
from crlso.report.figures import Figure, base_layout, plain, rounded
from crlso.report.objectives import Aim, FrontMember
from crlso.report.palette import MUTED, method_style
from crlso.report.studies import Series, Study
from crlso.report.tables import Table, TableCell, TableRow
from crlso.report.text import short
from crlso.runs.fronts import non_dominated
from crlso.runs.landmarks import true_front
from crlso.runs.objectives import resolve_objectives

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
MOST_LISTED = 30


def front_figure(study: Study, key: str, evaluator: Evaluator | None) -> Figure | None:
    """The first two objectives of each method's front over all its runs, and the true front.

    Args:
        study: All methods of a picture.
        key: Name of the figure.
        evaluator: Knows the true front; ``None`` where it is not at hand.

    Returns:
        None with a single objective, or where nothing was found.
    """
    if not study.aim.several:
        return None
    first, second = study.aim.metrics[:2]
    traces = []
    for index, series in enumerate(study.series):
        members = series_front(series, study.aim)
        if members:
            traces.append(_found(series.label, index, members, study.aim))
    if not traces:
        return None
    truth = _truth(study.aim, evaluator)
    if truth is not None:
        traces.insert(0, _true(truth[np.argsort(truth[:, 0], kind="stable")]))
    units = {name: metric.unit for name, metric in evaluator.metrics.items()} if evaluator is not None else {}
    layout = base_layout(_axis(first, units), _axis(second, units))
    return Figure(key, f"Fronts: {second} against {first}", tuple(traces), layout, 440)


def front_table(study: Study, metrics: Mapping[str, Metric]) -> Table | None:
    """The members of a single run's front; None with several runs."""
    if not study.aim.several or len(study.runs) != 1:
        return None
    names = list(study.aim.metrics)
    members = series_front(study.series[0], study.aim)
    rows = [
        TableRow(
            member.arch,
            method_style(0)[0],
            tuple(TableCell(short(member.values[name])) for name in names),
        )
        for member in members[:MOST_LISTED]
    ]
    if not rows:
        return None
    heads = (f"{n} ({metrics[n].unit})" if n in metrics and metrics[n].unit else n for n in names)
    more = len(members) - len(rows)
    note = f"{more} more are in summary.json." if more else ""
    return Table(
        "Front: what no other evaluated architecture dominates", ("architecture", *heads), tuple(rows), note
    )


def series_front(series: Series, aim: Aim) -> list[FrontMember]:
    """What is non-dominated among the fronts of all runs, the best of the driving metric first."""
    members = [member for run in series.runs for member in run.front]
    signs = np.array([1.0 if way == "max" else -1.0 for _, way in aim.directions])
    table = [[member.values.get(name, np.nan) for name in aim.metrics] for member in members]
    values = signs * np.array(table, dtype=np.float64).reshape(len(members), len(signs))
    rows = non_dominated(values)
    return [members[row] for row in rows[np.argsort(-values[rows, 0], kind="stable")]]


def _found(label: str, index: int, members: Sequence[FrontMember], aim: Aim) -> dict[str, Any]:
    first, second = aim.metrics[:2]
    hover = [
        "<br>".join([plain(m.arch), *(f"{plain(name)}: {short(m.values[name])}" for name in aim.metrics)])
        for m in members
    ]
    return {
        "type": "scatter",
        "mode": "markers" if len(aim.metrics) > 2 else "lines+markers",
        "name": plain(label),
        "x": rounded([member.values[first] for member in members]),
        "y": rounded([member.values[second] for member in members]),
        "text": hover,
        "hovertemplate": f"{plain(label)}<br>%{{text}}<extra></extra>",
        "line": {"color": method_style(index)[0], "width": 1.2, "dash": method_style(index)[1]},
        "marker": {"size": 8, "color": method_style(index)[0], "symbol": SYMBOLS[index % len(SYMBOLS)]},
    }


def _true(front: FloatArray) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers" if front.shape[1] > 2 else "lines+markers",
        "name": "true front",
        "x": rounded(front[:, 0].tolist()),
        "y": rounded(front[:, 1].tolist()),
        "hovertemplate": "true front: %{x}, %{y}<extra></extra>",
        "line": {"color": MUTED, "width": 1},
        "marker": {"size": 5, "color": MUTED},
    }


def _truth(aim: Aim, evaluator: Evaluator | None) -> FloatArray | None:
    if evaluator is None:
        return None
    try:
        return true_front(evaluator, resolve_objectives(evaluator, aim.metrics, aim.constraints))
    except UserError:
        # The table at hand lacks a metric of the runs: their own fronts are shown alone.
        return None


def _axis(name: str, units: Mapping[str, str]) -> str:
    return f"{name} ({units[name]})" if units.get(name) else name
