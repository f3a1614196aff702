"""One module for each official file format: each reads its files as data and writes one table of ours."""

from benchmarks.importers.registry import Format, Source, formats, import_official, recognise

__all__ = ["Format", "Source", "formats", "import_official", "recognise"]
