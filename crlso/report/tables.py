"""Tables of figures: scores after so many evaluations, paired differences, reported metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crlso.protocols import Metric
from crlso.report.palette import method_style
from crlso.report.statistics import Spread, spread
from crlso.report.studies import Series, Study, differences, summarise
from crlso.report.text import DASH, number, significant_decimals
from crlso.runs.regret import optimum_figures


@dataclass(frozen=True)
class TableCell:
    """A figure, a second line in small print, and whether it stands out."""

    text: str
    detail: str = ""
    strong: bool = False


@dataclass(frozen=True)
class TableRow:
    """One method: its name, the colour of its line in the plot, its figures."""

    label: str
    color: str
    cells: tuple[TableCell, ...]


@dataclass(frozen=True)
class Table:
    """One table: ``head`` names the column of row labels first."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[TableRow, ...]
    note: str = ""


def tables(study: Study, metrics: Mapping[str, Metric]) -> tuple[Table, ...]:
    """All tables of a study that have something in them; ``metrics`` give units where they are known."""
    made = (scores_table(study), differences_table(study), report_table(study, metrics))
    return tuple(table for table in made if table is not None)


def scores_table(study: Study) -> Table | None:
    """Mean, standard error and median of regret (or best value) at the checkpoints, and CPU seconds."""
    if not study.checkpoints:
        return None
    rows = []
    for index, series in enumerate(study.series):
        cells = [TableCell(str(len(series.runs)))]
        cells += [_estimate(summarise(series, place), study.score_decimals) for place in study.checkpoints]
        if study.regrets and study.optimum is not None:
            cells.append(TableCell(_until_optimum(series, study.optimum)))
        seconds = [run.cpu_seconds for run in series.runs if run.cpu_seconds is not None]
        cells.append(_estimate(spread(np.array(seconds)), decimals=1, median=False))
        rows.append(TableRow(series.label, method_style(index)[0], tuple(cells)))
    unit = f" ({study.score_unit})" if study.score_unit else ""
    optimum = ("median until the optimum",) if study.regrets else ()
    many = any(len(series.runs) > 1 for series in study.series)
    note = "Mean ± standard error over seeds; the median in small print." if many else ""
    return Table(
        f"{study.quantity.capitalize()}{unit} after so many evaluations",
        ("method", "seeds", *map(str, study.checkpoints), *optimum, "CPU s per run"),
        tuple(rows),
        note,
    )


def differences_table(study: Study) -> Table | None:
    """Every other method minus the first one, paired by seed, with 95 % intervals."""
    reference, *others = study.series
    rows = []
    for index, series in enumerate(others, start=1):
        found = [differences(study, series, reference, place) for place in study.checkpoints]
        if any(difference is not None for difference in found):
            cells = tuple(_difference(difference, study.score_decimals) for difference in found)
            rows.append(TableRow(f"{series.label} − {reference.label}", method_style(index)[0], cells))
    if not rows:
        return None
    unit = f" ({study.score_unit})" if study.score_unit else ""
    better = "Above" if study.smaller_is_better else "Below"
    return Table(
        f"Paired difference in {study.quantity} to {reference.label}{unit}",
        ("method", *map(str, study.checkpoints)),
        tuple(rows),
        "Mean over the seeds both have, with its 95 % interval (Student t). "
        f"{better} zero, {reference.label} is the better one; bold where the interval excludes zero. "
        "Not corrected for several comparisons.",
    )


def report_table(study: Study, metrics: Mapping[str, Metric]) -> Table | None:
    """Reported metrics of the architectures that the driving metric picked."""
    names = list(dict.fromkeys(name for run in study.runs for name in run.report))
    if not names:
        return None
    rows = []
    for index, series in enumerate(study.series):
        found = [np.array([run.report.get(name, np.nan) for run in series.runs]) for name in names]
        cells = tuple(_estimate(spread(values), decimals=None) for values in found)
        rows.append(TableRow(series.label, method_style(index)[0], cells))
    units = {name: metrics[name].unit if name in metrics else "" for name in names}
    return Table(
        "Reported metrics of the architecture picked at the end",
        ("method", *(f"{name} ({units[name]})" if units[name] else name for name in names)),
        tuple(rows),
        "The searches never saw these metrics: they are looked up once, for the architecture with the best "
        f"{study.metric}.",
    )


def _until_optimum(series: Series, optimum: float) -> str:
    """Median number of evaluations until the optimum; a dash where half of the runs never got there."""
    middle = optimum_figures([run.curve.tolist() for run in series.runs], optimum)["median"]
    return DASH if middle is None else f"{middle:g}"


def _estimate(about: Spread, decimals: int | None, *, median: bool = True) -> TableCell:
    """``mean ± sem`` over the median; the value alone where there is one seed."""
    if about.n == 0:
        return TableCell(DASH)
    mean = float(about.mean)
    places = decimals if decimals is not None else significant_decimals(mean)
    if about.n == 1:
        return TableCell(number(mean, places))
    text = f"{number(mean, places)} ± {number(float(about.sem), places)}"
    return TableCell(text, f"median {number(float(about.median), places)}" if median else "")


def _difference(difference: Spread | None, decimals: int) -> TableCell:
    if difference is None:
        return TableCell(DASH, "too few seeds")
    low, high = float(difference.low), float(difference.high)
    text = number(float(difference.mean), decimals)
    return TableCell(text, f"{number(low, decimals)} to {number(high, decimals)}", strong=low * high > 0.0)
