"""Settings dataclasses from names and values, which may come as text from a command line or a file."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, Union

from crlso.errors import UnknownNameError, UserError

S = TypeVar("S")

LARGEST_SEED: Final = 2**63 - 1
"""What torch takes."""


def check_seed(seed: int) -> None:
    """Refuses what not every generator of random numbers takes.

    Raises:
        UserError: It is below 0 or above :data:`LARGEST_SEED`.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed {seed}; it must be 0 or more, and below 2^63")


def fill_settings(kind: type[S], name: str, values: Mapping[str, Any]) -> S:
    """An instance of a settings dataclass; fields that are not named keep their defaults.

    Args:
        kind: A dataclass whose fields have types that :func:`convert_value` knows.
        name: What the settings belong to, for messages.
        values: By field name; texts are converted to the fields' types.

    Raises:
        UnknownNameError: No such field.
        UserError: A value of the wrong type, or one that the dataclass refuses.
    """
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    converted = {}
    for key, value in values.items():
        if key not in known:
            raise UnknownNameError(f"setting of {name}", key, known)
        converted[key] = convert_value(f"{name}: {key}", value, hints[key])
    return kind(**converted)


_BOOLEANS: Final = {
    "true": True,
    "on": True,
    "yes": True,
    "1": True,
    "false": False,
    "off": False,
    "no": False,
    "0": False,
}


def convert_value(label: str, value: Any, kind: Any) -> Any:
    """A value, if need be read from text, as the type of a settings field.

    Args:
        label: Names the setting in messages.
        value: Text, number, truth value, list or ``None``.
        kind: The field's type: ``int``, ``float``, ``bool``, ``str``, ``Literal[...]``, ``tuple[T, ...]`` or
            ``T | None``.

    Raises:
        UserError: The value is of another type, or not finite.
    """
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _convert_optional(label, value, options)
    if origin is Literal:
        if value in options:
            return value
        raise UserError(f"{label}={value}; choose one of {', '.join(map(str, options))}")
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) and value else value or ()
        if not isinstance(parts, list | tuple):
            raise UserError(f"{label}={value}; it must be a list")
        return tuple(convert_value(label, part, options[0]) for part in parts)
    if kind is bool and isinstance(value, str):
        value = _BOOLEANS.get(value.lower(), value)
    elif kind in (int, float) and isinstance(value, str):
        value = _number(value, kind)
    elif kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    # bool is an int to Python, not to the reader of a settings file.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = {int: "a whole number", float: "a number", bool: "on or off", str: "a text"}.get(
            kind, str(kind)
        )
        raise UserError(f"{label}={value}; it must be {wanted}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{label}={value}; it must be a finite number")
    return value


def _convert_optional(label: str, value: Any, options: tuple[Any, ...]) -> Any:
    if value is None or (isinstance(value, str) and value.lower() == "none"):
        return None
    (inner,) = (option for option in options if option is not types.NoneType)
    return convert_value(label, value, inner)


def _number(text: str, kind: type[int] | type[float]) -> int | float | str:
    try:
        return kind(text)
    except ValueError:
        return text
