"""Ensembles of networks over a latent space: input-convex ones, and the same without the constraint."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn


class Heads(nn.Module, ABC):
    r"""An ensemble of networks that are evaluated together.

    Each head computes, for a latent point z,

    ``h_1 = s(A_0 z + b_0)``, ``h_{l+1} = s(P_l h_l + A_l z + b_l)``,
    ``f(z) = p^T h_L + a^T z + c + sum_r g_r (Q z)_r^2 / 2``

    with s = ELU. What P_l and p may be, and the factors g of the squares, is the subclass's to say; p is
    divided by the root of the width, or by the width itself. What is drawn at the start is equal for equal
    generators, whatever the subclass.

    Args:
        heads: Number K of networks.
        latent_dim: Dimension of the input.
        width: Units of a hidden layer.
        layers: Hidden layers, 1 or more.
        rank: Rows of Q; 0 leaves the quadratic term out.
        averaged: Whether p is divided by the width: the output is then about a mean of the last hidden units.
        generator: Draws the parameters; ``None``: torch's own.

    Shapes:
        ``[n, latent_dim]`` (all heads see the same points) or ``[K, n, latent_dim]`` -> ``[K, n]``.
    """

    hidden_power: ClassVar[float]
    """P_l is divided by this power of the width."""

    offset: ClassVar[float]
    """What a later unit gets through each weight at the start, on average, before it is divided."""

    def __init__(
        self,
        heads: int,
        latent_dim: int,
        *,
        width: int,
        layers: int,
        rank: int,
        averaged: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.averaged = averaged
        self._output_power = 1.0 if averaged else 0.5

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * scale)

        inward = 1.0 / math.sqrt(latent_dim)
        self.skips = nn.ParameterList(normal(heads, latent_dim, width, scale=inward) for _ in range(layers))
        self.thetas = nn.ParameterList(normal(heads, width, width, scale=1.0) for _ in range(layers - 1))

        def centred(*shape: int, power: float) -> nn.Parameter:
            return nn.Parameter(torch.full(shape, -self.offset * width ** (1.0 - power)))

        self.biases = nn.ParameterList(
            normal(heads, 1, width, scale=0.1)
            if layer == 0
            else centred(heads, 1, width, power=self.hidden_power)
            for layer in range(layers)
        )
        self.out_theta = normal(heads, width, 1, scale=1.0)
        self.linear = normal(heads, latent_dim, 1, scale=0.1 * inward)
        self.constant = centred(heads, 1, 1, power=self._output_power)
        self.quadratic = normal(heads, latent_dim, rank, scale=0.3 * inward) if rank else None
        self.signs = self.factors(heads, rank) if rank else None

    @staticmethod
    @abstractmethod
    def weights(theta: Tensor) -> Tensor:
        """P_l or p ``[K, fan_in, fan_out]``, before it is scaled, of a parameter of this shape."""

    @staticmethod
    @abstractmethod
    def factors(heads: int, rank: int) -> nn.Parameter | None:
        """The factors g ``[K, 1, rank]`` at the start; ``None``: 1 at all times."""

    def head(self, index: int) -> Self:
        """A copy of one head, as an ensemble of one."""
        rank = 0 if self.quadratic is None else self.quadratic.shape[-1]
        layers, (_, latent_dim, width) = len(self.skips), self.skips[0].shape
        sizes: dict[str, Any] = {"width": width, "layers": layers, "rank": rank, "averaged": self.averaged}
        single = type(self)(1, latent_dim, **sizes, generator=torch.Generator())
        single.to(self.linear)
        single.load_state_dict({name: value[index : index + 1] for name, value in self.state_dict().items()})
        return single

    def forward(self, z: Tensor) -> Tensor:
        """Values of all heads."""
        points = z.expand(self.heads, *z.shape[-2:]) if z.dim() == 2 else z
        hidden = nn.functional.elu(torch.baddbmm(self.biases[0], points, self.skips[0]))
        for theta, skip, bias in zip(self.thetas, list(self.skips)[1:], list(self.biases)[1:], strict=True):
            hidden = nn.functional.elu(
                torch.baddbmm(
                    torch.baddbmm(bias, points, skip), hidden, self._scaled(theta, self.hidden_power)
                )
            )
        value = torch.baddbmm(
            torch.baddbmm(self.constant, points, self.linear),
            hidden,
            self._scaled(self.out_theta, self._output_power),
        )
        value = value[..., 0]
        if self.quadratic is not None:
            squares = torch.bmm(points, self.quadratic).square()
            value = value + 0.5 * (squares if self.signs is None else self.signs * squares).sum(-1)
        return value

    def _scaled(self, theta: Tensor, power: float) -> Tensor:
        divisor: float = theta.shape[-2] ** power
        return self.weights(theta) / divisor


@final
class ConvexHeads(Heads):
    """Input-convex networks (Amos et al. 2017) with a quadratic term.

    ELU is convex and increasing, P_l and p are multiples of ``softplus(theta)``, elementwise positive, and
    all squares count 1. So f is convex in z at all times: at initialisation, after every step, after loading.
    (The CR-LSO release clamps weights after each optimiser step instead, so its first pass is not convex and
    half of each positive matrix starts at exactly zero.)

    Positive matrices add up their inputs' means, which would swamp what the units differ in: P_l is divided
    by the width, and what is added after the first layer starts at minus that sum, the idea of Hoedt and
    Klambauer (2023) in its simplest form, for inputs of variance 1. The output is divided by the root of the
    width unless ``averaged``: by the width it says too little beside the linear term
    (docs/research/convex_search.md, section 17). The quadratic term gives curvature along ``rank``
    directions from the first step on.
    """

    hidden_power = 1.0
    offset = 0.13  # E[softplus(N(0, 1))] E[ELU(N(0, 1))] = 0.81 * 0.16

    @staticmethod
    def weights(theta: Tensor) -> Tensor:
        """Elementwise positive."""
        return nn.functional.softplus(theta)

    @staticmethod
    def factors(heads: int, rank: int) -> None:
        """Squares only add up."""
        del heads, rank


@final
class FreeHeads(Heads):
    """The same networks without the constraint: a control that differs in nothing else.

    P_l and p may be negative, and so may what each square of the quadratic term counts; scale and offset at
    the start are those that go with that. Convex heads are among these functions.
    """

    hidden_power = 0.5
    offset = 0.0

    @staticmethod
    def weights(theta: Tensor) -> Tensor:
        """Of any sign."""
        return theta

    @staticmethod
    def factors(heads: int, rank: int) -> nn.Parameter:
        """1 and -1 in turn at the start, then learned."""
        signs = 1.0 - 2.0 * (torch.arange(rank) % 2)
        return nn.Parameter(signs.repeat(heads, 1, 1))
