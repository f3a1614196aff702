"""The interfaces of the toolkit and the data that passes between its parts.

An architecture is one row of small integers, its *code*; a batch of architectures is an integer array
``[n, d]``. Spaces say what a code means, evaluators what it is worth, search methods which one to ask for
next. Importing this module imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from torch_geometric.data import Batch

CODE_DTYPE = np.int16
Code = NDArray[np.int16]
"""One architecture, shape ``[d]``."""
Codes = NDArray[np.int16]
"""A batch of architectures, shape ``[n, d]``."""
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
Keys = NDArray[np.uint64]
"""Names of classes of identical networks, shape ``[n]``: equal if and only if the networks are the same."""

Rule = Literal["code", "exact", "official"]
"""What counts as the same architecture: equal codes, identical networks, or the benchmark's own rule."""


@dataclass(frozen=True)
class Metric:
    """What one column of an evaluator's answer is.

    The name says all that sets the number apart (``cifar10/valid_accuracy@200``: data set, split, epochs; a
    suffix such as ``/seed0`` for one training instead of the mean); the description says it in words.
    """

    name: str
    direction: Literal["max", "min"]
    unit: str
    description: str

    @property
    def sign(self) -> float:
        """+1 where larger is better, -1 where smaller is: ``sign * value`` is always to be maximised."""
        return 1.0 if self.direction == "max" else -1.0


@runtime_checkable
class SearchSpace(Protocol):
    """What an architecture is. Everything but ``parse`` and ``format`` is vectorised over codes."""

    @property
    def name(self) -> str:
        """What the space is called in messages and files."""

    @property
    def operations(self) -> tuple[str, ...]:
        """Operation names, shared between spaces (``skip_connect``, ``nor_conv_3x3``, ...)."""

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """``code[i]`` lies in ``range(cardinalities[i])``; ``d == len(cardinalities)``."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Names of the node labels of :meth:`graphs`: ``input`` and ``output``, then the operations."""

    @property
    def positions(self) -> int:
        """Number of node positions: ``graphs(...).position`` lies in ``range(positions)``."""

    def parse(self, text: str) -> Code:
        """Code of a text in the space's own published form.

        Raises:
            ArchitectureError: The message says where the text goes wrong and what is allowed there.
        """

    def format(self, code: Code) -> str:
        """The published text form of a code; ``parse(format(code)) == code``."""

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]`` valid codes, drawn with replacement; each space's docstring states the distribution."""

    def enumerate(self) -> Iterator[Codes]:
        """All valid codes in chunks ``[m, d]``, each code once, in a fixed order; slow for large spaces."""

    @property
    def size(self) -> int:
        """Upper bound on the number of valid codes (exact where all codes are valid)."""

    def neighbors(self, code: Code) -> Codes:
        """``[m, d]``: all valid architectures one edit away, without the code itself, each once."""

    def is_valid(self, codes: Codes) -> BoolArray:
        """``[n]``: whether each row is an architecture of the space."""

    def repair(self, codes: Codes) -> Codes:
        """``[n, d]``: a valid code near each row (entries inside their cardinalities).

        Valid rows are unchanged. This is the last step of every decoder, so that whatever is decoded can be
        evaluated.
        """

    def class_keys(self, codes: Codes, rule: Rule = "exact") -> Keys:
        """``[n]`` keys of classes of networks, equal if and only if the rule calls them the same."""

    def canonical(self, codes: Codes, rule: Rule = "exact") -> Codes:
        """``[n, d]``: one fixed representative of each row's class.

        Raises:
            UserError: The space is too large to know its representatives; use :meth:`class_keys`.
        """

    def graphs(self, codes: Codes) -> Batch:
        """Graphs with operations on nodes, as a torch-geometric ``Batch``; one-to-one on codes.

        ``x`` ``[N]`` int64 index into :attr:`vocabulary`; ``position`` ``[N]`` int64 slot of the node;
        ``edge_index`` ``[2, E]`` along the data flow; ``batch`` ``[N]``, ``ptr`` ``[n + 1]``.
        """


@runtime_checkable
class Evaluator(Protocol):
    """What an architecture is worth: a table, a surrogate, shared weights, training."""

    @property
    def name(self) -> str:
        """What the evaluator is called in messages and files."""

    @property
    def space(self) -> SearchSpace:
        """The space that its codes belong to."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What it can answer, by metric name."""

    @property
    def support(self) -> Codes | None:
        """The architectures it can answer for; ``None``: the whole space."""

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What pins the answers down (file checksums, versions); goes into ``config.yaml`` of a run."""

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        """One row per code, one float column per metric, in the order asked; NaN where an evaluation failed.

        Raises:
            UnknownNameError: A metric that the evaluator does not have; nothing is ever substituted.
            UserError: A code outside ``support``.
        """

    def optimum(self, metric: str) -> float | None:
        """The best value any supported architecture has, ``None`` where unknown. Only the run loop asks."""


@dataclass(frozen=True)
class Goal:
    """What the columns of the values are that a method is told.

    Attributes:
        objectives: Number of objectives, the first columns, all to be maximised.
        constraints: Number of constraints, the columns after them: margins, 0 or more where a constraint is
            met.
    """

    objectives: int = 1
    constraints: int = 0


@runtime_checkable
class SearchMethod(Protocol):
    """Ask/tell search. The run loop alternates ``ask`` and ``tell``; a method never sees an evaluator.

    Lifetime: built with a space and a seed; ``ask(n)`` proposes; the loop drops proposals whose class was
    already evaluated in this run and asks again (a dropped proposal is never told); evaluated ones are told,
    in the order proposed. A method that repeats itself for ever is helped out by a random unseen
    architecture, which is told like any other.

    A method for several objectives is built with a :class:`Goal` too (``objectives="several"`` in its
    registry entry), and told all objectives and the margins of all constraints. Any other is told one column:
    with constraints a value in which what is infeasible ranks below all that is feasible.
    """

    def ask(self, n: int) -> Codes:
        """``[m, d]``, 1 <= m <= n: valid codes to evaluate next."""

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """``values`` ``[n, m]``: the columns of the method's :class:`Goal`; NaN: the evaluation failed."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data (numbers, texts, lists, dicts, arrays, tensors); the run goes on with it bit for bit."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken; the state itself stays as it is."""

    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """Arrays for the report (``space_latent``, ``curve/<name>``, ...); empty where nothing is to show."""


class WarmStarting(SearchMethod, Protocol):
    """A search method that can begin with what another task says (``warm=True`` in its registry entry)."""

    def warm_start(self, codes: Codes, values: FloatArray) -> None:
        """Takes the evaluations of another run in the same space, of another metric or table.

        Called once at most, before the first :meth:`ask`, and before :meth:`load_state_dict` where a run is
        resumed: then with the same evaluations again, so that no state needs to hold them. They are no
        evaluations of this run: any of the architectures may still be asked for, and is then told like all
        others. Work on them belongs into :meth:`ask`, whose time is that of the run.

        Args:
            codes: ``[n, d]``, n >= 1: valid codes of the method's space.
            values: ``[n]``: what the other task says of them, larger is better; NaN: the evaluation failed
                there. Not all are NaN. Their scale is that of the other task.
        """


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
