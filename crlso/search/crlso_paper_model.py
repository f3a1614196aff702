"""The latent model of CR-LSO as published: trained once, on pseudo-labels for the whole space."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from crlso.errors import UserError
from crlso.latent.model import LatentModel, ModelSettings
from crlso.latent.predictor import Epochs, GraphPredictor
from crlso.latent.storage import load, save
from crlso.latent.study import architectures
from crlso.latent.training import Labels, Trainer, TrainingSettings
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.runs.directory import locked
from crlso.spaces import Subset, space_to_dict
from crlso.spaces.codes import code_keys

VERSION: Final = 1
"""Part of a kept model's name: another number is another training."""
ENUMERABLE: Final = 100_000
"""Largest space of which every architecture gets a pseudo-label."""
BETAS: Final = (0.0, 0.5)
"""Adam's decay rates in all trainings of the release."""
PATIENCE: Final = 1800.0
"""Seconds to wait for another process that trains the same model."""


@dataclass(frozen=True)
class PaperTrainingSettings:
    """How the latent model is trained. In brackets: the release on NAS-Bench-201, where it differs.

    Attributes:
        latent_dim: Dimension of the latent space.
        width: Width of the encoder; the decoder has twice that [256, both].
        layers: Rounds of messages in the encoder.
        head_width: Units of the ICNN's hidden layers.
        head_layers: Hidden layers of the ICNN.
        epochs: Passes over all architectures [200].
        batch: Architectures a step.
        learning_rate: Of Adam at its peak; warmed up over 5 % of the steps, then cosine [1e-4, no warm-up].
        kl: Weight of the KL divergence as the release has it: beside means over entries of the code and over
            latent dimensions.
        convex: Weight of the regression of the (pseudo-)labels, beside the same mean over entries.
        posterior_noise: Factor on the noise of posterior samples.
        weight_decay: On matrices, decoupled [L2].
        predictor_width: Width of the predictor of pseudo-labels.
        predictor_layers: Its rounds of messages.
        predictor_epochs: Passes over the labels [200].
        predictor_batch: Labelled architectures a step.
        predictor_learning_rate: Of Adam, cosine to a tenth [1e-4].
        sample: Architectures drawn to train on, where the space has more than 100,000 codes.
    """

    latent_dim: int = 16
    width: int = 64
    layers: int = 3
    head_width: int = 128
    head_layers: int = 4
    epochs: int = 35
    batch: int = 256
    learning_rate: float = 2e-3
    kl: float = 0.005
    convex: float = 1.0
    posterior_noise: float = 0.01
    weight_decay: float = 3e-5
    predictor_width: int = 64
    predictor_layers: int = 4
    predictor_epochs: int = 50
    predictor_batch: int = 32
    predictor_learning_rate: float = 1e-3
    sample: int = 20_000

    def __post_init__(self) -> None:
        for name in ("predictor_width", "predictor_layers", "predictor_batch", "batch", "sample"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("epochs", "predictor_epochs", "kl", "convex", "posterior_noise", "weight_decay"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("learning_rate", "predictor_learning_rate"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class RawScale:
    """The paper's target ``1 - accuracy``, and what stands for it where the metric is no accuracy.

    Attributes:
        best: Value whose loss is 0.
        unit: Difference of values that is a loss of 1.
    """

    best: float
    unit: float

    @classmethod
    def of(cls, values: FloatArray) -> RawScale:
        """Reads the unit off known values ``[n]``, n >= 1, to be maximised.

        All within 0 and 1: fractions, ``1 - v``. All within 0 and 100: percent, ``1 - v / 100``. Anything
        else (logarithms, values that are minimised and so come negated): ``(max - v) / (max - min)``, which
        spreads the labels over [0, 1], so that the constants of the procedure keep their meaning.
        """
        low, high = float(values.min()), float(values.max())
        for top in (1.0, 100.0):
            if low >= 0 and high <= top:
                return cls(top, top)
        return cls(high, high - low if high > low else 1.0)

    def loss(self, values: FloatArray) -> FloatArray:
        """Targets of the regression, smaller is better."""
        return (self.best - values) / self.unit

    def value(self, losses: FloatArray) -> FloatArray:
        """The values that belong to predicted losses."""
        return self.best - self.unit * losses


@dataclass(frozen=True)
class PaperModel:
    """A trained model.

    Attributes:
        model: G-VAE and ICNN.
        scale: Of the ICNN's predictions.
        curves: Training curves by name.
    """

    model: LatentModel
    scale: RawScale
    curves: Mapping[str, list[float]]


def untrained(space: SearchSpace, settings: PaperTrainingSettings, *, seed: int) -> LatentModel:
    """A model of the right sizes; over the whole space where the search is confined to a part of it."""
    return LatentModel(
        _whole(space),
        ModelSettings(
            latent_dim=settings.latent_dim,
            width=settings.width,
            layers=settings.layers,
            heads=1,
            head_width=settings.head_width,
            head_layers=settings.head_layers,
            head_rank=0,
            head_averaged=True,
        ),
        seed=seed,
    )


def obtain(
    space: SearchSpace,
    codes: Codes,
    values: FloatArray,
    settings: PaperTrainingSettings,
    *,
    seed: int,
    folder: Path | None,
) -> PaperModel:
    """Trains the model of some labels, or reads it where it was kept.

    Args:
        space: Where the search takes place.
        codes: ``[n, d]`` labelled architectures.
        values: ``[n]`` their values, finite, to be maximised.
        settings: Sizes and schedule.
        seed: Of everything drawn.
        folder: Trained models are kept in sub-folders named after a digest of all that decides them, and
            read from there; ``None``: nothing is kept. Several processes may share it: one trains, the
            others wait.

    Raises:
        RunError: The folder can not be written, or a kept model is damaged.
    """
    if folder is None:
        return train(space, codes, values, settings, seed=seed)
    decides = {
        "version": VERSION,
        "space": space_to_dict(_whole(space)),
        "seed": seed,
        "settings": {f.name: getattr(settings, f.name) for f in dataclasses.fields(PaperTrainingSettings)},
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
    for array in (codes, values, _members(space, settings, seed)):
        digest.update(np.ascontiguousarray(array).tobytes())
    place = folder / digest.hexdigest()[:16]
    with locked(place, wait=PATIENCE):
        if not (place / "model.json").exists():
            trained = train(space, codes, values, settings, seed=seed)
            save(trained.model, place, facts={"decides": decides, "curves": dict(trained.curves)})
        model, facts = load(place)
    return PaperModel(model, RawScale.of(values), facts["curves"])


def train(
    space: SearchSpace, codes: Codes, values: FloatArray, settings: PaperTrainingSettings, *, seed: int
) -> PaperModel:
    """Fits the predictor, labels the unlabelled with it, and trains G-VAE and ICNN on all.

    Arguments as for :func:`obtain`.
    """
    scale = RawScale.of(values)
    known = scale.loss(values)
    unlabelled = _without(_members(space, settings, seed), codes, space.cardinalities)
    guessed, fitted = pseudo_labels(space, codes, known, unlabelled, settings, seed=seed)
    everything = np.concatenate([codes, unlabelled])
    model = untrained(space, settings, seed=seed)
    d = len(space.cardinalities)
    batch = min(settings.batch, len(everything))
    trainer = Trainer(
        model,
        space.sample,
        TrainingSettings(
            batch=0,
            labelled_batch=batch,
            learning_rate=settings.learning_rate,
            # The release averages the cross-entropy over the d entries of a code and the KL over latent
            # dimensions; the trainer sums both. Its loss is d times theirs with these weights, and Adam does
            # not see the factor.
            beta=settings.kl * d / settings.latent_dim,
            performance=settings.convex * d,
            weight_decay=settings.weight_decay,
            noise=settings.posterior_noise,
            posterior_noise=settings.posterior_noise,
            betas=BETAS,
        ),
        seed=seed,
    )
    labels = Labels(everything, np.concatenate([known, guessed]), np.ones((1, len(everything))))
    curves = trainer.run(settings.epochs * -(-len(everything) // batch), labels)
    return PaperModel(model, scale, {"predictor": fitted, **dataclasses.asdict(curves)})


def pseudo_labels(
    space: SearchSpace,
    codes: Codes,
    losses: FloatArray,
    unlabelled: Codes,
    settings: PaperTrainingSettings,
    *,
    seed: int,
) -> tuple[FloatArray, list[float]]:
    """Predicted losses ``[m]`` of unlabelled architectures, and the curve of the predictor's training.

    Args:
        space: The search space.
        codes: ``[n, d]`` labelled architectures.
        losses: ``[n]`` their losses.
        unlabelled: ``[m, d]`` the others.
        settings: Sizes and schedule of the predictor.
        seed: Of its parameters and batches.
    """
    predictor = GraphPredictor(
        space, width=settings.predictor_width, layers=settings.predictor_layers, seed=seed
    )
    epochs = Epochs(
        settings.predictor_epochs,
        settings.predictor_batch,
        settings.predictor_learning_rate,
        betas=BETAS,
    )
    curve = predictor.fit(codes, losses, epochs, rng=np.random.default_rng([seed, 2]))
    return predictor.predict(unlabelled), curve


def _members(space: SearchSpace, settings: PaperTrainingSettings, seed: int) -> Codes:
    limit = ENUMERABLE if space.size <= ENUMERABLE else settings.sample
    return architectures(space, limit=limit, rng=np.random.default_rng([seed, 3]))


def _without(members: Codes, codes: Codes, cardinalities: tuple[int, ...]) -> Codes:
    """The members that are not among the codes."""
    rest: Codes = members[~np.isin(code_keys(members, cardinalities), code_keys(codes, cardinalities))]
    return rest


def _whole(space: SearchSpace) -> SearchSpace:
    """The space that the codes' meaning comes from: saved models are of it, not of the part searched."""
    return space.space if isinstance(space, Subset) else space
