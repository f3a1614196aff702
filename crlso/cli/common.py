"""What all commands share: errors as one line, machine-readable output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from crlso.errors import UserError
from crlso.runs.files import explain_os_error

USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130

_MOST_DIGITS = 18  # fits into 64 bits
_SHOWN = 40

ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there under this name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]


@contextmanager
def user_errors(on_interrupt: str = "interrupted") -> Iterator[None]:
    """Turns a user's mistakes and disk trouble into one line on stderr and status 2; Ctrl-C into status 130.

    Args:
        on_interrupt: What to say after Ctrl-C, for example how to go on.
    """
    try:
        yield
    except UserError as error:
        _fail(str(error), error)
    except OSError as error:
        explained = explain_os_error(error)
        if explained is None:
            raise
        _fail(str(explained), error)
    except KeyboardInterrupt as error:
        typer.echo(f"\n{on_interrupt}", err=True)
        raise typer.Exit(INTERRUPTED_STATUS) from error


def whole_number(text: str) -> int | None:
    """The number that plain digits stand for; ``None`` where they are none, or more than 18.

    Example:
        >>> whole_number("12"), whole_number("-1"), whole_number("9" * 5000)
        (12, None, None)
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        return None
    return int(text)


def quoted(text: str) -> str:
    """What a user wrote, shortened to fit into one line."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def key_values(items: Sequence[str]) -> dict[str, str]:
    """What ``--set KEY=VALUE`` said, repeated.

    Raises:
        UserError: One that is no KEY=VALUE, or a key twice.

    Example:
        >>> key_values(["epochs=3", "update.mixing=0.5"])
        {'epochs': '3', 'update.mixing': '0.5'}
    """
    settings: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise UserError(f"--set {quoted(item)}; write KEY=VALUE")
        if key in settings:
            raise UserError(f"--set {key} is given twice")
        settings[key] = value
    return settings


def print_json(data: Any) -> None:
    """Prints plain data as JSON on stdout; numbers that JSON does not know (NaN) are refused."""
    typer.echo(json.dumps(data, indent=2, allow_nan=False))


def say(text: str) -> None:
    """A line on stderr, above a progress bar if there is one."""
    # Not typer.echo: it writes past what the progress bar puts in the place of stderr, onto the bar itself.
    print(text, file=sys.stderr, flush=True)


def _fail(message: str, cause: BaseException) -> None:
    typer.echo("error: " + " ".join(message.split()), err=True)
    raise typer.Exit(USER_ERROR_STATUS) from cause
