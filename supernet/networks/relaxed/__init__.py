"""Relaxed networks: every edge mixes all operations, all architectures share the weights."""

from supernet.networks.relaxed.darts_network import (
    DARTS_EDGES,
    DARTS_OPERATIONS,
    DARTSReference,
    DARTSSupernet,
)
from supernet.networks.relaxed.edge_network import EdgeCellReference, EdgeCellSupernet
from supernet.networks.relaxed.initial import initialise_supernet

__all__ = [
    "DARTS_EDGES",
    "DARTS_OPERATIONS",
    "DARTSReference",
    "DARTSSupernet",
    "EdgeCellReference",
    "EdgeCellSupernet",
    "initialise_supernet",
]
