"""TensorBoard event files: the run's best value and the method's training curves.

The file is written whole, aside and renamed, from what the run directory already holds; it can neither be
torn nor harm a run.
"""

# Importing tensorboard takes a third of a second: only where files are written.

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from crlso.runs.files import write_aside

FILE_NAME = "events.out.tfevents.crlso"
"""TensorBoard takes every file whose name holds ``tfevents``."""


def write_events(path: Path, scalars: Iterable[tuple[str, int, float]]) -> None:
    """Writes scalars as a TensorBoard event file.

    Args:
        path: The file; its name holds ``tfevents``.
        scalars: Tag, step and value, steps ascending within a tag.

    Raises:
        RunError: The disk is full or read-only.
    """
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
    from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

    now = time.time()
    with write_aside(path) as file:
        records = RecordWriter(file)
        records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        for tag, step, value in scalars:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            records.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())


def run_scalars(
    metric: str,
    curve: Iterable[float | None],
    diagnostics: Mapping[str, NDArray[Any]],
    hypervolume: Iterable[float] = (),
) -> Iterator[tuple[str, int, float]]:
    """The scalars of a run.

    ``best/METRIC`` and, of several objectives, ``hypervolume`` per evaluation, ``training/NAME`` per point of
    ``curve/NAME``.
    """
    for step, value in enumerate(curve, start=1):
        if value is not None:
            yield f"best/{metric}", step, value
    for step, volume in enumerate(hypervolume, start=1):
        yield "hypervolume", step, volume
    for name, values in diagnostics.items():
        if not name.startswith("curve/"):
            continue
        steps = diagnostics.get(name.replace("curve/", "curve_x/", 1), range(1, len(values) + 1))
        for step, value in zip(steps, values, strict=True):
            if math.isfinite(value):
                yield f"training/{name.removeprefix('curve/')}", int(step), float(value)
