"""A numerical check that a function is convex, and not trivially so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ConvexityReport:
    """What the midpoint inequality ``f((x + y) / 2) <= (f(x) + f(y)) / 2`` shows on many pairs.

    Attributes:
        pairs: Pairs tested at each distance.
        worst_violation: Largest ``f(mid) - (f(x) + f(y)) / 2`` found, at most zero for a convex function.
        tolerance: What rounding may account for: ``1e-9 (1 + max |f|)``.
        mean_gap: Mean of ``(f(x) + f(y)) / 2 - f(mid)`` over independent pairs.
        deviation: Standard deviation of f over the independent points.
        flat_below: Smallest ``mean_gap / deviation`` that counts as curved.
    """

    pairs: int
    worst_violation: float
    tolerance: float
    mean_gap: float
    deviation: float
    flat_below: float

    @property
    def relative_gap(self) -> float:
        """Mean gap in units of the function's own spread; 0 for a constant."""
        return self.mean_gap / self.deviation if self.deviation > 0 else 0.0

    @property
    def is_convex(self) -> bool:
        """Whether no pair violates the inequality beyond rounding."""
        return self.worst_violation <= self.tolerance

    @property
    def is_curved(self) -> bool:
        """Whether the function is not flat (an affine or constant function is convex and useless)."""
        return self.relative_gap >= self.flat_below

    @property
    def passed(self) -> bool:
        """Convex, and not flat."""
        return self.is_convex and self.is_curved


def check_convexity(
    function: Callable[[Tensor], Tensor],
    points: Callable[[int, torch.Generator], Tensor],
    *,
    pairs: int = 100_000,
    distances: tuple[float, ...] = (0.1, 0.001),
    seed: int = 0,
    flat_below: float = 0.05,
) -> ConvexityReport:
    """Tests the midpoint inequality on independent pairs and on pairs at given distances.

    Args:
        function: ``[n, k]`` float64 -> ``[n]``; must compute in float64.
        points: Draws n points ``[n, k]`` float64.
        pairs: Number of pairs of each kind.
        distances: Of the close pairs, in random directions.
        seed: Of the pairs.
        flat_below: Smallest mean gap on independent pairs, in standard deviations of the function, that
            counts as curved.
    """
    generator = torch.Generator().manual_seed(seed)
    worst = -float("inf")
    largest = 0.0
    mean_gap = deviation = 0.0
    with torch.no_grad():
        for distance in (None, *distances):
            x = points(pairs, generator)
            if distance is None:
                y = points(pairs, generator)
            else:
                direction = torch.randn(x.shape, generator=generator, dtype=x.dtype)
                y = x + distance * direction / direction.norm(dim=1, keepdim=True)
            at_x, at_y, at_middle = function(x), function(y), function((x + y) / 2)
            gap = (at_x + at_y) / 2 - at_middle
            worst = max(worst, float(-gap.min()))
            largest = max(largest, float(at_x.abs().max()), float(at_y.abs().max()))
            if distance is None:
                mean_gap = float(gap.mean())
                deviation = float(torch.cat([at_x, at_y]).std())
    return ConvexityReport(pairs, worst, 1e-9 * (1 + largest), mean_gap, deviation, flat_below)
