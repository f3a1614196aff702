"""The directory of one search of a supernet search: checkpoint, epochs, curves; resumed from any step."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from crlso.errors import RunError
from crlso.runs import events
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.runs.directory import CHECKPOINT_COST, write_arrays
from crlso.runs.files import disk_errors, write_aside
from supernet.search.loop import Search
from supernet.search.record import EpochRecord
from supernet.search.state import STATE_FORMAT, STATE_KEYS

CHECKPOINT: Final = "checkpoint.pt"
EPOCHS: Final = "epochs.jsonl"
ARCHITECTURE: Final = "architecture.npz"
SHRINKING: Final = "shrinking.npz"
CHECKPOINT_SECONDS: Final = 30.0
"""Least time between two checkpoints inside an epoch."""


@final
class SeedDirectory:
    """Where one search keeps what it must not lose.

    Args:
        path: Its folder; made where it does not exist.
        writes: Whether this process writes (the first one of several does).
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path = path
        self._writes = writes
        self._saved_at = time.perf_counter()
        self._save_cost = 0.1
        if writes:
            with disk_errors(path):
                path.mkdir(parents=True, exist_ok=True)

    def restore(self, search: Search) -> bool:
        """Brings a search to where it was left; ``False`` where there is nothing to go on from.

        Raises:
            RunError: A damaged checkpoint, or one of another supernet.
        """
        state = read_checkpoint(self.path / CHECKPOINT)
        if state is None:
            return False
        load_state(search, state, self.path / CHECKPOINT)
        return True

    def run(self, search: Search, *, stop_after: int | None = None) -> Iterator[EpochRecord | None]:
        """Runs a search to its end, or for so many steps; yields after every step: ``None`` or the record.

        The state is kept at the end of every epoch, and inside long ones from time to time. A state with a
        loss that is no finite number is never kept: the last good one stays.

        Raises:
            RunError: A loss was not a finite number; the message says where and what is kept.
        """
        done = 0
        while not search.finished:
            search.run_step()
            done += 1
            record = None
            try:
                if search.step == search.steps:
                    record = search.end_epoch()
                    self._keep(search)
                    self._write_epoch(search)
                elif self._is_time():
                    search.check_finite()
                    self._keep(search)
            except RunError as error:
                raise RunError(f"{error}; {self._kept()}") from error
            yield record
            if done == stop_after:
                return

    def _kept(self) -> str:
        file = self.path / CHECKPOINT
        return f"the last good state is kept in {file}" if file.exists() else "no state was kept before it"

    def _is_time(self) -> bool:
        waited = time.perf_counter() - self._saved_at
        return waited >= max(CHECKPOINT_SECONDS, CHECKPOINT_COST * self._save_cost)

    def _keep(self, search: Search) -> None:
        start = time.perf_counter()
        if self._writes:
            data = dump_state(search.state_dict())
            with write_aside(self.path / CHECKPOINT) as file:
                file.write(data)
        self._saved_at = time.perf_counter()
        self._save_cost = self._saved_at - start

    def _write_epoch(self, search: Search) -> None:
        """Files for readers; all of it is in the checkpoint too, so they are written whole."""
        if not self._writes:
            return
        kinds = search.family.kinds
        with write_aside(self.path / EPOCHS, "w") as file:
            file.writelines(json.dumps(record.to_dict()) + "\n" for record in search.records)
        write_arrays(self.path / ARCHITECTURE, {"shares": np.stack(search.history)})
        if search.shrinking is not None:
            write_arrays(self.path / SHRINKING, search.shrinking.trace)
        scalars = (
            (tag, record.epoch, value) for record in search.records for tag, value in record.scalars(kinds)
        )
        events.write_events(self.path / events.FILE_NAME, sorted(scalars))


def load_state(search: Search, state: Mapping[str, Any], path: Path) -> None:
    """Brings a search to a state that was read from ``path``.

    Raises:
        RunError: The state is of another search; the message names the file.
    """
    try:
        search.load_state_dict(state)
    except RunError as error:
        raise RunError(f"{path}: {error}") from error


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state in a checkpoint; ``None`` where there is no file.

    Raises:
        RunError: The file is damaged, holds more than plain data, arrays and tensors, or something else than
            the state of a search.
    """
    if not path.exists():
        return None
    try:
        with disk_errors(path), path.open("rb") as file:
            state = parse_state(file)
    except pickle.UnpicklingError as error:
        raise RunError(f"{path} is damaged; remove it to begin this search anew") from error
    whole = isinstance(state, dict) and (state.get("format") != STATE_FORMAT or state.keys() >= STATE_KEYS)
    if not whole:
        raise RunError(f"{path} holds no state of a search; remove it to begin this search anew")
    return state


def read_records(path: Path) -> tuple[EpochRecord, ...]:
    """The epochs of a search's directory; none where there are none.

    Raises:
        RunError: A damaged file.
    """
    file = path / EPOCHS
    if not file.exists():
        return ()
    try:
        with disk_errors(file):
            lines = file.read_text(encoding="utf-8").splitlines()
        return tuple(EpochRecord.from_dict(json.loads(line)) for line in lines)
    except (ValueError, TypeError) as error:
        raise RunError(f"{file} is damaged ({error})") from error
