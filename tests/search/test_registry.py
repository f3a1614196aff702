"""Conversion of settings from text, over all kinds of field."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from crlso.errors import UserError
from crlso.settings import convert_value


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("3", int, 3),
        (3, int, 3),
        ("1e-3", float, 1e-3),
        (2, float, 2.0),
        ("off", bool, False),
        ("True", bool, True),
        (True, bool, True),
        ("a", str, "a"),
        ("raw", Literal["rank", "raw"], "raw"),
        ("none", int | None, None),
        (None, float | None, None),
        ("4", int | None, 4),
        ("1,2", tuple[int, ...], (1, 2)),
        ([1.0, 2], tuple[float, ...], (1.0, 2.0)),
        ("", tuple[int, ...], ()),
    ],
)
def test_converts(value: Any, kind: Any, expected: Any) -> None:
    converted = convert_value("method: key", value, kind)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("x", int, "method: key=x; it must be a whole number"),
        ("3.0", int, "whole number"),
        (1, bool, "on or off"),
        ("maybe", bool, "on or off"),
        (True, float, "a number"),
        ("nan", float, "a finite number"),
        ("-inf", float, "a finite number"),
        (3, str, "a text"),
        ("mean", Literal["rank", "raw"], "choose one of rank, raw"),
        ("x", float | None, "a number"),
        ("1,x", tuple[int, ...], "whole number"),
        (3, tuple[int, ...], "a list"),
    ],
)
def test_refuses(value: Any, kind: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        convert_value("method: key", value, kind)
