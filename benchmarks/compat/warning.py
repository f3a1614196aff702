"""Where the official API answers with something other than what was asked for."""

from __future__ import annotations

import inspect
import warnings


class MisleadingAnswerWarning(UserWarning):
    """The view answers as the official API does, and this says what the number really is."""


def warn_misleading(message: str) -> None:
    """Warn at the line of the user's script that asked: the innermost one outside of the views."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("benchmarks.compat"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, MisleadingAnswerWarning, stacklevel=level)
