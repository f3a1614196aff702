"""Searches with a supernet: the loop, its state, its records."""

from supernet.search.loop import Search
from supernet.search.record import EpochRecord

__all__ = ["EpochRecord", "Search"]
