"""Benchmark tables as evaluators: the embedded NAS-Bench-201 table and any table that a user imports.

Importing this package imports neither torch nor pandas.
"""

from benchmarks.catalog import available, load, load_table
from benchmarks.surrogate.evaluator import SurrogateEvaluator
from benchmarks.table import TableEvaluator

__all__ = ["SurrogateEvaluator", "TableEvaluator", "available", "load", "load_table"]
