"""Every architecture that is asked for is trained: an evaluator of search methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, final

import numpy as np

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import Code, Codes, FloatArray, Metric, SearchSpace, TrainedRecord, Trainer
from crlso.spaces.codes import as_codes

if TYPE_CHECKING:
    import pandas as pd


@final
class TrainFromScratch:
    """Trains every architecture that it is asked for; a :class:`~crlso.protocols.Evaluator`.

    Metrics are those of the trainer as means over the seeds (NaN where one of them diverged), each seed's own
    with the suffix ``/seed0``, ``/seed1``, ..., and the trainer's constants, which take no training: the
    columns of the table that ``crlso bench build`` makes of the same trainer. Results are kept in memory: the
    same question gets the same answer, measured times included.

    Args:
        trainer: What trains.
        seeds: Every architecture is trained once with each.

    Raises:
        UserError: No seed, one below 0, or one twice.
    """

    def __init__(self, trainer: Trainer, *, seeds: Sequence[int] = (0,)) -> None:
        if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
            raise UserError(f"seeds must be different numbers from 0 on, at least one; got {tuple(seeds)}")
        self._trainer = trainer
        self._seeds = tuple(seeds)
        self._records: dict[tuple[bytes, int, int], TrainedRecord] = {}
        self._sources: dict[str, _Source] = {}
        metrics = dict(trainer.constants)
        listed = ", ".join(map(str, self._seeds))
        for epochs in trainer.fidelities:
            for name, metric in trainer.metrics(epochs).items():
                words = f"{metric.description}; mean over the seeds {listed}"
                metrics[name] = replace(metric, description=words)
                self._sources[name] = _Source(name, epochs, self._seeds)
                for seed in self._seeds:
                    single = f"{name}/seed{seed}"
                    words = f"{metric.description}; the training with seed {seed}"
                    metrics[single] = replace(metric, name=single, description=words)
                    self._sources[single] = _Source(name, epochs, (seed,))
        self._metrics = MappingProxyType(metrics)

    @property
    def name(self) -> str:
        """The trainer's name."""
        return self._trainer.name

    @property
    def space(self) -> SearchSpace:
        """The space that its codes belong to."""
        return self._trainer.space

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What it can answer."""
        return self._metrics

    @property
    def support(self) -> None:
        """The whole space."""
        return None

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """The trainer's, and the seeds."""
        seeds = ", ".join(map(str, self._seeds))
        return MappingProxyType({**self._trainer.fingerprint, "seeds": seeds})

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        """Trains codes ``[n, d]`` that it has not trained yet: one row per code, a column per metric.

        Only what the metrics need is trained. ``rng`` is not used: the seeds are part of the metrics.

        Raises:
            UnknownNameError: A metric that it does not have.
            UserError: Codes of another shape, or that are none of the space.
        """
        del rng
        import pandas as pd  # costs 0.3 s and 70 MB

        for metric in metrics:
            self._known(metric)
        width = len(self.space.cardinalities)
        if np.ndim(codes) != 2 or np.shape(codes)[1] != width:
            raise UserError(f"codes must have shape [n, {width}], got {list(np.shape(codes))}")
        rows = as_codes(codes, self.space.cardinalities)
        counted = self._trainer.count(rows)
        columns = {
            metric: self._column(rows, self._sources[metric])
            if metric in self._sources
            else counted[metric].astype(np.float64)
            for metric in metrics
        }
        return pd.DataFrame(columns, index=range(len(rows)), columns=list(metrics), dtype=np.float64)

    def optimum(self, metric: str) -> None:
        """Unknown: that would need the whole space trained.

        Raises:
            UnknownNameError: A metric that it does not have.
        """
        self._known(metric)

    def _known(self, metric: str) -> None:
        if metric not in self._metrics:
            raise UnknownNameError("metric", metric, self._metrics)

    def _column(self, rows: Codes, source: _Source) -> FloatArray:
        """``[n]`` means over the source's seeds."""
        values = [
            np.mean([self._record(row, source.epochs, seed).values[source.name] for seed in source.seeds])
            for row in rows
        ]
        return np.array(values, dtype=np.float64)

    def _record(self, row: Code, epochs: int, seed: int) -> TrainedRecord:
        key = (row.tobytes(), epochs, seed)
        if key not in self._records:
            self._records[key] = self._trainer.train(row, epochs=epochs, seed=seed)
        return self._records[key]


@dataclass(frozen=True)
class _Source:
    """Where a metric comes from: the trainer's metric, its epochs, and the seeds that it is the mean over."""

    name: str
    epochs: int
    seeds: tuple[int, ...]
