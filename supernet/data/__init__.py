"""Image data sets: readers of official files, stratified splits. Imports no torch.

``supernet.data.resident`` (a part on a device) and ``supernet.data.augmentation`` do.
"""

from supernet.data.images import Images
from supernet.data.sources import SOURCES, find, load
from supernet.data.splits import Part, Splits, SplitSettings, split, without_validation

__all__ = [
    "SOURCES",
    "Images",
    "Part",
    "SplitSettings",
    "Splits",
    "find",
    "load",
    "split",
    "without_validation",
]
