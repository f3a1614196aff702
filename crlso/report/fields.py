"""Checked reading of JSON and YAML files: what is wrong comes out as one line that names the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import yaml

from crlso.errors import RunError
from crlso.protocols import FloatArray

NOWHERE = float("nan")
"""For a number that is not known."""
RESTORE = "restore the file"
REMEDY = "run the same command again to have it rewritten"


@final
class Fields:
    """The entries of one file, each read with its type.

    Args:
        file: The file, for messages.
        values: What it holds.
        prefix: Where in the file ``values`` stand, for messages.
        remedy: What to do about a wrong entry, for messages.
    """

    def __init__(self, file: Path, values: Mapping[str, Any], prefix: str = "", remedy: str = REMEDY) -> None:
        self.file = file
        self.values = values
        self._prefix = prefix
        self._remedy = remedy

    def bad(self, key: str, wanted: str) -> RunError:
        """The error for an entry that is not what it should be."""
        found = "is missing" if key not in self.values else f"should be {wanted}"
        return RunError(f"{self.file}: {self._prefix + key!r} {found}; {self._remedy}")

    def text(self, key: str) -> str:
        """A text."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.bad(key, "a text")
        return value

    def optional_text(self, key: str) -> str | None:
        """A text, or None where it is missing or null."""
        return None if self.values.get(key) is None else self.text(key)

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.bad(key, "a whole number")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, at least one."""
        values = self.values.get(key)
        if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
            raise self.bad(key, "a list of texts")
        return tuple(values)

    def wholes(self, key: str) -> list[int]:
        """A list of whole numbers."""
        values = self.values.get(key)
        if not isinstance(values, list) or not all(type(value) is int for value in values):
            raise self.bad(key, "a list of whole numbers")
        return values

    def number(self, key: str) -> float | None:
        """A number, or None where it is missing or null."""
        value = self.values.get(key)
        if not _is_number_or_null(value):
            raise self.bad(key, "a number or null")
        return None if value is None else float(value)

    def measured(self, key: str) -> float:
        """A number, or NaN where it is missing or null."""
        value = self.number(key)
        return NOWHERE if value is None else value

    def numbers(self, key: str) -> FloatArray:
        """A list of numbers; NaN for null."""
        values = self.values.get(key)
        if not isinstance(values, list) or not all(_is_number_or_null(value) for value in values):
            raise self.bad(key, "a list of numbers")
        return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)

    def items(self, key: str, length: int) -> list[Any]:
        """A list of so many entries."""
        values = self.values.get(key)
        if not isinstance(values, list) or len(values) != length:
            raise self.bad(key, f"a list of {length}, one per seed")
        return values

    def inside(self, key: str) -> Fields:
        """An object; an empty one where it is missing or null."""
        value = {} if self.values.get(key) is None else self.values[key]
        if not isinstance(value, Mapping):
            raise self.bad(key, "an object")
        return Fields(self.file, value, f"{self._prefix}{key}.", self._remedy)


def read_json(file: Path) -> Fields | None:
    """The object in a JSON file; None where there is no file.

    Raises:
        RunError: The file holds no JSON object, or can not be read.
    """
    if not file.is_file():
        return None
    try:
        values = json.loads(_read_text(file))
    except ValueError as error:
        raise RunError(f"{file}: not JSON ({first_line(error)}); {REMEDY}") from error
    if not isinstance(values, dict):
        raise RunError(f"{file}: holds no JSON object; {REMEDY}")
    return Fields(file, values)


def read_yaml(file: Path) -> Mapping[str, Any]:
    """The mapping in a YAML file; empty where there is no file.

    Raises:
        RunError: The file holds no mapping, or can not be read.
    """
    if not file.is_file():
        return {}
    try:
        values = yaml.safe_load(_read_text(file))
    except yaml.YAMLError as error:
        raise RunError(f"{file}: not YAML ({first_line(error)}); {RESTORE}") from error
    if not isinstance(values, dict):
        raise RunError(f"{file}: holds no settings; {RESTORE}")
    return values


def read_epochs(file: Path) -> Iterator[Fields]:
    """The epochs in a file with a JSON object a line, numbered from 1; none where there is no file.

    Raises:
        RunError: A line holds no JSON object, or is not the next epoch, or the file can not be read.
    """
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        try:
            values = json.loads(line)
        except ValueError as error:
            raise RunError(f"{file}: line {number} is no JSON ({first_line(error)}); {RESTORE}") from error
        if not isinstance(values, dict):
            raise RunError(f"{file}: line {number} holds no JSON object; {RESTORE}")
        fields = Fields(file, values, f"line {number}: ", RESTORE)
        if (epoch := fields.whole("epoch")) != number:
            raise RunError(f"{file}: line {number} is of epoch {epoch}, expected {number}; {RESTORE}")
        yield fields


def read_text(file: Path) -> str:
    """The text in a file; empty where there is no file.

    Raises:
        RunError: It can not be read.
    """
    return _read_text(file) if file.is_file() else ""


def first_line(error: BaseException) -> str:
    """The first line of an exception's text."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{file}: can not be read ({first_line(error)})") from error


def _is_number_or_null(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
