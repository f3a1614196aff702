"""Evaluators by what the command line says: tables by name or path, supernets by their directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from crlso.protocols import Evaluator

SHARED: Final = "shared:"
"""What a trained supernet begins with: ``shared:DIR``, a directory of `crlso supernet search`."""


def load_evaluator(text: str) -> Evaluator:
    """The evaluator that ``--bench`` names.

    Raises:
        UserError: There is no such table or supernet, or it can not be read.
    """
    if text.startswith(SHARED):
        from supernet.evaluators import SharedWeights

        return SharedWeights.load(text.removeprefix(SHARED))
    import benchmarks

    return benchmarks.load(text)
