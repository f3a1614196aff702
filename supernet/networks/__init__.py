"""Networks of the cells of a space: discrete ones, and the families that know their sizes and costs."""

from supernet.networks.cell import EdgeCell, edge_cells
from supernet.networks.classifier import Classifier
from supernet.networks.darts import DARTSNetwork, DARTSSizes
from supernet.networks.families import DARTSFamily, EdgeCellFamily, family_of
from supernet.networks.family import ImageTask, NetworkFamily
from supernet.networks.free import FreeNetwork
from supernet.networks.free_family import FreeTopologyFamily
from supernet.networks.operations import OPERATIONS
from supernet.networks.skeleton import CellNetwork, Skeleton, initialise

__all__ = [
    "OPERATIONS",
    "CellNetwork",
    "Classifier",
    "DARTSFamily",
    "DARTSNetwork",
    "DARTSSizes",
    "EdgeCell",
    "EdgeCellFamily",
    "FreeNetwork",
    "FreeTopologyFamily",
    "ImageTask",
    "NetworkFamily",
    "Skeleton",
    "edge_cells",
    "family_of",
    "initialise",
]
