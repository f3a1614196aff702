"""Several objectives and constraints of runs, as their files tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crlso.errors import UserError
from crlso.protocols import FloatArray, Metric
from crlso.report.fields import Fields
from crlso.report.text import listing
from crlso.runs.objectives import Objectives, parse_constraint
from crlso.runs.result import counted_values, feasible_objectives
from crlso.runs.trials import Trial, best_so_far, read_trials


@dataclass(frozen=True)
class FrontMember:
    """An architecture of a front: its text, and its metrics by name."""

    arch: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Aim:
    """What a run is after.

    Attributes:
        directions: ``max`` or ``min`` of each objective, the driving one first.
        constraints: As texts.
        reference: Stated values of the reference point, by metric.
    """

    directions: tuple[tuple[str, str], ...]
    constraints: tuple[str, ...] = ()
    reference: tuple[tuple[str, float], ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the objectives."""
        return tuple(name for name, _ in self.directions)

    @property
    def several(self) -> bool:
        """Whether there is more than one objective."""
        return len(self.directions) > 1

    @property
    def words(self) -> str:
        """``a and b subject to c<5``."""
        subject = f" subject to {listing(self.constraints)}" if self.constraints else ""
        return listing(self.metrics) + subject

    def objectives(self) -> Objectives:
        """As the run loop has them; units and descriptions are not known."""
        return Objectives(
            tuple(Metric(name, "min" if way == "min" else "max", "", "") for name, way in self.directions),
            tuple(parse_constraint(text) for text in self.constraints),
        )


def read_aim(fields: Fields, direction: str, config: Mapping[str, Any]) -> Aim | None:
    """What a summary or settings say; ``None`` where the driving metric, with its ``direction``, is all.

    Raises:
        RunError: An entry is not what it should be.
    """
    directions = {fields.text("metric"): direction}
    if "metrics" in fields.values:
        directions = {}
        for entry in _objects(fields, "metrics"):
            own = Fields(fields.file, entry, "metrics.")
            directions[own.text("name")] = own.text("direction")
        if fields.text("metric") not in directions or not set(directions.values()) <= {"max", "min"}:
            raise fields.bad("metrics", "a list of objectives, each 'max' or 'min'")
    constraints = fields.texts("subject_to") if "subject_to" in fields.values else ()
    for text in constraints:
        try:
            parse_constraint(text)
        except UserError as error:
            raise fields.bad("subject_to", "a list of constraints") from error
    if len(directions) == 1 and not constraints:
        return None
    point = Fields(fields.file, {"reference": config.get("reference")}).inside("reference")
    reference = tuple((name, point.measured(name)) for name in point.values)
    return Aim(tuple(directions.items()), constraints, reference)


def read_front(entries: Any, fields: Fields) -> tuple[FrontMember, ...]:
    """The members of a front; none where it is missing.

    Raises:
        RunError: An entry is not what it should be.
    """
    if entries is None:
        return ()
    members = []
    for entry in _objects(Fields(fields.file, {"front": entries}), "front"):
        own = Fields(fields.file, entry, "front.")
        values = own.inside("values")
        members.append(FrontMember(own.text("arch"), {name: values.measured(name) for name in values.values}))
    return tuple(members)


def _objects(fields: Fields, key: str) -> list[dict[str, Any]]:
    entries = fields.values.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise fields.bad(key, "a list of objects")
    return entries


def read_log(path: Path, aim: Aim) -> list[Trial]:
    """The evaluations in a log; those that miss a constraint have no value.

    Raises:
        RunError: A line in the middle is damaged.
    """
    objectives = aim.objectives()
    trials = read_trials(path, objectives.first.name, objectives.names[1:])
    counted = counted_values(objectives, trials).tolist()
    return [
        Trial(trial.n, trial.arch, value, trial.seconds, trial.others)
        for trial, value in zip(trials, counted, strict=True)
    ]


def curve_of(trials: Sequence[Trial], direction: str) -> FloatArray:
    """``[n]`` best value after each evaluation; NaN before the first that counts."""
    curve = best_so_far([trial.value for trial in trials], 1.0 if direction == "max" else -1.0)
    return np.array([np.nan if value is None else value for value in curve], dtype=np.float64)


def front_of(trials: Sequence[Trial], aim: Aim) -> tuple[FrontMember, ...]:
    """The front of evaluations so far; none of a single objective."""
    if not aim.several:
        return ()
    from crlso.runs.fronts import non_dominated

    rows = non_dominated(feasible_objectives(aim.objectives(), trials))
    return tuple(FrontMember(trials[row].arch, trials[row].values(aim.metrics[0])) for row in rows)
