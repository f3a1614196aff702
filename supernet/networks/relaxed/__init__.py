"""Relaxed networks: every edge mixes all operations, all architectures share the weights."""

from supernet.networks.relaxed.darts_network import (
    DARTS_EDGES,
    DARTS_OPERATIONS,
    DARTSFast,
    DARTSReference,
    DARTSSupernet,
)
from supernet.networks.relaxed.edge_network import EdgeCellFast, EdgeCellReference, EdgeCellSupernet
from supernet.networks.relaxed.free_network import FreeFast, FreeReference, FreeSupernet, inherit_free
from supernet.networks.relaxed.inherit import inherit_darts, inherit_edge_cells
from supernet.networks.relaxed.initial import initialise_supernet
from supernet.networks.relaxed.layout import FastSupernet, Layout, divide, merge

__all__ = [
    "DARTS_EDGES",
    "DARTS_OPERATIONS",
    "DARTSFast",
    "DARTSReference",
    "DARTSSupernet",
    "EdgeCellFast",
    "EdgeCellReference",
    "EdgeCellSupernet",
    "FastSupernet",
    "FreeFast",
    "FreeReference",
    "FreeSupernet",
    "Layout",
    "divide",
    "inherit_darts",
    "inherit_edge_cells",
    "inherit_free",
    "initialise_supernet",
    "merge",
]
