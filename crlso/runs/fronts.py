"""Non-dominated sets and their hypervolume. All objectives are to be maximised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crlso.protocols import FloatArray


def non_dominated(values: FloatArray) -> NDArray[np.intp]:
    """Rows that no other row dominates, in their order; of equal rows the first.

    A row dominates another if it is at least as good everywhere and better somewhere. Rows with NaN are left
    out.

    Args:
        values: ``[n, m]``, to be maximised.
    """
    rows = np.flatnonzero(~np.isnan(values).any(axis=1))
    # Best first: what dominates a row comes before it.
    order = rows[np.lexsort((rows, *(-values[rows].T)[::-1]))]
    if values.shape[1] == 2:
        second = values[order, 1]
        best_before = np.concatenate([[-np.inf], np.maximum.accumulate(second)[:-1]])
        return np.sort(order[second > best_before])
    kept = np.empty((0, values.shape[1]))
    taken: list[int] = []
    for row in order.tolist():
        if not (kept >= values[row]).all(axis=1).any():
            kept = np.concatenate([kept, values[row][None]])
            taken.append(row)
    return np.sort(np.array(taken, dtype=np.intp))


def hypervolume(values: FloatArray, reference: FloatArray) -> float:
    """Volume that is dominated by the rows and dominates the reference point (Zitzler and Thiele 1999).

    Exact, by slices along the last objective: fast for two and three objectives and for small sets of more.

    Args:
        values: ``[n, m]``, to be maximised; rows that do not exceed the reference everywhere, or with NaN,
            count nothing.
        reference: ``[m]``.

    Example:
        >>> hypervolume(np.array([[2.0, 1.0], [1.0, 2.0]]), np.zeros(2))
        3.0
    """
    above = values[(values > reference).all(axis=1)] - reference
    return _volume(above[non_dominated(above)])


def hypervolume_curve(values: FloatArray, reference: FloatArray) -> FloatArray:
    """``[n]``: hypervolume of the rows so far.

    Args:
        values: ``[n, m]`` in the order of evaluation; NaN where an evaluation does not count.
        reference: ``[m]``.
    """
    curve = np.zeros(len(values))
    front = np.empty((0, values.shape[1]))
    volume = 0.0
    for place, row in enumerate(values):
        # Comparisons with NaN are false.
        if (row > reference).all() and not (front >= row).all(axis=1).any():
            front = np.concatenate([front[~(front <= row).all(axis=1)], row[None]])
            volume = _volume(front - reference)
        curve[place] = volume
    return curve


def _volume(front: FloatArray) -> float:
    """Of ``[n, m]`` positive, non-dominated rows above the origin."""
    if not len(front):
        return 0.0
    if front.shape[1] == 1:
        return float(front.max())
    order = np.argsort(-front[:, -1], kind="stable")
    front = front[order]
    if front.shape[1] == 2:
        # From the largest second objective down, the first one grows.
        widths = np.diff(np.maximum.accumulate(front[:, 0]), prepend=0.0)
        return float(widths @ front[:, 1])
    depths = front[:, -1] - np.append(front[1:, -1], 0.0)
    volume, slices = 0.0, np.empty((0, front.shape[1] - 1))
    for row, depth in zip(front[:, :-1], depths, strict=True):
        if not (slices >= row).all(axis=1).any():
            slices = np.concatenate([slices[~(slices <= row).all(axis=1)], row[None]])
        volume += depth * _volume(slices)
    return float(volume)
