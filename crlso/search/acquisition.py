"""Where a model of the performance is highest: scans of small spaces, climbs in large ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from crlso.errors import UserError
from crlso.protocols import Code, Codes, FloatArray, Keys, SearchSpace

SCAN_LIMIT: Final = 40_000
"""Largest space that is scanned from end to end: both spaces of NATS-Bench are."""

Score = Callable[[Codes], FloatArray]
"""``[n, d]`` codes to ``[n]`` scores, larger for what is rather to be asked."""


@dataclass(frozen=True)
class ClimbSettings:
    """How a space is searched that is too large to scan.

    Attributes:
        random_starts: Climbs from random architectures, besides those from the given starts.
        steps: Steps of a climb at most.
        neighbors: Neighbours of each climb that are scored in a step, drawn at random where there are more.
    """

    random_starts: int = 8
    steps: int = 30
    neighbors: int = 64

    def __post_init__(self) -> None:
        if self.random_starts < 1 or self.steps < 1 or self.neighbors < 1:
            raise UserError(
                "random_starts, steps and neighbors of a climb must be 1 or more, got "
                f"{self.random_starts}, {self.steps} and {self.neighbors}"
            )


@final
class Acquisition:
    """Finds the architectures with the highest scores among those not asked yet.

    A space of up to ``scan_limit`` codes is scanned: every class of identical networks is scored, by its
    first code in the order of :meth:`SearchSpace.enumerate`. A larger one is climbed, from the given starts
    and from random ones in parallel: in each step a climb moves to its best neighbour if that is better.
    All that was scored on the way is a candidate.

    The list of classes is kept between calls. It follows from the space alone and is no part of a state.

    Args:
        space: Where to look.
        scan_limit: Largest :attr:`SearchSpace.size` that is scanned.
        climb: How a larger space is searched.
    """

    def __init__(
        self, space: SearchSpace, *, scan_limit: int = SCAN_LIMIT, climb: ClimbSettings | None = None
    ) -> None:
        self._space = space
        self._scanned = space.size <= scan_limit
        self._climb_settings = ClimbSettings() if climb is None else climb
        self._classes: tuple[Codes, Keys] | None = None

    @property
    def scanned(self) -> bool:
        """Whether the space is small enough to be scanned; :meth:`best` is exact then."""
        return self._scanned

    def classes(self) -> tuple[Codes, Keys]:
        """``[n, d]`` one code of each class of identical networks, and ``[n]`` the keys of the classes.

        Raises:
            UserError: The space is too large to be scanned.
        """
        if not self._scanned:
            raise UserError(f"space {self._space.name!r} is too large for a list of its architectures")
        if self._classes is None:
            codes = np.concatenate(list(self._space.enumerate()))
            keys, first = np.unique(self._space.class_keys(codes), return_index=True)
            order = np.argsort(first)
            self._classes = codes[first[order]], keys[order]
        return self._classes

    def best(
        self, score: Score, count: int, *, asked: Keys, starts: Codes, rng: np.random.Generator
    ) -> Codes:
        """``[m, d]``, m <= ``count``: the best unasked architectures found, best first, of distinct classes.

        Args:
            score: Called with a whole scan, or with all neighbours of a step of the climbs.
            count: How many are wanted; fewer come where fewer unasked classes were found.
            asked: Class keys (rule ``exact``) of what was asked before.
            starts: ``[k, d]`` where climbs start, for instance the best ones asked; a scan needs none.
            rng: Draws random starts and neighbours; equal scores fall to it, too.
        """
        if self._scanned:
            codes, keys = self.classes()
            fresh = ~np.isin(keys, asked)
            codes = codes[fresh]
            if not len(codes):
                return codes
            return best_distinct(self._space, codes, score(codes), count, asked=asked, rng=rng)
        codes, scores = self._climb(score, starts, rng)
        return best_distinct(self._space, codes, scores, count, asked=asked, rng=rng)

    def _climb(self, score: Score, starts: Codes, rng: np.random.Generator) -> tuple[Codes, FloatArray]:
        """All codes that were scored on the way, with their scores."""
        settings = self._climb_settings
        at = np.concatenate([starts, self._space.sample(settings.random_starts, rng)])
        height = score(at)
        codes, scores = [at.copy()], [height.copy()]
        for _ in range(settings.steps):
            around = [self._around(code, rng) for code in at]
            owner = np.repeat(np.arange(len(at)), [len(near) for near in around])
            near = np.concatenate(around)
            if not len(near):
                break
            near_scores = score(near)
            codes.append(near)
            scores.append(near_scores)
            # The best neighbour of each climb stands last among its own.
            order = np.lexsort([near_scores, owner])
            last = order[np.flatnonzero(np.diff(owner[order], append=len(at)))]
            better = last[near_scores[last] > height[owner[last]]]
            if not len(better):
                break
            at[owner[better]], height[owner[better]] = near[better], near_scores[better]
        return np.concatenate(codes), np.concatenate(scores)

    def _around(self, code: Code, rng: np.random.Generator) -> Codes:
        near = self._space.neighbors(code)
        if len(near) > self._climb_settings.neighbors:
            near = near[rng.choice(len(near), self._climb_settings.neighbors, replace=False)]
        return near


def best_distinct(
    space: SearchSpace,
    codes: Codes,
    scores: FloatArray,
    count: int,
    *,
    asked: Keys,
    rng: np.random.Generator,
) -> Codes:
    """``[m, d]``, m <= ``count``: the codes with the highest scores, best first, of distinct unasked classes.

    Args:
        space: Says which codes are the same network (rule ``exact``).
        codes: ``[n, d]`` candidates; they may repeat each other or what was asked.
        scores: ``[n]``; NaN comes last.
        count: How many are wanted.
        asked: Keys of classes that are left out.
        rng: Decides between equal scores.
    """
    shuffled = rng.permutation(len(codes))
    order = shuffled[np.argsort(-scores[shuffled], kind="stable")]
    taken = set(asked.tolist())
    chosen: list[int] = []
    # Keys are worked out for the front of the queue only: they are what costs most in large spaces.
    step = max(64, 4 * count)
    for start in range(0, len(order), step):
        block = order[start : start + step]
        for index, key in zip(block.tolist(), space.class_keys(codes[block]).tolist(), strict=True):
            if len(chosen) == count:
                return codes[chosen]
            if key not in taken:
                taken.add(key)
                chosen.append(index)
    return codes[chosen]


def mutate(space: SearchSpace, codes: Codes, edits: int, rng: np.random.Generator) -> Codes:
    """``[n, d]``: each code after so many random edits, each uniform over the neighbours at that point.

    A later edit may undo an earlier one. A code without neighbours stays as it is.
    """
    mutated = codes.copy()
    for row in range(len(mutated)):
        for _ in range(edits):
            near = space.neighbors(mutated[row])
            if len(near):
                mutated[row] = near[rng.integers(len(near))]
    return mutated
