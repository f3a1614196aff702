"""Ask/tell search methods, by name. Importing this package does not import torch."""

from crlso.search.registry import METHODS, MethodEntry, make_method, make_settings, parse_method

__all__ = ["METHODS", "MethodEntry", "make_method", "make_settings", "parse_method"]
