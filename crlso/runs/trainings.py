"""Results of trainings on the disk as they come, so that nothing trained is trained twice.

One line per training: the first 16 digits of the SHA-256 of the rest, a space, and the training as JSON. A
line that does not fit its checksum (torn by a killed process, damaged on the disk) counts as not written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import numpy as np

from crlso.protocols import TrainedRecord, Trainer
from crlso.runs.files import LineLog, disk_errors
from crlso.runs.progress import progress_bar
from crlso.runs.workers import Task

Engine = Callable[[Sequence[Task], Any], Iterator[tuple[int, Any]]]
"""Does tasks with what they share, and yields number and result of each as it ends."""

_DIGITS = 16


@dataclass(frozen=True)
class Training:
    """One training to be done, or done: text of the architecture, number of epochs, seed."""

    arch: str
    epochs: int
    seed: int


@final
class Journal:
    """The finished trainings of one piece of work; a context manager that keeps its file open for appending.

    Args:
        path: The file; what it holds is read, a torn last line is shut off.

    Raises:
        RunError: The file can not be read or written.
    """

    def __init__(self, path: Path) -> None:
        with disk_errors(path):
            data = path.read_bytes() if path.exists() else b""
        self._records: dict[Training, TrainedRecord] = {}
        for line in data.split(b"\n"):
            if (entry := _parse(line)) is not None:
                self._records.setdefault(*entry)
        self._log = LineLog(path)
        if data and not data.endswith(b"\n"):
            self._log.append("")

    @property
    def records(self) -> Mapping[Training, TrainedRecord]:
        """All trainings that are done."""
        return self._records

    def append(self, training: Training, record: TrainedRecord) -> None:
        """Keep a training; it is on the disk when this returns.

        Raises:
            RunError: The disk is full.
        """
        text = json.dumps(
            {
                "arch": training.arch,
                "epochs": record.epochs,
                "seed": record.seed,
                "values": dict(record.values),
                "curves": {name: curve.tolist() for name, curve in record.curves.items()},
                "failed": record.failed,
            }
        )
        self._log.append(f"{_digest(text.encode())} {text}")
        self._records[training] = record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._log.close()


@dataclass(frozen=True)
class TrainOne:
    """The task of one training; what tasks share is the trainer."""

    training: Training

    def __call__(self, shared: Trainer) -> TrainedRecord:
        """Trains."""
        code = shared.space.parse(self.training.arch)
        return shared.train(code, epochs=self.training.epochs, seed=self.training.seed)


def train_all(
    left: Sequence[Training],
    trainer: Trainer,
    journal: Journal,
    engine: Engine,
    *,
    done: int = 0,
    progress: bool = True,
) -> None:
    """Does trainings and keeps each as it ends.

    Args:
        left: What to train.
        trainer: Trains.
        journal: Keeps.
        engine: Shares the work out.
        done: Trainings of the same work that were done before, for the progress bar.
        progress: Whether to show one.

    Raises:
        RunError: The disk is full, or a worker process died.
    """
    if not left:
        return
    with progress_bar("trainings", done + len(left), enabled=progress) as advance:
        advance(done, "")
        for index, record in engine([TrainOne(each) for each in left], trainer):
            journal.append(left[index], record)
            done += 1
            advance(done, f"{left[index].epochs} epochs, seed {left[index].seed}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def _parse(line: bytes) -> tuple[Training, TrainedRecord] | None:
    """The training of a line; ``None`` where the line does not fit its checksum."""
    digest, _, text = line.partition(b" ")
    if digest != _digest(text).encode():
        return None
    entry = json.loads(text)
    curves = {name: np.array(curve, dtype=np.float64) for name, curve in entry["curves"].items()}
    record = TrainedRecord(entry["epochs"], entry["seed"], entry["values"], curves, entry["failed"])
    return Training(entry["arch"], record.epochs, record.seed), record
