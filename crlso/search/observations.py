"""What a search was told, as model-based methods need it: codes, values, and targets to fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Goal, Keys, SearchSpace
from crlso.spaces import codes as code_tools
from crlso.targets import rank_loss

SLOPE: Final = 0.05
"""Of the weighted sum beside the largest weighted loss (Knowles 2006, equation 2)."""


@final
class Observations:
    """All architectures told so far, in order, and one value for each: of several objectives, by weights.

    A single objective without constraints is its own value. Otherwise the value is minus the augmented
    Chebyshev norm of the weighted losses (ParEGO, Knowles 2006), whose minima over all weights are the whole
    front, its concave parts too. Departure: losses are normal scores of ranks, for which no range of the
    objectives has to be known. What violates constraints has less than all that meets them, the less the
    larger the sum of its violations. Failed ones (NaN) count like the worst of the others.

    Args:
        space: The space of the codes.
        goal: What the columns of the values are.
    """

    def __init__(self, space: SearchSpace, goal: Goal | None = None) -> None:
        self._space = space
        self._goal = goal or Goal()
        self.codes: Codes = np.zeros((0, len(space.cardinalities)), CODE_DTYPE)
        self._told: FloatArray = np.zeros((0, self._goal.objectives + self._goal.constraints))
        self.keys: Keys = np.zeros(0, np.uint64)

    def __len__(self) -> int:
        return len(self.codes)

    def add(self, codes: Codes, values: FloatArray) -> None:
        """Takes what was told: ``[n, d]``, ``[n, m]``; columns beyond the goal's are left out."""
        self.codes = np.concatenate([self.codes, codes])
        self._told = np.concatenate([self._told, values[:, : self._told.shape[1]]])
        self.keys = np.concatenate([self.keys, self._space.class_keys(codes)])

    def values(self, weights: FloatArray | None = None) -> FloatArray:
        """``[n]`` values without gaps, to be maximised; 0 where all failed.

        Args:
            weights: ``[objectives]`` of the objectives, summing to 1; ``None``: equal ones.
        """
        known = ~np.isnan(self._told).any(axis=1)
        values = np.zeros(len(self._told))
        if known.any():
            values[known] = self._one_value(self._told[known], weights)
            values[~known] = values[known].min()
        return values

    def _one_value(self, told: FloatArray, weights: FloatArray | None) -> FloatArray:
        count = self._goal.objectives
        objectives, margins = told[:, :count], told[:, count:]
        if count == 1:
            values = objectives[:, 0]
        else:
            shares = np.full(count, 1 / count) if weights is None else weights
            losses = np.stack([rank_loss(column) for column in objectives.T], axis=1)
            weighted = shares * (losses - losses.min(axis=0))
            values = -(weighted.max(axis=1) + SLOPE * weighted.sum(axis=1))
        violation = np.maximum(-margins, 0.0).sum(axis=1)
        return np.where(violation > 0, values.min() - violation, values)

    def targets(self) -> FloatArray:
        """``[n]`` normal scores of the ranks, larger for better ones."""
        return -rank_loss(self.values())

    def order(self, weights: FloatArray | None = None) -> NDArray[np.intp]:
        """``[n]`` indices, the best first; earlier ones first among equals."""
        return np.argsort(-self.values(weights), kind="stable")

    def best(self, count: int) -> Codes:
        """``[m, d]``, m <= ``count``: the best ones in that order."""
        return self.codes[self.order()[:count]]

    def state_dict(self) -> dict[str, Any]:
        """Codes and values as told."""
        return {"codes": self.codes, "values": self._told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over ``state``; the keys follow from it."""
        self.codes = np.asarray(state["codes"], dtype=CODE_DTYPE)
        self._told = np.asarray(state["values"], dtype=np.float64)
        self.keys = self._space.class_keys(self.codes)


@final
class Representatives:
    """One code for each class of identical networks, so that a model can not take them for different ones.

    In a space that is too large to know its representatives (see :meth:`SearchSpace.canonical`) the codes are
    taken as they are. Representatives are remembered in spaces of up to 100,000 codes; they follow from the
    space and are no part of a state.

    Args:
        space: The space of the codes.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._canonical: bool | None = None
        count = code_tools.count(space.cardinalities)
        self._known: NDArray[np.int64] | None = None
        """Rank of each code's representative, -1 where not worked out yet; ``None``: too many codes."""
        if count <= code_tools.MAX_LISTED:
            self._known = np.full(count, -1, dtype=np.int64)

    def __call__(self, codes: Codes) -> Codes:
        """``[n, d]`` -> ``[n, d]``."""
        if self._canonical is None:
            try:
                self._space.canonical(codes[:1])
            except UserError:
                self._canonical = False
            else:
                self._canonical = True
        if not self._canonical:
            return codes
        if self._known is None:
            return self._space.canonical(codes)
        cardinalities = self._space.cardinalities
        ranks = code_tools.ravel(codes, cardinalities)
        new = self._known[ranks] < 0
        if new.any():
            found = self._space.canonical(codes[new])
            self._known[ranks[new]] = code_tools.ravel(found, cardinalities)
        return code_tools.unravel(self._known[ranks], cardinalities)


@final
class OneHot:
    """One-hot features of the representative of each class: identical networks have identical features.

    Args:
        space: The space of the codes.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._offsets = np.concatenate([[0], np.cumsum(space.cardinalities)])
        self._representatives = Representatives(space)

    @property
    def width(self) -> int:
        """Number of features, the sum of the cardinalities."""
        return int(self._offsets[-1])

    def __call__(self, codes: Codes) -> FloatArray:
        """``[n, d]`` codes -> ``[n, width]`` zeros and ones, a single one per position."""
        rows = self._representatives(codes)
        features = np.zeros((len(rows), self.width))
        features[np.arange(len(rows))[:, None], rows + self._offsets[:-1]] = 1.0
        return features
