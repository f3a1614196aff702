"""The supernet half of the toolkit: networks that share their weights, and what trains.

``supernet.search`` runs a recipe (``supernet.recipe``, ``recipes/``) from a plan to a summary. Its parts:
``supernet.networks`` (families of networks of a space's cells, their supernets in ``networks.relaxed``),
``supernet.relaxation``, ``supernet.update_rules``, ``supernet.derivation``, ``supernet.curvature``.
``supernet.data`` has images and their augmentation, ``supernet.processes`` device and precision,
``supernet.training`` and ``supernet.scratch`` train discrete networks, ``supernet.train`` keeps them in
directories, ``supernet.evaluators`` has shared weights and training as evaluators. Importing this package
loads no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supernet.train.loading import TrainedNetwork


def load_network(directory: Path | str) -> TrainedNetwork:
    """The trained network in a directory, see :func:`supernet.train.loading.load_network`."""
    from supernet.train import loading

    return loading.load_network(directory)
