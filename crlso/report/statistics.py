"""Statistics over seeds: mean, standard error, Student t intervals, median and quartiles, paired differences.

Every function takes seeds along the first axis and leaves NaN (a failed or missing evaluation) out, column by
column. With fewer than two seeds there is no standard error and no interval; they are NaN then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from crlso.protocols import FloatArray

LEVEL = 0.95
"""Confidence level of every interval in the report."""


@dataclass(frozen=True)
class Spread:
    """What is known of a quantity from its values over seeds; fields have the shape of one seed's value.

    Attributes:
        n: Number of seeds that have a value.
        mean: Arithmetic mean.
        sem: Standard error of the mean, ``sd(ddof=1) / sqrt(n)``.
        low: Lower end of the two-sided Student t interval of the mean.
        high: Its upper end.
        median: Median over seeds.
        lower_quartile: 25 % quantile (linear interpolation).
        upper_quartile: 75 % quantile.
    """

    n: FloatArray
    mean: FloatArray
    sem: FloatArray
    low: FloatArray
    high: FloatArray
    median: FloatArray
    lower_quartile: FloatArray
    upper_quartile: FloatArray


def spread(values: FloatArray, level: float = LEVEL) -> Spread:
    """Describe values over seeds.

    Args:
        values: ``[seeds, ...]``; NaN where a seed has no value.
        level: Confidence level of the interval.

    Returns:
        Fields of shape ``values.shape[1:]``; the t interval is ``mean -+ t(n - 1) * sem``.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or values.shape[0] == 0:
        nothing = np.full(values.shape[1:], np.nan)
        return Spread(np.zeros(values.shape[1:]), *([nothing] * 7))
    known = np.isfinite(values)
    n = known.sum(axis=0).astype(np.float64)
    one, two = np.maximum(n, 1.0), np.maximum(n - 1.0, 1.0)
    mean = np.where(n > 0, np.where(known, values, 0.0).sum(axis=0) / one, np.nan)
    squares = np.where(known, values - np.where(n > 0, mean, 0.0), 0.0) ** 2
    sem = np.where(n > 1, np.sqrt(squares.sum(axis=0) / two / one), np.nan)
    reach = stats.t.ppf(0.5 + level / 2.0, two) * sem
    quartiles = [_quantile(values, known, q) for q in (0.5, 0.25, 0.75)]
    return Spread(n, mean, sem, mean - reach, mean + reach, *quartiles)


def paired(values: FloatArray, reference: FloatArray, level: float = LEVEL) -> Spread:
    """Describe ``values - reference`` seed by seed; a seed counts where both are known.

    Args:
        values: ``[seeds, ...]``.
        reference: The same shape, row ``i`` of the same seed.
        level: Confidence level of the interval.

    Returns:
        The spread of the differences; the mean differs from zero at ``level`` where ``low * high > 0``.
    """
    return spread(np.asarray(values, dtype=np.float64) - np.asarray(reference, dtype=np.float64), level)


def _quantile(values: FloatArray, known: np.ndarray, q: float) -> FloatArray:
    """Quantile over known values (``numpy.nanquantile`` without its warning where nothing is known)."""
    count = known.sum(axis=0)
    ordered = np.sort(np.where(known, values, np.inf), axis=0)
    place = q * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    first = np.take_along_axis(ordered, below[None, ...], axis=0)[0]
    second = np.take_along_axis(ordered, above[None, ...], axis=0)[0]
    with np.errstate(invalid="ignore"):
        between = first + (second - first) * (place - below)
    return np.where(count > 0, between, np.nan)
