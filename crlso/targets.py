"""What models of the performance are fitted to: a loss, smaller for better architectures."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy import stats

from crlso.errors import UnknownNameError
from crlso.protocols import FloatArray

TargetKind = Literal["rank", "raw"]


def rank_loss(values: FloatArray) -> FloatArray:
    """Normal scores of the ranks, negated: ``[n]`` values to be maximised -> ``[n]`` losses around zero.

    The value of rank r (1 is worst; ties share their mean rank) becomes ``-Phi^-1((r - 1/2) / n)``. A
    collapsed cell at chance level is then one bad architecture among others, not a gap of eighty points that
    a least squares fit spends its capacity on.
    """
    if len(values) == 0:
        return np.zeros(0)
    scores: FloatArray = -stats.norm.ppf((stats.rankdata(values) - 0.5) / len(values))
    return scores


def raw_loss(values: FloatArray) -> FloatArray:
    """The paper's target, ``1 - accuracy``, for accuracies in percent: ``[n]`` -> ``[n]``."""
    return 1.0 - values / 100.0


def check_target(name: str) -> TargetKind:
    """The name of a kind of target, as its type.

    Raises:
        UnknownNameError: There is no such kind.
    """
    for kind in get_args(TargetKind):
        if name == kind:
            known: TargetKind = kind
            return known
    raise UnknownNameError("target", name, get_args(TargetKind))


def losses(values: FloatArray, kind: TargetKind) -> FloatArray:
    """Targets of the named kind for values to be maximised."""
    return rank_loss(values) if kind == "rank" else raw_loss(values)
