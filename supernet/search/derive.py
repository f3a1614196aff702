"""From a finished search to the architecture that it stands for."""

from __future__ import annotations

import itertools

import numpy as np
from torch import Tensor

from crlso.protocols import Code
from supernet.derivation import Decisions, perturbation
from supernet.search import streams
from supernet.search.loop import Search


def derive(search: Search) -> Code:
    """Code ``[d]`` by the recipe's derivation.

    Where the guard stopped a search because it collapsed, ``strongest`` gives the architecture of the last
    epoch without a warning, if there is one. ``perturbation`` lets the weights settle between its decisions
    (the search's checkpoint stays what it was); it looks at the state as it is.
    """
    family = search.family
    if search.recipe.derivation.kind == "strongest":
        sound = [record for record in search.records if not record.warnings]
        if search.stopped and search.records[-1].warnings and sound:
            return family.space.parse(sound[-1].architecture)
        return search.derived()
    places = itertools.count()

    def measure(mixing: Tensor) -> float:
        return search.measure(mixing)[1]

    def finetune(decisions: Decisions) -> None:
        mixing = decisions.apply(search.shares)
        search.finetune(mixing, steps=search.recipe.derivation.finetune_steps, place=next(places))

    every = range(len(family.operations))
    chosen = perturbation(
        lambda: search.shares,
        family.edges,
        measure=measure,
        finetune=finetune,
        rng=np.random.default_rng([search.seed, streams.DERIVATION]),
        # A node that keeps few edges has no use for one that carries nothing.
        kept=[i for i in every if family.node_inputs is None or family.operations[i] != "none"],
        inputs=family.node_inputs,
    )
    return family.strongest(chosen)
