"""What a search found, and its public file format ``summary.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        metric: Driving metric.
        direction: ``max`` or ``min``.
        budget: Number of evaluations it was given.
        seed: Seed.
        unique: What counted as the same architecture.
        optimum: Best value any architecture has; ``None`` where unknown.
        best: The first architecture with the best value; ``None`` if every evaluation failed.
        trials: All evaluations in order.
        exhausted: Whether it ended early because no unseen architecture was left.
        cpu_seconds: CPU seconds, over all sessions of a run that was resumed.
        directory: The run directory; ``None`` where the run was kept in memory.
    """

    method: str
    bench: str
    metric: str
    direction: str
    budget: int
    seed: int
    unique: str
    optimum: float | None
    best: Best | None
    trials: tuple[Trial, ...]
    exhausted: bool
    cpu_seconds: float
    directory: Path | None = None

    @property
    def sign(self) -> float:
        """+1 where larger is better, -1 where smaller is."""
        return 1.0 if self.direction == "max" else -1.0

    @property
    def curve(self) -> list[float | None]:
        """Best value after each evaluation; ``None`` before the first that worked."""
        return best_so_far(self.trials, self.sign)

    @property
    def regret(self) -> float | None:
        """How far the best found is from the optimum, never negative; ``None`` where either is unknown."""
        if self.optimum is None or self.best is None:
            return None
        # + 0.0 makes the negative zero of a minimised metric a plain one.
        return self.sign * (self.optimum - self.best.value) + 0.0

    def summary(self) -> dict[str, Any]:
        """``summary.json`` as plain data."""
        best = None
        if self.best is not None:
            report = {name: finite(value) for name, value in self.best.report.items()}
            best = {"arch": self.best.arch, "value": self.best.value, "report": report}
        return {
            "format": FORMAT,
            "kind": "search",
            "method": self.method,
            "bench": self.bench,
            "metric": self.metric,
            "direction": self.direction,
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

    @classmethod
    def from_summary(
        cls, summary: Mapping[str, Any], trials: tuple[Trial, ...], directory: Path
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
        names = ("method", "bench", "metric", "direction", "budget", "seed", "unique", "optimum")
        return cls(
            **{name: summary[name] for name in names},
            best=best,
            trials=trials,
            exhausted=summary["exhausted"],
            cpu_seconds=summary["cpu_seconds"],
            directory=directory,
        )
