"""What an architecture is: codes, text forms, neighbours, sameness, graphs. Imports no torch."""

from crlso.spaces import codes
from crlso.spaces.chain import ChoiceChain
from crlso.spaces.darts import DARTSSpace
from crlso.spaces.edge_cell import EdgeCellSpace
from crlso.spaces.fxdarts import FreeTopologySpace
from crlso.spaces.nas_bench_graph import NASBenchGraphSpace
from crlso.spaces.nasbench101 import NASBench101Space
from crlso.spaces.registry import BUILT_IN, get_space, space_from_dict, space_to_dict
from crlso.spaces.roles import Roles
from crlso.spaces.subset import Subset

__all__ = [
    "BUILT_IN",
    "ChoiceChain",
    "DARTSSpace",
    "EdgeCellSpace",
    "FreeTopologySpace",
    "NASBench101Space",
    "NASBenchGraphSpace",
    "Roles",
    "Subset",
    "codes",
    "get_space",
    "space_from_dict",
    "space_to_dict",
]
