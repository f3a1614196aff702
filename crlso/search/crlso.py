"""CR-LSO, our variant: encoder and convex heads re-trained in every round, descent inside the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.latent.descent import DescentSettings, TrustRegion, descend
from crlso.latent.model import LatentModel, ModelSettings
from crlso.latent.targets import TargetKind, losses
from crlso.latent.training import Labels, Trainer, TrainingSettings
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Keys, SearchSpace


@dataclass(frozen=True)
class CRLSOSettings:
    """Settings of the search.

    Attributes:
        initial: Random architectures before the first model.
        round: Architectures proposed from one trained model.
        pretrain_steps: Steps of the G-VAE on unlabelled architectures before the first labels are used.
        round_steps: Steps in every round, encoder, decoder and heads together.
        unlabelled: Unlabelled architectures in a step of a round.
        learning_rate: Of pre-training; a round uses the same.
        beta: Weight of the KL divergence.
        performance: Weight of the regression of the performance.
        target: What the heads predict: ``rank`` (normal scores of the ranks) or ``raw`` (1 - accuracy).
        heads: Convex heads; each is fitted to its own random weighting of the labels.
        starts: Points each head's descent starts from; half of them the best evaluated, half random ones.
        descent_steps: Steps of each descent.
        quantile: Share of the data that the trust region holds.
        beam: Codes decoded from each end point.
        latent_dim: Dimension of the latent space.
        width: Width of the encoder.
        layers: Rounds of messages in the encoder.
        head_width: Units of a head's hidden layer.
        head_layers: Hidden layers of a head.
        head_rank: Rank of a head's quadratic term.
        noise: Posterior noise at which the heads are trained, in units of its own deviation.
        weight_decay: Of all matrices.
    """

    initial: int = 10
    round: int = 5
    pretrain_steps: int = 400
    round_steps: int = 60
    unlabelled: int = 64
    learning_rate: float = 3e-3
    beta: float = 0.01
    performance: float = 1.0
    target: TargetKind = "rank"
    heads: int = 8
    starts: int = 16
    descent_steps: int = 40
    quantile: float = 0.95
    beam: int = 16
    latent_dim: int = 24
    width: int = 64
    layers: int = 2
    head_width: int = 32
    head_layers: int = 1
    head_rank: int = 8
    noise: float = 1.0
    label_noise: float = 0.0
    explore: int = 0
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("initial", "round", "heads", "starts", "beam"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.initial < 2:
            raise UserError(f"initial must be 2 or more for a model to rank them, got {self.initial}")
        if not 0 < self.quantile <= 1:
            raise UserError(f"quantile must lie in (0, 1], got {self.quantile}")


class CRLSO:
    """Convex latent search (see docs/architecture.md for the picture).

    1. A few random architectures; a G-VAE pre-trained on unlabelled ones.
    2. Every round, labels re-train encoder, decoder and an ensemble of input-convex heads together. Each head
       sees its own exponential weights on the labels (Bayesian bootstrap, Rubin 1981), so that the spread of
       the heads stands for what the labels leave open.
    3. Each head is descended from many starts in one batch, inside the ball that holds the data, every step
       checked (:func:`crlso.latent.descent.descend`).
    4. The ends are decoded (most likely codes first), re-encoded, and each proposal is the best unasked
    candidate
       of one head drawn at random: a posterior sample and its own minimum.

    Departures from the paper (Rao et al., TNNLS 2022): no pseudo-labels for the whole space, no frozen
    encoder, ranks instead of accuracies, an ensemble instead of noise, a gradient of the right sign.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: CRLSOSettings) -> None:
        self.space = space
        self.settings = settings
        self._rng = np.random.default_rng([seed, 1])
        self._codes: Codes = np.zeros((0, len(space.cardinalities)), CODE_DTYPE)
        self._values: FloatArray = np.zeros(0)
        self._queue: Codes = self._codes
        self._seed = seed
        self._model = LatentModel(
            space,
            ModelSettings(
                latent_dim=settings.latent_dim,
                width=settings.width,
                layers=settings.layers,
                heads=settings.heads,
                head_width=settings.head_width,
                head_layers=settings.head_layers,
                head_rank=settings.head_rank,
            ),
            seed=seed,
        )
        self._trainer = Trainer(
            self._model,
            space.sample,
            TrainingSettings(
                steps=settings.round_steps,
                batch=settings.unlabelled,
                learning_rate=settings.learning_rate,
                beta=settings.beta,
                performance=settings.performance,
                noise=settings.noise,
                weight_decay=settings.weight_decay,
            ),
            seed=seed,
        )
        self._pretrained = False

    def ask(self, n: int) -> Codes:
        """The next proposals; trains a model whenever the queue of the last round has run out."""
        if len(self._queue) == 0:
            if len(self._codes) < self.settings.initial:
                self._queue = self.space.sample(1, self._rng)
            else:
                self._queue = self._propose()
        proposal, self._queue = self._queue[:n], self._queue[n:]
        return proposal

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Takes the values of evaluated proposals; failed ones count as worse than all others."""
        self._codes = np.concatenate([self._codes, codes])
        self._values = np.concatenate([self._values, values[:, 0]])

    def _labels(self) -> Labels:
        values = self._values
        known = np.isfinite(values)
        worst = values[known].min() if known.any() else 0.0
        filled = np.where(known, values, worst)
        weights = self._rng.exponential(size=(self.settings.heads, len(values)))
        targets = losses(filled, self.settings.target)
        noise = self._rng.standard_normal((self.settings.heads, len(values)))
        return Labels(self._codes, targets + self.settings.label_noise * noise, weights)

    def _propose(self) -> Codes:
        settings = self.settings
        if not self._pretrained:
            self._trainer.run(settings.pretrain_steps, None)
            self._pretrained = True
        labels = self._labels()
        self._trainer.run(settings.round_steps, labels)
        model = self._model

        order = np.argsort(-self._values, kind="stable")
        best = model.encode(self._codes[order[: settings.starts // 2]])
        background = model.encode(self.space.sample(256, self._rng))
        region = TrustRegion.of(
            torch.cat([background, model.encode(self._codes)]), quantile=settings.quantile
        )
        index = self._rng.integers(len(background), size=(settings.heads, settings.starts - len(best)))
        starts = torch.cat([best.expand(settings.heads, -1, -1), background[index]], dim=1)
        descent = descend(
            model.heads,
            starts,
            region,
            neighbour_distance=self._neighbour_distance(),
            settings=DescentSettings(steps=settings.descent_steps),
        )
        ends = descent.points.reshape(-1, settings.latent_dim)
        candidates = model.decode_beam(ends, settings.beam).reshape(-1, len(self.space.cardinalities))
        candidates = np.unique(candidates, axis=0)
        keys = self.space.class_keys(candidates)
        fresh = ~np.isin(keys, self.space.class_keys(self._codes))
        candidates, keys = candidates[fresh], keys[fresh]
        if len(candidates) == 0:
            return self.space.sample(settings.round, self._rng)
        predicted = model.predict(candidates).numpy()
        pick = self._pick(predicted, keys)
        chosen = candidates[pick]
        if settings.explore:
            extra = self.space.sample(settings.explore, self._rng)
            chosen = np.concatenate([chosen[: settings.round - settings.explore], extra])
        return chosen

    def _pick(self, predicted: NDArray[np.float32], keys: Keys) -> list[int]:
        """For one randomly drawn head after the other, its best candidate of a class not yet picked."""
        heads = self._rng.permutation(self.settings.heads)
        taken: list[int] = []
        for turn in range(self.settings.round):
            free = ~np.isin(keys, keys[taken])
            if not free.any():
                break
            scores = np.where(free, predicted[heads[turn % len(heads)]], np.inf)
            taken.append(int(np.argmin(scores)))
        return taken

    def _neighbour_distance(self, count: int = 8) -> float:
        codes = self.space.sample(count, self._rng)
        distances = []
        for code in codes:
            near = self.space.neighbors(code)
            near = near[self._rng.permutation(len(near))[:8]]
            latents = self._model.encode(np.concatenate([code[None], near]))
            distances.append((latents[1:] - latents[0]).norm(dim=1))
        return float(torch.cat(distances).median())

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next proposal depends on."""
        return {
            "rng": self._rng.bit_generator.state,
            "codes": self._codes,
            "values": self._values,
            "queue": self._queue,
            "pretrained": self._pretrained,
            "model": self._model.state_dict(),
            "trainer": self._trainer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken."""
        self._rng.bit_generator.state = state["rng"]
        self._codes = np.asarray(state["codes"], dtype=CODE_DTYPE)
        self._values = np.asarray(state["values"], dtype=np.float64)
        self._queue = np.asarray(state["queue"], dtype=CODE_DTYPE)
        self._pretrained = state["pretrained"]
        self._model.load_state_dict(state["model"])
        self._trainer.load_state_dict(state["trainer"])

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """The latent space in two dimensions for the report."""
        return {}
