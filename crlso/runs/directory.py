"""The run directory: locked while it runs, resumable at any moment, complete with ``summary.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from crlso.errors import RunError
from crlso.protocols import SearchMethod
from crlso.runs import events
from crlso.runs.checkpoint import load_checkpoint, save_checkpoint
from crlso.runs.config import holds_same, write_config
from crlso.runs.files import LineLog, disk_errors, remove_leftovers, write_aside
from crlso.runs.landmarks import Landmarks
from crlso.runs.objectives import Objectives
from crlso.runs.result import SearchResult
from crlso.runs.trials import Trial, read_trials

LOCK: Final = ".lock"
TRIALS: Final = "trials.jsonl"
CHECKPOINT: Final = "checkpoint.pt"
DIAGNOSTICS: Final = "diagnostics.npz"
SUMMARY: Final = "summary.json"
CHECKPOINT_SECONDS: Final = 2.0
"""Least time between two checkpoints."""
CHECKPOINT_COST: Final = 20
"""And so many times what writing one takes, so that this stays below a twentieth of the work."""


class RunStore(Protocol):
    """Where a run keeps what it must not lose."""

    def trials(self) -> list[Trial]:
        """Evaluations done in earlier sessions."""

    def restore(self, method: SearchMethod, known: int) -> int:
        """Brings the method to an earlier state; the number (<= ``known``) of evaluations it was told."""

    def append(self, trial: Trial) -> None:
        """Keeps an evaluation for good."""

    def told(self, method: SearchMethod, trials: int) -> None:
        """Called when the method knows ``trials`` evaluations: the moment to keep its state."""

    def finish(self, method: SearchMethod, result: SearchResult) -> None:
        """Called once at the end."""


@final
class MemoryStore:
    """Keeps nothing."""

    def trials(self) -> list[Trial]:
        """None."""
        return []

    def restore(self, method: SearchMethod, known: int) -> int:
        """Nothing to restore."""
        del method, known
        return 0

    def append(self, trial: Trial) -> None:
        """Forgets it."""

    def told(self, method: SearchMethod, trials: int) -> None:
        """Forgets it."""

    def finish(self, method: SearchMethod, result: SearchResult) -> None:
        """Forgets it."""


@final
class DirectoryStore:
    """Keeps a run in its directory; use :func:`open_directory`.

    Every evaluation reaches the disk before the next one starts. The method's state is written less often:
    when the work since the last time outweighs the cost of writing. What came after it is played again from
    the log, so that a run goes on exactly, wherever it was killed.
    """

    def __init__(self, path: Path, log: LineLog, metric: str, others: Sequence[str] = ()) -> None:
        self._path = path
        self._log = log
        self._metric = metric
        self._others = tuple(others)
        self._saved_at = time.perf_counter()
        self._save_cost = 0.1
        """Seconds that writing the state takes; a guess before the first time."""

    def trials(self) -> list[Trial]:
        """Evaluations in the log; a torn last line is removed."""
        return read_trials(self._path / TRIALS, self._metric, self._others, repair=True)

    def restore(self, method: SearchMethod, known: int) -> int:
        """Loads the checkpoint, unless it is ahead of a log that lost lines: then all is played again."""
        loaded = load_checkpoint(self._path / CHECKPOINT)
        if loaded is None or loaded[1] > known:
            return 0
        state, told = loaded
        method.load_state_dict(state)
        return told

    def append(self, trial: Trial) -> None:
        """One line, on the disk when this returns."""
        self._log.append(trial.line(self._metric))

    def told(self, method: SearchMethod, trials: int) -> None:
        """Writes a checkpoint when some time has passed, longer where writing is slow."""
        if time.perf_counter() - self._saved_at >= max(CHECKPOINT_SECONDS, CHECKPOINT_COST * self._save_cost):
            self._save(method, trials)

    def finish(self, method: SearchMethod, result: SearchResult) -> None:
        """Writes what the run leaves behind; ``summary.json`` comes last and says that all is there."""
        self._save(method, len(result.trials))
        diagnostics = dict(method.diagnostics())
        if diagnostics:
            write_arrays(self._path / DIAGNOSTICS, diagnostics)
        scalars = events.run_scalars(self._metric, result.curve, diagnostics, result.hypervolume_curve or ())
        events.write_events(self._path / events.FILE_NAME, scalars)
        write_json(self._path / SUMMARY, result.summary())

    def _save(self, method: SearchMethod, trials: int) -> None:
        start = time.perf_counter()
        save_checkpoint(self._path / CHECKPOINT, method.state_dict(), trials)
        self._saved_at = time.perf_counter()
        self._save_cost = self._saved_at - start


@contextmanager
def open_directory(
    path: Path, config: Mapping[str, Any], metric: str, others: Sequence[str] = (), *, wait: float = 0.0
) -> Iterator[DirectoryStore]:
    """Makes or resumes a run directory and holds its lock.

    Args:
        path: The directory; it is made, with its parents, where it does not exist.
        config: The run's settings, kept in ``config.yaml``.
        metric: Name of the driving metric.
        others: Names of the further metrics that every evaluation measures.
        wait: Seconds to wait for the lock.

    Raises:
        RunError: Other settings, another process at work in it, or a disk that can not be written.
    """
    with locked(path, wait=wait):
        if not holds_same(path, config):
            write_config(path, config)
        # The log is repaired before it is opened for appending.
        read_trials(path / TRIALS, metric, others, repair=True)
        with LineLog(path / TRIALS) as log:
            yield DirectoryStore(path, log, metric, others)


@contextmanager
def locked(path: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Makes the directory and holds its lock; the lock goes with the process, however that ends.

    Raises:
        RunError: Another process holds it, or the directory can not be made.
    """
    with disk_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise RunError(f"{path} is a file, not a folder; choose another directory") from error
        lock = FileLock(path / LOCK, timeout=wait)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(
                f"another process is at work in {path}; wait for it or choose another directory"
            ) from error
    try:
        with disk_errors(path):
            remove_leftovers(path)
        yield
    finally:
        lock.release()


def finished_search(
    path: Path, config: Mapping[str, Any], objectives: Objectives, landmarks: Landmarks
) -> SearchResult | None:
    """The result of a directory in which this very run came to its end; ``None`` where it did not.

    Raises:
        RunError: It holds a run of other settings.
    """
    summary = finished_summary(path, config)
    if summary is None:
        return None
    trials = tuple(read_trials(path / TRIALS, objectives.first.name, objectives.names[1:]))
    if len(trials) != summary.get("evaluations"):
        return None
    try:
        return SearchResult.from_summary(summary, trials, path, objectives, landmarks)
    except (KeyError, TypeError):
        return None


def finished_summary(path: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """``summary.json`` of a directory with these settings; ``None`` where there is none, or it is damaged.

    Raises:
        RunError: It holds a run of other settings.
    """
    if not (path.is_dir() and holds_same(path, config)):
        return None
    file = path / SUMMARY
    with disk_errors(file):
        text = file.read_bytes() if file.exists() else b""
    try:
        summary = json.loads(text)
    except ValueError:
        return None
    return summary if isinstance(summary, dict) else None


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes plain data as JSON, aside and renamed."""
    with write_aside(path, "w") as file:
        json.dump(data, file, indent=1, allow_nan=False)
        file.write("\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes named arrays as ``.npz``, aside and renamed."""
    with write_aside(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy types all keywords like allow_pickle
