"""Predictors on the latent space of `crlso`: its regression in closed form, and heads trained jointly."""

from __future__ import annotations

import copy
from typing import Final, Literal, final

import numpy as np
import torch
from torch import Tensor

from crlso.latent.gaussian_process import NOISES
from crlso.latent.icnn import FreeHeads
from crlso.latent.model import LatentModel
from crlso.latent.predictor import Epochs, GraphPredictor
from crlso.latent.quadratics import QuadraticPosterior
from crlso.latent.training import Labels, Trainer
from crlso.predictors.protocol import Prediction
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search.crlso_latent import latent_model, latent_points, latent_trainer
from crlso.search.crlso_settings import SHARES, CRLSOSettings
from crlso.search.observations import Representatives
from crlso.targets import rank_loss
from crlso.threads import threads

JOINT_STEPS: Final = 150
"""Steps in which encoder, decoder and heads see the labels."""


@final
class PretrainedSpace:
    """The latent space that `crlso` has before its first label, trained when it is first asked for.

    It sees architectures of the whole space, also those that are held out, but no value of any.

    Args:
        space: The space of the codes.
        seed: Of parameters, batches and noise.
        settings: Of the search; what it says about the latent space is used.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: CRLSOSettings) -> None:
        self.space = space
        self.settings = settings
        self.seed = seed
        self.representatives = Representatives(space)
        self._wanted = latent_points(space, self.representatives, settings)
        self._model: LatentModel | None = None

    @property
    def model(self) -> LatentModel:
        """The trained model; not to be changed."""
        if self._model is None:
            model = latent_model(self.space, self.settings, seed=self.seed, wanted=self._wanted)
            with threads():
                self.trainer(model).run(self.settings.pretrain_steps, None)
            self._model = model
        return self._model

    def trainer(self, model: LatentModel) -> Trainer:
        """Trains a model of this space as the search does."""
        return latent_trainer(model, self.representatives, self.settings, seed=self.seed, wanted=self._wanted)


@final
class LatentPosterior:
    """Mean of the search's posterior of linear and quadratic functions of latent points.

    Args:
        latents: The latent space, shared with others.
        head: ``quadratic`` (linear and quadratic functions) or ``linear``.
    """

    def __init__(self, latents: PretrainedSpace, *, head: Literal["quadratic", "linear"]) -> None:
        self._latents = latents
        self._shares = SHARES[head]

    def fit(self, codes: Codes, values: FloatArray) -> Prediction:
        """The latent space stays as it is (:class:`~crlso.latent.quadratics.QuadraticPosterior`)."""
        posterior = QuadraticPosterior(
            self._encode(codes), rank_loss(values), shares=self._shares, noises=NOISES
        )
        mean = posterior.mean()
        return lambda others: -mean(self._encode(others))[0].numpy()

    def _encode(self, codes: Codes) -> Tensor:
        with threads():
            latents: Tensor = self._latents.model.encode(self._latents.representatives(codes))
        return latents


@final
class JointHeads:
    """Heads that are trained with the labels together with encoder and decoder, from the pre-trained space.

    An ensemble: each network has random weights of the labels (Bayesian bootstrap); the mean predicts.

    Args:
        latents: The latent space, shared with others; a copy of it is trained.
        convex: Input-convex networks, or the same ones unconstrained.
        steps: In which labels are seen.
    """

    def __init__(self, latents: PretrainedSpace, *, convex: bool, steps: int = JOINT_STEPS) -> None:
        self._latents = latents
        self._convex = convex
        self._steps = steps

    def fit(self, codes: Codes, values: FloatArray) -> Prediction:
        """Trains a copy of the latent space and its heads (:class:`~crlso.latent.training.Trainer`)."""
        latents = self._latents
        model = copy.deepcopy(latents.model)
        if not self._convex:
            settings = latents.settings
            model.heads = FreeHeads(
                settings.heads,
                settings.latent_dim,
                width=settings.head_width,
                layers=settings.head_layers,
                rank=settings.head_rank,
                generator=torch.Generator().manual_seed(latents.seed),
            )
        rng = np.random.default_rng([latents.seed, len(codes)])
        weights = rng.exponential(size=(latents.settings.heads, len(codes)))
        labels = Labels(latents.representatives(codes), rank_loss(values), weights)
        with threads():
            latents.trainer(model).run(self._steps, labels)

        def mean(others: Codes) -> FloatArray:
            with threads():
                predicted = model.predict(latents.representatives(others))
            scores: FloatArray = -predicted.double().mean(0).numpy()
            return scores

        return mean


@final
class GraphNetwork:
    """A graph network with a perceptron, of the encoder's size, that sees the labels and nothing else.

    Args:
        space: The space of the codes.
        seed: Of parameters and batches.
        steps: Of Adam, about.
        batch: Labels a step.
    """

    def __init__(self, space: SearchSpace, *, seed: int, steps: int = 400, batch: int = 32) -> None:
        self._space = space
        self._representatives = Representatives(space)
        self._seed = seed
        self._steps = steps
        self._batch = batch

    def fit(self, codes: Codes, values: FloatArray) -> Prediction:
        """Trains a new network (:class:`~crlso.latent.predictor.GraphPredictor`)."""
        settings = CRLSOSettings()
        network = GraphPredictor(self._space, width=settings.width, layers=settings.layers, seed=self._seed)
        batches = -(-len(codes) // self._batch)
        epochs = Epochs(
            epochs=-(-self._steps // batches), batch=self._batch, learning_rate=1e-3, weight_decay=1e-4
        )
        with threads():
            network.fit(
                self._representatives(codes),
                -rank_loss(values),
                epochs,
                rng=np.random.default_rng([self._seed, len(codes)]),
            )

        def predicted(others: Codes) -> FloatArray:
            with threads():
                return network.predict(self._representatives(others))

        return predicted
