"""Which architectures are to be trained: texts, files that hold them, what a search derived."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import SearchSpace
from crlso.runs.files import disk_errors

MOST_ARCHITECTURES: Final = 1000
_MOST_BYTES: Final = 10_000_000


def read_architectures(space: SearchSpace, words: Sequence[str]) -> tuple[str, ...]:
    """The space's texts of what the words say, in their order, each architecture once.

    Args:
        space: Whose architectures they are.
        words: Each an architecture's text, or the path of a file with one a line: a text, or JSON (a text, or
            an object with the key ``architecture``). A whole file of JSON does as well: such an object (the
            ``derived.json`` of a search), a text, or a list of them. Empty lines and those that begin with
            ``#`` are passed over.

    Raises:
        ArchitectureError: One that is none of the space.
        UserError: A file without architectures or with something else, or too many architectures.
    """
    found: dict[str, None] = {}
    for word in words:
        for text in _texts(space, word):
            found[text] = None
    if len(found) > MOST_ARCHITECTURES:
        raise UserError(f"{len(found):,} architectures; at most {MOST_ARCHITECTURES:,} are trained in a run")
    return tuple(found)


def _texts(space: SearchSpace, word: str) -> list[str]:
    try:
        return [space.format(space.parse(word))]
    except ArchitectureError as error:
        path = Path(word)
        there = False
        with suppress(OSError, ValueError):  # no name that a file could have
            there = path.is_file()
        if not there:
            raise ArchitectureError(f"{error}; nor is there a file of this name") from error
    return _file(space, path)


def _file(space: SearchSpace, path: Path) -> list[str]:
    with disk_errors(path):
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise UserError(f"{path} has {size:,} bytes; a file of architectures has {_MOST_BYTES:,} at most")
        raw = path.read_bytes()
    try:
        content = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text; write one architecture a line") from error
    whole = _json(content)
    if isinstance(whole, list):
        entries = [(f"entry {place}", entry) for place, entry in enumerate(whole, start=1)]
    elif whole is not None:
        entries = [("the file", whole)]
    else:
        lines = [(f"line {place}", line.strip()) for place, line in enumerate(content.splitlines(), start=1)]
        wanted = [(place, line) for place, line in lines if line and not line.startswith("#")]
        entries = [(place, line if (entry := _json(line)) is None else entry) for place, line in wanted]
    if not entries:
        raise UserError(f"{path} holds no architecture; write one a line")
    return [_entry(space, path, place, entry) for place, entry in entries]


def _json(text: str) -> Any:
    """What JSON says; ``None`` where it is none."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return None


def _entry(space: SearchSpace, path: Path, place: str, entry: Any) -> str:
    text = entry.get("architecture") if isinstance(entry, dict) else entry
    if not isinstance(text, str):
        raise UserError(
            f'{path}, {place}: no architecture; write its text, or an object {{"architecture": TEXT}}'
        )
    try:
        return space.format(space.parse(text))
    except ArchitectureError as error:
        raise ArchitectureError(f"{path}, {place}: {error}") from error
