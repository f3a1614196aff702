"""The summary on top of a study: a few facts, a few sentences, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crlso.protocols import Metric
from crlso.report.cells import best_runs, report_lines, who_found
from crlso.report.reading import Run
from crlso.report.studies import Study
from crlso.report.text import count, listing, number, whole_numbers, with_unit


@dataclass(frozen=True)
class Fact:
    """One number with its name."""

    name: str
    value: str
    detail: str = ""


def facts(study: Study) -> tuple[Fact, ...]:
    """The numbers people look for first."""
    out = []
    best = best_run(study)
    if study.volumes:
        ends = [float(series.scores[:, -1].max()) for series in study.series if series.scores.shape[1]]
        detail = "the largest of all runs" if len(study.runs) > 1 else "of the front found"
        shown = number(max(ends, default=None), study.score_decimals)
        out.append(Fact("Hypervolume", shown, f"{detail}; {study.score_unit}" if study.share else detail))
    if best is not None:
        out.append(Fact("Best value found", _value(study, best.value), study.metric))
        regret = study.regret(best.value)
        if regret is None:
            out.append(Fact("Its regret", "unknown", "the best possible value is not known"))
        else:
            out.append(Fact("Its regret", _value(study, regret), f"optimum {_value(study, study.optimum)}"))
    out.append(Fact("Evaluations per run", _budgets(study)))
    runs = sum(len(series.runs) for series in study.series)
    out.append(Fact("Runs", str(runs), f"{count(len(study.series), 'method')}, {seeds_in_words(study)}"))
    return tuple(out)


def summary(study: Study, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """What was searched and what was found, in sentences."""
    labels = listing([series.label for series in study.series])
    wanted = "largest" if study.direction == "max" else "smallest"
    what = f"the architecture with the {wanted} {study.metric}"
    if study.aim.several:
        ways = {"max": "to be large", "min": "to be small"}
        each = listing([f"{name} ({ways[way]})" for name, way in study.aim.directions])
        what = f"architectures that no other one beats in {each} at once"
    subject = f", subject to {listing(study.aim.constraints)}" if study.aim.constraints else ""
    searched = (
        f"{labels} searched {study.bench} for {what}{subject}: "
        f"{_budgets(study)} evaluations per run, {seeds_in_words(study)}."
    )
    metric = metrics.get(study.metric)
    meaning = [f"The metric is {metric.description.rstrip('.')}."] if metric and metric.description else []
    return (searched, *meaning, *_found(study, metrics))


def _found(study: Study, metrics: Mapping[str, Metric]) -> list[str]:
    """What the best run found."""
    best = best_run(study)
    if best is None:
        what = "has met the constraints" if study.aim.constraints else "has worked"
        return [f"No evaluation {what} so far, so there is no best architecture."]
    value, regret = _value(study, best.value), study.regret(best.value)
    if regret is None:
        worth = f"{value}; how far that is from the best possible is not known"
    elif regret == 0.0:
        worth = f"{value}, the best that the benchmark holds{_among(study)}"
    else:
        worth = f"{value}, {_value(study, regret)} away from the best that the benchmark holds{_among(study)}"
    groups = best_runs(study)
    who = f" It was found by {who_found(study, groups[0])}." if groups else ""
    of = f" of {study.metric}" if study.aim.several else ""
    sentences = [f"The best architecture{of} has {worth}.{who}"]
    if best.report:
        values = [f"{name} {shown}" for name, shown in report_lines(best.report, metrics)]
        sentences.append(f"Its reported metrics, which the search did not see: {listing(values)}.")
    return sentences


def _among(study: Study) -> str:
    return " among those that meet the constraints" if study.aim.constraints else ""


def _value(study: Study, value: float | None) -> str:
    return with_unit(number(value, study.decimals), study.unit)


def _budgets(study: Study) -> str:
    return listing([str(budget) for budget in sorted({run.budget for run in study.runs})])


def seeds_in_words(study: Study) -> str:
    """``seed 3``, ``30 seeds (0–29)``."""
    seeds = sorted({seed for series in study.series for seed in series.seeds})
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{count(len(seeds), 'seed')} ({whole_numbers(seeds)})"


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
    if len(study.series) > 1 and all(len(series.runs) == 1 for series in study.series):
        out.append(
            "There is one seed per method: no interval can be given, and which method is better can not be "
            "said. Use crlso compare with several seeds."
        )
    return tuple(out)


_RESUME = "Run the same command again to finish it."


def best_run(study: Study) -> Run | None:
    """The run with the best value; of several, one whose architecture is known."""
    sign = 1.0 if study.direction == "max" else -1.0
    known = [run for run in study.runs if math.isfinite(run.value)]
    return max(known, key=lambda run: (sign * run.value, run.arch is not None), default=None)
