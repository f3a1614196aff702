"""What models of the performance are fitted to: a loss, smaller for better architectures."""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
from scipy import special, stats

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import FloatArray

TargetKind = Literal["rank", "raw", "logit"]

CLIP: Final = 0.1
"""Per cent that an accuracy is kept away from 0 and 100, where its logit is not finite."""


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


def logit_loss(values: FloatArray) -> FloatArray:
    """Minus the logit of an accuracy in per cent: ``[n]`` -> ``[n]``.

    What halves the error counts alike at 80 and at 98 per cent; accuracies are kept 0.1 away from 0 and 100.

    Raises:
        UserError: A value is no accuracy in per cent.
    """
    if len(values) and not (values.min() >= 0 and values.max() <= 100):
        wrong = values.min() if values.min() < 0 else values.max()
        raise UserError(
            f"target=logit takes accuracies in per cent, got {wrong:g}; target=rank takes any value"
        )
    scores: FloatArray = -special.logit(np.clip(values, CLIP, 100 - CLIP) / 100)
    return scores


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
    """Targets of the named kind for values to be maximised: ``[n]`` -> ``[n]``.

    Raises:
        UserError: The kind does not take these values.
    """
    match kind:
        case "rank":
            return rank_loss(values)
        case "raw":
            return raw_loss(values)
        case "logit":
            return logit_loss(values)


def centred_losses(values: FloatArray, kind: TargetKind) -> FloatArray:
    """The same around zero, as models without a constant need them: ``[n]`` -> ``[n]``.

    Ranks are as they are; others get mean 0 and deviation 1 (0 where all values are equal).

    Raises:
        UserError: The kind does not take these values.
    """
    targets = losses(values, kind)
    if kind == "rank" or not len(targets):
        return targets
    centred: FloatArray = targets - targets.mean()
    deviation = float(centred.std())
    # Equal values leave rounding alone, which is not to be blown up.
    return centred / deviation if deviation > 1e-12 else np.zeros(len(targets))
