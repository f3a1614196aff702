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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import UserError
from crlso.protocols import FloatArray
from supernet.data.splits import Part, Splits
from supernet.networks.classifier import Classifier

Augmentation = Literal["none", "shift"]

MOST_EPOCHS = 100_000
_EVALUATION_BATCH = 1000


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
        augmentation: ``shift``: every training image is moved by up to ``shift`` pixels in each direction,
            black (pixel value 0) comes in from the border; ``none``: images as they are.
        shift: Pixels, for that augmentation.
        final_learning_rate: Where the cosine would end after the last step.
        clip: Largest 2-norm of the gradient of all weights together; longer ones are shortened to it. 0: no
            limit. (DARTS: 5.)
        drop_path: Probability of dropping an operation's output for an image, in networks that know such a
            thing. It grows linearly with the epochs, from 0 in the first one. (DARTS: 0.2 on CIFAR-10.)
        auxiliary_weight: Of the loss of an auxiliary classifier, where the network has one.
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
    final_learning_rate: float = 0.0
    clip: float = 0.0
    drop_path: float = 0.0
    auxiliary_weight: float = 0.4

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
            ``valid_accuracy`` (after the epoch), ``seconds`` (of training, without validation).
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


@final
class _Resident:
    """A part of a data set on the device; pixels stay bytes and are normalised batch by batch."""

    def __init__(self, part: Part, splits: Splits, device: torch.device) -> None:
        shape = (1, -1, 1, 1)
        # A copy: torch does not know read-only arrays and would warn.
        self.images = torch.from_numpy(part.images.copy()).to(device)
        self.labels = torch.from_numpy(part.labels.copy()).to(device)
        self._mean = _column(splits.mean, device).view(shape)
        self._scale = _column(1 / splits.deviation, device).view(shape)

    def normalised(self, pixels: Tensor) -> Tensor:
        """``[n, c, h, w]`` bytes to float32 of mean 0 and deviation 1 per channel, over the training part."""
        scaled = (pixels.float() - self._mean) * self._scale
        return scaled.contiguous(memory_format=torch.channels_last)


def _column(values: FloatArray, device: torch.device) -> Tensor:
    return torch.from_numpy(values).float().to(device)


def train(
    network: Classifier,
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
        network: Must lie on the device.
        splits: The data.
        settings: The recipe.
        device: Where to compute.
        generator: A CPU generator, for the order of the images, the augmentation, and drop-path.

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
    network: Classifier,
    splits: Splits,
    settings: TrainSettings,
    device: torch.device,
    generator: torch.Generator,
) -> Trained:
    training, valid, test = (
        _Resident(part, splits, device) for part in (splits.train, splits.valid, splits.test)
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
    drops = _derived(generator, device) if settings.drop_path else None
    curves = {name: np.full(settings.epochs, np.nan) for name in CURVES}
    for epoch in range(settings.epochs):
        start = time.perf_counter()
        loss, accuracy = _epoch(
            network, training, optimizer, settings, epoch=epoch, generator=generator, drops=drops
        )
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
    network: Classifier,
    data: _Resident,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    *,
    epoch: int,
    generator: torch.Generator,
    drops: torch.Generator | None,
) -> tuple[float, float]:
    """One pass; returns mean loss and accuracy in % over its steps."""
    network.train()
    count = len(data.labels)
    order = torch.randperm(count, generator=generator).to(data.images.device)
    batches = order.tensor_split(math.ceil(count / settings.batch))
    drop_path = settings.drop_path * epoch / settings.epochs
    # Added up on the device: reading a number off it would make it wait in every step.
    total = torch.zeros((), device=data.images.device)
    correct = torch.zeros((), device=data.images.device)
    for step, rows in enumerate(batches):
        progress = (epoch + step / len(batches)) / settings.epochs
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(progress)
        pixels, labels = data.images[rows], data.labels[rows]
        if settings.augmentation == "shift":
            pixels = shifted(pixels, settings.shift, generator)
        logits, *auxiliary = network.training_logits(data.normalised(pixels), drop_path, drops)
        loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        whole = loss
        for other in auxiliary:
            second = F.cross_entropy(other, labels, label_smoothing=settings.label_smoothing)
            whole = whole + settings.auxiliary_weight * second
        optimizer.zero_grad(set_to_none=True)
        whole.backward()  # type: ignore[no-untyped-call]
        if settings.clip:
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimizer.step()
        total += loss.detach() * len(rows)
        correct += (logits.detach().argmax(1) == labels).sum()
    return float(total) / count, 100.0 * float(correct) / count


def _derived(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator on the device, with a seed from another one: masks are drawn where they are used."""
    seed = int(torch.randint(1 << 62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


@torch.no_grad()
def _measure(network: nn.Module, data: _Resident) -> tuple[float, float]:
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
    n, c, h, w = pixels.shape
    offsets = torch.randint(0, 2 * most + 1, (2, n), generator=generator).to(pixels.device)
    rows = offsets[0][:, None] + torch.arange(h, device=pixels.device)
    columns = offsets[1][:, None] + torch.arange(w, device=pixels.device)
    images = torch.arange(n, device=pixels.device)
    padded = F.pad(pixels, (most, most, most, most))
    channels = torch.arange(c, device=pixels.device)
    return padded[
        images[:, None, None, None],
        channels[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


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
