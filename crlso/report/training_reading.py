"""Directories of `crlso supernet train` as data, read and checked; nothing here runs or changes anything.

An unfinished run (no ``summary.json``) is read as far as it is. A file that does not hold what it should is a
:class:`~crlso.errors.RunError` of one line that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crlso.errors import RunError, UserError
from crlso.protocols import FloatArray, SearchSpace
from crlso.report.fields import NOWHERE, RESTORE, Fields, read_epochs, read_json, read_yaml
from crlso.spaces import space_from_dict

KIND = "supernet train"
CONFIG = "config.yaml"
FORMAT = 1
CURVES = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


@dataclass(frozen=True)
class Trained:
    """One training.

    Attributes:
        seed: Its seed.
        curves: ``[epochs done]`` by name of :data:`CURVES`; losses in nats, accuracies in %, NaN where not
            measured.
        finished: Whether it came to its end.
        failed: Whether it diverged.
        test_accuracy: In %; NaN where unknown.
        valid_accuracy: Likewise, after the last epoch.
        seconds: Of training; NaN where unknown.
    """

    seed: int
    curves: Mapping[str, FloatArray]
    finished: bool
    failed: bool
    test_accuracy: float
    valid_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Architecture:
    """One architecture and its trainings, by seed; costs in millions, NaN while the run is unfinished."""

    number: int
    text: str
    params: float
    flops: float
    trainings: tuple[Trained, ...]


@dataclass(frozen=True)
class TrainingRun:
    """A directory of `crlso supernet train`.

    Attributes:
        path: The directory.
        space: Of the architectures.
        data: Name of the images.
        data_text: Images and their parts in words; empty while the run is unfinished.
        network: Sizes in words; likewise.
        metric: What the figures are; likewise.
        all_data: Whether the validation part was trained on.
        epochs: Of a whole training.
        seeds: Of every architecture's trainings.
        architectures: In the order of the settings.
        finished: Whether the run came to its end.
        config: What ``config.yaml`` says.
    """

    path: Path
    space: SearchSpace
    data: str
    data_text: str
    network: str
    metric: str
    all_data: bool
    epochs: int
    seeds: tuple[int, ...]
    architectures: tuple[Architecture, ...]
    finished: bool
    config: Mapping[str, Any] = field(default_factory=dict)


def is_training_directory(path: Path) -> bool:
    """Whether the settings in a directory say that it is one of `crlso supernet train`.

    Raises:
        RunError: They are damaged.
    """
    return path.is_dir() and read_yaml(path / CONFIG).get("kind") == KIND


def read_training(path: Path) -> TrainingRun:
    """A run, finished or not.

    Raises:
        RunError: A file is damaged.
    """
    config = Fields(path / CONFIG, read_yaml(path / CONFIG), remedy=RESTORE)
    try:
        space = space_from_dict(config.values.get("space"))
    except UserError as error:
        raise RunError(f"{config.file}: {error}; {RESTORE}") from error
    summary = read_json(path / "summary.json")
    if summary is not None and summary.values.get("format") != FORMAT:
        found = summary.values.get("format")
        raise RunError(f"{summary.file}: format {found!r} is not known, only {FORMAT}; update crlso")
    texts, seeds = config.texts("architectures"), tuple(config.wholes("seeds"))
    costs = _costs(summary, len(texts)) if summary is not None else ((NOWHERE, NOWHERE),) * len(texts)
    architectures = tuple(
        Architecture(
            number,
            text,
            *costs[number],
            tuple(_trained(path / "trainings" / str(number) / str(seed), seed) for seed in seeds),
        )
        for number, text in enumerate(texts)
    )
    return TrainingRun(
        path=path,
        space=space,
        data=config.inside("data").text("name"),
        data_text=summary.text("data") if summary is not None else "",
        network=summary.text("network") if summary is not None else "",
        metric=summary.text("metric") if summary is not None else "",
        all_data=config.values.get("all_data") is True,
        epochs=config.inside("training").whole("epochs"),
        seeds=seeds,
        architectures=architectures,
        finished=summary is not None,
        config=config.values,
    )


def _costs(summary: Fields, architectures: int) -> tuple[tuple[float, float], ...]:
    """Weights and multiply-accumulates of every architecture, in millions."""
    entries = summary.values.get("architectures")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise summary.bad("architectures", "a list of objects")
    if len(entries) != architectures:
        raise summary.bad("architectures", f"a list of {architectures}, as config.yaml has them")
    fields = [Fields(summary.file, entry, f"architectures.{n}.") for n, entry in enumerate(entries)]
    return tuple((entry.measured("params"), entry.measured("flops")) for entry in fields)


def _trained(folder: Path, seed: int) -> Trained:
    result = read_json(folder / "result.json")
    return Trained(
        seed=seed,
        curves=_curves(folder / "epochs.jsonl"),
        finished=result is not None,
        failed=result is not None and result.values.get("failed") is True,
        test_accuracy=NOWHERE if result is None else result.measured("test_accuracy"),
        valid_accuracy=NOWHERE if result is None else result.measured("valid_accuracy"),
        seconds=NOWHERE if result is None else result.measured("seconds"),
    )


def _curves(file: Path) -> Mapping[str, FloatArray]:
    rows = [[fields.measured(name) for name in CURVES] for fields in read_epochs(file)]
    columns = np.array(rows, dtype=np.float64).reshape(-1, len(CURVES))
    return {name: columns[:, place] for place, name in enumerate(CURVES)}
