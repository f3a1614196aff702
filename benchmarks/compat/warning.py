"""Where the official API answers with something other than what was asked for."""

from __future__ import annotations

import warnings


class MisleadingAnswerWarning(UserWarning):
    """The view answers as the official API does, and this says what the number really is."""


def warn_misleading(message: str) -> None:
    """Warn at the line of the user's script that asked (two levels above the view's own method)."""
    warnings.warn(message, MisleadingAnswerWarning, stacklevel=4)
