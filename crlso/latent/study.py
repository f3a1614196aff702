"""A latent space on its own: trained on part of a space's classes, measured on the classes held out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crlso.errors import UserError
from crlso.latent.convexity import ConvexityReport, check_convexity
from crlso.latent.model import LatentModel, ModelSettings, sizes_for
from crlso.latent.quality import LatentQuality, draw_latents, measure
from crlso.latent.splits import split_by_class
from crlso.latent.storage import save
from crlso.latent.training import Labels, Trainer, TrainingCurves, TrainingSettings
from crlso.protocols import CODE_DTYPE, Codes, Evaluator, FloatArray, SearchSpace
from crlso.settings import check_seed
from crlso.spaces import Subset
from crlso.targets import TargetKind, losses
from crlso.threads import threads


@dataclass(frozen=True)
class StudySettings:
    """What a latent space is trained and measured on.

    Attributes:
        labels: Training architectures whose performance the heads are fitted to, drawn at random; 0: none.
        target: ``rank``, ``raw`` or ``logit`` (:mod:`crlso.targets`).
        held_out: Share of the exact classes that is held out.
        sample: Architectures drawn from a space that has more codes than this; smaller spaces are used whole.
        seed: Of the split, the labels, the parameters and the batches.
    """

    labels: int = 1000
    target: TargetKind = "rank"
    held_out: float = 0.1
    sample: int = 50_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UserError(f"the held-out share must lie between 0 and 1, got {self.held_out}")
        if self.labels < 0 or self.sample < 10:
            raise UserError("labels must be 0 or more, sample 10 or more")
        check_seed(self.seed)


@dataclass(frozen=True)
class LatentStudy:
    """A trained model with all that was measured of it.

    Attributes:
        model: The model.
        quality: Figures on held-out classes.
        convexity: The worst of all heads, in float64, over posterior samples.
        curves: Training curves.
        labels: Number of labels really used.
        cpu_seconds: CPU time of the training.
    """

    model: LatentModel
    quality: LatentQuality
    convexity: ConvexityReport
    curves: TrainingCurves
    labels: int
    cpu_seconds: float


def architectures(space: SearchSpace, *, limit: int, rng: np.random.Generator) -> Codes:
    """All valid codes of a space of at most ``limit`` codes, else ``limit`` sampled ones, each once."""
    if space.size <= limit:
        return np.concatenate([np.zeros((0, len(space.cardinalities)), CODE_DTYPE), *space.enumerate()])
    return np.unique(space.sample(limit, rng), axis=0)


def train_latent(
    space: SearchSpace,
    *,
    evaluator: Evaluator | None = None,
    metric: str | None = None,
    settings: StudySettings | None = None,
    model: ModelSettings | None = None,
    training: TrainingSettings | None = None,
    advance: Callable[[int, str], None] | None = None,
) -> LatentStudy:
    """Trains a latent space and measures it on held-out isomorphism classes.

    Args:
        space: The search space.
        evaluator: Where labels come from; without one the heads stay untrained.
        metric: The evaluator's metric to predict.
        settings: Data and seed.
        model: Sizes; ``None``: those that the space's codes need (:func:`~crlso.latent.model.sizes_for`).
        training: Steps and weights.
        advance: Called after every step with the steps done and a short text.

    Raises:
        UnknownNameError: The evaluator has no such metric.
        UserError: A space too small to hold a class out.
    """
    settings = settings or StudySettings()
    training = training or TrainingSettings()
    rng = np.random.default_rng([settings.seed, 2])
    members = space if evaluator is None or evaluator.support is None else Subset(space, evaluator.support)
    split = split_by_class(
        space,
        architectures(members, limit=settings.sample, rng=rng),
        share=settings.held_out,
        rng=rng,
    )
    if len(split.train) == 0:
        raise UserError(
            f"{space.name} has too few classes of architectures to hold out {settings.held_out:.1%} of them"
        )
    network = LatentModel(space, model or sizes_for(space), seed=settings.seed)
    labels = None
    truth = None
    if evaluator is not None and metric is not None and settings.labels:
        labels = _labels(split.train, evaluator, metric, settings, heads=network.settings.heads, rng=rng)
        truth = _values(split.held_out, evaluator, metric)
    start = time.process_time()
    trainer = Trainer(
        network,
        lambda n, generator: split.train[generator.integers(0, len(split.train), n)],
        training,
        seed=settings.seed,
    )
    with threads():
        curves = trainer.run(training.steps, labels, advance=advance)
        seconds = time.process_time() - start
        quality = measure(
            network,
            train=split.train,
            held_out=split.held_out,
            beta=training.beta,
            seed=settings.seed,
            truth=truth,
        )
    return LatentStudy(
        model=network,
        quality=quality,
        convexity=model_convexity(network, split.train, pairs=20_000, seed=settings.seed),
        curves=curves,
        labels=0 if labels is None else len(labels.codes),
        cpu_seconds=seconds,
    )


def model_convexity(
    model: LatentModel, codes: Codes, *, pairs: int = 100_000, seed: int = 0
) -> ConvexityReport:
    """The midpoint check of every head in float64, over posterior samples of the codes.

    What comes back is the worst of all heads: the largest violation, and the gap of the flattest head.
    """
    points = draw_latents(model, codes)

    def check(index: int) -> ConvexityReport:
        head = model.heads.head(index).double()

        def values(z: torch.Tensor) -> torch.Tensor:
            # In parts that stay in the processor's cache.
            return torch.cat([head(part)[0] for part in torch.split(z, 4096)])

        return check_convexity(values, points, pairs=pairs, seed=seed)

    with threads():
        reports = [check(index) for index in range(model.heads.heads)]
    worst = max(reports, key=lambda report: report.worst_violation - report.tolerance)
    flattest = min(reports, key=lambda report: report.relative_gap)
    return replace(worst, mean_gap=flattest.mean_gap, deviation=flattest.deviation)


def save_study(study: LatentStudy, directory: Path, *, facts: dict[str, Any]) -> None:
    """Saves the model with everything that was measured of it (:func:`crlso.latent.storage.save`)."""
    save(
        study.model,
        directory,
        facts={
            **facts,
            "labels": study.labels,
            "cpu_seconds": study.cpu_seconds,
            "quality": asdict(study.quality),
            "convexity": asdict(study.convexity),
            "curves": asdict(study.curves),
        },
    )


def _values(codes: Codes, evaluator: Evaluator, metric: str) -> FloatArray:
    answer = evaluator.evaluate(codes, metrics=[metric])[metric].to_numpy(dtype=np.float64)
    values: FloatArray = evaluator.metrics[metric].sign * answer
    return values


def _labels(
    codes: Codes,
    evaluator: Evaluator,
    metric: str,
    settings: StudySettings,
    *,
    heads: int,
    rng: np.random.Generator,
) -> Labels:
    chosen = codes[rng.permutation(len(codes))[: settings.labels]]
    values = _values(chosen, evaluator, metric)
    known = np.isfinite(values)
    weights = rng.exponential(size=(heads, int(known.sum())))
    return Labels(chosen[known], losses(values[known], settings.target), weights)
