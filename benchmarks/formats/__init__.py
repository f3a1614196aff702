"""Readers of foreign file formats: as streams, in little memory, and never running anything that a file names.

Importing this package imports neither torch nor pandas.
"""
