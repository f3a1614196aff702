"""The log of a run: one JSON line per evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crlso.errors import RunError
from crlso.runs.files import disk_errors


@dataclass(frozen=True)
class Trial:
    """One evaluation.

    Attributes:
        n: Its number in the run, from 1.
        arch: Text of the architecture.
        value: The driving metric in its own units; NaN where the evaluation failed.
        seconds: ``ask`` and ``evaluate`` (wall), ``cpu`` (CPU seconds of the run so far). All that differs
            between two runs of the same settings stands here.
        others: Further metrics of the run (objectives, what constraints are on) by name, in their own units.
    """

    n: int
    arch: str
    value: float
    seconds: Mapping[str, float]
    others: Mapping[str, float] = field(default_factory=dict)

    def values(self, metric: str) -> dict[str, float]:
        """All metrics by name; ``metric`` is the name of the driving one."""
        return {metric: self.value, **self.others}

    def line(self, metric: str) -> str:
        """The line of ``trials.jsonl``, without line feed."""
        seconds = {name: round(value, 6) for name, value in self.seconds.items()}
        values = {name: finite(value) for name, value in self.values(metric).items()}
        entry = {"n": self.n, "arch": self.arch, "values": values, "seconds": seconds}
        return json.dumps(entry, allow_nan=False)


def finite(value: float) -> float | None:
    """The number, or ``None`` (JSON: null) for NaN."""
    return value if math.isfinite(value) else None


def best_so_far(values: Sequence[float], sign: float) -> list[float | None]:
    """``[n]`` best value after each evaluation, in the metric's units; ``None`` before the first that counts.

    Args:
        values: Values in order; NaN where an evaluation failed or does not count.
        sign: +1 where larger values are better, -1 where smaller ones are.
    """
    curve: list[float | None] = []
    best: float | None = None
    for value in values:
        if not math.isnan(value) and (best is None or sign * value > sign * best):
            best = value
        curve.append(best)
    return curve


def read_trials(path: Path, metric: str, others: Sequence[str] = (), *, repair: bool = False) -> list[Trial]:
    """The evaluations logged so far; none where there is no log.

    A last line without line feed was being written when the process was killed. It is kept where it is
    whole, and left out where it is torn.

    Args:
        path: ``trials.jsonl``.
        metric: The driving metric.
        others: Further metrics that every line has to hold.
        repair: Make the file end with the last whole line, so that it can be appended to.

    Raises:
        RunError: A line other than the last is damaged, or the log is of another metric.
    """
    with disk_errors(path):
        data = path.read_bytes() if path.exists() else b""
    *lines, rest = data.split(b"\n")
    trials = []
    for number, line in enumerate(lines, start=1):
        trial = _parse(line, number, metric, others)
        if trial is None:
            raise RunError(
                f"{path}: line {number} is damaged; restore the file or start in another directory"
            )
        trials.append(trial)
    last = _parse(rest, len(lines) + 1, metric, others) if rest else None
    if last is not None:
        trials.append(last)
    if repair and rest:
        with disk_errors(path), path.open("r+b") as file:
            if last is None:
                file.truncate(len(data) - len(rest))
            else:
                file.seek(0, 2)
                file.write(b"\n")
    return trials


def _parse(line: bytes, number: int, metric: str, others: Sequence[str]) -> Trial | None:
    """A line as trial ``number``; ``None`` where it is not one."""
    try:
        entry: dict[str, Any] = json.loads(line)
        values = entry["values"]
        trial = Trial(
            n=entry["n"],
            arch=entry["arch"],
            value=_number(values[metric]),
            seconds=dict(entry["seconds"]),
            others={name: _number(values[name]) for name in others},
        )
    except (ValueError, KeyError, TypeError):
        return None
    return trial if trial.n == number else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
