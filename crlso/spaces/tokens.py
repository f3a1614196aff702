"""Reading of texts that look like Python literals, token by token; nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn, final

from crlso.errors import ArchitectureError
from crlso.spaces.texts import shown

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+|'[^'\n]*'|\"[^\"\n]*\"")
_CLOSING = {"[": "]", "(": ")"}


@final
class Tokens:
    """The names, numbers, quoted names and marks of a text, one at a time, with the position for messages.

    Everything here raises :class:`~crlso.errors.ArchitectureError` with one line: the position of the token
    (from 0), what is expected and what came.

    Args:
        text: The text.
        space: The space that it is of, for the message where it is no text.
        what: What messages begin with.
    """

    def __init__(self, text: str, space: str, what: str = "") -> None:
        if not isinstance(text, str):
            raise ArchitectureError(
                f"{what}an architecture of {space!r} is a text, got {type(text).__name__}"
            )
        self._text, self._what = text, what
        self._at = self._next = 0
        self._token = ""
        self._advance()

    @property
    def at(self) -> int:
        """Position of the present token."""
        return self._at

    def sees(self, token: str) -> bool:
        """Whether this is the present token; it stays."""
        return self._token == token

    def skips(self, token: str) -> bool:
        """Whether this is the present token; it is passed if so."""
        found = self._token == token
        if found:
            self._advance()
        return found

    def expect(self, token: str, where: str) -> None:
        """Passes a token that has to stand here."""
        if not self.skips(token):
            self.fail(f"expected {token!r} {where}, got {self._here()}")

    def one_of(self, allowed: Sequence[str], what: str) -> str:
        """Passes one of several names."""
        token = self._token
        if token not in allowed:
            self.fail(f"expected {what}, one of {', '.join(allowed)}, got {self._here()}")
        self._advance()
        return token

    def quoted(self, allowed: Sequence[str]) -> str:
        """Passes one of several names in quotes."""
        name = self._token[1:-1]
        if self._token[:1] not in ("'", '"') or name not in allowed:
            self.fail(f"expected one of {', '.join(allowed)} in quotes, got {self._here()}")
        self._advance()
        return name

    def number(self, largest: int, what: str) -> int:
        """Passes a number from 0 to the largest one."""
        if self._token not in map(str, range(largest + 1)):
            self.fail(f"expected {what}, 0 to {largest}, got {self._here()}")
        value = int(self._token)
        self._advance()
        return value

    def opening(self, where: str) -> str:
        """Passes an opening bracket, and is the one that closes."""
        token = self._token
        if token not in _CLOSING:
            self.fail(f"expected '[' or '(' {where}, got {self._here()}")
        self._advance()
        return _CLOSING[token]

    def end(self) -> None:
        """Nothing may follow."""
        if self._token:
            self.fail(f"expected the end of the text, got {self._here()}")

    def fail(self, reason: str, at: int | None = None) -> NoReturn:
        """Refuses the text, at the present token if no position is given."""
        where = self._at if at is None else at
        raise ArchitectureError(f"{self._what}character {where} of {shown(self._text)}: {reason}")

    def _advance(self) -> None:
        at = self._next
        while at < len(self._text) and self._text[at].isspace():
            at += 1
        found = _TOKEN.match(self._text, at)
        self._at, self._token = at, found[0] if found else self._text[at : at + 1]
        self._next = at + len(self._token)

    def _here(self) -> str:
        return shown(self._token) if self._token else "the end of the text"
