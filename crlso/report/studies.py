"""Runs grouped into studies: everything that shares a benchmark and what it is after stands in one picture.

Inside a study the runs of one method form a series; its rows are seeds. Runs of the same method stay in one
series only if they come from the same compare directory, or have the same settings but for the seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crlso.protocols import Evaluator, FloatArray
from crlso.report.objectives import Aim
from crlso.report.reading import Direction, Run
from crlso.report.statistics import Spread, paired, spread
from crlso.report.text import decimals_for, with_unit
from crlso.runs.regret import checkpoints


@dataclass(frozen=True)
class Series:
    """The runs of one method in a study.

    Attributes:
        label: Name in legends and tables, unique in its study.
        runs: The runs that count: the finished ones, or all if none is finished.
        left_out: Unfinished runs that do not count.
        scores: ``[seeds, n]`` what the curves show after each evaluation: of several objectives the
            hypervolume, else regret (never negative, 0 is the optimum) where the optimum is known, else the
            best value so far.
    """

    label: str
    runs: tuple[Run, ...]
    left_out: tuple[Run, ...]
    scores: FloatArray

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, row by row of :attr:`scores`."""
        return tuple(run.seed for run in self.runs)

    @property
    def finished(self) -> bool:
        """Whether the series holds finished runs."""
        return all(run.finished for run in self.runs)

    def at(self, evaluations: int) -> FloatArray:
        """``[seeds]`` scores after so many evaluations; NaN where the series is shorter."""
        if not 1 <= evaluations <= self.scores.shape[1]:
            return np.full(len(self.runs), np.nan)
        return self.scores[:, evaluations - 1]


@dataclass(frozen=True)
class Study:
    """All series on one benchmark, after the same.

    Attributes:
        bench: Name of the evaluator.
        metric: Metric that drove the searches.
        direction: Which way is better.
        unit: Unit of the metric, empty where unknown.
        optimum: Best value possible; None where unknown.
        series: In the order the directories were given.
        aim: All objectives and constraints.
        volumes: Whether scores are hypervolumes: several objectives, and a reference point.
        share: Whether these are shares of the true front's.
    """

    bench: str
    metric: str
    direction: Direction
    unit: str
    optimum: float | None
    series: tuple[Series, ...]
    aim: Aim
    volumes: bool = False
    share: bool = False

    @property
    def title(self) -> str:
        """Where was searched, and for what."""
        return f"{self.bench}: {self.aim.words}"

    @property
    def regrets(self) -> bool:
        """Whether scores are regrets."""
        return self.optimum is not None and not self.volumes

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs that count."""
        return tuple(run for series in self.series for run in series.runs)

    @property
    def budget(self) -> int:
        """The largest budget of its runs."""
        return max(run.budget for run in self.runs)

    @property
    def quantity(self) -> str:
        """What :attr:`Series.scores` are, in a word or two."""
        if self.volumes:
            return "hypervolume"
        return "regret" if self.regrets else "best value so far"

    @property
    def score_unit(self) -> str:
        """Unit of scores; empty where unknown."""
        if self.volumes:
            return "share of the true front's" if self.share else ""
        return self.unit

    @property
    def score_decimals(self) -> int:
        """Decimals that suit its scores."""
        if not self.volumes:
            return self.decimals
        ends = [series.scores[:, -1:] for series in self.series]
        known = np.concatenate([np.abs(end[np.isfinite(end)]) for end in ends])
        return decimals_for(float(known.max(initial=0.0)))

    def with_score_unit(self, text: str) -> str:
        """A score in a sentence."""
        return with_unit(text, "" if self.volumes else self.unit)

    @property
    def smaller_is_better(self) -> bool:
        """Whether smaller scores are better."""
        return self.regrets or (self.direction == "min" and not self.volumes)

    @property
    def decimals(self) -> int:
        """Decimals that suit its values and scores."""
        values = [abs(run.value) for run in self.runs if np.isfinite(run.value)]
        return decimals_for(max(values, default=1.0))

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Numbers of evaluations for the tables, up to what the longest series reached."""
        longest = max(series.scores.shape[1] for series in self.series)
        return checkpoints(longest) if longest else ()

    def regret(self, value: float) -> float | None:
        """Distance of a value to the optimum, None where the optimum is unknown."""
        return None if self.optimum is None else abs(self.optimum - value)


def group(runs: Sequence[Run], evaluators: Mapping[str, Evaluator]) -> tuple[Study, ...]:
    """Group runs into studies, in the order of their first runs.

    Args:
        runs: Runs of all directories.
        evaluators: Evaluators by benchmark name, as far as they are at hand; they know direction and unit.
    """
    keys = dict.fromkeys((run.bench, _key(run)) for run in runs)
    return tuple(
        _study(bench, [r for r in runs if (r.bench, _key(r)) == (bench, key)], evaluators.get(bench))
        for bench, key in keys
    )


def _key(run: Run) -> tuple[object, ...]:
    """Runs of the same key are after the same. Of one metric, files of before may not know its direction."""
    return (run.target.metrics, run.target.constraints, run.target.reference)


def differences(study: Study, series: Series, reference: Series, evaluations: int) -> Spread | None:
    """Score of one series minus another's after so many evaluations, over the seeds both have.

    Returns:
        None where fewer than two seeds are shared.
    """
    shared = [seed for seed in series.seeds if seed in reference.seeds]
    if len(shared) < 2:
        return None
    mine = series.at(evaluations)[[series.seeds.index(seed) for seed in shared]]
    theirs = reference.at(evaluations)[[reference.seeds.index(seed) for seed in shared]]
    result = paired(mine, theirs)
    return result if result.n >= 2 else None


def summarise(series: Series, evaluations: int) -> Spread:
    """Spread over seeds of a series' scores after so many evaluations."""
    return spread(series.at(evaluations))


def _study(bench: str, runs: Sequence[Run], evaluator: Evaluator | None) -> Study:
    metric, aim = runs[0].metric, runs[0].target
    known = evaluator.metrics.get(metric) if evaluator is not None else None
    direction = known.direction if known is not None else runs[0].direction
    optimum = next((run.optimum for run in runs if run.optimum is not None), None)
    if optimum is None and known is not None and evaluator is not None and not aim.constraints:
        optimum = evaluator.optimum(metric)
    parts = _parts(runs)
    labels = _labels(parts)
    volumes = any(run.hypervolume is not None for run in runs)
    scored = None if volumes else optimum
    series = tuple(
        _series(label, part, scored, volumes=volumes) for label, part in zip(labels, parts, strict=True)
    )
    unit = known.unit if known else ""
    share = any(run.share for run in runs)
    return Study(bench, metric, direction, unit, optimum, series, aim, volumes, share)


def _parts(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that belong to one series."""
    parts: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        inside = run.path != run.source
        same = str(run.source) if inside else repr(_settings_without_seed(run))
        parts.setdefault((run.method, same), []).append(run)
    out: list[list[Run]] = []
    for part in parts.values():
        once = {run.seed: run for run in part}
        out.append(list(once.values()))
        repeated = [run for run in part if once[run.seed] is not run]
        out.extend([run] for run in repeated)
    return out


def _settings_without_seed(run: Run) -> list[tuple[str, str]]:
    return sorted((str(k), repr(v)) for k, v in run.config.items() if k not in {"seed", "out", "versions"})


def _labels(parts: Sequence[Sequence[Run]]) -> list[str]:
    """Method names, with the directory's name where two series would be called the same."""
    methods = [part[0].method for part in parts]
    labels: list[str] = []
    for part, method in zip(parts, methods, strict=True):
        label = method if methods.count(method) == 1 else f"{method} ({_place(part[0].source)})"
        while label in labels:
            label += "'"
        labels.append(label)
    return labels


def _place(path: Path) -> str:
    return path.resolve().name or str(path)


def _series(label: str, runs: Sequence[Run], optimum: float | None, *, volumes: bool) -> Series:
    counted = tuple(run for run in runs if run.finished)
    left_out = tuple(run for run in runs if not run.finished)
    if counted:
        length = max(len(run.curve) for run in counted)
    else:
        counted, left_out = left_out, ()
        length = min(len(run.curve) for run in counted)
    curves = [_scored(run) if volumes else run.curve for run in counted]
    scores = np.array([_extended(curve, length) for curve in curves]).reshape(len(counted), length)
    return Series(label, counted, left_out, scores if optimum is None else np.abs(optimum - scores))


def _scored(run: Run) -> FloatArray:
    """The hypervolume of a run; unknown of one that is unfinished."""
    return np.full(len(run.curve), np.nan) if run.hypervolume is None else run.hypervolume


def _extended(curve: FloatArray, length: int) -> FloatArray:
    """Cut to a length, or go on with the last value (a finished run that found nothing more to evaluate)."""
    last = curve[-1] if curve.size else np.nan
    return np.concatenate([curve[:length], np.full(max(length - curve.size, 0), last)])
