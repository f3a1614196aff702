"""What an importer of an official format is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """What is to be imported, and where to.

    Attributes:
        path: The official file or folder.
        target: The table file to write; it appears whole or not at all.
        name: Name of the table.
        progress: Whether to show a progress bar (on a terminal only).
    """

    path: Path
    target: Path
    name: str
    progress: bool = False


@dataclass(frozen=True)
class Format:
    """One official format.

    Attributes:
        name: What ``--format`` takes.
        table: Name of the table where none is stated.
        what: One line: which files of which benchmark.
        recognises: Whether a path looks like this format, by names and first bytes alone.
        convert: Reads all of it and writes the table.
    """

    name: str
    table: Callable[[Path], str]
    what: str
    recognises: Callable[[Path], bool]
    convert: Callable[[Source], None]
