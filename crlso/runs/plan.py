"""What is to be run: everything checked and resolved before anything is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import Evaluator, Metric, Rule, SearchMethod, SearchSpace
from crlso.search import METHODS, make_settings, parse_method

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
        metric: The driving metric.
        report: Names of the metrics stated for the best architecture.
        budget: Number of evaluations.
        seed: Of everything that is drawn.
        unique: What counts as the same architecture.
    """

    evaluator: Evaluator
    label: str
    method: str
    settings: Any
    metric: Metric
    report: tuple[str, ...]
    budget: int
    seed: int
    unique: Rule

    def space(self) -> SearchSpace:
        """Where the method searches: the evaluator's space, or the part of it that it can answer for."""
        space, support = self.evaluator.space, self.evaluator.support
        if support is None:
            return space
        from crlso.spaces import Subset

        return Subset(space, support)

    def build_method(self, space: SearchSpace) -> SearchMethod:
        """A fresh method over ``space``."""
        return METHODS[self.method].build(space, seed=self.seed, settings=self.settings)

    def config(self) -> dict[str, Any]:
        """All that decides the course of the run, as plain data for ``config.yaml``."""
        return {
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


def resolve(
    evaluator: Evaluator,
    *,
    method: str,
    metric: str,
    report: Sequence[str] = (),
    budget: int,
    seed: int,
    unique: Rule = "exact",
    settings: Mapping[str, Any] | None = None,
) -> SearchPlan:
    """Checks a request and fills in what it leaves open.

    Args:
        evaluator: Answers what an architecture is worth.
        method: ``name`` or ``name:key=value:key=value``.
        metric: The driving metric.
        report: Metrics stated for the best architecture.
        budget: Number of evaluations, 1 or more.
        seed: 0 or more.
        unique: One of :data:`RULES`.
        settings: Further settings of the method; a key may not stand in ``method`` too.

    Raises:
        UnknownNameError: Unknown method, setting, metric or rule.
        UserError: A number outside its range, or a setting given twice.
    """
    name, own = parse_method(method)
    twice = sorted(own.keys() & (settings or {}).keys())
    if twice:
        raise UserError(f"setting {twice[0]!r} is given twice, in the method {method!r} and on its own")
    for wanted in (metric, *report):
        if wanted not in evaluator.metrics:
            raise UnknownNameError(f"metric of {evaluator.name}", wanted, evaluator.metrics)
    if unique not in RULES:
        raise UnknownNameError("rule of uniqueness", unique, RULES)
    if budget < 1:
        raise UserError(f"budget {budget}; it must be 1 or more")
    if seed < 0:
        raise UserError(f"seed {seed}; it must be 0 or more")
    return SearchPlan(
        evaluator=evaluator,
        label=method,
        method=name,
        settings=make_settings(name, {**own, **(settings or {})}),
        metric=evaluator.metrics[metric],
        report=tuple(dict.fromkeys(report)),
        budget=budget,
        seed=seed,
        unique=unique,
    )
