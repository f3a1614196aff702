"""What is to be run: everything checked and resolved before anything is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import Evaluator, Metric, Rule, SearchMethod, SearchSpace
from crlso.runs.landmarks import Landmarks, find_landmarks
from crlso.runs.objectives import Objectives, resolve_objectives
from crlso.runs.warm_start import WarmStart
from crlso.search import METHODS, WARM_LIST, make_settings, parse_method, takes_warm_start
from crlso.settings import check_seed

FORMAT = 1
RULES: Final[tuple[str, ...]] = get_args(Rule)


@dataclass(frozen=True)
class SearchPlan:
    """A search, resolved.

    Attributes:
        evaluator: Answers what an architecture is worth.
        label: Method as the user wrote it (``evolution:population=20``).
        method: Its name in :data:`crlso.search.METHODS`.
        settings: Its settings dataclass, complete.
        objectives: Metrics and constraints.
        report: Names of the metrics stated for the best architecture.
        budget: Number of evaluations.
        seed: Of everything that is drawn.
        unique: What counts as the same architecture.
        reference: Stated values of the reference point, by metric.
        landmarks: What results are measured against; no part of the settings, it follows from them.
        warm_start: What the method begins with, of another run; ``None``: nothing.
    """

    evaluator: Evaluator
    label: str
    method: str
    settings: Any
    objectives: Objectives
    report: tuple[str, ...]
    budget: int
    seed: int
    unique: Rule
    reference: Mapping[str, float]
    landmarks: Landmarks
    warm_start: WarmStart | None = None

    @property
    def metric(self) -> Metric:
        """The driving metric."""
        return self.objectives.first

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the further metrics that each evaluation measures."""
        return self.objectives.names[1:]

    @property
    def told_several(self) -> bool:
        """Whether the method understands all columns of what it is told."""
        return METHODS[self.method].objectives == "several"

    def space(self) -> SearchSpace:
        """Where the method searches: the evaluator's space, or the part of it that it can answer for."""
        space, support = self.evaluator.space, self.evaluator.support
        if support is None:
            return space
        from crlso.spaces import Subset

        return Subset(space, support)

    def build_method(self, space: SearchSpace) -> SearchMethod:
        """A fresh method over ``space``."""
        return METHODS[self.method].build(
            space, seed=self.seed, settings=self.settings, goal=self.objectives.goal
        )

    def config(self) -> dict[str, Any]:
        """All that decides the course of the run, as plain data for ``config.yaml``.

        Of several metrics ``metric`` and ``direction`` are those of the first. ``metrics``, ``subject_to``,
        ``reference`` and ``warm_start`` stand there only where they say something, so that runs without them
        keep their files.
        """
        config = {
            "format": FORMAT,
            "kind": "search",
            "bench": self.evaluator.name,
            "space": self.evaluator.space.name,
            "metric": self.metric.name,
            "direction": self.metric.direction,
            "report": list(self.report),
            "method": self.label,
            "settings": dataclasses.asdict(self.settings),
            "budget": self.budget,
            "seed": self.seed,
            "unique": self.unique,
            "data": dict(self.evaluator.fingerprint),
        }
        return (
            config
            | self.objectives.config()
            | ({"reference": dict(self.reference)} if self.reference else {})
            | ({} if self.warm_start is None else {"warm_start": self.warm_start.config()})
        )


def resolve(
    evaluator: Evaluator,
    *,
    method: str,
    metric: str | Sequence[str],
    subject_to: Sequence[str] = (),
    report: Sequence[str] = (),
    budget: int,
    seed: int,
    unique: Rule = "exact",
    settings: Mapping[str, Any] | None = None,
    reference: Mapping[str, float] | None = None,
    landmarks: Landmarks | None = None,
    warm_start: WarmStart | None = None,
) -> SearchPlan:
    """Checks a request and fills in what it leaves open.

    Args:
        evaluator: Answers what an architecture is worth.
        method: ``name`` or ``name:key=value:key=value``.
        metric: The driving metric, or several objectives.
        subject_to: Constraints, see :func:`crlso.runs.objectives.parse_constraint`.
        report: Metrics stated for the best architecture.
        budget: Number of evaluations, 1 or more.
        seed: From 0 to :data:`~crlso.settings.LARGEST_SEED`.
        unique: One of :data:`RULES`.
        settings: Further settings of the method; a key may not stand in ``method`` too.
        reference: Values of the reference point of hypervolumes, by metric.
        landmarks: What :func:`find_landmarks` found for the same metrics; ``None``: the evaluator is asked.
        warm_start: What :func:`~crlso.runs.warm_start.read_warm_start` read for the same evaluator.

    Raises:
        UnknownNameError: Unknown method, setting, metric or rule.
        UserError: A number outside its range, a setting given twice, a text that is no constraint, several
            objectives for a method that takes one, a warm start for a method that can not use it, or
            constraints that nothing meets.
    """
    name, own = parse_method(method)
    twice = sorted(own.keys() & (settings or {}).keys())
    if twice:
        raise UserError(f"setting {twice[0]!r} is given twice, in the method {method!r} and on its own")
    objectives = resolve_objectives(evaluator, [metric] if isinstance(metric, str) else metric, subject_to)
    complete = make_settings(name, {**own, **(settings or {})})
    if warm_start is not None and not takes_warm_start(name, complete):
        raise UserError(f"method {method} takes no warm start; methods that do: {WARM_LIST}")
    _check_method(name, objectives)
    for wanted in report:
        if wanted not in evaluator.metrics:
            raise UnknownNameError(f"metric of {evaluator.name}", wanted, evaluator.metrics)
    if unique not in RULES:
        raise UnknownNameError("rule of uniqueness", unique, RULES)
    if budget < 1:
        raise UserError(f"budget {budget}; it must be 1 or more")
    check_seed(seed)
    return SearchPlan(
        evaluator=evaluator,
        label=method,
        method=name,
        settings=complete,
        objectives=objectives,
        report=tuple(dict.fromkeys(report)),
        budget=budget,
        seed=seed,
        unique=unique,
        reference=dict(reference or {}),
        landmarks=landmarks or find_landmarks(evaluator, objectives, reference),
        warm_start=warm_start,
    )


def _check_method(name: str, objectives: Objectives) -> None:
    """Refuses several objectives for a method that takes one."""
    if objectives.several and METHODS[name].objectives == "one":
        able = ", ".join(sorted(other for other, entry in METHODS.items() if entry.objectives == "several"))
        raise UserError(
            f"method {name} takes one metric, {len(objectives.metrics)} are given; "
            f"methods for several: {able}"
        )
