"""Progress of reading one large file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.formats.files import Progress
from crlso.runs.progress import progress_bar


@contextmanager
def byte_progress(title: str, path: Path, *, enabled: bool) -> Iterator[Progress]:
    """A progress bar in megabytes; yields what has to hear how many bytes were read."""
    with progress_bar(title, path.stat().st_size >> 20, enabled=enabled) as advance:
        read = 0

        def on_bytes(count: int) -> None:
            nonlocal read
            read += count
            advance(read >> 20, "MB")

        yield on_bytes
