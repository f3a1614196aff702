"""Ensembles of networks over a latent space: input-convex ones, and the same without the constraint."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Self, final

import torch
from torch import Tensor, nn


class Heads(nn.Module, ABC):
    r"""An ensemble of networks that are evaluated together.

    Each head computes, for a latent point z,

    ``h_1 = s(A_0 z + b_0)``, ``h_{l+1} = s(P_l h_l + A_l z + b_l)``,
    ``f(z) = p^T h_L + a^T z + c + sum_r g_r (Q z)_r^2 / 2``

    with s = ELU. What P_l and p may be, and the factors g of the squares, is the subclass's to say; p is
    divided by the root of the width. What is drawn at the start is equal for equal generators.

    Args:
        heads: Number K of networks.
        latent_dim: Dimension of the input.
        width: Units of a hidden layer.
        layers: Hidden layers, 1 or more.
        rank: Rows of Q; 0 leaves the quadratic term out.
        averaged: Whether p is divided by the width itself, so that the output averages the last hidden units.
        generator: Draws the parameters; ``None``: torch's own.

    Shapes:
        ``[n, latent_dim]`` (all heads see the same points) or ``[K, n, latent_dim]`` -> ``[K, n]``.
    """

    hidden_power: ClassVar[float]
    """P_l is divided by this power of its inputs' number."""

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
        # E[softplus(N(0, 1))] = 0.81 and E[ELU(N(0, 1))] = 0.16: what a later unit sees of each.
        self.biases = nn.ParameterList(
            normal(heads, 1, width, scale=0.1)
            if layer == 0
            else nn.Parameter(torch.full((heads, 1, width), -0.13))
            for layer in range(layers)
        )
        self.out_theta = normal(heads, width, 1, scale=1.0)
        self.linear = normal(heads, latent_dim, 1, scale=0.1 * inward)
        self.constant = nn.Parameter(torch.full((heads, 1, 1), -0.13 * width ** (1 - self._output_power)))
        self.quadratic = normal(heads, latent_dim, rank, scale=0.3 * inward) if rank else None
        self.signs = self.factors(heads, rank) if rank else None

    @staticmethod
    @abstractmethod
    def weights(theta: Tensor) -> Tensor:
        """P_l or p ``[K, fan_in, fan_out]``, before it is scaled, of a parameter of this shape."""

    @staticmethod
    @abstractmethod
    def factors(heads: int, rank: int) -> nn.Parameter | None:
        """G ``[K, 1, rank]`` at the start; ``None``: 1 at all times."""

    def head(self, index: int) -> Self:
        """A copy of one head, as an ensemble of one."""
        rank = 0 if self.quadratic is None else self.quadratic.shape[-1]
        layers, (_, latent_dim, width) = len(self.skips), self.skips[0].shape
        single = type(self)(1, latent_dim, width=width, layers=layers, rank=rank, averaged=self.averaged)
        single.to(self.linear.dtype)
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
    half of each positive matrix stays at exactly zero.)

    Positive matrices add up their inputs' means, which would swamp what the units differ in: P_l is divided
    by the width, and the biases start at minus that sum, the idea of Hoedt and Klambauer (2023) in its
    simplest form. The output alone is divided by the root of the width: by the width itself it would say too
    little beside the linear term (docs/research/convex_search.md, section 17). The quadratic term gives
    curvature, hence an interior minimum, from the first step on.
    """

    hidden_power = 1.0

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

    P_l and p may be negative, and so may what each square of the quadratic term counts. Convex heads are
    among these functions.
    """

    hidden_power = 0.5

    @staticmethod
    def weights(theta: Tensor) -> Tensor:
        """Of any sign; normal at the start, of variance 1 / fan_in when scaled."""
        return theta

    @staticmethod
    def factors(heads: int, rank: int) -> nn.Parameter:
        """1 and -1 in turn at the start, then learned."""
        signs = 1.0 - 2.0 * (torch.arange(rank) % 2)
        return nn.Parameter(signs.repeat(heads, 1, 1))
