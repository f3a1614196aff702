"""One module for each official file format: each reads its files as data and writes one table of ours."""

from benchmarks.importers.format import Format, Source
from benchmarks.importers.registry import FORMATS, import_official, recognise

__all__ = ["FORMATS", "Format", "Source", "import_official", "recognise"]
