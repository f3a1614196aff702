"""Initial weights of supernets."""

from __future__ import annotations

import torch

from supernet.networks.relaxed.layout import FastSupernet
from supernet.networks.skeleton import initialise
from supernet.networks.supernet import Supernet


def initialise_supernet(supernet: Supernet, generator: torch.Generator) -> None:
    """Draws all weights anew, as :func:`supernet.networks.initialise` does; the same for both paths.

    Args:
        supernet: Changed in place; must lie on the generator's device.
        generator: Where the numbers come from.
    """
    if not isinstance(supernet, FastSupernet):
        initialise(supernet, generator)
        return
    reference = supernet.to_reference()
    initialise(reference, generator)
    supernet.load_reference(reference)
