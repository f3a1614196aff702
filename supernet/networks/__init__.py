"""Discrete networks: the cells of a space inside NAS-Bench-201's skeleton."""

from supernet.networks.cell import EdgeCell, edge_cells
from supernet.networks.operations import OPERATIONS
from supernet.networks.skeleton import CellNetwork, Skeleton, initialise

__all__ = ["OPERATIONS", "CellNetwork", "EdgeCell", "Skeleton", "edge_cells", "initialise"]
