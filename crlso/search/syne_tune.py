"""BORE of Syne Tune; Syne Tune is an extra (``pip install "crlso[syne-tune]"``)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, final

import numpy as np

from crlso.protocols import Code, SearchSpace
from crlso.search.adapter import LibrarySearch, check_settings, import_extra
from crlso.search.observations import Observations

_METRIC: Final = "value"


@dataclass(frozen=True)
class SyneTuneSettings:
    """Settings of the search.

    Attributes:
        initial: Random architectures before the first classifier.
        candidates: Random codes among which the surest is looked for (Syne Tune: ``feval_acq``).
        draws: Proposals of Syne Tune in one ask at most.
    """

    initial: int = 10
    candidates: int = 500
    draws: int = 20

    def __post_init__(self) -> None:
        check_settings(initial=self.initial, candidates=self.candidates, draws=self.draws)


@final
class SyneTune(LibrarySearch):
    """BORE of Syne Tune behind its ``SingleObjectiveScheduler``, one ``choice`` for each entry of a code.

    Boosted trees learn to tell the best quarter from the rest; of some random codes that with the highest
    probability of belonging to it is proposed (Tiao et al. 2021, "BORE: Bayesian Optimization by
    Density-Ratio Estimation"). Departures from Syne Tune's own use are those of
    :class:`~crlso.search.adapter.LibrarySearch`.

    Syne Tune draws from numpy's global generator in part. It has a stream of its own for that, seeded by our
    generator, and the global generator is as it was after each call.

    Its other searchers are no choice here. ``kde`` (BOHB's model) comes back to the same few architectures;
    once these are refused, nearly all that is left is the third that it draws at random, and on NAS-Bench-201
    it is as good as random search. ``cqr`` and ``botorch`` need packages that Syne Tune does not install, and
    ``regularized_evolution`` is our ``evolution``.

    Args:
        space: Where to search.
        seed: Of everything that is drawn.
        settings: Settings of the search.

    Raises:
        UserError: Syne Tune is not installed.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: SyneTuneSettings) -> None:
        super().__init__(space, seed=seed, initial=settings.initial, draws=settings.draws)
        with _quiet():
            space_module, scheduler, ask_tell, status = (
                import_extra(
                    f"syne_tune.{module}", method="syne-tune", library="Syne Tune", extra="syne-tune"
                )
                for module in (
                    "config_space",
                    "optimizer.schedulers.single_objective_scheduler",
                    "optimizer.schedulers.ask_tell_scheduler",
                    "backend.trial_status",
                )
            )
        self._scheduler = scheduler.SingleObjectiveScheduler
        self._ask_tell = ask_tell.AskTellScheduler
        self._trial = status.Trial
        self._domains = {
            str(position): space_module.choice(list(range(count)))
            for position, count in enumerate(space.cardinalities)
            if count > 1
        }
        self._candidates = settings.candidates
        self._width = len(space.cardinalities)

    def _proposals(self, seen: Observations, seed: int) -> Iterator[Code]:
        numpy = _Numpy(seed)
        with numpy.taken():
            scheduler = self._ask_tell(
                self._scheduler(
                    self._domains,
                    metric=_METRIC,
                    do_minimize=False,
                    searcher="bore",
                    random_seed=seed,
                    searcher_kwargs={"random_seed": seed, "feval_acq": self._candidates},
                )
            )
            now = datetime.now(UTC)
            for number, (code, value) in enumerate(
                zip(seen.codes.tolist(), seen.values().tolist(), strict=True)
            ):
                config = {name: code[int(name)] for name in self._domains}
                scheduler.tell(self._trial(number, config, now), {_METRIC: value})
        while True:
            with numpy.taken():
                config = scheduler.ask().config
            code = np.zeros(self._width, dtype=np.int64)
            for name in self._domains:
                code[int(name)] = config[name]
            yield code


@final
class _Numpy:
    """numpy's global generator as the library draws from it, kept apart from everybody else's.

    Args:
        seed: Its first state.
    """

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed).get_state()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Inside, the global generator goes on from where it was left here; outside, it is untouched."""
        before = np.random.get_state()  # noqa: NPY002 (the library draws from it, and has no other)
        np.random.set_state(self._state)  # noqa: NPY002
        try:
            with _quiet():
                yield
        finally:
            self._state = np.random.get_state()  # noqa: NPY002
            np.random.set_state(before)  # noqa: NPY002


@contextmanager
def _quiet() -> Iterator[None]:
    """Neither log messages below errors nor warnings, and no handlers that stay behind at the root logger.

    Syne Tune says by them that it draws at random; its libraries say what will change in them. Importing it
    adds the handlers.
    """
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
