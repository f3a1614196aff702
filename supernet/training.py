"""Training of one image classifier from scratch: SGD with Nesterov momentum, cosine learning rate.

The recipe is NAS-Bench-201's (Dong and Yang 2020, table 1) with sizes of one's own. It departs from it where
an epoch does not divide into whole batches: the images are dealt out evenly (batches of 54 instead of 64 ones
and a last one of 54), so that no normalisation works on a handful of images.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import UserError
from crlso.protocols import FloatArray
from supernet.data.augmentation import Shift
from supernet.data.resident import Resident
from supernet.data.splits import Splits

Augmentation = Literal["none", "shift"]

MOST_EPOCHS = 100_000
_EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained; the seed is given to :func:`train`.

    Attributes:
        epochs: Passes over the training part, up to 100,000.
        batch: Images a step, at most.
        learning_rate: Of the first step; falls to 0 along a cosine, step by step.
        momentum: Of SGD.
        nesterov: Nesterov's form of the momentum.
        weight_decay: L2 penalty on all weights.
        label_smoothing: Share of the target spread over all classes (training loss only).
        augmentation: ``shift``: every training image is moved by up to ``shift`` pixels in each direction,
            black (pixel value 0) comes in from the border; ``none``: images as they are.
        shift: Pixels, for that augmentation.
    """

    epochs: int = 12
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augmentation: Augmentation = "none"
    shift: int = 1

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
        if self.augmentation not in ("none", "shift") or self.shift < 0:
            raise UserError(f"augmentation must be none or shift (by 0 or more), got {self.augmentation!r}")


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out of one training.

    Attributes:
        curves: Per epoch, ``[epochs]`` each: ``train_loss`` (nats, mean over the epoch's steps as they were
            taken), ``train_accuracy`` (%, likewise), ``valid_loss``, ``valid_accuracy`` (after the epoch),
            ``seconds`` (of training, without validation).
        test_accuracy: In %, after the last epoch.
        test_loss: In nats, after the last epoch.
        failed: A loss was not a finite number: curves are NaN from that epoch on, and so is the test.
    """

    curves: dict[str, FloatArray]
    test_accuracy: float
    test_loss: float
    failed: bool


CURVES = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds")
"""Names of :attr:`Trained.curves`."""


def train(
    network: nn.Module,
    splits: Splits,
    settings: TrainSettings,
    *,
    device: torch.device,
    generator: torch.Generator,
) -> Trained:
    """Trains a network in place.

    On a CPU it works on one thread: the same generator state then gives the same result bit for bit, and
    several trainings at a time use the machine better.

    Args:
        network: Images ``[n, c, h, w]`` to logits ``[n, classes]``; must lie on the device.
        splits: The data.
        settings: The recipe.
        device: Where to compute.
        generator: A CPU generator, for the order of the images and the augmentation.

    Raises:
        UserError: Fewer than two training images.
    """
    check_enough(splits)
    with _one_thread(device):
        return _train(network, splits, settings, device, generator)


def check_enough(splits: Splits) -> None:
    """Whether networks can be trained on the data.

    Raises:
        UserError: Fewer than two training images.
    """
    if len(splits.train) < 2:
        raise UserError("training needs two images or more, for the normalisation of batches")


def _train(
    network: nn.Module,
    splits: Splits,
    settings: TrainSettings,
    device: torch.device,
    generator: torch.Generator,
) -> Trained:
    training, valid, test = (
        Resident(part, splits, device) for part in (splits.train, splits.valid, splits.test)
    )
    # Channels next to each other in memory: a step of small networks takes half to four fifths of the time.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=True,  # one kernel for all weights
    )
    curves = {name: np.full(settings.epochs, np.nan) for name in CURVES}
    for epoch in range(settings.epochs):
        start = time.perf_counter()
        loss, accuracy = _epoch(network, training, optimizer, settings, epoch=epoch, generator=generator)
        seconds = time.perf_counter() - start
        valid_loss, valid_accuracy = _measure(network, valid)
        if not math.isfinite(loss) or not math.isfinite(valid_loss):
            return Trained(curves, math.nan, math.nan, failed=True)
        measured = (loss, accuracy, valid_loss, valid_accuracy, seconds)
        for name, value in zip(CURVES, measured, strict=True):
            curves[name][epoch] = value
    test_loss, test_accuracy = _measure(network, test)
    return Trained(curves, test_accuracy, test_loss, failed=False)


def _epoch(
    network: nn.Module,
    data: Resident,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    *,
    epoch: int,
    generator: torch.Generator,
) -> tuple[float, float]:
    """One pass; returns mean loss and accuracy in % over its steps."""
    network.train()
    count = len(data.labels)
    order = torch.randperm(count, generator=generator).to(data.images.device)
    batches = order.tensor_split(math.ceil(count / settings.batch))
    # Added up on the device: reading a number off it would make it wait in every step.
    total = torch.zeros((), device=data.images.device)
    correct = torch.zeros((), device=data.images.device)
    for step, rows in enumerate(batches):
        progress = (epoch + step / len(batches)) / settings.epochs
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        pixels, labels = data.images[rows], data.labels[rows]
        if settings.augmentation == "shift":
            pixels = shifted(pixels, settings.shift, generator)
        logits = network(data.normalised(pixels))
        loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach() * len(rows)
        correct += (logits.detach().argmax(1) == labels).sum()
    return float(total) / count, 100.0 * float(correct) / count


@torch.no_grad()
def _measure(network: nn.Module, data: Resident) -> tuple[float, float]:
    """Mean loss (nats, no label smoothing) and accuracy in %, with running statistics in normalisations."""
    network.eval()
    count = len(data.labels)
    total = torch.zeros((), device=data.images.device)
    correct = torch.zeros((), device=data.images.device)
    for start in range(0, count, _EVALUATION_BATCH):
        labels = data.labels[start : start + _EVALUATION_BATCH]
        logits = network(data.normalised(data.images[start : start + _EVALUATION_BATCH]))
        total += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    return float(total) / count, 100.0 * float(correct) / count


def shifted(pixels: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Every image moved by its own whole number of pixels; zeros come in from the border.

    Args:
        pixels: ``[n, c, h, w]``.
        most: Shifts are uniform from ``-most`` to ``most``, in each direction.
        generator: A CPU generator.
    """
    shift = Shift(most)
    offsets = shift.draw(len(pixels), (pixels.shape[2], pixels.shape[3]), generator)
    return shift.apply(pixels, tuple(part.to(pixels.device) for part in offsets))


@contextlib.contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Torch on one thread inside the block, where the device is a CPU."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
