"""Searchers of other libraries as search methods: what all of them share."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from types import ModuleType
from typing import Final

import numpy as np

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Code, Codes, SearchSpace
from crlso.search.observations import Observations
from crlso.search.rounds import RoundSearch
from crlso.threads import threads

_RANDOM_DRAWS: Final = 64
"""Random architectures among which an unasked one is looked for, where the library repeats itself."""


def import_extra(module: str, *, method: str, library: str, extra: str) -> ModuleType:
    """A module of a library that is an extra of this package.

    Raises:
        UserError: It is not installed; the message has the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f'the method {method} needs {library}: pip install "crlso[{extra}]"') from error


def check_settings(*, initial: int, candidates: int, draws: int) -> None:
    """What the settings of all such searches have in common.

    Raises:
        UserError: One of them is too small.
    """
    if initial < 2:
        raise UserError(f"initial must be 2 or more to tell good from bad, got {initial}")
    for name, value in (("candidates", candidates), ("draws", draws)):
        if value < 1:
            raise UserError(f"{name} must be 1 or more, got {value}")


class LibrarySearch(RoundSearch):
    """A searcher of another library, built anew for every proposal from all that was told so far.

    1. A few random architectures, drawn by the space (:meth:`SearchSpace.sample`).
    2. The library is given all architectures told so far with their values, and a seed drawn here. Its
       proposals are repaired (:meth:`SearchSpace.repair`), and the first of an unasked class is proposed.
    3. Where none of ``draws`` proposals is, a random unasked architecture is proposed.

    So a state is what was told and one generator, and nothing that the library keeps needs to be saved. What
    the run loop drops is never told to the library, and leaves nothing behind in it. A failed evaluation
    (NaN) counts like the worst value so far (:class:`~crlso.search.observations.Observations`). Only the
    first objective counts.

    Curve: proposals of the library that each ask took; one more than ``draws`` where a random architecture
    stood in.

    Args:
        space: Where to search.
        seed: Of everything that is drawn, by the library too.
        initial: Random architectures before the library is asked.
        draws: Proposals of the library in one ask at most.
    """

    def __init__(self, space: SearchSpace, *, seed: int, initial: int, draws: int) -> None:
        super().__init__(space, seed=seed, initial=initial)
        self._draws = draws

    @abstractmethod
    def _proposals(self, seen: Observations, seed: int) -> Iterator[Code]:
        """Proposals of the library, drawn one after the other without any evaluation between them.

        Args:
            seen: All that the library is told: codes and values, failures included.
            seed: Of all that the library draws, in ``range(2**31)``.

        Yields:
            ``[d]``: entries inside their cardinalities, not repaired.
        """

    @threads()
    def _propose(self) -> Codes:
        proposals = self._proposals(self._rounds.seen, int(self._rounds.rng.integers(2**31)))
        for count, proposal in enumerate(islice(proposals, self._draws), start=1):
            repaired = self._space.repair(np.asarray(proposal, dtype=CODE_DTYPE)[None])
            if len(self._unasked(repaired)):
                self._rounds.note(draws=count)
                return repaired
        self._rounds.note(draws=self._draws + 1)
        drawn = self._space.sample(_RANDOM_DRAWS, self._rounds.rng)
        return np.concatenate([self._unasked(drawn), drawn])[:1]

    def _unasked(self, codes: Codes) -> Codes:
        fresh: Codes = codes[~np.isin(self._space.class_keys(codes), self._rounds.seen.keys)]
        return fresh
