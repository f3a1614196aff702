"""Joint training of G-VAE and convex heads: reconstruction + KL + convex performance regression."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.errors import UserError
from crlso.latent.decoder import negative_log_likelihood
from crlso.latent.model import LatentModel
from crlso.protocols import Codes, FloatArray
from crlso.spaces.neighbourhoods import Coordinates


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how hard a latent model is trained.

    Attributes:
        steps: Optimiser steps.
        batch: Unlabelled architectures a step (reconstruction and KL).
        labelled_batch: Labelled architectures a step, at most (all three terms).
        learning_rate: Of Adam at its peak; warmed up over 5 % of the steps, then cosine to 1 % of it.
        beta: Weight of the KL divergence (nats per architecture) beside the reconstruction (nats per
            architecture).
        performance: Weight of the regression of the performance.
        weight_decay: On all matrices, decoupled (AdamW).
        clip: Largest norm of a gradient.
        noise: Standard deviation of Gaussian noise on the latent points that the heads are trained at, in
            units of the posterior's own: 1 trains them on samples, 0 on means.
        posterior_noise: Factor on the noise of the samples that are decoded: 1 makes it a VAE; the CR-LSO
            release has 0.01, which makes it an autoencoder.
        betas: Decay rates of AdamW's two moments.
        similarity: Weight of the mean squared distance between latent points ``z / sqrt(k)`` (means, k
            dimensions) and the points that the trainer is given.
    """

    steps: int = 2000
    batch: int = 256
    labelled_batch: int = 128
    learning_rate: float = 3e-3
    beta: float = 0.002
    performance: float = 1.0
    weight_decay: float = 1e-4
    clip: float = 5.0
    noise: float = 1.0
    posterior_noise: float = 1.0
    betas: tuple[float, float] = (0.9, 0.99)
    similarity: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch < 0 or self.labelled_batch < 0:
            raise UserError("steps, batch and labelled_batch must be 0 or more")
        if self.learning_rate <= 0 or min(self.beta, self.performance, self.similarity) < 0:
            raise UserError("learning_rate must be positive, beta, performance and similarity 0 or more")


@dataclass(frozen=True)
class Labels:
    """Architectures whose performance is known.

    Attributes:
        codes: ``[n, d]``.
        losses: ``[n]``, or ``[heads, n]`` where each head has targets of its own; smaller is better
            (:mod:`crlso.targets`).
        weights: ``[heads, n]``: what each label counts in each head's regression; ones for a plain fit,
            random for a bootstrap.
    """

    codes: Codes
    losses: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class TrainingCurves:
    """Means over the steps of each tenth of the training, in nats (first two) and squared target units."""

    reconstruction: list[float]
    kl: list[float]
    performance: list[float]


class Trainer:
    """Keeps an optimiser beside a model, so that training can go on round after round.

    Args:
        model: Trained in place.
        unlabelled: Draws n architectures for reconstruction; never needs a label.
        settings: Learning rate and weights; ``steps`` is given to :meth:`run`.
        seed: Of the posterior noise and the batches.
        wanted: Where latent points should be (``settings.similarity``): points whose products are the
            similarity of neighbourhoods. That costs no evaluation, and functions that are linear in the
            kernel's features become linear in the latent space. ``None``: anywhere.
    """

    def __init__(
        self,
        model: LatentModel,
        unlabelled: Callable[[int, np.random.Generator], Codes],
        settings: TrainingSettings,
        *,
        seed: int,
        wanted: Coordinates | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.unlabelled = unlabelled
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self._wanted = wanted
        matrices = [p for p in model.parameters() if p.dim() > 1]
        vectors = [p for p in model.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            betas=settings.betas,
        )

    def state_dict(self) -> dict[str, Any]:
        """A copy of optimiser and random states; the model's parameters are the model's to keep."""
        return {
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "rng": self.rng.bit_generator.state,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken."""
        # torch takes the moments over without copying them, and the next step would change the state.
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"])

    def run(
        self, steps: int, labels: Labels | None, *, advance: Callable[[int, str], None] | None = None
    ) -> TrainingCurves:
        """Trains for a number of steps, one learning rate cycle, and leaves the model ready for use.

        ``advance`` is called after every step with the steps done and the reconstruction's nats as text.
        """
        history: list[tuple[float, float, float]] = []
        for step in range(steps):
            self._set_rate((step + 1) / steps)
            history.append(self.step(labels))
            if advance is not None:
                advance(step + 1, f"reconstruction {history[-1][0]:.3f} nats")
        parts = np.array_split(np.asarray(history).reshape(-1, 3), min(10, max(1, steps)))
        means = np.stack([part.mean(0) for part in parts if len(part)]) if history else np.zeros((0, 3))
        return TrainingCurves(means[:, 0].tolist(), means[:, 1].tolist(), means[:, 2].tolist())

    def step(self, labels: Labels | None) -> tuple[float, float, float]:
        """One optimiser step; returns reconstruction, KL (nats an architecture) and squared error."""
        settings = self.settings
        model = self.model
        codes = self.unlabelled(settings.batch, self.rng)
        chosen = np.zeros(0, dtype=np.int64)
        if labels is not None and len(labels.codes):
            chosen = self._chosen(len(labels.codes))
            codes = np.concatenate([labels.codes[chosen], codes])
        mean, log_variance = model.posterior(codes)
        deviation = torch.exp(0.5 * log_variance)
        noise = torch.randn(mean.shape, generator=self.generator)
        z = mean + settings.posterior_noise * deviation * noise
        logits = model.decoder(z)
        reconstruction = negative_log_likelihood(logits, torch.from_numpy(codes.astype(np.int64))).mean()
        kl = gaussian_kl(mean, log_variance).mean()
        loss = reconstruction + settings.beta * kl
        if self._wanted is not None:
            wanted = torch.from_numpy(self._wanted(codes)).float()
            points = mean / mean.shape[1] ** 0.5
            loss = loss + settings.similarity * (points - wanted).square().sum(1).mean()
        regression = torch.zeros(())
        if labels is not None and len(chosen):
            points = mean[: len(chosen)]
            if settings.noise:
                points = points + settings.noise * (deviation * noise)[: len(chosen)]
            regression = self._regression(points, labels, chosen)
            loss = loss + settings.performance * regression
        self._update(loss)
        return float(reconstruction.detach()), float(kl.detach()), float(regression.detach())

    def fit_heads(self, steps: int, labels: Labels) -> float:
        """Trains the heads alone, one learning rate cycle, at latent points that stay where they are.

        Encoder and decoder are not touched; batches, noise and weights are those of :meth:`step`.

        Returns:
            The mean squared error over the last tenth of the steps; 0 without steps.
        """
        with torch.no_grad():
            mean, log_variance = self.model.posterior(labels.codes)
        deviation = torch.exp(0.5 * log_variance)
        history: list[float] = []
        for step in range(steps):
            self._set_rate((step + 1) / steps)
            chosen = self._chosen(len(labels.codes))
            noise = torch.randn(len(chosen), mean.shape[1], generator=self.generator)
            points = mean[chosen] + self.settings.noise * deviation[chosen] * noise
            regression = self._regression(points, labels, chosen)
            self._update(self.settings.performance * regression)
            history.append(float(regression.detach()))
        return float(np.mean(history[-max(1, steps // 10) :])) if history else 0.0

    def _set_rate(self, progress: float) -> None:
        """The learning rate at a share of a cycle: warmed up, then along a cosine."""
        rate = min(progress / 0.05, 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * progress))))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * rate

    def _chosen(self, count: int) -> NDArray[np.int64]:
        """Which of so many labels a step sees: all, or a random batch."""
        if count > self.settings.labelled_batch:
            return self.rng.choice(count, self.settings.labelled_batch, replace=False)
        return np.arange(count)

    def _regression(self, points: Tensor, labels: Labels, chosen: NDArray[np.int64]) -> Tensor:
        """Weighted squared error of the heads at the latent points of chosen labels, mean over the heads."""
        predicted = self.model.heads(points)
        target = torch.from_numpy(labels.losses[..., chosen]).float()
        weight = torch.from_numpy(labels.weights[:, chosen]).float()
        error: Tensor = (weight * (predicted - target).square()).sum(1).div(weight.sum(1)).mean()
        return error

    def _update(self, loss: Tensor) -> None:
        """One step of the optimiser; parameters that the loss does not depend on stay as they are."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence to the standard normal prior, in nats: ``[n, k]``, ``[n, k]`` -> ``[n]``."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(-1)
