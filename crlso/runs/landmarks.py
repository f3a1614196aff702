"""What a table knows of its best: the optimum under constraints, the true front and its hypervolume.

Only the run loop asks, and only to measure: no method is told any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import Codes, Evaluator, FloatArray
from crlso.runs.fronts import hypervolume, non_dominated
from crlso.runs.objectives import Objectives

MAX_LISTED: Final = 1_000_000
"""Largest table that is looked through from end to end."""


@dataclass(frozen=True)
class Landmarks:
    """What results are measured against, the same for every method and seed.

    Attributes:
        optimum: Best value of the driving metric among all that meets the constraints; ``None`` where
            unknown.
        reference: With several objectives the reference point of hypervolumes, a value for each metric in its
            units; ``None`` where there is none.
        volume: Hypervolume of the true front, in the product of the metrics' units; ``None`` where unknown.
    """

    optimum: float | None = None
    reference: tuple[float, ...] | None = None
    volume: float | None = None


def find_landmarks(
    evaluator: Evaluator, objectives: Objectives, reference: Mapping[str, float] | None = None
) -> Landmarks:
    """Asks the evaluator for all it knows, if that is a table.

    The reference point has for each metric the worst value of all architectures that meet the constraints, or
    what was stated. An evaluator is a table where it knows the optimum of all metrics.

    Args:
        evaluator: Answers what architectures are worth.
        objectives: Metrics and constraints.
        reference: Stated values of the reference point, by metric.

    Raises:
        UnknownNameError: A reference value of something else than one of several objectives.
        UserError: No architecture of the table meets the constraints, or exceeds the reference point; or the
            reference point has values for some metrics only, where no table knows the others.
    """
    stated = dict(reference or {})
    names = [metric.name for metric in objectives.metrics]
    if stated and not objectives.several:
        raise UserError("a reference point is for hypervolumes; name several metrics, or none of it")
    for name in stated:
        if name not in names:
            raise UnknownNameError("objective of the reference point", name, names)
    if not (objectives.several or objectives.constraints):
        return Landmarks(evaluator.optimum(objectives.first.name))
    known = _columns(evaluator, objectives)
    if known is None:
        if stated and len(stated) < len(names):
            missing = next(name for name in names if name not in stated)
            raise UserError(
                f"the reference point lacks {missing}; {evaluator.name} does not know the worst value of it"
            )
        optimum = None if objectives.constraints else evaluator.optimum(names[0])
        return Landmarks(optimum, tuple(stated[name] for name in names) if stated else None)
    feasible = known[objectives.feasible(known)]
    if not len(feasible):
        raise UserError(f"no architecture of {evaluator.name} meets {_in_words(objectives, known)}")
    values = feasible[:, : len(names)]
    signs = np.array([metric.sign for metric in objectives.metrics])
    best = signs[0] * values[:, 0].max() + 0.0
    if not objectives.several:
        return Landmarks(float(best))
    worst = signs * values.min(axis=0) + 0.0
    point = np.array([stated.get(name, value) for name, value in zip(names, worst.tolist(), strict=True)])
    volume = hypervolume(values, signs * point)
    if volume == 0.0:
        shown = ", ".join(f"{name}={value:.6g}" for name, value in zip(names, point.tolist(), strict=True))
        raise UserError(
            f"no architecture of {evaluator.name} is better in all metrics than the reference point {shown}; "
            "state another one"
        )
    return Landmarks(float(best), tuple(point.tolist()), volume)


def true_front(evaluator: Evaluator, objectives: Objectives) -> FloatArray | None:
    """``[k, objectives]``: the non-dominated architectures' values in their own units; ``None``: unknown."""
    known = _columns(evaluator, objectives)
    if known is None:
        return None
    values = known[objectives.feasible(known)][:, : len(objectives.metrics)]
    signs = np.array([metric.sign for metric in objectives.metrics])
    front: FloatArray = signs * values[non_dominated(values)] + 0.0
    return front


def _columns(evaluator: Evaluator, objectives: Objectives) -> FloatArray | None:
    """:meth:`Objectives.columns` of all architectures; ``None`` where the evaluator is no table."""
    if any(evaluator.optimum(name) is None for name in objectives.names):
        return None
    codes = _all_codes(evaluator)
    if codes is None:
        return None
    answer = evaluator.evaluate(codes, metrics=objectives.names)
    return objectives.columns({name: answer[name].to_numpy(dtype=np.float64) for name in objectives.names})


def _all_codes(evaluator: Evaluator) -> Codes | None:
    if evaluator.support is not None:
        return evaluator.support
    if evaluator.space.size > MAX_LISTED:
        return None
    return np.concatenate(list(evaluator.space.enumerate()))


def _in_words(objectives: Objectives, columns: FloatArray) -> str:
    """The constraints, and which one alone can not be met."""
    margins = columns[:, len(objectives.metrics) :]
    alone = [
        constraint.text
        for constraint, margin in zip(objectives.constraints, margins.T, strict=True)
        if not (margin >= 0.0).any()
    ]
    return " and ".join(alone or [constraint.text for constraint in objectives.constraints])
