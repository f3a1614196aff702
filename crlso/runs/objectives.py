"""What a run is after: one metric or several, and constraints on metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import BoolArray, Evaluator, FloatArray, Goal, Metric

_FORM: Final = re.compile(r"(?P<metric>[^<>=]+)(?P<relation><=|>=|<|>)(?P<bound>[^<>=]+)")
_TOUCHED: Final = -1e-12
"""Margin of a value that lies exactly on the bound of ``<`` or ``>``."""


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric.

    Attributes:
        metric: Its name.
        relation: ``<``, ``<=``, ``>`` or ``>=``.
        bound: In the metric's units.
    """

    metric: str
    relation: str
    bound: float

    @property
    def text(self) -> str:
        """As on the command line: ``latency<5``."""
        return f"{self.metric}{self.relation}{repr(self.bound).removesuffix('.0')}"

    def margins(self, values: FloatArray) -> FloatArray:
        """``[n]``: how far values are on the right side of the bound, 0 or more where it is met.

        In units of the bound's size, so that margins of different metrics can be added; in the metric's units
        where the bound is 0. NaN stays NaN.
        """
        size = abs(self.bound) or 1.0
        margins: FloatArray = (values - self.bound) / size
        if self.relation.startswith("<"):
            margins = -margins
        if not self.relation.endswith("="):
            margins = np.where(margins == 0.0, _TOUCHED, margins)
        return margins + 0.0


def parse_constraint(text: str) -> Constraint:
    """The constraint that a text says.

    Raises:
        UserError: It is none.

    Example:
        >>> parse_constraint("latency <= 5").text
        'latency<=5'
    """
    match = _FORM.fullmatch(text)
    bound = math.nan
    if match is not None:
        with suppress(ValueError):
            bound = float(match["bound"])
    if match is None or not match["metric"].strip() or not math.isfinite(bound):
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise UserError(f"constraint {shown!r}; write NAME<NUMBER, NAME<=NUMBER, NAME>NUMBER or NAME>=NUMBER")
    return Constraint(match["metric"].strip(), match["relation"], bound)


@dataclass(frozen=True)
class Objectives:
    """Metrics and constraints of a run.

    Attributes:
        metrics: What is optimised; the first one picks the best architecture of a run.
        constraints: What an architecture has to meet to count.
    """

    metrics: tuple[Metric, ...]
    constraints: tuple[Constraint, ...] = ()

    @property
    def first(self) -> Metric:
        """The driving metric."""
        return self.metrics[0]

    @property
    def several(self) -> bool:
        """Whether there is more than one objective."""
        return len(self.metrics) > 1

    @property
    def goal(self) -> Goal:
        """What a method is told when it is built."""
        return Goal(len(self.metrics), len(self.constraints))

    @property
    def names(self) -> tuple[str, ...]:
        """All metrics that an evaluation has to measure, each once, the driving one first."""
        names = [metric.name for metric in self.metrics] + [each.metric for each in self.constraints]
        return tuple(dict.fromkeys(names))

    def config(self) -> dict[str, Any]:
        """What ``config.yaml`` and summaries say beside the driving metric; nothing for that alone."""
        told: dict[str, Any] = {}
        if self.several:
            told["metrics"] = [{"name": each.name, "direction": each.direction} for each in self.metrics]
        if self.constraints:
            told["subject_to"] = [each.text for each in self.constraints]
        return told

    def columns(self, values: Mapping[str, FloatArray]) -> FloatArray:
        """``[n, objectives + constraints]``: objectives to be maximised, then margins.

        A row is NaN altogether where one of its metrics is: the evaluation failed.

        Args:
            values: ``[n]`` for each of :attr:`names`.
        """
        objectives = [metric.sign * np.asarray(values[metric.name]) for metric in self.metrics]
        margins = [each.margins(np.asarray(values[each.metric])) for each in self.constraints]
        table = np.stack([*objectives, *margins], axis=1).astype(np.float64)
        table[~np.isfinite(table).all(axis=1)] = np.nan
        return table

    def feasible(self, columns: FloatArray) -> BoolArray:
        """``[n]``: whether a row of :meth:`columns` worked and meets all constraints."""
        met: BoolArray = ~np.isnan(columns[:, 0]) & (columns[:, len(self.metrics) :] >= 0.0).all(axis=1)
        return met

    def penalised(self, columns: FloatArray) -> FloatArray:
        """``[n, 1]``: one value to be maximised in which feasible architectures are above all others.

        Among feasible ones the order is that of the objective, among others that of the sum of violations
        (Deb 2000, "An efficient constraint handling method for genetic algorithms", rule 1 to 3). So that
        no feasible value, however bad, can fall below an infeasible one, they are made positive by
        ``(f + sqrt(1 + f^2)) / 2``, which keeps the order and nearly the value of large ones; an infeasible
        one has ``-v / (1 + v)``, v its violation. Nothing depends on what was seen before, and nothing on
        what a table knows. Without constraints the objective is given as it is.
        """
        objective = columns[:, :1]
        if not self.constraints:
            return objective
        violation = np.maximum(-columns[:, 1:], 0.0).sum(axis=1, keepdims=True)
        root = np.hypot(1.0, objective)
        # The second form is the same number without the loss of digits that large negative values would mean.
        with np.errstate(divide="ignore"):
            positive = np.where(objective >= 0.0, (objective + root) / 2, 0.5 / (root - objective))
        value: FloatArray = np.where(violation > 0.0, -violation / (1.0 + violation), positive)
        value[np.isnan(objective)] = np.nan
        return value


def resolve_objectives(evaluator: Evaluator, metrics: Sequence[str], subject_to: Sequence[str]) -> Objectives:
    """Checks names and constraints.

    Raises:
        UnknownNameError: A metric that the evaluator does not have.
        UserError: No metric, one twice, or a text that is no constraint.
    """
    if not metrics:
        raise UserError("no metric; name the one that drives the search")
    constraints = tuple(dict.fromkeys(parse_constraint(text) for text in subject_to))
    for name in (*metrics, *(each.metric for each in constraints)):
        if name not in evaluator.metrics:
            raise UnknownNameError(f"metric of {evaluator.name}", name, evaluator.metrics)
    twice = [name for name in metrics if list(metrics).count(name) > 1]
    if twice:
        raise UserError(f"metric {twice[0]!r} is given twice; each may come once")
    return Objectives(tuple(evaluator.metrics[name] for name in metrics), constraints)
