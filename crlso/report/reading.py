"""Run directories as data: what ``crlso search`` and ``crlso compare`` left behind, read and checked.

Nothing here runs or changes anything. A directory that is no run directory, or whose files do not hold what
the public format says, is a :class:`~crlso.errors.RunError` of one line that names the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crlso.errors import RunError
from crlso.protocols import FloatArray
from crlso.report.fields import Fields, read_json, read_yaml
from crlso.report.objectives import Aim, FrontMember, curve_of, front_of, read_aim, read_front, read_log
from crlso.runs.trials import Trial

FORMAT = 1
WANTED = "give directories made by `crlso search`, `compare`, `supernet search` or `supernet train`"

Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Run:
    """One search: one method, one seed.

    Attributes:
        path: Its directory (of a run inside a compare directory: ``DIR/METHOD/SEED``, which may be gone).
        source: The directory the user named: the run's own, or the compare directory that holds it.
        method: Method label as given on the command line.
        seed: Seed.
        bench: Name of the evaluator.
        metric: Metric that drove the search.
        direction: Which way is better.
        budget: Number of evaluations it was given.
        optimum: Best value any architecture that meets the constraints has; None where unknown.
        curve: ``[n]`` best value after each evaluation; NaN before the first that counts.
        arch: Text of the best architecture; None where it is not known.
        report: Reported metrics of the best architecture.
        cpu_seconds: CPU seconds of the whole run; None where unknown.
        finished: Whether the run came to its end.
        exhausted: Whether it ended early because no unseen architecture was left.
        config: What ``config.yaml`` says.
        aim: All its objectives and constraints; None: ``metric`` alone.
        front: With several objectives what it found that nothing else it found dominates.
        hypervolume: ``[n]`` after each evaluation; None with one objective, or without a reference point.
        share: Whether that is a share of the true front's hypervolume.
    """

    path: Path
    source: Path
    method: str
    seed: int
    bench: str
    metric: str
    direction: Direction
    budget: int
    optimum: float | None
    curve: FloatArray
    arch: str | None = None
    report: Mapping[str, float] = field(default_factory=dict)
    cpu_seconds: float | None = None
    finished: bool = True
    exhausted: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    aim: Aim | None = None
    front: tuple[FrontMember, ...] = ()
    hypervolume: FloatArray | None = None
    share: bool = False

    @property
    def target(self) -> Aim:
        """What it is after, of one metric too."""
        return self.aim or Aim(((self.metric, self.direction),))

    @property
    def sign(self) -> float:
        """+1 where larger values are better, -1 where smaller are."""
        return 1.0 if self.direction == "max" else -1.0

    @property
    def value(self) -> float:
        """Best value found; NaN where nothing was evaluated successfully."""
        known = self.curve[np.isfinite(self.curve)]
        return float(known[-1]) if known.size else float("nan")


def read_directory(path: Path) -> tuple[Run, ...]:
    """All runs of a search or compare directory, methods and seeds in the order of its files.

    Raises:
        RunError: The directory is missing, is no run directory, or a file in it is damaged.
    """
    if not path.is_dir():
        raise RunError(f"{path}: no such directory; {WANTED}")
    summary = read_json(path / "summary.json")
    if summary is not None and "methods" in summary.values:
        return _compare_runs(path, summary)
    nested = sorted((file.parent for file in path.glob("*/*/config.yaml")), key=_method_and_seed)
    if summary is None and nested:
        return tuple(run for home in nested if (run := _run(home, path)) is not None)
    run = _run(path, path)
    if run is None:
        raise RunError(f"{path / 'summary.json'}: no such file, and no config.yaml beside it; {WANTED}")
    return (run,)


def read_trials(run: Run) -> list[Trial]:
    """The evaluations of a run in order; none where the log is gone. A torn last line is left out.

    Those that miss a constraint have no value, as if they had failed.

    Raises:
        RunError: A line in the middle is damaged.
    """
    return read_log(run.path / "trials.jsonl", run.target)


def _run(path: Path, source: Path) -> Run | None:
    """The run in a directory, from its summary or, unfinished, from settings and log; None without both."""
    summary = read_json(path / "summary.json")
    config = read_yaml(path / "config.yaml")
    if summary is None:
        return _unfinished_run(path, source, config) if config else None
    _check_format(summary)
    best = summary.inside("best")
    curve = summary.numbers("curve")
    optimum = summary.number("optimum")
    direction = _direction(summary, [curve], optimum)
    volume = summary.inside("hypervolume")
    return Run(
        path=path,
        source=source,
        method=summary.text("method"),
        seed=summary.whole("seed"),
        bench=summary.text("bench"),
        metric=summary.text("metric"),
        direction=direction,
        budget=summary.whole("budget"),
        optimum=optimum,
        curve=curve,
        arch=best.optional_text("arch"),
        report=_report(best.inside("report")),
        cpu_seconds=summary.number("cpu_seconds"),
        exhausted=summary.values.get("exhausted") is True,
        config=config,
        aim=read_aim(summary, direction, config),
        front=read_front(summary.values.get("front"), summary),
        hypervolume=volume.numbers("curve") if volume.values else None,
        share=volume.values.get("share") is True,
    )


def _compare_runs(path: Path, summary: Fields) -> tuple[Run, ...]:
    """One run per method and seed; what only a run's own directory knows (its architecture) is read there."""
    _check_format(summary)
    config = read_yaml(path / "config.yaml")
    seeds, methods = summary.wholes("seeds"), summary.inside("methods")
    optimum = summary.number("optimum")
    share = summary.inside("hypervolume").values.get("share") is True
    runs = []
    for method in methods.values:
        entry = methods.inside(method)
        entry.items("curves", len(seeds))
        rows = [
            Fields(entry.file, {"curves": c}, f"methods.{method}.").numbers("curves")
            for c in entry.values["curves"]
        ]
        seconds = entry.items("cpu_seconds", len(seeds))
        best = entry.items("best", len(seeds))
        reports = entry.inside("report")
        columns = {name: reports.items(name, len(seeds)) for name in reports.values}
        direction = _direction(summary, rows, optimum)
        fronts = _per_seed(entry, "front", len(seeds))
        volumes = _per_seed(entry, "hypervolumes", len(seeds))
        for row, seed in enumerate(seeds):
            home = path / method.replace(":", "_") / str(seed)
            own = _run(home, path) if home.is_dir() else None
            measured = {name: column[row] for name, column in columns.items()}
            runs.append(
                Run(
                    path=home,
                    source=path,
                    method=method,
                    seed=seed,
                    bench=summary.text("bench"),
                    metric=summary.text("metric"),
                    direction=direction,
                    budget=summary.whole("budget"),
                    optimum=optimum,
                    curve=rows[row],
                    arch=Fields(entry.file, {"best": best[row]}, f"methods.{method}.")
                    .inside("best")
                    .optional_text("arch"),
                    report=_report(Fields(entry.file, measured, f"methods.{method}.report.")),
                    cpu_seconds=Fields(entry.file, {"cpu_seconds": seconds[row]}).number("cpu_seconds"),
                    exhausted=own.exhausted if own else False,
                    config=config,
                    aim=read_aim(summary, direction, config),
                    front=read_front(fronts[row], entry),
                    hypervolume=None
                    if volumes[row] is None
                    else Fields(entry.file, {"hypervolumes": volumes[row]}).numbers("hypervolumes"),
                    share=share,
                )
            )
    return tuple(runs)


def _unfinished_run(path: Path, source: Path, config: Mapping[str, Any]) -> Run:
    """A run without ``summary.json``: its curve and best architecture so far, as its log tells them."""
    fields = Fields(path / "config.yaml", config)
    metric = fields.text("metric")
    direction = _direction(fields, [], None)
    aim = read_aim(fields, direction, config)
    target = aim or Aim(((metric, direction),))
    trials = read_log(path / "trials.jsonl", target)
    curve = curve_of(trials, direction)
    known = [trial for trial in trials if trial.value == curve[-1]]
    return Run(
        path=path,
        source=source,
        method=fields.text("method"),
        seed=fields.whole("seed"),
        bench=fields.text("bench"),
        metric=metric,
        direction=direction,
        budget=fields.whole("budget"),
        optimum=fields.number("optimum"),
        curve=curve,
        arch=known[0].arch if known else None,
        finished=False,
        config=config,
        aim=aim,
        front=front_of(trials, target),
    )


def _per_seed(entry: Fields, key: str, seeds: int) -> list[Any]:
    """A list with an entry for each seed; of nothing where it is missing."""
    return [None] * seeds if entry.values.get(key) is None else entry.items(key, seeds)


def _direction(fields: Fields, curves: list[FloatArray], optimum: float | None) -> Direction:
    """As the file says; else best-so-far curves rise where larger is better and fall where smaller is."""
    told = fields.optional_text("direction")
    if told is not None:
        if told not in {"max", "min"}:
            raise fields.bad("direction", "'max' or 'min'")
        return "min" if told == "min" else "max"
    for curve in curves:
        known = [*curve[np.isfinite(curve)].tolist(), *([] if optimum is None else [optimum])]
        if known and known[0] != known[-1]:
            return "max" if known[-1] > known[0] else "min"
    return "max"


def _report(fields: Fields) -> Mapping[str, float]:
    numbers = {name: fields.number(name) for name in fields.values}
    return {name: float("nan") if value is None else value for name, value in numbers.items()}


def _check_format(summary: Fields) -> None:
    version = summary.values.get("format", FORMAT)
    if version != FORMAT:
        raise RunError(f"{summary.file}: format {version!r} is not known, only {FORMAT}; update crlso")


def _method_and_seed(path: Path) -> tuple[str, int, str]:
    return path.parent.name, int(path.name) if path.name.isdecimal() else -1, path.name
