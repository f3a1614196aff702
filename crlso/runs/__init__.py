"""The run loop: budget, log, resume, comparison over seeds.

Names are imported when they are first used: :mod:`crlso.runs.files` alone, say, is light.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crlso.runs.comparison import CompareResult, compare
    from crlso.runs.loop import search
    from crlso.runs.result import Best, SearchResult
    from crlso.runs.trials import Trial

__all__ = ["Best", "CompareResult", "SearchResult", "Trial", "compare", "search"]

_HOMES = MappingProxyType(
    {
        "Best": "crlso.runs.result",
        "CompareResult": "crlso.runs.comparison",
        "SearchResult": "crlso.runs.result",
        "Trial": "crlso.runs.trials",
        "compare": "crlso.runs.comparison",
        "search": "crlso.runs.loop",
    }
)


def __getattr__(name: str) -> Any:
    """A public name, imported from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
