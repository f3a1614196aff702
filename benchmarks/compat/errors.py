"""What the views raise where they have no answer."""

from __future__ import annotations

from typing import final

from crlso.errors import TableError


@final
class NoAnswerError(TableError, KeyError):
    """There is no such architecture, training, split, epoch or seed.

    The official packages raise a ``ValueError`` at some of these places and a ``KeyError`` at others, and not
    the same ones in both. This is both, so that whatever an old script catches, it still catches.
    """

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError's own text would stand in quotes
