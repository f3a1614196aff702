"""Initial weights of supernets."""

from __future__ import annotations

import torch

from supernet.networks.relaxed.affine import AffineBatchStatistics
from supernet.networks.relaxed.layout import FastSupernet
from supernet.networks.skeleton import initialise
from supernet.networks.supernet import Supernet


def initialise_supernet(supernet: Supernet, generator: torch.Generator) -> None:
    """Draws all weights anew, as :func:`supernet.networks.initialise` does; the same for both paths.

    Args:
        supernet: Changed in place; must lie on the generator's device.
        generator: Where the numbers come from.
    """
    if isinstance(supernet, FastSupernet):
        reference = supernet.to_reference()
        initialise_supernet(reference, generator)
        supernet.load_reference(reference)
        return
    initialise(supernet, generator)
    for module in supernet.modules():
        if isinstance(module, AffineBatchStatistics):
            module.reset_parameters()
