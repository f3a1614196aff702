"""Image data sets: readers of official files, stratified splits. Imports no torch."""

from supernet.data.images import Images
from supernet.data.sources import SOURCES, load
from supernet.data.splits import Part, Splits, SplitSettings, split

__all__ = ["SOURCES", "Images", "Part", "SplitSettings", "Splits", "load", "split"]
