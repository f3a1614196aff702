"""Architectures trained from scratch, one at a time: what tables are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import torch

from crlso.errors import UserError
from crlso.protocols import Code, Codes, FloatArray, Metric, SearchSpace, TrainedRecord
from crlso.spaces import EdgeCellSpace, space_to_dict
from crlso.spaces.codes import as_code
from supernet.data.splits import Splits
from supernet.networks import DARTSSizes, ImageTask, NetworkFamily, Skeleton, initialise
from supernet.training import Trained, Training, TrainSettings, check_enough

if TYPE_CHECKING:
    from supernet.processes import Processes

# Part of what pins results down: raise it with every change that alters a number.
VERSION: Final = "crlso.scratch/2"


SMALL: Final = Skeleton(channels=8, cells=1, stages=2)
"""A network that takes a second or two on the digits, on one thread of a CPU."""


SMALL_DARTS: Final = DARTSSizes(channels=8, cells=3)
"""The same for cells of DARTS: one normal cell, two reduction cells."""


@final
@dataclass(frozen=True, eq=False)
class ScratchTrainer:
    """Trains the discrete networks of a family; a :class:`~crlso.protocols.Trainer`.

    Attributes:
        family: The networks.
        splits: The data.
        settings: The recipe; its ``epochs`` are the default of ``fidelities``.
        fidelities: Numbers of epochs that can be asked for, from small to large.
        device: Where to compute, as torch writes it (``cpu``, ``cuda:0``). Results are the same bit for bit
            on one kind of processor with one version of torch.

    Raises:
        UserError: Networks for other images than those of the data, fidelities that are not increasing, fewer
            than two training images, or a device that is not there or computes nothing (``meta``).

    Example:
        >>> from crlso.spaces import EdgeCellSpace, space_to_dict
        >>> from supernet.data import load, split
        >>> from supernet.networks import ImageTask, family_of
        >>> space = EdgeCellSpace("two", nodes=2, operations=["none", "nor_conv_3x3"])
        >>> splits = split(load("digits"))
        >>> trainer = ScratchTrainer(
        ...     family_of(space, ImageTask.of(splits), SMALL), splits, TrainSettings(epochs=2)
        ... )
        >>> record = trainer.train(space.parse("|nor_conv_3x3~0|"), epochs=2, seed=0)
        >>> sorted(record.values)[:3]
        ['digits/test_accuracy@2', 'digits/test_loss@2', 'digits/train_accuracy@2']
    """

    family: NetworkFamily
    splits: Splits
    settings: TrainSettings = field(default_factory=TrainSettings)
    fidelities: tuple[int, ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        _check_device(self.device)
        if not self.fidelities:
            object.__setattr__(self, "fidelities", (self.settings.epochs,))
        if self.fidelities[0] < 1 or sorted(set(self.fidelities)) != list(self.fidelities):
            raise UserError(f"fidelities must be increasing numbers of epochs, got {self.fidelities}")
        replace(self.settings, epochs=self.fidelities[-1])  # refuses too many
        if self.family.task != (task := ImageTask.of(self.splits)):
            raise UserError(f"networks for {self.family.task} can not be trained on {task}")
        check_enough(self.splits)

    @property
    def name(self) -> str:
        """``scratch:`` and the data set."""
        return f"scratch:{self.splits.name}"

    @property
    def space(self) -> SearchSpace:
        """The space that its codes belong to."""
        return self.family.space

    @property
    def constants(self) -> Mapping[str, Metric]:
        """Parameters and multiply-accumulate operations, in millions as NAS-Bench-201 has them."""
        data = self.splits.name
        described = f"network of {self.family.describe()}, by formula from the cell"
        return _by_name(
            Metric(f"{data}/params", "min", "M", f"weights; {described}"),
            Metric(f"{data}/flops", "min", "M", f"multiply-accumulate operations for one image; {described}"),
        )

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What pins the results down."""
        return MappingProxyType(
            {
                "trainer": VERSION,
                "space": json.dumps(_declared(self.space)),
                "data": f"{self.splits.name}: {self.splits.describe()}",
                "data sha256": self.splits.checksum,
                "network": self.family.describe(),
                "training": _recipe(self.settings),
                "torch": str(torch.__version__),
                "device": torch.device(self.device).type,
            }
        )

    def metrics(self, epochs: int) -> Mapping[str, Metric]:
        """Losses, accuracies and time of one training.

        Raises:
            UserError: Not one of ``fidelities``.
        """
        self._check(epochs)
        data = self.splits.name
        said = f"{self.splits.describe()}; trained {epochs} epochs from scratch"
        return _by_name(
            Metric(
                f"{data}/train_accuracy@{epochs}",
                "max",
                "%",
                f"training images, mean over the steps of the last epoch; {said}",
            ),
            Metric(
                f"{data}/train_loss@{epochs}",
                "min",
                "nats",
                f"training images, mean over the steps of the last epoch; {said}",
            ),
            Metric(f"{data}/valid_accuracy@{epochs}", "max", "%", f"validation images; {said}"),
            Metric(
                f"{data}/valid_loss@{epochs}", "min", "nats", f"cross-entropy of validation images; {said}"
            ),
            Metric(f"{data}/test_accuracy@{epochs}", "max", "%", f"test images; {said}"),
            Metric(f"{data}/test_loss@{epochs}", "min", "nats", f"cross-entropy of test images; {said}"),
            Metric(
                f"{data}/train_time@{epochs}",
                "min",
                "s",
                f"measured time without validation, on a {torch.device(self.device).type}; {said}",
            ),
        )

    def count(self, codes: Codes) -> Mapping[str, FloatArray]:
        """``[n]`` each, in millions, for codes ``[n, d]``."""
        data = self.splits.name
        return {
            f"{data}/params": self.family.parameters(codes) / 1e6,
            f"{data}/flops": self.family.multiplications(codes) / 1e6,
        }

    def train(self, code: Code, *, epochs: int, seed: int) -> TrainedRecord:
        """Trains one architecture ``[d]``.

        Initial weights come from one stream of the seed, order and augmentation from another: with the same
        seed all architectures see the same batches.

        Raises:
            ArchitectureError: A code that is none of the space.
            UserError: Not one of ``fidelities``, a seed below 0, or a network too large for the memory.
        """
        with self.memory_errors():
            training = self.begin(code, epochs=epochs, seed=seed)
            while not training.finished:
                training.run_epoch()
            trained = training.result()
        return _record(trained, self.splits.name, epochs, seed)

    def begin(self, code: Code, *, epochs: int, seed: int, processes: Processes | None = None) -> Training:
        """A training that has not begun, see :meth:`train`.

        Args:
            code: ``[d]``.
            epochs: One of ``fidelities``.
            seed: 0 or more.
            processes: Those that share the batches; by default there is only this one.

        Raises:
            ArchitectureError: A code that is none of the space.
            UserError: Not one of ``fidelities``, a seed below 0, or batches too small for the processes.
        """
        self._check(epochs)
        if seed < 0:
            raise UserError(f"a seed must be 0 or more, got {seed}")
        weights, batches = (_generator(seed, stream) for stream in range(2))
        network = self.family.network(as_code(code, self.space.cardinalities))
        initialise(network, weights)
        device = torch.device(self.device)
        return Training(
            network.to(device),
            self.splits,
            replace(self.settings, epochs=epochs),
            device=device,
            generator=batches,
            processes=processes,
        )

    @contextmanager
    def memory_errors(self) -> Iterator[None]:
        """Turns lack of memory inside the block into a :class:`~crlso.errors.UserError`."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            raise UserError(
                f"not enough memory on {self.device} to train a network of {self.family.describe()}"
                f" with batches of {self.settings.batch}; take smaller ones, or fewer at a time"
            ) from error

    def _check(self, epochs: int) -> None:
        if epochs not in self.fidelities:
            known = ", ".join(map(str, self.fidelities))
            raise UserError(f"{self.name} does not train for {epochs} epochs; it does for {known}")


def _check_device(name: str) -> None:
    try:
        torch.ones(1, device=name).sum().item()  # a number has to come out: there are devices of shapes alone
    except (RuntimeError, AssertionError) as error:  # no such device, or a torch without support for it
        reason = str(error).split("\n", maxsplit=1)[0]
        raise UserError(f"can not compute on device {name!r} ({reason}); cpu is always there") from error


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Torch has an exception of its own on accelerators only; on a CPU it is told by the words."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _generator(seed: int, stream: int) -> torch.Generator:
    """Independent streams of one seed, also of neighbouring seeds."""
    state = int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)


def _record(trained: Trained, data: str, epochs: int, seed: int) -> TrainedRecord:
    def full(short: str) -> str:
        return f"{data}/{short}@{epochs}"

    curves = {full(short): curve for short, curve in trained.curves.items() if short != "seconds"}
    curves[full("train_time")] = np.cumsum(trained.curves["seconds"])
    values = {name: float(curve[-1]) for name, curve in curves.items()}
    values |= {full("test_accuracy"): trained.test_accuracy, full("test_loss"): trained.test_loss}
    return TrainedRecord(epochs, seed, values, curves, trained.failed)


def _by_name(*metrics: Metric) -> Mapping[str, Metric]:
    return MappingProxyType({metric.name: metric for metric in metrics})


def _declared(space: SearchSpace) -> dict[str, Any]:
    """A space as plain data; cells with operations on edges in full, also those that have a name."""
    return space.to_dict() if isinstance(space, EdgeCellSpace) else space_to_dict(space)


def _recipe(settings: TrainSettings) -> str:
    """All settings but the number of epochs, which is given with every training."""
    values = asdict(settings)
    del values["epochs"]
    return ", ".join(f"{name} {value}" for name, value in values.items())
