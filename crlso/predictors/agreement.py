"""How far predictions agree with the truth, where only the order counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from crlso.errors import UserError
from crlso.protocols import FloatArray

TOP: Final = 0.05
"""Share of the architectures that are called the best ones."""


@dataclass(frozen=True)
class Agreement:
    """Three figures, 1 for the right order.

    Attributes:
        spearman: Spearman's rank correlation.
        kendall: Kendall's tau-b.
        top: Share of the predicted best 5 % that are among the true best 5 %; 0.05 for a guess.
    """

    spearman: float
    kendall: float
    top: float


def agreement(predicted: FloatArray, truth: FloatArray) -> Agreement:
    """Of ``[n]`` predictions and ``[n]`` values, larger ones better in both, finite.

    Predictions that are all the same say nothing: their correlations count as 0.

    Raises:
        UserError: Fewer than two different values.
    """
    if len(np.unique(truth)) < 2:
        raise UserError("the values to be predicted are all the same: there is no order in them")
    top = top_overlap(predicted, truth)
    if len(np.unique(predicted)) < 2:
        return Agreement(0.0, 0.0, top)
    return Agreement(
        float(stats.spearmanr(predicted, truth).statistic),
        float(stats.kendalltau(predicted, truth).statistic),
        top,
    )


def top_overlap(predicted: FloatArray, truth: FloatArray, share: float = TOP) -> float:
    """Share of the predicted best that are among the true best, as many in each (rounded, one at least).

    What is as good as the last of the true best is one of them. Among equal predictions earlier ones are
    taken first.

    Args:
        predicted: ``[n]``, larger is better.
        truth: ``[n]``, larger is better.
        share: How many are the best ones, as a share of all.
    """
    count = max(1, round(share * len(truth)))
    chosen = np.argsort(-predicted, kind="stable")[:count]
    least = np.sort(truth)[-count]
    return float(np.mean(truth[chosen] >= least))
