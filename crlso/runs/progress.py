"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, str], None]
"""Called with the number of steps done so far and a short note (the best value, say)."""


@contextmanager
def progress_bar(title: str, total: int, *, enabled: bool = True) -> Iterator[Advance]:
    """Shows how far a long work is, on stderr, if that is a terminal.

    Args:
        title: What is being done.
        total: Number of steps.
        enabled: ``False``: show nothing.

    Yields:
        A function to call after each step.
    """
    if not (enabled and sys.stderr.isatty()):
        yield lambda done, note: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, note="")
        yield lambda done, note: progress.update(task, completed=done, note=note)
