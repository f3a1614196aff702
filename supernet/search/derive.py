"""From a finished search to the architecture that it stands for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.search import streams
from supernet.search.loop import Search


def derive(search: Search) -> NDArray[np.int16]:
    """Code ``[d]`` by the recipe's derivation.

    ``perturbation`` lets the weights settle in between, so that the search can not go on afterwards from
    memory; its checkpoint stays what it was.
    """
    chosen = search.recipe.derivation
    if chosen.kind == "strongest":
        return search.derived()
    from supernet.derivation import perturbation

    rng = np.random.default_rng([search.seed, streams.DERIVATION])

    def measure(mixing: Tensor) -> float:
        return search.measure(mixing)[1]

    def finetune(mask: Tensor) -> None:
        search.finetune(mask, steps=chosen.finetune_steps)

    family = search.family
    shares = perturbation(
        measure,
        finetune,
        shares=search.shares,
        edges=family.edges,
        operations=family.operations,
        keep=family.kept_edges,
        rng=rng,
    )
    return family.strongest(torch.as_tensor(shares))
