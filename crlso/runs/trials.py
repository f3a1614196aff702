"""The log of a run: one JSON line per evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """

    n: int
    arch: str
    value: float
    seconds: Mapping[str, float]

    def line(self, metric: str) -> str:
        """The line of ``trials.jsonl``, without line feed."""
        seconds = {name: round(value, 6) for name, value in self.seconds.items()}
        entry = {"n": self.n, "arch": self.arch, "values": {metric: finite(self.value)}, "seconds": seconds}
        return json.dumps(entry, allow_nan=False)


def finite(value: float) -> float | None:
    """The number, or ``None`` (JSON: null) for NaN."""
    return value if math.isfinite(value) else None


def best_so_far(trials: Sequence[Trial], sign: float) -> list[float | None]:
    """``[n]`` best value after each evaluation, in the metric's units; ``None`` before the first that worked.

    Args:
        trials: Evaluations in order.
        sign: +1 where larger values are better, -1 where smaller ones are.
    """
    curve: list[float | None] = []
    best: float | None = None
    for trial in trials:
        if not math.isnan(trial.value) and (best is None or sign * trial.value > sign * best):
            best = trial.value
        curve.append(best)
    return curve


def read_trials(path: Path, metric: str, *, repair: bool = False) -> list[Trial]:
    """The evaluations logged so far; none where there is no log.

    A last line without line feed was being written when the process was killed. It is kept where it is
    whole, and left out where it is torn.

    Args:
        path: ``trials.jsonl``.
        metric: The driving metric.
        repair: Make the file end with the last whole line, so that it can be appended to.

    Raises:
        RunError: A line other than the last is damaged, or the log is of another metric.
    """
    with disk_errors(path):
        data = path.read_bytes() if path.exists() else b""
    *lines, rest = data.split(b"\n")
    trials = []
    for number, line in enumerate(lines, start=1):
        trial = _parse(line, number, metric)
        if trial is None:
            raise RunError(
                f"{path}: line {number} is damaged; restore the file or start in another directory"
            )
        trials.append(trial)
    last = _parse(rest, len(lines) + 1, metric) if rest else None
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


def _parse(line: bytes, number: int, metric: str) -> Trial | None:
    """A line as trial ``number``; ``None`` where it is not one."""
    try:
        entry: dict[str, Any] = json.loads(line)
        value = entry["values"][metric]
        trial = Trial(
            n=entry["n"],
            arch=entry["arch"],
            value=math.nan if value is None else float(value),
            seconds=dict(entry["seconds"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
    return trial if trial.n == number else None
