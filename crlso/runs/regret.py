"""Figures of a comparison: regret or hypervolume after so many evaluations, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from crlso.protocols import FloatArray

CHECKPOINTS: Final = (10, 25, 50, 100, 150)
"""Numbers of evaluations at which figures are given, where the budget reaches them; and at its end."""

Curve = Sequence[float | None]
"""Best value after each evaluation; ``None`` before the first that worked."""


def checkpoints(budget: int) -> tuple[int, ...]:
    """Numbers of evaluations at which figures are given.

    Example:
        >>> checkpoints(120)
        (10, 25, 50, 100, 120)
    """
    return tuple(sorted({*(k for k in CHECKPOINTS if k <= budget), budget}))


def values_at(curves: Sequence[Curve], evaluations: int) -> FloatArray:
    """``[s]`` best value of each seed after so many evaluations; NaN where none had worked.

    A run that ended early, because nothing was left to evaluate, keeps its last value.
    """
    values = [curve[min(evaluations, len(curve)) - 1] if curve else None for curve in curves]
    return np.array([math.nan if value is None else value for value in values])


def regret_figures(
    curves: Sequence[Curve], *, optimum: float, sign: float, budget: int
) -> dict[str, dict[str, float | None]]:
    """Mean, standard error of the mean and median of the regret over seeds, per number of evaluations.

    Args:
        curves: One per seed, in the metric's units.
        optimum: Best value any architecture has.
        sign: +1 where larger values are better, -1 where smaller ones are.
        budget: Number of evaluations a run was given.

    Returns:
        ``{"10": {"mean", "sem", "median"}, ...}``; ``None`` where a seed has no value yet, and for the
        standard error of a single seed.
    """
    return {
        # + 0.0: no negative zeros
        str(evaluations): _spread(sign * (optimum - values_at(curves, evaluations)) + 0.0)
        for evaluations in checkpoints(budget)
    }


def optimum_figures(curves: Sequence[Curve], optimum: float) -> dict[str, float | None]:
    """How many evaluations the optimum took.

    Args:
        curves: One per seed, in the metric's units.
        optimum: Best value any architecture has, as it stands in curves that reached it.

    Returns:
        ``found``: seeds that reached it; ``median``: of the evaluations until then over all seeds, those that
        did not reach it counted as more than any; ``None`` where it is one of these.
    """
    reached = [
        next((i + 1.0 for i, value in enumerate(curve) if value == optimum), math.inf) for curve in curves
    ]
    middle = float(np.median(reached))
    return {
        "found": sum(math.isfinite(evaluations) for evaluations in reached),
        "median": middle if math.isfinite(middle) else None,
    }


def hypervolume_figures(curves: Sequence[Curve], *, budget: int) -> dict[str, dict[str, float | None]]:
    """Mean, standard error of the mean and median of the hypervolume over seeds, as of the regret."""
    return {str(evaluations): _spread(values_at(curves, evaluations)) for evaluations in checkpoints(budget)}


def paired_differences(
    curves: Sequence[Curve], reference: Sequence[Curve], *, sign: float, budget: int
) -> dict[str, dict[str, float | None]]:
    """How much worse than a reference method, seed by seed, with a 95 % interval.

    The difference of two regrets needs no optimum: it is the difference of the best values. Positive: the
    reference is better. The interval is that of Student's t on the per-seed differences.

    Args:
        curves: One per seed, in the metric's units.
        reference: Curves of the reference method on the same seeds.
        sign: +1 where larger values are better, -1 where smaller ones are.
        budget: Number of evaluations a run was given.

    Returns:
        ``{"10": {"mean", "low", "high"}, ...}``; ``None`` where a seed has no value yet, and the interval
        of a single seed.
    """
    from scipy.special import stdtrit

    figures = {}
    for evaluations in checkpoints(budget):
        difference = sign * (values_at(reference, evaluations) - values_at(curves, evaluations)) + 0.0
        mean, sem = _number(np.mean(difference)), _sem(difference)
        half = None if sem is None else float(stdtrit(len(difference) - 1, 0.975)) * sem
        figures[str(evaluations)] = {
            "mean": mean,
            "low": None if mean is None or half is None else mean - half,
            "high": None if mean is None or half is None else mean + half,
        }
    return figures


def compare_summary(
    plan: Mapping[str, Any],
    optimum: float | None,
    sign: float,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """``summary.json`` of a comparison.

    Args:
        plan: Its keys ``bench``, ``metric``, ``direction``, ``report``, ``budget``, ``seeds``, ``unique`` are
            taken over, and ``metrics``, ``subject_to`` and ``warm_start`` where they are there; the last with
            the ``methods`` that began with it.
        optimum: Best value any architecture has; ``None`` where unknown.
        sign: +1 where larger values are better, -1 where smaller ones are.
        results: Per method the run summaries, in the order of the seeds.
    """
    budget = plan["budget"]
    curves = {label: [run["curve"] for run in runs] for label, runs in results.items()}
    reference = next(iter(curves))
    methods: dict[str, dict[str, Any]] = {}
    for label, runs in results.items():
        regret, to_optimum = None, None
        if optimum is not None:
            regret = regret_figures(curves[label], optimum=optimum, sign=sign, budget=budget)
            to_optimum = optimum_figures(curves[label], optimum)
        methods[label] = {
            "curves": curves[label],
            "cpu_seconds": [run["cpu_seconds"] for run in runs],
            "best": [_best(run) for run in runs],
            "report": {name: [_reported(run, name) for run in runs] for name in plan["report"]},
            "regret": regret,
            "to_optimum": to_optimum,
        }
        if "metrics" in plan:
            methods[label] |= {"front": [run["front"] for run in runs], **_hypervolume(runs, budget)}
    paired: dict[str, Any] = {
        label: paired_differences(curves[label], curves[reference], sign=sign, budget=budget)
        for label in curves
        if label != reference
    }
    stated = (
        "bench",
        "metric",
        "direction",
        "metrics",
        "subject_to",
        "warm_start",
        "budget",
        "seeds",
        "unique",
    )
    summary = {
        "format": 1,
        "kind": "compare",
        **{name: plan[name] for name in stated if name in plan},
        "optimum": optimum,
        "methods": methods,
        "paired": {"reference": reference, "confidence": 0.95, "differences": paired},
    }
    first = next((runs[0].get("hypervolume") for runs in results.values()), None)
    if first is not None:
        summary["hypervolume"] = {name: first[name] for name in ("share", "reference")}
        volumes = {label: methods[label]["hypervolumes"] for label in methods}
        summary["paired"]["hypervolume"] = {
            label: paired_differences(volumes[label], volumes[reference], sign=1.0, budget=budget)
            for label in methods
            if label != reference
        }
    return summary


def _hypervolume(runs: Sequence[Mapping[str, Any]], budget: int) -> dict[str, Any]:
    """Curves and figures of several objectives; ``None`` without a reference point."""
    if any(run["hypervolume"] is None for run in runs):
        return {"hypervolumes": None, "hypervolume": None}
    curves = [run["hypervolume"]["curve"] for run in runs]
    return {"hypervolumes": curves, "hypervolume": hypervolume_figures(curves, budget=budget)}


def _best(run: Mapping[str, Any]) -> dict[str, Any] | None:
    best = run["best"]
    return None if best is None else {"arch": best["arch"], "value": best["value"]}


def _reported(run: Mapping[str, Any], name: str) -> float | None:
    best = run["best"]
    return None if best is None else best["report"][name]


def _spread(values: FloatArray) -> dict[str, float | None]:
    return {
        "mean": _number(np.mean(values)),
        "sem": _sem(values),
        "median": _number(np.median(values)),
    }


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _sem(values: FloatArray) -> float | None:
    return _number(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
