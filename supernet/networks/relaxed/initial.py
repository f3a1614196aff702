"""Initial weights of supernets."""

from __future__ import annotations

import torch

from supernet.networks.relaxed.affine import AffineBatchStatistics
from supernet.networks.skeleton import initialise
from supernet.networks.supernet import Supernet


def initialise_supernet(supernet: Supernet, generator: torch.Generator) -> None:
    """Draws all weights anew, as :func:`supernet.networks.initialise` does.

    Args:
        supernet: Changed in place; must lie on the generator's device.
        generator: Where the numbers come from.
    """
    initialise(supernet, generator)
    for module in supernet.modules():
        if isinstance(module, AffineBatchStatistics):
            module.reset_parameters()
