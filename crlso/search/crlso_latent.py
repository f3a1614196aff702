"""The latent space of convex latent search: where its points lie, the model, what trains it."""

from __future__ import annotations

from typing import Final

import numpy as np

from crlso.latent.model import LatentModel, ModelSettings
from crlso.latent.training import Trainer, TrainingSettings
from crlso.protocols import SearchSpace
from crlso.search.crlso_settings import CRLSOSettings
from crlso.search.observations import Representatives
from crlso.spaces.neighbourhoods import Coordinates, WeisfeilerLehman

LABELLED_BATCH = 256
"""Labels in a step of a round, at most; all of them up to this number."""

LANDMARK_NODES: Final = 2**20
"""Nodes of all landmarks together, at most: they are in memory at the same time."""

FEW_CODES: Final = 4
"""A space with up to so many codes for each landmark is enumerated."""


def latent_points(
    space: SearchSpace, representatives: Representatives, settings: CRLSOSettings
) -> Coordinates:
    """Where latent points should be: the principal coordinates of the similarity of neighbourhoods.

    Landmarks are different networks, so that a network with many codes does not count more; all of them
    where the space has not many more codes than that. They do not depend on a search's seed.
    """
    count = max(1, min(settings.landmarks, LANDMARK_NODES // space.positions))
    if space.size <= FEW_CODES * count:
        codes = np.concatenate(list(space.enumerate()))
    else:
        codes = space.sample(count, np.random.default_rng(0))
    _, first = np.unique(space.class_keys(codes), return_index=True)
    landmarks = representatives(codes[np.sort(first)])
    return Coordinates(WeisfeilerLehman(space), landmarks, settings.latent_dim)


def latent_model(
    space: SearchSpace, settings: CRLSOSettings, *, seed: int, wanted: Coordinates
) -> LatentModel:
    """The latent space of a search before any training."""
    sizes = ModelSettings(
        latent_dim=settings.latent_dim,
        width=settings.width,
        layers=settings.layers,
        heads=settings.heads,
        head_width=settings.head_width,
        head_layers=settings.head_layers,
        head_rank=settings.head_rank,
        convex=settings.head != "network",
    )
    return LatentModel(space, sizes, seed=seed, anchor=wanted if settings.anchored else None)


def latent_trainer(
    model: LatentModel,
    representatives: Representatives,
    settings: CRLSOSettings,
    *,
    seed: int,
    wanted: Coordinates,
) -> Trainer:
    """Trains that latent space, on random architectures and, if asked to, on labels."""
    training = TrainingSettings(
        steps=settings.round_steps,
        batch=settings.unlabelled,
        labelled_batch=LABELLED_BATCH,
        learning_rate=settings.learning_rate,
        beta=settings.beta,
        performance=settings.performance,
        noise=settings.noise,
        weight_decay=settings.weight_decay,
        similarity=settings.similarity,
    )
    return Trainer(
        model,
        lambda n, rng: representatives(model.space.sample(n, rng)),
        training,
        seed=seed,
        wanted=wanted if settings.similarity else None,
    )
