"""What is kept of every epoch of a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: Number of epochs done, from 1.
        train_loss: Cross-entropy in nats, mean over the epoch's steps as they were taken.
        train_accuracy: In %, likewise.
        valid_loss: Of the validation part after the epoch, by the supernet with its mixture of operations.
        valid_accuracy: In %, likewise.
        entropy: Per kind of cell: mean entropy of its edges' shares, or its nodes' where shares are per node,
            in nats.
        skips: Per kind of cell: skip connections of the architecture that would be derived now.
        convolutions: Per kind of cell: its convolutions.
        architecture: Its text.
        eigenvalue: The dominant one of the validation loss's Hessian in the architecture weights; ``None``
            where it was not measured.
        learning_rate: Of the weights.
        cpu_seconds: CPU time of the epoch, all threads.
        seconds: Time of the epoch.
        operators: That are left of a supernet that shrinks; ``None`` for others.
        warnings: Signs of a collapse, a line each (:mod:`supernet.search.collapse`).
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    entropy: tuple[float, ...]
    skips: tuple[int, ...]
    convolutions: tuple[int, ...]
    architecture: str
    eigenvalue: float | None
    learning_rate: float
    cpu_seconds: float
    seconds: float
    operators: int | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**values)

    def scalars(self, kinds: tuple[str, ...]) -> Iterator[tuple[str, float]]:
        """Tags and values for TensorBoard."""
        for name in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "learning_rate"):
            yield f"search/{name}", getattr(self, name)
        for kind, entropy, skips, convolutions in zip(
            kinds, self.entropy, self.skips, self.convolutions, strict=True
        ):
            yield f"entropy/{kind}", entropy
            yield f"skip connections/{kind}", skips
            yield f"convolutions/{kind}", convolutions
        if self.operators is not None:
            yield "operators", self.operators
        if self.eigenvalue is not None and math.isfinite(self.eigenvalue):
            yield "dominant eigenvalue", self.eigenvalue
