"""``pareto.csv``: the set of architectures that one search gives, a member a line, read and written.

Importing this module imports neither torch nor numpy.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crlso.errors import RunError
from crlso.runs.files import disk_errors, write_aside
from crlso.spaces.texts import shown

FILE_NAME: Final = "pareto.csv"
COLUMNS: Final = (
    "member",
    "architecture",
    "step",
    "operators",
    "params",
    "flops",
    "shared_valid_accuracy",
    "valid_accuracy",
    "non_dominated",
)
_TRUTHS: Final = {"true": True, "false": False}
_MOST_BYTES: Final = 100_000_000


@dataclass(frozen=True)
class Member:
    """One architecture of a set; its number is its place there, from 0.

    Attributes:
        architecture: Its text, as the space writes it.
        step: Steps of the search after which it was taken from the supernet.
        operators: Number of its operators.
        params: Its weights, in millions.
        flops: Its multiply-accumulate operations for one image, in millions.
        shared_valid_accuracy: In %, on the validation part, of the supernet that had shrunk to it, with the
            shared weights of that moment; NaN: not measured.
        valid_accuracy: The verified one, in %, on the same images; NaN: not measured.
        non_dominated: Whether no other member has at least its verified accuracy with at most its weights and
            at most its multiply-accumulates.
    """

    architecture: str
    step: int
    operators: int
    params: float
    flops: float
    shared_valid_accuracy: float
    valid_accuracy: float
    non_dominated: bool = False


def write_members(path: Path, members: Sequence[Member]) -> None:
    """Writes a set, aside and renamed; numbers so that they are read back exactly, nothing for NaN.

    Raises:
        RunError: The disk is full or read-only.
    """
    with write_aside(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, member in enumerate(members):
            writer.writerow(
                (
                    number,
                    member.architecture,
                    member.step,
                    member.operators,
                    *map(
                        _written,
                        (member.params, member.flops, member.shared_valid_accuracy, member.valid_accuracy),
                    ),
                    "true" if member.non_dominated else "false",
                )
            )


def read_members(path: Path) -> tuple[Member, ...]:
    """The set in a file; architectures are texts of a space that the file does not name.

    Raises:
        RunError: No such file, no member in it, or a damaged one; the message has the line.
    """
    with disk_errors(path):
        try:
            size = path.stat().st_size
            if size > _MOST_BYTES:
                raise RunError(f"{path} has {size:,} bytes; a set has {_MOST_BYTES:,} at most")
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise RunError(f"{path}: no such file") from error
        except UnicodeDecodeError as error:
            raise _damaged(path, "it is no text") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    members: list[Member] = []
    line = 1
    try:
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise _damaged(path, f"line 1 must be {','.join(COLUMNS)}")
        line = reader.line_num + 1
        for row in reader:
            members.append(_member(row, len(members)))
            line = reader.line_num + 1
    except (csv.Error, ValueError) as error:
        raise _damaged(path, f"line {line}: {error}") from error
    if not members:
        raise RunError(f"{path} holds no member")
    return tuple(members)


def _damaged(path: Path, what: str) -> RunError:
    return RunError(f"{path} is damaged: {what}; restore the file")


def _written(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _member(row: Sequence[str], number: int) -> Member:
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} columns, expected {len(COLUMNS)}")
    cells = dict(zip(COLUMNS, row, strict=True))
    if (found := _whole(cells, "member")) != number:
        raise ValueError(f"member {found}, expected {number}: members are numbered from 0")
    if not cells["architecture"] or "\n" in cells["architecture"]:
        raise ValueError("architecture must be a text of one line")
    if cells["non_dominated"] not in _TRUTHS:
        raise ValueError(f"non_dominated must be true or false, got {shown(cells['non_dominated'])}")
    return Member(
        architecture=cells["architecture"],
        step=_whole(cells, "step"),
        operators=_whole(cells, "operators"),
        params=_number(cells, "params", math.inf),
        flops=_number(cells, "flops", math.inf),
        shared_valid_accuracy=_accuracy(cells, "shared_valid_accuracy"),
        valid_accuracy=_accuracy(cells, "valid_accuracy"),
        non_dominated=_TRUTHS[cells["non_dominated"]],
    )


def _whole(cells: dict[str, str], name: str) -> int:
    text = cells[name]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{name} must be a whole number, got {shown(text)}")
    return int(text)


def _number(cells: dict[str, str], name: str, most: float) -> float:
    text = cells[name]
    wanted = "a number from 0 on" if most == math.inf else f"a number from 0 to {most:g}, or nothing"
    problem = f"{name} must be {wanted}, got {shown(text)}"
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(problem) from error
    if not (math.isfinite(value) and 0 <= value <= most):
        raise ValueError(problem)
    return value


def _accuracy(cells: dict[str, str], name: str) -> float:
    return _number(cells, name, 100.0) if cells[name] else math.nan
