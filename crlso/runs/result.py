"""What a search found, and its public file format ``summary.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crlso.protocols import FloatArray
from crlso.runs.fronts import hypervolume_curve, non_dominated
from crlso.runs.landmarks import Landmarks
from crlso.runs.objectives import Objectives
from crlso.runs.trials import Trial, best_so_far, finite

FORMAT = 1


@dataclass(frozen=True)
class Best:
    """The architecture that the driving metric picked.

    Attributes:
        arch: Its text.
        value: Its driving metric, in the metric's own units.
        report: Its reported metrics, which the search never saw; NaN where the evaluation failed.
    """

    arch: str
    value: float
    report: Mapping[str, float]


@dataclass(frozen=True)
class SearchResult:
    """One run.

    Attributes:
        method: Method as given, with its settings.
        bench: Name of the evaluator.
        objectives: Metrics and constraints; the first metric is the driving one.
        budget: Number of evaluations it was given.
        seed: Seed.
        unique: What counted as the same architecture.
        optimum: Best value of the driving metric that any architecture which meets the constraints has;
            ``None`` where unknown.
        best: The first architecture with the best value among those that meet the constraints; ``None`` if
            there is none.
        trials: All evaluations in order.
        exhausted: Whether it ended early because no unseen architecture was left.
        cpu_seconds: CPU seconds, over all sessions of a run that was resumed.
        directory: The run directory; ``None`` where the run was kept in memory.
        landmarks: What hypervolumes are measured against.
        warm_start: What the method began with, as ``config.yaml`` says it; ``None``: nothing.
    """

    method: str
    bench: str
    objectives: Objectives
    budget: int
    seed: int
    unique: str
    optimum: float | None
    best: Best | None
    trials: tuple[Trial, ...]
    exhausted: bool
    cpu_seconds: float
    directory: Path | None = None
    landmarks: Landmarks = field(default_factory=Landmarks)
    warm_start: Mapping[str, Any] | None = None

    @property
    def metric(self) -> str:
        """Name of the driving metric."""
        return self.objectives.first.name

    @property
    def direction(self) -> str:
        """``max`` or ``min``, of the driving metric."""
        return self.objectives.first.direction

    @property
    def sign(self) -> float:
        """+1 where larger is better, -1 where smaller is."""
        return self.objectives.first.sign

    @property
    def curve(self) -> list[float | None]:
        """Best value after each evaluation; ``None`` before the first that meets the constraints."""
        counted = counted_values(self.objectives, self.trials)
        return best_so_far(counted.tolist(), self.sign)

    @property
    def regret(self) -> float | None:
        """How far the best found is from the optimum, never negative; ``None`` where either is unknown."""
        if self.optimum is None or self.best is None:
            return None
        # + 0.0 makes the negative zero of a minimised metric a plain one.
        return self.sign * (self.optimum - self.best.value) + 0.0

    @property
    def front(self) -> tuple[Trial, ...]:
        """What meets the constraints and is dominated by nothing that does, best driving metric first."""
        columns = feasible_objectives(self.objectives, self.trials)
        rows = non_dominated(columns)
        return tuple(self.trials[row] for row in rows[np.argsort(-columns[rows, 0], kind="stable")])

    @property
    def hypervolume_curve(self) -> list[float] | None:
        """Hypervolume after each evaluation; ``None`` without a reference point.

        A share of the true front's where that is known, else in the product of the metrics' units.
        """
        reference = self.landmarks.reference
        if reference is None:
            return None
        signs = np.array([metric.sign for metric in self.objectives.metrics])
        columns = feasible_objectives(self.objectives, self.trials)
        curve = hypervolume_curve(columns, signs * np.array(reference))
        return [float(value) for value in curve / (self.landmarks.volume or 1.0)]

    def summary(self) -> dict[str, Any]:
        """``summary.json`` as plain data."""
        best = None
        if self.best is not None:
            report = {name: finite(value) for name, value in self.best.report.items()}
            best = {"arch": self.best.arch, "value": self.best.value, "report": report}
        summary = {
            "format": FORMAT,
            "kind": "search",
            "method": self.method,
            "bench": self.bench,
            "metric": self.metric,
            "direction": self.direction,
            **self.objectives.config(),
            **({} if self.warm_start is None else {"warm_start": dict(self.warm_start)}),
            "budget": self.budget,
            "seed": self.seed,
            "unique": self.unique,
            "optimum": self.optimum,
            "best": best,
            "regret": self.regret,
            "evaluations": len(self.trials),
            "exhausted": self.exhausted,
            "curve": self.curve,
            "cpu_seconds": round(self.cpu_seconds, 3),
        }
        if self.objectives.several:
            summary["front"] = [
                {"arch": trial.arch, "values": trial.values(self.metric)} for trial in self.front
            ]
            summary["hypervolume"] = self._hypervolume()
        return summary

    def _hypervolume(self) -> dict[str, Any] | None:
        curve, reference = self.hypervolume_curve, self.landmarks.reference
        if curve is None or reference is None:
            return None
        names = [metric.name for metric in self.objectives.metrics]
        return {
            "value": curve[-1] if curve else 0.0,
            "share": self.landmarks.volume is not None,
            "reference": dict(zip(names, reference, strict=True)),
            "curve": curve,
        }

    @classmethod
    def from_summary(
        cls,
        summary: Mapping[str, Any],
        trials: tuple[Trial, ...],
        directory: Path,
        objectives: Objectives,
        landmarks: Landmarks,
    ) -> SearchResult:
        """The result that a finished run directory holds.

        Raises:
            KeyError, TypeError: The summary is not one of a search.
        """
        stored = summary["best"]
        best = None
        if stored is not None:
            report = {name: float("nan") if v is None else float(v) for name, v in stored["report"].items()}
            best = Best(stored["arch"], float(stored["value"]), report)
        names = ("method", "bench", "budget", "seed", "unique", "optimum")
        return cls(
            **{name: summary[name] for name in names},
            objectives=objectives,
            best=best,
            trials=trials,
            exhausted=summary["exhausted"],
            cpu_seconds=summary["cpu_seconds"],
            directory=directory,
            landmarks=landmarks,
            warm_start=summary.get("warm_start"),
        )


def trial_columns(objectives: Objectives, trials: Sequence[Trial]) -> FloatArray:
    """``[n, objectives + constraints]`` of evaluations, see :meth:`Objectives.columns`."""
    values = [trial.values(objectives.first.name) for trial in trials]
    return objectives.columns({name: np.array([v[name] for v in values]) for name in objectives.names})


def feasible_objectives(objectives: Objectives, trials: Sequence[Trial]) -> FloatArray:
    """``[n, objectives]``, to be maximised; NaN where an evaluation failed or misses a constraint."""
    columns = trial_columns(objectives, trials)
    counted = columns[:, : len(objectives.metrics)].copy()
    counted[~objectives.feasible(columns)] = math.nan
    return counted


def counted_values(objectives: Objectives, trials: Sequence[Trial]) -> FloatArray:
    """``[n]`` the driving metric in its units; NaN where an evaluation failed or misses a constraint."""
    values = np.array([trial.value for trial in trials], dtype=np.float64)
    values[~objectives.feasible(trial_columns(objectives, trials))] = math.nan
    return values
