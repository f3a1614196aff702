"""Training of one image classifier from scratch: SGD with Nesterov momentum, cosine learning rate.

The recipe is NAS-Bench-201's (Dong and Yang 2020, table 1) with sizes of one's own, and with what that of
DARTS has beside it (Liu, Simonyan, Yang 2019, released code): clipped gradients, drop-path, an auxiliary
classifier. It departs from them where an epoch does not divide into whole batches: the images are dealt out
evenly (batches of 54 instead of 64 ones and a last one of 54), so that no normalisation works on a handful of
images. The learning rate falls with every step; DARTS' code has it fall with every epoch.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import RunError, UserError
from crlso.protocols import FloatArray
from crlso.threads import threads
from supernet.data.augmentation import rows_of
from supernet.data.augmentations import named
from supernet.data.resident import Resident
from supernet.data.splits import Splits
from supernet.measuring import measure
from supernet.networks.classifier import Classifier

if TYPE_CHECKING:
    from supernet.processes import Processes

MOST_EPOCHS: Final = 100_000
_EVALUATION_BATCH: Final = 1000


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained; the seed is given to :func:`train`.

    Attributes:
        epochs: Passes over the training part, up to 100,000.
        batch: Images a step, at most.
        learning_rate: Of the first step; falls along a cosine, step by step.
        momentum: Of SGD.
        nesterov: Nesterov's form of the momentum.
        weight_decay: L2 penalty on all weights.
        label_smoothing: Share of the target spread over all classes (training loss only).
        augmentation: What is done to training images, see :func:`supernet.data.augmentations.named`:
            ``none``, ``shift:2``, ``crop_flip+cutout``, ...
        final_learning_rate: Where the cosine would end after the last step.
        clip: Largest 2-norm of the gradient of all weights together; longer ones are shortened to it. 0: no
            limit. (DARTS: 5.)
        drop_path: Probability of dropping an operation's output for an image, in networks that know such a
            thing. It grows linearly with the epochs, from 0 in the first one. (DARTS: 0.2 on CIFAR-10.)
        auxiliary_weight: Of the loss of an auxiliary classifier, where the network has one.
        precision: Of weights and computation, by Fabric's names; ``bf16-mixed`` keeps weights in float32.
        compile: Translate what a step computes with ``torch.compile``; measuring is left as it is.
    """

    epochs: int = 12
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augmentation: str = "none"
    final_learning_rate: float = 0.0
    clip: float = 0.0
    drop_path: float = 0.0
    auxiliary_weight: float = 0.4
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise UserError(f"epochs must be 1 or more and batch 2 or more, got {self.epochs}, {self.batch}")
        if self.epochs > MOST_EPOCHS:
            raise UserError(f"epochs must be {MOST_EPOCHS:,} or fewer, got {self.epochs:,}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UserError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.momentum < 1 or not 0 <= self.label_smoothing < 1 or not self.weight_decay >= 0:
            raise UserError("momentum and label_smoothing must lie in [0, 1), weight_decay be 0 or more")
        if self.nesterov and self.momentum == 0:
            raise UserError("nesterov needs a momentum; set nesterov to false for plain gradient descent")
        named(self.augmentation)  # refuses unknown ones
        if not 0 <= self.final_learning_rate <= self.learning_rate:
            raise UserError(
                f"final_learning_rate must lie between 0 and learning_rate ({self.learning_rate}), got"
                f" {self.final_learning_rate}"
            )
        if not 0 <= self.drop_path < 1:
            raise UserError(f"drop_path must lie in [0, 1), got {self.drop_path}")
        for name, value in (("clip", self.clip), ("auxiliary_weight", self.auxiliary_weight)):
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name} must be 0 or more, got {value}")

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate after a share of all steps, 0 to 1."""
        highest, lowest = self.learning_rate, self.final_learning_rate
        return lowest + (highest - lowest) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out of one training.

    Attributes:
        curves: Per epoch, ``[epochs]`` each: ``train_loss`` (nats, mean over the epoch's steps as they were
            taken, without an auxiliary classifier's), ``train_accuracy`` (%, likewise), ``valid_loss``,
            ``valid_accuracy`` (after the epoch; NaN where the validation part is empty), ``seconds`` (of
            training, without validation).
        test_accuracy: In %, after the last epoch.
        test_loss: In nats, after the last epoch.
        failed: A loss was not a finite number: curves are NaN from that epoch on, and so is the test.
    """

    curves: dict[str, FloatArray]
    test_accuracy: float
    test_loss: float
    failed: bool


STATE_FORMAT: Final = 1
CURVES: Final = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds")
"""Names of :attr:`Trained.curves`."""


def check_enough(splits: Splits) -> None:
    """Whether networks can be trained on the data.

    Raises:
        UserError: Fewer than two training images.
    """
    if len(splits.train) < 2:
        raise UserError("training needs two images or more, for the normalisation of batches")


def train(
    network: Classifier,
    splits: Splits,
    settings: TrainSettings,
    *,
    device: torch.device,
    generator: torch.Generator,
) -> Trained:
    """Trains a network in place, from beginning to end: see :class:`Training`."""
    training = Training(network, splits, settings, device=device, generator=generator)
    while not training.finished:
        training.run_epoch()
    return training.result()


@final
class Training:
    """The training of one network, which can go on bit for bit from the end of any epoch.

    On a CPU it works on one thread: the same generator state then gives the same result bit for bit, and
    several trainings at a time use the machine better.

    Several processes share every batch. All draw the same numbers (but for drop-path's); the gradient is that
    of the mean loss over the whole batch; normalisations take the statistics of their process' images, and
    their running averages become the means over the processes after each epoch.

    Args:
        network: Changed in place; must lie on the device.
        splits: The data.
        settings: The recipe.
        device: Where to compute.
        generator: A CPU generator, for the order of the images, the augmentation, and drop-path.
        processes: Those that share the batches; by default there is only this one.

    Attributes:
        epoch: Epochs done.
        curves: As of :class:`Trained`; NaN for epochs to come.
        failed: A loss was not a finite number; the training is over.

    Raises:
        UserError: Fewer than two training images, or fewer than two for each process in a batch.
    """

    def __init__(
        self,
        network: Classifier,
        splits: Splits,
        settings: TrainSettings,
        *,
        device: torch.device,
        generator: torch.Generator,
        processes: Processes | None = None,
    ) -> None:
        check_enough(splits)
        self.network = network
        self.settings = settings
        self._processes = processes if processes is not None and processes.count > 1 else None
        self._check_shares(len(splits.train))
        dtype = torch.float64 if settings.precision == "64-true" else torch.float32
        self._train, self._valid, self._test = (
            Resident(part, splits, device, dtype) for part in (splits.train, splits.valid, splits.test)
        )
        network.to(dtype)
        # Channels next to each other in memory: a step of small networks takes half to four fifths of the
        # time.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizer = torch.optim.SGD(
            network.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
            fused=True,  # one kernel for all weights
        )
        self._device = device
        self._autocast = _autocast(settings.precision, device)
        self._logits = torch.compile(network.training_logits) if settings.compile else network.training_logits
        self._augmentation = named(settings.augmentation)
        self._generator = generator
        # What a step draws is drawn where it is used; on a CPU all of it comes from one generator.
        self._draws = generator if device.type == "cpu" else _derived(generator, device)
        self._drops = _derived(generator, device) if settings.drop_path else None
        self._drops_seed = 0 if self._drops is None else self._drops.initial_seed()
        self.epoch = 0
        self.curves = {name: np.full(settings.epochs, np.nan) for name in CURVES}
        self.failed = False

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to do."""
        return self.failed or self.epoch >= self.settings.epochs

    def run_epoch(self) -> None:
        """One epoch, and the measuring on the validation part."""
        with threads():
            start = time.perf_counter()
            loss, accuracy = self._epoch()
            seconds = time.perf_counter() - start
            valid_loss, valid_accuracy = self._measure(self._valid) if len(self._valid) else (math.nan,) * 2
        if not math.isfinite(loss) or (len(self._valid) and not math.isfinite(valid_loss)):
            self.failed = True
            return
        measured = (loss, accuracy, valid_loss, valid_accuracy, seconds)
        for name, value in zip(CURVES, measured, strict=True):
            self.curves[name][self.epoch] = value
        self.epoch += 1

    def result(self) -> Trained:
        """What came out, with the test part measured."""
        if self.failed:
            return Trained(self.curves, math.nan, math.nan, failed=True)
        with threads():
            test_loss, test_accuracy = self._measure(self._test)
        return Trained(self.curves, test_accuracy, test_loss, failed=False)

    def _measure(self, part: Resident) -> tuple[float, float]:
        """With running averages in the normalisations."""
        return measure(
            self.network.eval(), part, batch=_EVALUATION_BATCH, shuffled=False, precision=self._autocast
        )

    def _epoch(self) -> tuple[float, float]:
        """One pass; returns mean loss and accuracy in % over its steps."""
        settings = self.settings
        self.network.train()
        count = len(self._train)
        order = torch.randperm(count, generator=self._generator).to(self._device)
        batches = order.tensor_split(math.ceil(count / settings.batch))
        drop_path = settings.drop_path * self.epoch / settings.epochs
        self._separate_drops()
        # Added up on the device: reading a number off it would make it wait in every step.
        sums = torch.zeros(2, dtype=self._train.dtype, device=self._device)
        for step, rows in enumerate(batches):
            progress = (self.epoch + step / len(batches)) / settings.epochs
            for group in self._optimizer.param_groups:
                group["lr"] = settings.learning_rate_at(progress)
            noise = self._augmentation.draw(len(rows), self._train.size, self._draws)
            own = self._share(len(rows))
            images, labels = self._train.batch(
                rows[own], self._augmentation, rows_of(noise, own.start, own.stop)
            )
            with self._autocast():
                logits, *auxiliary = (_precise(each) for each in self._logits(images, drop_path, self._drops))
            loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
            whole = loss
            for other in auxiliary:
                second = F.cross_entropy(other, labels, label_smoothing=settings.label_smoothing)
                whole = whole + settings.auxiliary_weight * second
            self._optimizer.zero_grad(set_to_none=True)
            self._backward(whole, len(labels) / len(rows))
            if settings.clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
            self._optimizer.step()
            sums[0] += loss.detach() * len(labels)
            sums[1] += (logits.detach().argmax(1) == labels).sum()
        if self._processes is not None:
            self._meet(sums)
        total, correct = sums.tolist()
        return total / count, 100.0 * correct / count

    def _check_shares(self, count: int) -> None:
        if self._processes is None:
            return
        smallest = count // math.ceil(count / self.settings.batch)
        if smallest // self._processes.count < 2:
            raise UserError(
                f"a batch of {smallest} images is too small for {self._processes.count} processes, which need"
                " two images each or more"
            )

    def _share(self, count: int) -> slice:
        """Which images of a batch of ``count`` this process works on."""
        if self._processes is None:
            return slice(0, count)
        rank, processes = self._processes.rank, self._processes.count
        return slice(rank * count // processes, (rank + 1) * count // processes)

    def _separate_drops(self) -> None:
        """Processes drop different paths: all but the first begin every epoch with a seed of their own."""
        if self._drops is not None and self._processes is not None and self._processes.rank:
            place = self.epoch * self._processes.count + self._processes.rank
            self._drops.manual_seed(self._drops_seed + place)

    def _backward(self, loss: Tensor, share: float) -> None:
        """Gradients of the mean loss over a batch, of which this process has a share of the images."""
        if self._processes is None:
            loss.backward()  # type: ignore[no-untyped-call]
            return
        (loss * (share * self._processes.count)).backward()  # type: ignore[no-untyped-call]
        gradients = [each.grad for each in self.network.parameters() if each.grad is not None]
        for own, mean in zip(gradients, self._processes.mean(gradients), strict=True):
            own.copy_(mean)

    def _meet(self, sums: Tensor) -> None:
        """Adds up over the processes, and makes running averages equal everywhere, as the weights are."""
        assert self._processes is not None
        averages = [each for each in self.network.buffers() if each.is_floating_point()]
        *means, mean = self._processes.mean([*averages, sums])
        for own, found in zip(averages, means, strict=True):
            own.copy_(found)
        sums.copy_(mean * self._processes.count)

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors."""
        generators = (self._generator, self._draws, self._drops)
        return {
            "format": STATE_FORMAT,
            "network": dict(self.network.state_dict()),
            "optimizer": self._optimizer.state_dict(),
            "generators": [None if g is None else g.get_state() for g in generators],
            "epoch": self.epoch,
            "curves": dict(self.curves),
            "failed": self.failed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken.

        Raises:
            RunError: The state is of another network, or of another format.
        """
        if state.get("format") != STATE_FORMAT:
            raise RunError(
                f"the checkpoint has format {state.get('format')}; this version reads {STATE_FORMAT}"
            )
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError as error:
            raise RunError(
                "the checkpoint holds the weights of another network; choose another directory"
            ) from error
        self._optimizer.load_state_dict(state["optimizer"])
        generators = (self._generator, self._draws, self._drops)
        for generator, kept in zip(generators, state["generators"], strict=True):
            if generator is not None:
                generator.set_state(kept)
        self.epoch = int(state["epoch"])
        self.curves = {name: np.array(curve) for name, curve in state["curves"].items()}
        self.failed = bool(state["failed"])


def _derived(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator on the device, with a seed from another one: masks are drawn where they are used."""
    seed = int(torch.randint(1 << 62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def _autocast(
    precision: str, device: torch.device
) -> Callable[[], contextlib.AbstractContextManager[object]]:
    """Makes the context that networks compute in."""
    if precision != "bf16-mixed":
        return contextlib.nullcontext
    from lightning_fabric.plugins.precision import MixedPrecision  # two seconds to import

    return MixedPrecision("bf16-mixed", device.type).forward_context


def _precise(logits: Tensor) -> Tensor:
    """Losses are computed in float32 or better."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
