"""CR-LSO, our variant: encoder and convex heads re-trained in every round, descent inside the data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.errors import UserError
from crlso.latent.descent import DescentSettings, TrustRegion, descend
from crlso.latent.model import LatentModel, ModelSettings
from crlso.latent.projection import project_2d
from crlso.latent.targets import TargetKind, losses
from crlso.latent.training import Labels, Trainer, TrainingCurves, TrainingSettings
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Keys, SearchSpace
from crlso.search.rng import rng_state, set_rng_state
from crlso.threads import threads

LABELLED_BATCH = 256
"""Labels in a step of a round, at most; all of them up to this number."""

MAP_POINTS = 3000
"""Architectures drawn for the report's map of the latent space."""

CURVES = ("reconstruction", "kl", "performance", "accepted_steps", "descent_distance")
"""What is noted in every round: nats, nats, squared target units, a share, neighbour distances."""


@dataclass(frozen=True)
class CRLSOSettings:
    """Settings of the search.

    Attributes:
        initial: Random architectures before the first model.
        round: Architectures proposed from one trained model.
        explore: How many of them are drawn at random instead, so that a region that all heads think badly of
            is looked at again.
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
        label_noise: Deviation of the noise that each head's targets get in each round, in target units.
        weight_decay: Of all matrices.
    """

    initial: int = 10
    round: int = 5
    explore: int = 1
    pretrain_steps: int = 400
    round_steps: int = 30
    unlabelled: int = 64
    learning_rate: float = 3e-3
    beta: float = 0.01
    performance: float = 3.0
    target: TargetKind = "rank"
    heads: int = 8
    starts: int = 16
    descent_steps: int = 40
    quantile: float = 0.95
    beam: int = 16
    latent_dim: int = 24
    width: int = 64
    layers: int = 1
    head_width: int = 32
    head_layers: int = 1
    head_rank: int = 8
    noise: float = 1.0
    label_noise: float = 0.3
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("initial", "round", "heads", "starts", "beam", "round_steps", "unlabelled"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.initial < 2:
            raise UserError(f"initial must be 2 or more for a model to rank them, got {self.initial}")
        if not 0 <= self.explore <= self.round:
            raise UserError(f"explore must lie between 0 and round ({self.round}), got {self.explore}")
        for name in ("pretrain_steps", "descent_steps", "noise", "label_noise", "weight_decay"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 < self.quantile <= 1:
            raise UserError(f"quantile must lie in (0, 1], got {self.quantile}")


@final
class CRLSO:
    """Convex latent search (see docs/architecture.md for the picture).

    1. A few random architectures; a G-VAE pre-trained on unlabelled ones.
    2. Every round, labels re-train encoder, decoder and an ensemble of input-convex heads together. Each head
       sees its own exponential weights on the labels (Bayesian bootstrap, Rubin 1981) and its own noise on
       their targets, so that the spread of the heads stands for what the labels leave open.
    3. Each head is descended from many starts in one batch, inside the ball that holds the data, every step
       checked (:func:`crlso.latent.descent.descend`).
    4. The ends are decoded (most likely codes first), re-encoded, and each proposal is the best unasked
       candidate of one head drawn at random: a posterior sample and its own minimum.

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
                labelled_batch=LABELLED_BATCH,
                learning_rate=settings.learning_rate,
                beta=settings.beta,
                performance=settings.performance,
                noise=settings.noise,
                weight_decay=settings.weight_decay,
            ),
            seed=seed,
        )
        self._pretrained = False
        self._trained_on = 0
        self._curves: dict[str, list[float]] = {name: [] for name in CURVES}

    @threads()
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
        """Takes the values of evaluated proposals; failed ones count like the worst of the others."""
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
        """One round: train, descend, decode, pick; plus the random share."""
        settings = self.settings
        if not self._pretrained:
            self._trainer.run(settings.pretrain_steps, None)
            self._pretrained = True
        if self._trained_on < len(self._codes):
            # Only new labels are worth a training: at the end of an exhausted space there are none.
            self._note(self._trainer.run(settings.round_steps, self._labels()))
            self._trained_on = len(self._codes)
        candidates = self._candidates(self._descend())
        keys = self.space.class_keys(candidates)
        fresh = ~np.isin(keys, self.space.class_keys(self._codes))
        candidates, keys = candidates[fresh], keys[fresh]
        chosen = candidates[:0]
        if len(candidates):
            chosen = candidates[self._pick(self._model.predict(candidates).numpy(), keys)]
        # What the heads found no candidate for is drawn at random too.
        return np.concatenate([chosen, self.space.sample(settings.round - len(chosen), self._rng)])

    def _descend(self) -> Tensor:
        """Ends of the descents of all heads, ``[heads * starts, latent_dim]``."""
        settings, model = self.settings, self._model
        order = np.argsort(-self._values, kind="stable")
        best = model.encode(self._codes[order[: settings.starts // 2]])
        background = model.encode(self.space.sample(256, self._rng))
        data = torch.cat([background, model.encode(self._codes)])
        drawn = self._rng.integers(len(background), size=(settings.heads, settings.starts - len(best)))
        descent = descend(
            model.heads,
            torch.cat([best.expand(settings.heads, -1, -1), background[drawn]], dim=1),
            TrustRegion.of(data, quantile=settings.quantile),
            neighbour_distance=self._neighbour_distance(),
            settings=DescentSettings(steps=settings.descent_steps),
        )
        self._curves["accepted_steps"].append(descent.accepted)
        self._curves["descent_distance"].append(descent.distance)
        return descent.points.reshape(-1, settings.latent_dim)

    def _note(self, curves: TrainingCurves) -> None:
        self._curves["reconstruction"].append(curves.reconstruction[-1])
        self._curves["kl"].append(curves.kl[-1])
        self._curves["performance"].append(curves.performance[-1])

    def _candidates(self, ends: Tensor) -> Codes:
        """The likeliest architectures at each end point, each once."""
        decoded = self._model.decode_beam(ends, self.settings.beam)
        return np.unique(decoded.reshape(-1, decoded.shape[-1]), axis=0)

    def _pick(self, predicted: NDArray[np.float32], keys: Keys) -> list[int]:
        """For one randomly drawn head after the other, its best candidate of a class not yet picked."""
        heads = self._rng.permutation(self.settings.heads)
        taken: list[int] = []
        for turn in range(self.settings.round - self.settings.explore):
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
        return max(float(torch.cat(distances).median()), 1e-6)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next proposal depends on."""
        return {
            "rng": rng_state(self._rng),
            "codes": self._codes,
            "values": self._values,
            "queue": self._queue,
            "pretrained": self._pretrained,
            "trained_on": self._trained_on,
            "curves": copy.deepcopy(self._curves),
            "model": copy.deepcopy(self._model.state_dict()),
            "trainer": self._trainer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken."""
        set_rng_state(self._rng, state["rng"])
        self._codes = np.asarray(state["codes"], dtype=CODE_DTYPE)
        self._values = np.asarray(state["values"], dtype=np.float64)
        self._queue = np.asarray(state["queue"], dtype=CODE_DTYPE)
        self._pretrained = state["pretrained"]
        self._trained_on = state["trained_on"]
        self._curves = {name: list(values) for name, values in state["curves"].items()}
        self._model.load_state_dict(state["model"])
        self._trainer.load_state_dict(state["trainer"])

    @threads()
    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """The latent space and the search's path in two dimensions, and the curves over rounds."""
        if not len(self._codes):
            return {}
        members = np.unique(self.space.sample(MAP_POINTS, np.random.default_rng(self._seed)), axis=0)
        flat, path = project_2d(self._model.encode(members), self._model.encode(self._codes))
        arrays: dict[str, NDArray[Any]] = {
            "space_codes": members,
            "space_latent": flat,
            "space_predicted": -self._model.predict(members).mean(0).numpy(),
            "trial_latent": path,
        }
        return arrays | {f"curve/{name}": np.asarray(values) for name, values in self._curves.items()}
