"""The interface between what trains architectures and what makes tables of the results. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from crlso.protocols import Code, Codes, FloatArray, Metric, SearchSpace


@dataclass(frozen=True, eq=False)
class TrainedRecord:
    """One training of one architecture, as plain data.

    Attributes:
        epochs: Its fidelity.
        seed: Its seed.
        values: By metric name (:meth:`Trainer.metrics`); NaN where the training failed.
        curves: For some of these metrics, ``[epochs]``: the value after each epoch. The last entry is that
            metric's value. NaN from the epoch on in which the training failed.
        failed: A loss was not a finite number; the training ended there.
    """

    epochs: int
    seed: int
    values: Mapping[str, float]
    curves: Mapping[str, FloatArray]
    failed: bool


@runtime_checkable
class Trainer(Protocol):
    """Trains one architecture at a time; its caller keeps the results, restarts, shares the work out.

    A trainer is immutable and can be pickled, so that processes on this or on other machines can have it. All
    its trainings see the same division of the data; the seed changes initial weights, order and augmentation.
    """

    @property
    def name(self) -> str:
        """What the trainer is called in messages and files."""

    @property
    def space(self) -> SearchSpace:
        """The space that its codes belong to."""

    @property
    def fidelities(self) -> tuple[int, ...]:
        """Numbers of epochs that it can be asked for, from small to large.

        Each is a training of its own with a whole learning rate schedule, not the beginning of a longer one.
        """

    @property
    def constants(self) -> Mapping[str, Metric]:
        """What is known of an architecture without training (``digits/params``), by metric name."""

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Data, division, recipe, network and versions as texts: equal ones give equal results.

        Times are not pinned down by it.
        """

    def metrics(self, epochs: int) -> Mapping[str, Metric]:
        """What a training of so many epochs gives (``digits/valid_accuracy@12``), without a seed suffix.

        Raises:
            UserError: Not one of :attr:`fidelities`.
        """

    def count(self, codes: Codes) -> Mapping[str, FloatArray]:
        """``[n]`` for each of :attr:`constants`."""

    def train(self, code: Code, *, epochs: int, seed: int) -> TrainedRecord:
        """Trains the architecture ``[d]`` from scratch. A training that diverges is a record, not an error.

        Raises:
            ArchitectureError: A code that is none of the space.
            UserError: Not one of :attr:`fidelities`, or a seed below 0.
        """
