"""Ask/tell search methods, by name. Importing this package does not import torch."""

from crlso.search.registry import (
    METHODS,
    WARM_LIST,
    MethodEntry,
    make_method,
    make_settings,
    parse_method,
    takes_warm_start,
)

__all__ = [
    "METHODS",
    "WARM_LIST",
    "MethodEntry",
    "make_method",
    "make_settings",
    "parse_method",
    "takes_warm_start",
]
