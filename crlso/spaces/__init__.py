"""What an architecture is: codes, text forms, neighbours, sameness, graphs. Imports no torch."""

from crlso.spaces import codes
from crlso.spaces.edge_cell import EdgeCellSpace
from crlso.spaces.registry import BUILT_IN, get_space, space_from_dict, space_to_dict
from crlso.spaces.roles import Roles

__all__ = [
    "BUILT_IN",
    "EdgeCellSpace",
    "Roles",
    "codes",
    "get_space",
    "space_from_dict",
    "space_to_dict",
]
