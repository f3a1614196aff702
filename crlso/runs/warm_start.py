"""What an earlier run found, for a method that can begin with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from crlso.errors import ArchitectureError, RunError
from crlso.protocols import CODE_DTYPE, Code, Codes, Evaluator, FloatArray, SearchSpace
from crlso.runs import config as config_file
from crlso.runs.directory import TRIALS
from crlso.runs.trials import Trial, read_trials

_DIRECTIONS: Final[tuple[str, ...]] = ("max", "min")


@dataclass(frozen=True, eq=False)
class WarmStart:
    """The evaluations of an earlier run.

    Attributes:
        bench: Name of the evaluator that answered.
        metric: The driving metric there; of several objectives the first.
        codes: ``[n, d]``, in the order evaluated.
        values: ``[n]``, larger is better; NaN where the evaluation failed.
    """

    bench: str
    metric: str
    codes: Codes
    values: FloatArray

    def config(self) -> dict[str, Any]:
        """What ``config.yaml`` and summaries say of it: its contents, not its place, which may change."""
        return {
            "bench": self.bench,
            "metric": self.metric,
            "trials": len(self.codes),
            "sha256": self._checksum(),
        }

    def _checksum(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.codes, dtype="<i2").tobytes())
        # There are many NaN and two zeros: one of each.
        values = np.where(np.isnan(self.values), np.nan, self.values) + 0.0
        digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        return digest.hexdigest()


def read_warm_start(path: Path, evaluator: Evaluator) -> WarmStart:
    """The evaluations in the directory of a search, finished or not, that ``evaluator``'s space can hold.

    The run may be of any method, metric and table of the same space. Its constraints are not looked at: what
    missed one has its value. Of a table of a part of the space, architectures outside that part are left out.
    Nothing is written there, so that the run may still be going on.

    Args:
        path: The directory; in one of a comparison ``METHOD/SEED``.
        evaluator: Of the search that is to begin with it.

    Raises:
        RunError: There is no run, it is of another space or damaged, or it has no evaluation that is of use.
    """
    config = _config(path)
    space, name = evaluator.space, config["space"]
    if name != space.name:
        raise RunError(f"{path} is a run in space {name}, {evaluator.name} is one of space {space.name}")
    trials = read_trials(path / TRIALS, config["metric"])
    if not trials:
        raise RunError(f"{path} holds no evaluation yet: nothing to start from")
    codes = np.stack([_code(path, trial, space) for trial in trials]).astype(CODE_DTYPE)
    values = np.array([trial.value for trial in trials], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    if evaluator.support is not None:
        from crlso.spaces import Subset

        inside = Subset(space, evaluator.support).is_valid(codes)
        codes, values = codes[inside], values[inside]
        if not len(codes):
            raise RunError(f"{path}: none of its {len(trials)} architectures is in {evaluator.name}")
    if np.isnan(values).all():
        raise RunError(f"{path}: all {len(values)} evaluations failed: nothing to start from")
    sign = 1.0 if config["direction"] == "max" else -1.0
    return WarmStart(config["bench"], config["metric"], codes, sign * values + 0.0)


def _config(path: Path) -> dict[str, Any]:
    """``config.yaml`` of a search."""
    if not path.is_dir():
        raise RunError(f"{path}: no such directory; a warm start is the run directory of a search")
    config = config_file.read_config(path)
    if config is None:
        raise RunError(
            f"{path} is no run directory (no {config_file.FILE_NAME} in it); "
            "a warm start is the run directory of a search"
        )
    kind = config.get("kind")
    if kind == "compare":
        raise RunError(f"{path} is a comparison; name one of its runs, {path / 'METHOD' / 'SEED'}")
    if kind != "search":
        raise RunError(f"{path} is no run of a search; a warm start is the run directory of a search")
    texts = all(isinstance(config.get(name), str) for name in ("bench", "space", "metric"))
    if not texts or config.get("direction") not in _DIRECTIONS:
        raise RunError(f"{path / config_file.FILE_NAME} is damaged; restore it or start from another run")
    return config


def _code(path: Path, trial: Trial, space: SearchSpace) -> Code:
    # A damaged line may hold anything for the text.
    if not isinstance(trial.arch, str):
        raise RunError(f"{path / TRIALS}: line {trial.n} is damaged; restore the file")
    try:
        return space.parse(trial.arch)
    except ArchitectureError as error:
        raise RunError(f"{path / TRIALS}: line {trial.n}: {error}") from error
