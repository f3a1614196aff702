"""The run loop: budget, log, resume, comparison over seeds. Importing this package does not import torch."""

from crlso.runs.compare import CompareResult, compare
from crlso.runs.loop import search
from crlso.runs.result import Best, SearchResult
from crlso.runs.trials import Trial

__all__ = ["Best", "CompareResult", "SearchResult", "Trial", "compare", "search"]
