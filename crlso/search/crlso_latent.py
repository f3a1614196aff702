"""The latent space of convex latent search: where its points lie, the model, what trains it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import numpy as np
from torch import Tensor

from crlso.latent.model import LatentModel, ModelSettings
from crlso.latent.training import Trainer, TrainingSettings
from crlso.protocols import Codes, FloatArray, Keys, SearchSpace
from crlso.search.crlso_settings import CRLSOSettings
from crlso.search.observations import Representatives
from crlso.spaces.neighbourhoods import Coordinates, WeisfeilerLehman

LABELLED_BATCH = 256
"""Labels in a step of a round, at most; all of them up to this number."""

LANDMARK_NODES: Final = 2**20
"""Nodes of all landmarks that are drawn, at most: they are in memory at the same time."""

FEW_CODES: Final = 4
"""A space with up to so many codes for each landmark is enumerated."""


POOLED: Final = 64
"""Architectures of the pool, at most, that are among the candidates of each function."""


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
        direct=settings.direct,
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


@final
class Pool:
    """Architectures whose latent points are kept, so that functions can be compared on all of them.

    Latent points follow from the model and are no part of a state.

    Args:
        space: The space of the codes.
        codes: ``[n, d]``, of different classes.
    """

    def __init__(self, space: SearchSpace, codes: Codes) -> None:
        self._codes = codes
        self._keys = space.class_keys(codes)
        self._latents: Tensor | None = None

    def forget(self) -> None:
        """The model has changed; latent points have to be worked out again."""
        self._latents = None

    def best(self, model: LatentModel, predict: Callable[[Tensor], FloatArray], asked: Keys) -> Codes:
        """Codes with the least values of each function, :data:`POOLED` of each at most, each once.

        Args:
            model: Encodes.
            predict: ``[m, k]`` points -> ``[functions, m]``.
            asked: Keys of classes that are left out.
        """
        if not len(self._codes):
            return self._codes
        if self._latents is None:
            self._latents = model.encode(self._codes)
        free = np.flatnonzero(~np.isin(self._keys, asked))
        values = predict(self._latents[free])
        return self._codes[free[np.unique(np.argsort(values, axis=1, kind="stable")[:, :POOLED])]]
