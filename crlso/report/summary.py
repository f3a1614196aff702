"""The summary on top of a study: a few facts, a few sentences, and what can honestly be said of the methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crlso.protocols import Metric
from crlso.report.cells import best_runs, report_lines, who_found
from crlso.report.reading import Run
from crlso.report.studies import Study
from crlso.report.tables import seeds_in_words
from crlso.report.text import count, listing, number, verdict, with_unit


@dataclass(frozen=True)
class Fact:
    """One number with its name."""

    name: str
    value: str
    detail: str = ""


def facts(study: Study) -> tuple[Fact, ...]:
    """The numbers people look for first."""
    out = []
    best = _best(study)
    if best is not None:
        out.append(Fact("Best value found", with_unit(number(best.value), study.unit), study.metric))
        regret = study.regret(best.value)
        if regret is None:
            out.append(Fact("Regret", "unknown", "the best possible value is not known"))
        else:
            detail = f"optimum {with_unit(number(study.optimum), study.unit)}"
            out.append(Fact("Its regret", with_unit(number(regret), study.unit), detail))
    budgets = sorted({run.budget for run in study.runs})
    out.append(Fact("Evaluations per run", listing([str(budget) for budget in budgets])))
    runs = sum(len(series.runs) for series in study.series)
    out.append(Fact("Runs", str(runs), f"{count(len(study.series), 'method')}, {seeds_in_words(study)}"))
    return tuple(out)


def summary(study: Study, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """What was searched and what was found, in sentences."""
    labels = listing([series.label for series in study.series])
    wanted = "largest" if study.direction == "max" else "smallest"
    metric = metrics.get(study.metric)
    meaning = f" ({metric.description.rstrip('.')})" if metric is not None and metric.description else ""
    budgets = sorted({run.budget for run in study.runs})
    sentences = [
        f"{labels} searched {study.bench} for the {wanted} {study.metric}{meaning}, with "
        f"{listing([str(b) for b in budgets])} evaluations per run and {seeds_in_words(study)}."
    ]
    best = _best(study)
    if best is None:
        return (*sentences, "No evaluation has worked so far, so there is no best architecture.")
    value = with_unit(number(best.value), study.unit)
    regret = study.regret(best.value)
    if regret is None:
        worth = f"{value}; how far that is from the best possible is not known"
    elif regret == 0.0:
        worth = f"{value}, the best that the benchmark holds"
    else:
        worth = f"{value}, which is {with_unit(number(regret), study.unit)} away from the best that the benchmark holds"
    groups = best_runs(study)
    found = f" Found by {who_found(study, groups[0])}." if groups else ""
    name = f"The best architecture, {best.arch}, has" if best.arch else "The best architecture has"
    sentences.append(f"{name} {worth}.{found}")
    if best.report:
        values = [f"{key} {shown}" for key, shown in report_lines(best.report, metrics)]
        sentences.append(f"Its reported metrics, which the search did not see: {listing(values)}.")
    return tuple(sentences)


def verdicts(study: Study) -> tuple[str, ...]:
    """Which method stands best at each checkpoint, said only as far as the intervals allow."""
    if len(study.series) < 2:
        return ()
    return tuple(said for place in study.checkpoints if (said := verdict(study, place)))


def notes(study: Study) -> tuple[str, ...]:
    """What is missing, unfinished or thin."""
    out = []
    for series in study.series:
        unfinished = series.left_out if series.finished else series.runs
        for run in unfinished:
            done = f"{len(run.curve)} of {count(run.budget, 'evaluation')}"
            counted = (
                "it is left out of the figures" if series.finished else "the figures show it as far as it is"
            )
            out.append(f"{series.label}, seed {run.seed}, is unfinished ({done}): {counted}. {_RESUME}")
        early = [run for run in series.runs if run.exhausted]
        if early:
            runs = "its run" if len(series.runs) == 1 else f"{len(early)} of its {len(series.runs)} runs"
            out.append(f"{series.label}: {runs} ended early because no unseen architecture was left.")
    if all(len(series.runs) == 1 for series in study.series):
        methods = "" if len(study.series) == 1 else " and nothing can be said about which method is better"
        out.append(
            f"There is one seed per method: no interval can be given{methods}. Use `crlso compare` with several seeds."
        )
    return tuple(out)


_RESUME = "Run the same command again to finish it."


def _best(study: Study) -> Run | None:
    """The run with the best value; of several, one whose architecture is known."""
    sign = 1.0 if study.direction == "max" else -1.0
    known = [run for run in study.runs if math.isfinite(run.value)]
    return max(known, key=lambda run: (sign * run.value, run.arch is not None), default=None)
