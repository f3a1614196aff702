"""The rule that no architecture is evaluated twice, the same for every method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import numpy as np

from crlso.protocols import Code, Codes, Rule, SearchMethod, SearchSpace

MAX_REFUSALS: Final = 200
"""Refused proposals in a row before the run helps out with a random unseen architecture."""
MAX_DRAWS: Final = 10_000
"""Random draws before the space is searched from end to end."""
MAX_SCAN: Final = 1_000_000
"""Largest space that is searched from end to end for what is left."""
STREAM_UNSEEN: Final = 1
STREAM_EVALUATE: Final = 2
STREAM_REPORT: Final = 3


def trial_rng(seed: int, trial: int, stream: int) -> np.random.Generator:
    """A generator of its own for one purpose in one trial: a resumed run needs no state to draw the same."""
    return np.random.default_rng([seed, trial, stream])


@final
class Proposals:
    """What a method proposes, without what it proposed before.

    Args:
        method: Asked for one architecture at a time; dropped ones are never told.
        space: The space that the method searches.
        rule: What counts as the same architecture.
        seed: Of the random architectures drawn when the method repeats itself.
    """

    def __init__(self, method: SearchMethod, space: SearchSpace, rule: Rule, seed: int) -> None:
        self._method = method
        self._space = space
        self._rule: Rule = rule
        self._seed = seed
        self._seen: set[int] = set()

    def remember(self, codes: Codes) -> None:
        """Counts these as proposed."""
        self._seen.update(self._space.class_keys(codes, self._rule).tolist())

    def next(self, trial: int) -> Code | None:
        """The architecture for this trial (from 1); ``None`` if no unseen one is left or found.

        Raises:
            ValueError: The method proposes what is no architecture of its space: a defect of the method.
        """
        for _ in range(MAX_REFUSALS):
            codes = self._method.ask(1)
            if codes.shape != (1, len(self._space.cardinalities)) or not self._space.is_valid(codes)[0]:
                raise ValueError(
                    f"the search method proposes {codes.tolist()}, no architecture of {self._space.name}"
                )
            if len(self._unseen(codes)):
                return self._take(codes[0])
        return self._random_unseen(trial_rng(self._seed, trial, STREAM_UNSEEN))

    def _random_unseen(self, rng: np.random.Generator) -> Code | None:
        fresh = self._unseen(self._space.sample(MAX_DRAWS, rng))
        if len(fresh):
            return self._take(fresh[0])
        if self._space.size > MAX_SCAN:
            return None
        left = list(self._scan())
        if not left:
            return None
        codes = np.concatenate(left)
        return self._take(codes[rng.integers(len(codes))])

    def _scan(self) -> Iterator[Codes]:
        for chunk in self._space.enumerate():
            fresh = self._unseen(chunk)
            if len(fresh):
                yield fresh

    def _unseen(self, codes: Codes) -> Codes:
        keys = self._space.class_keys(codes, self._rule).tolist()
        fresh: Codes = codes[[key not in self._seen for key in keys]]
        return fresh

    def _take(self, code: Code) -> Code:
        self.remember(code[None])
        return code
