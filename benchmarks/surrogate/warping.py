"""Labels as normal scores, and back: what makes one regression fit metrics of any distribution.

Accuracies have a long tail of networks that learn nothing; a model of second degree would spend itself on it.
The scores keep the order alone. Between them a label is interpolated, beyond them it goes on in a straight
line, so that a prediction can be better than all that was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crlso.protocols import FloatArray

KNOTS = 256
"""Points of the curve from scores to labels."""

_TAIL = 0.1  # share of the labels whose slope the curve goes on with


@dataclass(frozen=True)
class Warp:
    """A rising curve between scores and labels.

    Attributes:
        scores: ``[k]`` rising.
        labels: ``[k]`` not falling.
        below: Slope before the first score.
        above: Slope after the last one.
    """

    scores: FloatArray
    labels: FloatArray
    below: float
    above: float

    def to_labels(self, scores: FloatArray) -> FloatArray:
        """``[n]`` labels of scores ``[n]``."""
        inside = np.interp(scores, self.scores, self.labels)
        below = np.minimum(scores - self.scores[0], 0) * self.below
        above = np.maximum(scores - self.scores[-1], 0) * self.above
        return np.asarray(inside + below + above)


def fit_warp(labels: FloatArray) -> tuple[Warp, FloatArray]:
    """The curve of labels ``[n]``, and their normal scores ``[n]``: equal labels have equal ones."""
    from scipy.stats import norm, rankdata

    scores = norm.ppf((rankdata(labels) - 0.5) / len(labels))
    known, first = np.unique(scores, return_index=True)
    values = labels[first]
    places = np.unique(np.linspace(0, len(known) - 1, KNOTS).round().astype(np.intp))
    low, high = np.quantile(scores, [_TAIL, 1 - _TAIL])
    below = (np.interp(low, known, values) - values[0]) / max(low - known[0], 1e-9)
    above = (values[-1] - np.interp(high, known, values)) / max(known[-1] - high, 1e-9)
    return Warp(known[places], values[places], float(below), float(above)), scores
