"""How far trainings are, read from their files: they may run in other processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, final

from crlso.runs.progress import Advance, progress_bar
from supernet.train.directory import EPOCHS

EVERY_SECONDS: Final = 0.3


@final
class Watch:
    """Says a line for every epoch that is done since it was made, and moves a progress bar.

    Args:
        folders: Folder of each training, by what it is called in a line.
        epochs: Of a training.
        say: Told the lines.
        advance: Told how many epochs are done in all, over all trainings.
        before: Epochs of trainings that are not watched.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        epochs: int,
        *,
        say: Callable[[str], None],
        advance: Advance,
        before: int,
    ) -> None:
        self._folders = folders
        self._epochs = epochs
        self._say = say
        self._advance = advance
        self._before = before
        self._stamps: dict[str, int] = {}
        self._seen = {name: len(self._rows(name) or ()) for name in folders}

    def look(self) -> None:
        """Says what is new."""
        for name in self._folders:
            rows = self._rows(name)
            for row in (rows or ())[self._seen[name] :]:
                self._say(f"{name}, epoch {row['epoch']}/{self._epochs}: {_measured(row)}")
            if rows is not None:
                self._seen[name] = len(rows)
        self._advance(self._before + sum(self._seen.values()), "")

    def _rows(self, name: str) -> list[dict[str, Any]] | None:
        """The epochs of a training; ``None`` where nothing has changed. The files are renamed into place."""
        file = self._folders[name] / EPOCHS
        with suppress(OSError, ValueError):
            stamp = file.stat().st_mtime_ns
            if self._stamps.get(name) != stamp:
                rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
                self._stamps[name] = stamp
                return rows
        return None


@contextmanager
def watching(
    folders: Mapping[str, Path], epochs: int, *, done: int, say: Callable[[str], None], progress: bool
) -> Iterator[None]:
    """Reports on trainings while the block works on them, and on what is left to tell at its end.

    Args:
        folders: Folder of each training that is worked on, by what it is called.
        epochs: Of a training.
        done: Trainings of the same work that were done before.
        say: Told a line for every epoch.
        progress: Whether to show a bar.
    """
    total = (done + len(folders)) * epochs
    with progress_bar("trainings", total, enabled=progress) as advance:
        watch = Watch(folders, epochs, say=say, advance=advance, before=done * epochs)
        over = threading.Event()

        def keep_looking() -> None:
            while not over.wait(EVERY_SECONDS):
                watch.look()

        thread = threading.Thread(target=keep_looking, name="epochs watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            watch.look()


def _measured(row: Mapping[str, Any]) -> str:
    text = f"train loss {row['train_loss']:.3f}, train accuracy {row['train_accuracy']:.2f} %"
    if row["valid_loss"] is not None:
        text += f", valid loss {row['valid_loss']:.3f}, valid accuracy {row['valid_accuracy']:.2f} %"
    return text
