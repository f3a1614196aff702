"""Readers of foreign file formats: as streams, in little memory, never running what a file names.

Importing this package imports neither torch nor pandas.
"""
