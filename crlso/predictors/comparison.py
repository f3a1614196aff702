"""Predictors on the same labels, measured on the same networks that none of them saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from crlso.errors import UserError
from crlso.latent.splits import split_by_class
from crlso.latent.study import architectures
from crlso.predictors.agreement import Agreement, agreement
from crlso.predictors.protocol import Predictor
from crlso.protocols import Codes, Evaluator, FloatArray, SearchSpace
from crlso.spaces import Subset


@dataclass(frozen=True)
class ComparisonSettings:
    """What predictors are fitted to and measured on.

    Attributes:
        labels: Numbers of labelled classes, each a part of the next.
        splits: Random divisions of the classes; labels and predictors are new in each.
        held_out: Classes that are predicted; fewer where a space has no more beside the labels.
        sample: Architectures drawn from a space that has more codes than this; smaller spaces are used whole.
        seed: Of the first split; the next one has the next seed.
    """

    labels: tuple[int, ...] = (25, 50, 100, 200, 300)
    splits: int = 10
    held_out: int = 5000
    sample: int = 50_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.labels or min(self.labels) < 2:
            raise UserError(f"labels must be numbers of 2 or more, one at least, got {self.labels}")
        if len(set(self.labels)) < len(self.labels):
            raise UserError(f"labels: a number is given twice in {self.labels}")
        for name, least in (("splits", 1), ("held_out", 2), ("sample", 10), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be {least} or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class Measured:
    """One predictor with one number of labels.

    Attributes:
        predictor: Its name.
        labels: Labelled classes.
        splits: Its figures in each split.
        cpu_seconds: Mean CPU time of a fit and its predictions. The time in which a latent space is trained
            counts where it is first used: with the smallest number of labels of the first such predictor.
    """

    predictor: str
    labels: int
    splits: tuple[Agreement, ...]
    cpu_seconds: float

    def mean(self, figure: str) -> tuple[float, float | None]:
        """Mean over the splits of ``spearman``, ``kendall`` or ``top``, and its standard error.

        The error is ``None`` for a single split. Splits of one table share architectures: it says how much
        the draw of labels matters, not what another table would give.
        """
        values = np.array([getattr(split, figure) for split in self.splits])
        if len(values) < 2:
            return float(values.mean()), None
        return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


@dataclass(frozen=True)
class Comparison:
    """All that was measured.

    Attributes:
        held_out: Classes that were predicted in each split.
        rows: Of each predictor and number of labels.
    """

    held_out: int
    rows: tuple[Measured, ...]


def compare_predictors(
    evaluator: Evaluator,
    metric: str,
    make: Callable[[SearchSpace, int], Mapping[str, Predictor]],
    *,
    settings: ComparisonSettings,
    advance: Callable[[int, str], None] | None = None,
) -> Comparison:
    """Fits predictors to a few labels and measures them on held-out classes of identical networks.

    Classes never lie on both sides, and each counts once, with one of its codes drawn at random. In each
    split all predictors see the same labels; those of a smaller number are among those of a larger one.
    Failed evaluations (NaN) are left out on both sides.

    Args:
        evaluator: Where values come from.
        metric: What is predicted.
        make: Predictors by name, for a space and a seed; called once in every split.
        settings: Numbers of labels and of splits.
        advance: Called after every predictor of a split with the number of them so far and a short text.

    Raises:
        UnknownNameError: The evaluator has no such metric.
        UserError: Too few classes for the labels, or values without an order.
    """
    space = evaluator.space if evaluator.support is None else Subset(evaluator.space, evaluator.support)
    codes = architectures(space, limit=settings.sample, rng=np.random.default_rng([settings.seed, 3]))
    classes = len(np.unique(space.class_keys(codes)))
    held_out = min(settings.held_out, classes - max(settings.labels))
    if held_out < 2:
        raise UserError(
            f"{max(settings.labels)} labels and two held-out architectures need more than {classes} classes"
        )
    figures: dict[tuple[str, int], list[Agreement]] = {}
    seconds: dict[tuple[str, int], float] = {}
    done = 0
    for split in range(settings.splits):
        rng = np.random.default_rng([settings.seed + split, 4])
        parts = split_by_class(space, codes, share=held_out / classes, rng=rng)
        pool, test = _one_of_each(space, parts.train, rng), _one_of_each(space, parts.held_out, rng)
        pool = pool[: max(settings.labels)]
        values, truth = _values(evaluator, metric, pool), _values(evaluator, metric, test)
        test, truth = test[np.isfinite(truth)], truth[np.isfinite(truth)]
        for name, predictor in make(space, settings.seed + split).items():
            for count in sorted(settings.labels):
                known = np.isfinite(values[:count])
                if known.sum() < 2:
                    raise UserError(f"{metric}: fewer than two of {count} evaluations did not fail")
                start = time.process_time()
                predicted = predictor.fit(pool[:count][known], values[:count][known])(test)
                seconds[name, count] = seconds.get((name, count), 0.0) + time.process_time() - start
                figures.setdefault((name, count), []).append(agreement(predicted, truth))
            done += 1
            if advance is not None:
                advance(done, f"split {split + 1}, {name}")
    rows = [
        Measured(name, count, tuple(found), seconds[name, count] / settings.splits)
        for (name, count), found in figures.items()
    ]
    return Comparison(held_out, tuple(rows))


def _one_of_each(space: SearchSpace, codes: Codes, rng: np.random.Generator) -> Codes:
    """One code of each class, drawn at random, in random order."""
    shuffled = codes[rng.permutation(len(codes))]
    _, first = np.unique(space.class_keys(shuffled), return_index=True)
    return shuffled[np.sort(first)]


def _values(evaluator: Evaluator, metric: str, codes: Codes) -> FloatArray:
    """To be maximised."""
    answer = evaluator.evaluate(codes, metrics=[metric])[metric].to_numpy(dtype=np.float64)
    values: FloatArray = evaluator.metrics[metric].sign * answer
    return values
