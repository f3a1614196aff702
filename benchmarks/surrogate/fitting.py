"""Fitting our surrogate to a table, and measuring it on architectures that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.store import Header
from benchmarks.surrogate.baselines import BASELINES, Predict
from benchmarks.surrogate.evaluator import SurrogateEvaluator
from benchmarks.surrogate.features import features
from benchmarks.surrogate.model import QuadraticSurrogate
from benchmarks.surrogate.quadratic import Weights, fit_quadratic
from benchmarks.surrogate.storage import read_surrogate, write_surrogate
from benchmarks.surrogate.warping import fit_warp
from benchmarks.table import TableEvaluator
from crlso.errors import UserError
from crlso.protocols import Codes, FloatArray, Metric
from crlso.spaces import space_to_dict

FITTER = "crlso.surrogate/1"
SURROGATE = "surrogate"
"""What our model is called beside the baselines."""

MOST_ROWS = 10_000
"""Training rows at most, unless stated: memory grows as their square, time as their third power."""

MOST_SPLITS = 1000
_LEAST_ROWS = 20
_LEAST_CHECKED = 3


@dataclass(frozen=True)
class FitOptions:
    """How to fit and measure.

    Attributes:
        held_out: Architectures to measure on; below 1 a share of the table.
        train: Architectures to fit on at most; they are a random part of those that are not held out.
        seed: Decides what is held out.
        splits: How often to split, fit and measure; the surrogate of the first split is the one that is kept.
        baselines: Whether to fit and measure the baselines, too.

    Raises:
        UserError: A number that makes no sense.
    """

    held_out: float = 0.1
    train: int = MOST_ROWS
    seed: int = 0
    splits: int = 1
    baselines: bool = True

    def __post_init__(self) -> None:
        whole = math.isfinite(self.held_out) and self.held_out == int(self.held_out)
        if not (0 < self.held_out < 1 or (self.held_out >= 1 and whole)):
            raise UserError(f"held out: {self.held_out}; a number of architectures, or a share below 1")
        for name, value, least in (("train", self.train, _LEAST_ROWS), ("splits", self.splits, 1)):
            if value < least:
                raise UserError(f"{name} is {value}; at least {least}")
        if self.splits > MOST_SPLITS:
            raise UserError(f"splits is {self.splits}; at most {MOST_SPLITS}")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; at least 0")


@dataclass(frozen=True)
class Check:
    """Real values to rank by the prediction: a metric of a table over the same space."""

    table: TableEvaluator
    metric: str


@dataclass(frozen=True)
class Quality:
    """How well one model predicts architectures that it was not fitted to.

    Attributes:
        model: :data:`SURROGATE` or the name of a baseline.
        measured_on: What it was measured on, in words.
        n: Number of architectures that it was measured on in each split.
        spearman: Rank correlation in each split.
        r2: Share of the variance that is explained, in each split; empty where another metric is ranked.
        rmse: Root mean squared error in each split, in the metric's unit; empty likewise.
    """

    model: str
    measured_on: str
    n: int
    spearman: tuple[float, ...]
    r2: tuple[float, ...] = ()
    rmse: tuple[float, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """What :func:`fit_surrogate` made.

    Attributes:
        evaluator: The surrogate, as it was read back from its file.
        header: What the file says about itself; ``details["quality"]`` has the figures.
        quality: The surrogate's figures, then the baselines'.
    """

    evaluator: SurrogateEvaluator
    header: Header
    quality: tuple[Quality, ...]


def fit_surrogate(
    table: TableEvaluator,
    metric: str,
    path: Path,
    *,
    name: str,
    options: FitOptions | None = None,
    checks: Sequence[Check] = (),
    on_step: Callable[[str], None] = lambda _: None,
) -> Fitted:
    """Fit the surrogate to a metric of a table, measure it, and write it to a file.

    What is kept is the very model that was measured: it has not seen what was held out, nor a network that is
    identical to one of them.

    Args:
        table: Architectures without a value are left out.
        metric: What to predict.
        path: The file to write.
        name: Name of the surrogate.
        options: How to fit and measure.
        checks: Other metrics to rank by the prediction.
        on_step: Hears what is being done.

    Raises:
        UnknownNameError: The table has no such metric.
        UserError: Too few architectures, all values the same, or a check over another space.
        RunError: The file can not be written.
    """
    options = options or FitOptions()
    target = table.column(metric)
    known = np.flatnonzero(~np.isnan(target))
    codes, labels = table.codes[known], target[known]
    for check in checks:
        check.table.column(check.metric)
        if space_to_dict(check.table.space) != space_to_dict(table.space):
            raise UserError(
                f"table {check.table.name!r} is over {check.table.space.name}, not {table.space.name}: "
                "it can not check this surrogate"
            )
    measured: list[_Measured] = []
    kept: tuple[QuadraticSurrogate, Weights, int] | None = None
    for split in range(options.splits):
        rng = np.random.default_rng([options.seed, split])
        train, test = _split(table.space.class_keys(codes), options, rng)
        on_step(f"split {split + 1} of {options.splits}: {SURROGATE}, {len(train):,} architectures")
        warp, scores = fit_warp(labels[train])
        form, weights = fit_quadratic(features(table.space, codes[train]), scores, rng=rng)
        model = QuadraticSurrogate(table.space, form, warp, 0.0)
        models: dict[str, Predict] = {SURROGATE: _single(model)}
        for title, fit in BASELINES.items() if options.baselines else ():
            on_step(f"split {split + 1} of {options.splits}: {title}")
            models[title] = fit(table.space, codes[train], labels[train], np.random.default_rng(options.seed))
        measured += _measure(models, codes[test], labels[test])
        measured += _ranked(models, checks, seen=table.space.class_keys(codes[train]))
        if kept is None:
            error = model.predict(codes[test])[0] - labels[test]
            deviation = float(np.sqrt(np.mean(error**2)))
            kept = QuadraticSurrogate(table.space, form, warp, deviation), weights, len(train)
    assert kept is not None  # there is one split or more
    quality = _joined(measured)
    model, weights, rows = kept
    details, arrays = model.to_arrays()
    header = Header(
        name=name,
        space=space_to_dict(table.space),
        metrics=(_predicted(table, metric, quality[0], rows),),
        rows=0,
        source={f"fitted {key}": value for key, value in table.fingerprint.items()},
        importer=FITTER,
        description=f"surrogate of {metric} of table {table.name}, fitted to {rows:,} architectures",
        details=details
        | {
            "metric": metric,
            "train": rows,
            "options": asdict(options),
            "weights": {
                "groups": weights.groups.tolist(),
                "products": weights.products,
                "noise": weights.noise,
            },
            "quality": [asdict(each) for each in quality],
        },
    )
    write_surrogate(path, header, arrays)
    return Fitted(read_surrogate(path)[0], header, quality)


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over splits and its standard error; ``None`` for a single split."""
    if len(values) < 2:
        return float(np.mean(values)), None
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))


@dataclass(frozen=True)
class _Measured:
    """One model on one set of architectures in one split."""

    model: str
    measured_on: str
    n: int
    spearman: float
    r2: float | None = None
    rmse: float | None = None


def _split(
    keys: NDArray[np.uint64], options: FitOptions, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to fit on and rows to measure on, which hold one of each class of identical networks.

    No network is on both sides, and none counts more than once: NAS-Bench-201 has one in 341 forms.
    """
    order = rng.permutation(len(keys))
    _, first = np.unique(keys[order], return_index=True)
    wanted = options.held_out if options.held_out >= 1 else options.held_out * len(first)
    test = np.sort(rng.permutation(order[first])[: max(1, round(wanted))])
    train = np.flatnonzero(~np.isin(keys, keys[test]))
    train = np.sort(rng.permutation(train)[: options.train])
    if len(train) < _LEAST_ROWS or len(test) < _LEAST_ROWS:
        raise UserError(
            f"{len(keys)} architectures with a value give {len(train)} to fit on and {len(test)} to measure "
            f"on; at least {_LEAST_ROWS} of each"
        )
    return train, test


def _single(model: QuadraticSurrogate) -> Predict:
    return lambda codes: model.predict(codes)[0]


def _measure(models: Mapping[str, Predict], codes: Codes, labels: FloatArray) -> list[_Measured]:
    found = []
    for name, predict in models.items():
        predicted = predict(codes)
        error = float(np.mean((predicted - labels) ** 2))
        r2 = 1 - error / float(labels.var()) if labels.var() > 0 else 0.0
        rank = _spearman(predicted, labels)
        found.append(_Measured(name, "held out", len(labels), rank, r2, math.sqrt(error)))
    return found


def _ranked(
    models: Mapping[str, Predict], checks: Sequence[Check], *, seen: NDArray[np.uint64]
) -> list[_Measured]:
    """The checks, on networks that were not fitted to, each counted once."""
    found = []
    for check in checks:
        values = check.table.column(check.metric)
        known = np.flatnonzero(~np.isnan(values))
        keys, first = np.unique(check.table.space.class_keys(check.table.codes[known]), return_index=True)
        rows = known[np.sort(first[~np.isin(keys, seen)])]
        if len(rows) < _LEAST_CHECKED:
            raise UserError(
                f"table {check.table.name!r} has {len(rows)} networks with {check.metric} that the surrogate"
                f" was not fitted to; a check takes {_LEAST_CHECKED} or more"
            )
        for name, predict in models.items():
            rank = _spearman(predict(check.table.codes[rows]), values[rows])
            found.append(_Measured(name, f"{check.table.name}:{check.metric}", len(rows), rank))
    return found


def _spearman(first: FloatArray, second: FloatArray) -> float:
    """Rank correlation; 0 where one side is constant."""
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _joined(measured: Sequence[_Measured]) -> tuple[Quality, ...]:
    """The figures of all splits together, in the order of the first."""
    groups: dict[tuple[str, str], list[_Measured]] = {}
    for each in measured:
        groups.setdefault((each.measured_on, each.model), []).append(each)
    return tuple(
        Quality(
            model,
            measured_on,
            group[0].n,
            tuple(each.spearman for each in group),
            tuple(each.r2 for each in group if each.r2 is not None),
            tuple(each.rmse for each in group if each.rmse is not None),
        )
        for (measured_on, model), group in groups.items()
    )


def _predicted(table: TableEvaluator, metric: str, quality: Quality, rows: int) -> Metric:
    """What the surrogate answers."""
    stated = table.metrics[metric]
    return Metric(
        f"surrogate:{metric}",
        stated.direction,
        stated.unit,
        f"a surrogate's prediction, not a measurement: of {metric} of table {table.name!r} "
        f"({stated.description}); fitted to {rows:,} architectures, on {quality.n:,} others "
        f"Spearman {quality.spearman[0]:.4f}, R2 {quality.r2[0]:.4f}, RMSE {quality.rmse[0]:.4g}",
    )
