"""The directory of one training: checkpoint, epochs, curves, weights at the end; resumed from any epoch."""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from crlso.errors import RunError
from crlso.protocols import FloatArray
from crlso.runs import events
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.runs.directory import write_json
from crlso.runs.files import disk_errors, remove_leftovers, write_aside
from crlso.runs.trials import finite
from supernet.train.loading import write_network
from supernet.training import CURVES, Training

CHECKPOINT: Final = "checkpoint.pt"
EPOCHS: Final = "epochs.jsonl"
RESULT: Final = "result.json"
EVENTS_SECONDS: Final = 5.0
"""Least time between two event files, which take longer to write than all else."""
MEASURED: Final = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
"""After every epoch."""


@dataclass(frozen=True)
class Identity:
    """Whose training it is.

    Attributes:
        architecture: Its text.
        seed: Of the training.
        fingerprint: Of the trainer: data, sizes, recipe, versions.
    """

    architecture: str
    seed: int
    fingerprint: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; versions of libraries are left out, a training may go on with others."""
        pinned = {key: value for key, value in self.fingerprint.items() if key not in ("torch", "device")}
        return {"architecture": self.architecture, "seed": self.seed, "trainer": pinned}

    @property
    def device(self) -> str:
        """Kind of device, whose random numbers are its own."""
        return self.fingerprint["device"]


@final
class TrainingDirectory:
    """Where one training keeps what it must not lose.

    Args:
        path: Its folder; made where it does not exist. Only one process at a time may write there.
        identity: Whose training it is.
        writes: Whether this process writes (the first one of several does).
    """

    def __init__(self, path: Path, identity: Identity, *, writes: bool = True) -> None:
        self.path = path
        self._identity = identity
        self._writes = writes
        self._events_at = -math.inf
        if writes:
            with disk_errors(path):
                path.mkdir(parents=True, exist_ok=True)
                remove_leftovers(path)

    def restore(self, training: Training) -> None:
        """Brings a training to where it was left, if it had begun.

        Raises:
            RunError: A damaged checkpoint, or one of another training.
        """
        file = self.path / CHECKPOINT
        if not file.exists():
            return
        try:
            with disk_errors(file), file.open("rb") as stream:
                kept = parse_state(stream)
            identity, device, state = kept["identity"], kept["device"], kept["training"]
        except (pickle.UnpicklingError, KeyError, TypeError) as error:
            raise self._damaged() from error
        if identity != self._identity.to_dict():
            raise RunError(
                f"{file} is of another training; remove it to begin this one anew, or choose another"
                " directory"
            )
        if device != self._identity.device:
            raise RunError(
                f"the training in {self.path} was begun on {device}, whose random numbers are its own; go on"
                f" there, or remove {CHECKPOINT} to begin anew on {self._identity.device}"
            )
        try:
            training.load_state_dict(state)
        except RunError as error:
            raise RunError(f"{file}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged() from error

    def run(self, training: Training) -> Iterator[None]:
        """Runs a training to its end; yields after every epoch, when its state is on the disk.

        A state with a loss that is no finite number is never kept: the last good one stays.
        """
        while not training.finished:
            training.run_epoch()
            if not training.failed:
                self._keep(training)
            yield

    def finish(self, training: Training) -> dict[str, Any]:
        """Measures the test part, writes weights and result; the latter comes last: then all is there."""
        trained = training.result()
        found = {
            "format": 1,
            "architecture": self._identity.architecture,
            "seed": self._identity.seed,
            "epochs": training.epoch,
            "failed": trained.failed,
            **{name: _last(trained.curves[name], training) for name in MEASURED},
            "test_loss": finite(trained.test_loss),
            "test_accuracy": finite(trained.test_accuracy),
            "seconds": sum(float(value) for value in trained.curves["seconds"] if math.isfinite(value)),
        }
        if not self._writes:
            return found
        self._write_curves(training, last=True)
        if not trained.failed:
            write_network(self.path, training.network)
        write_json(self.path / RESULT, found)
        if not trained.failed:
            self.tidy(self.path)
        return found

    @staticmethod
    def tidy(path: Path) -> None:
        """Removes the checkpoint of a training that ended well: all but its optimiser is in other files.

        Also of one that was killed just before it did so itself.
        """
        if (result := read_result(path)) is not None and not result["failed"]:
            file = path / CHECKPOINT
            with disk_errors(file):
                file.unlink(missing_ok=True)

    def _damaged(self) -> RunError:
        return RunError(f"{self.path / CHECKPOINT} is damaged; remove it to begin this training anew")

    def _keep(self, training: Training) -> None:
        if not self._writes:
            return
        identity, device = self._identity.to_dict(), self._identity.device
        data = dump_state({"identity": identity, "device": device, "training": training.state_dict()})
        with write_aside(self.path / CHECKPOINT) as file:
            file.write(data)
        self._write_curves(training)

    def _write_curves(self, training: Training, *, last: bool = False) -> None:
        """Files for readers; all of it is in the checkpoint too, so they are written whole."""
        rows = _rows(training)
        with write_aside(self.path / EPOCHS, "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        now = time.monotonic()
        if last or now - self._events_at >= EVENTS_SECONDS:
            events.write_events(self.path / events.FILE_NAME, _scalars(rows))
            self._events_at = time.monotonic()


def read_result(path: Path) -> dict[str, Any] | None:
    """What a training came to; ``None`` where it has not come to its end.

    Raises:
        RunError: A damaged file.
    """
    file = path / RESULT
    if not file.exists():
        return None
    with disk_errors(file):
        raw = file.read_bytes()
    wanted = ("architecture", "seed", "epochs", "failed", "test_accuracy", "seconds", *MEASURED)
    try:
        found = json.loads(raw)
        if not all(key in found for key in wanted):
            raise ValueError("keys are missing")
    except (ValueError, TypeError) as error:
        raise RunError(f"{file} is damaged; remove it to finish this training again") from error
    return dict(found)


def _rows(training: Training) -> list[dict[str, Any]]:
    """The epochs that are done, from 1."""
    settings = training.settings
    return [
        {
            "epoch": epoch + 1,
            **{name: finite(float(training.curves[name][epoch])) for name in CURVES},
            "learning_rate": settings.learning_rate_at(epoch / settings.epochs),
        }
        for epoch in range(training.epoch)
    ]


def _scalars(rows: list[dict[str, Any]]) -> list[tuple[str, int, float]]:
    tags = (*MEASURED, "learning_rate")
    return [
        (f"training/{tag}", row["epoch"], row[tag]) for tag in tags for row in rows if row[tag] is not None
    ]


def _last(curve: FloatArray, training: Training) -> float | None:
    """The value after the last epoch; ``None`` where the training failed."""
    return None if training.failed else finite(float(curve[-1]))
