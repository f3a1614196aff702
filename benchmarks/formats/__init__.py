"""Readers of the file formats of benchmarks: as streams, in little memory (pickles: ``crlso.formats``).

Importing this package imports neither torch nor pandas.
"""
