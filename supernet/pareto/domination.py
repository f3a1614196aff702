"""Which members of a set are non-dominated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from crlso.errors import UserError
from crlso.protocols import BoolArray
from crlso.runs.pareto import Member


def non_dominated(accuracy: ArrayLike, params: ArrayLike, flops: ArrayLike) -> BoolArray:
    """``[n]``: no other has an accuracy as high at as few weights and as few multiply-accumulates.

    Of entries that are equal in all three the first one counts. Numbers are compared as they are, without
    tolerance. An entry with a NaN is not measured: it neither dominates nor is it non-dominated. Compares all
    pairs, ``n ** 2`` of them, a row at a time.

    Args:
        accuracy: ``[n]``, larger is better.
        params: ``[n]``, smaller is better.
        flops: ``[n]``, smaller is better.

    Raises:
        UserError: They are not equally long rows of numbers.
    """
    columns = [np.asarray(values, dtype=np.float64) for values in (accuracy, params, flops)]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
        shapes = ", ".join(str(column.shape) for column in columns)
        raise UserError(f"accuracy, params and flops must have one entry per member each, got {shapes}")
    costs = np.stack([-columns[0], *columns[1:]], axis=1)  # all three are to be small
    measured: BoolArray = np.logical_not(np.isnan(costs).any(axis=1))
    kept = measured.copy()
    for place in np.flatnonzero(measured):
        as_good = (costs <= costs[place]).all(axis=1) & measured
        better = (costs < costs[place]).any(axis=1)
        better[:place] = True  # of equals the first one counts
        better[place] = False
        kept[place] = not (as_good & better).any()
    return kept


def marked(members: Sequence[Member]) -> tuple[Member, ...]:
    """The members, each told whether its verified accuracy, weights and operations are non-dominated."""
    kept = non_dominated(
        [member.valid_accuracy for member in members],
        [member.params for member in members],
        [member.flops for member in members],
    )
    return tuple(
        replace(member, non_dominated=bool(is_kept)) for member, is_kept in zip(members, kept, strict=True)
    )
