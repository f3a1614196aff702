"""Values from outside inside one-line messages."""

from __future__ import annotations

_LONGEST = 160


def shown(value: object) -> str:
    """``repr`` of a value on one line, with the middle left out where it is long."""
    text = " ".join(repr(value).split("\n"))
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} ... {text[-half:]}"
