"""Errors that a user can mend: one clear line each, exit status 2 on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that came from outside is wrong. The message says what came, what is allowed, what to do."""


class ArchitectureError(UserError, ValueError):
    """A text or a code does not describe an architecture of the space."""


class UnknownNameError(UserError, LookupError):
    """A name (metric, method, benchmark, space, setting) that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(names) or '(none)'}{hint}")


class TableError(UserError, ValueError):
    """A benchmark table, or a file that should become one, is not usable as it is."""


class RunError(UserError):
    """A run directory can not be used as asked: other settings, locked, not writable."""
