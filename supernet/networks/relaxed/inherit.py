"""Discrete networks with the weights of a supernet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numpy.typing import ArrayLike
from torch import nn

from crlso.spaces.genotype import INPUTS, cells_from_code
from supernet.networks.cell import checked_code
from supernet.networks.darts import DARTSNetwork
from supernet.networks.normalisation import shared
from supernet.networks.relaxed.darts_network import DARTS_EDGES, DARTS_OPERATIONS, DARTSSupernet
from supernet.networks.relaxed.edge_network import EdgeCellSupernet
from supernet.networks.relaxed.layout import FastSupernet, divide
from supernet.networks.skeleton import CellNetwork
from supernet.networks.supernet import Supernet

Network = TypeVar("Network", bound=nn.Module)


def inherit_darts(supernet: DARTSSupernet, code: ArrayLike) -> DARTSNetwork:
    """The discrete network of a genotype, with copies of the supernet's weights and its normalisations.

    It equals the supernet whose shares are 1 for the genotype's operations and 0 for all others.

    Raises:
        ArchitectureError: The code is none of the space.
    """
    style = shared(pools=True, statistics=supernet.statistics)
    network = DARTSNetwork(
        code, supernet.sizes, inputs=supernet.inputs, classes=supernet.classes, style=style
    )
    pairs = cells_from_code(code)
    kinds = [place.cell for place in supernet.sizes.places((1, 1))]

    def source(name: str) -> str:
        top, _, rest = name.partition(".")
        if top != "cells":
            return name
        cell, part, rest = rest.split(".", 2)
        if part != "operations":
            return name
        index, module = rest.split(".", 1)
        operation, state = pairs[kinds[int(cell)]][int(index)]
        edge = DARTS_EDGES.index((state, INPUTS + int(index) // 2))
        return f"cells.{cell}.edges.{edge}.operations.{DARTS_OPERATIONS.index(operation)}.{module}"

    return _filled(network, supernet, source)


def inherit_edge_cells(supernet: EdgeCellSupernet, code: ArrayLike) -> CellNetwork:
    """The same for a space with an operation on every edge.

    Raises:
        ArchitectureError: The code is none of the space.
    """
    choices = checked_code(supernet.space, code)
    style = shared(pools=False, statistics=supernet.statistics)
    network = CellNetwork(
        supernet.space,
        code,
        supernet.skeleton,
        inputs=supernet.inputs,
        classes=supernet.classes,
        style=style,
    )

    def source(name: str) -> str:
        parts = name.split(".", 4)
        if parts[0] != "body" or parts[2] != "edges":
            return name
        body, place, edges, edge, module = parts
        return f"{body}.{place}.{edges}.{edge}.operations.{choices[int(edge)]}.{module}"

    return _filled(network, supernet, source)


def _filled(network: Network, supernet: Supernet, source: Callable[[str], str]) -> Network:
    """The network with the reference path's weights of the names that ``source`` gives."""
    weights = supernet.state_dict()
    if isinstance(supernet, FastSupernet):
        weights = divide(supernet.layout(), weights)
    network.to(next(supernet.parameters()))
    network.load_state_dict({name: weights[source(name)] for name in network.state_dict()})
    return network
