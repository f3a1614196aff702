"""A graph network that regresses the performance of architectures directly, and plain epochs of Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crlso.errors import UserError
from crlso.latent.encoder import GraphEncoder
from crlso.protocols import Codes, FloatArray, SearchSpace


@dataclass(frozen=True)
class Epochs:
    """Adam over epochs of shuffled batches, its rate on a cosine down to a tenth.

    Attributes:
        epochs: Passes over the data.
        batch: Examples a step.
        learning_rate: In the first epoch.
        weight_decay: L2 penalty, added to the gradient.
        betas: Decay rates of the two moments.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 1:
            raise UserError(f"epochs must be 0 or more, batch 1 or more, got {self.epochs} and {self.batch}")
        if self.learning_rate <= 0:
            raise UserError(f"the learning rate must be positive, got {self.learning_rate}")

    def minimise(
        self,
        parameters: Iterable[nn.Parameter],
        loss: Callable[[NDArray[np.int64]], Tensor],
        count: int,
        rng: np.random.Generator,
    ) -> list[float]:
        """Minimises a loss over parameters; returns its mean in each epoch.

        Args:
            parameters: Changed in place.
            loss: Mean loss of the examples with these indices.
            count: Number of examples.
            rng: Shuffles them.
        """
        optimizer = torch.optim.Adam(
            parameters, lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay
        )
        means = []
        for epoch in range(self.epochs):
            rate = 0.1 + 0.9 * 0.5 * (1 + float(np.cos(np.pi * epoch / self.epochs)))
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * rate
            order = rng.permutation(count)
            total = 0.0
            for start in range(0, count, self.batch):
                chosen = order[start : start + self.batch]
                value = loss(chosen)
                optimizer.zero_grad(set_to_none=True)
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += float(value.detach()) * len(chosen)
            means.append(total / count)
        return means


@final
class GraphPredictor(nn.Module):
    """Graph encoder and a perceptron: architectures -> one number each, without a latent space.

    Args:
        space: Turns codes into graphs.
        width: Width of node states, of what is read out and of the perceptron.
        layers: Rounds of messages.
        seed: Of the initial parameters.
    """

    def __init__(self, space: SearchSpace, *, width: int, layers: int, seed: int) -> None:
        super().__init__()
        self.space = space
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = GraphEncoder(
                len(space.vocabulary), space.positions, width=width, layers=layers, latent_dim=width
            )
            self.perceptron = nn.Sequential(
                nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
            )

    def forward(self, codes: Codes) -> Tensor:
        """``[n, d]`` -> ``[n]``; gradients flow."""
        # The encoder's variance has no meaning here and is left out.
        value: Tensor = self.perceptron(self.encoder(self.space.graphs(codes))[0])[:, 0]
        return value

    def fit(
        self, codes: Codes, targets: FloatArray, epochs: Epochs, *, rng: np.random.Generator
    ) -> list[float]:
        """Least squares; returns the mean squared error of each epoch."""
        wanted = torch.from_numpy(targets).float()

        def loss(chosen: NDArray[np.int64]) -> Tensor:
            predicted: Tensor = self(codes[chosen])
            return (predicted - wanted[torch.from_numpy(chosen)]).square().mean()

        return epochs.minimise(self.parameters(), loss, len(codes), rng)

    @torch.no_grad()
    def predict(self, codes: Codes, *, chunk: int = 2048) -> FloatArray:
        """``[n]`` predictions, in chunks that bound memory."""
        parts = [self(codes[i : i + chunk]).double().numpy() for i in range(0, len(codes), chunk)]
        return np.concatenate([np.zeros(0), *parts])
