"""Descent of heads inside the latent region that the data covers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TrustRegion:
    """A ball of latent space in which a model that was fitted to data may be believed.

    Attributes:
        centre: ``[k]``, mean of the data's latent points.
        radius: Largest distance from the centre that is allowed.
    """

    centre: Tensor
    radius: float

    @classmethod
    def of(cls, latents: Tensor, *, quantile: float = 0.95) -> TrustRegion:
        """The ball around the mean of ``[n, k]`` points that holds the given share of them."""
        centre = latents.mean(0)
        distances = (latents - centre).norm(dim=1)
        return cls(centre, float(torch.quantile(distances, quantile)))

    def project(self, z: Tensor) -> Tensor:
        """The nearest points of the ball: ``[..., k]`` -> ``[..., k]``."""
        offset = z - self.centre
        length = offset.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        inside: Tensor = self.centre + offset * (self.radius / length).clamp_max(1.0)
        return inside


@dataclass(frozen=True)
class DescentSettings:
    """How a batch of latent points is moved.

    Attributes:
        steps: Gradient steps tried.
        step: First step's length, in units of the distance between decoded neighbours.
        grow: Factor on the length after an accepted step.
        shrink: Factor on the length after a refused one.
    """

    steps: int = 30
    step: float = 0.5
    grow: float = 1.5
    shrink: float = 0.5


@dataclass(frozen=True)
class Descent:
    """Where a batch of latent points went.

    Attributes:
        points: ``[K, n, k]``, the ends.
        values: ``[K, n]``, the heads' values there.
        start_values: ``[K, n]``, and at the starts; ``values <= start_values`` everywhere.
        accepted: Share of the tried steps that were accepted.
        distance: Mean distance between start and end, in units of the distance between decoded neighbours.
    """

    points: Tensor
    values: Tensor
    start_values: Tensor
    accepted: float
    distance: float


def descend(
    heads: Callable[[Tensor], Tensor],
    starts: Tensor,
    region: TrustRegion,
    *,
    neighbour_distance: float,
    settings: DescentSettings,
) -> Descent:
    """Projected gradient descent of each head from its own starts, with a step length per point.

    A step goes along the normalised negative gradient, back into the region, and is taken only if the head's
    value does not get worse; otherwise the length shrinks. So no accepted step ever raises the predicted
    loss. In the CR-LSO release the step is ``z + eta * gradient`` of the predicted loss's negative with the
    sign lost, a hundredth of the noise beside it in length, and is never checked.

    Args:
        heads: K functions, ``[K, n, k]`` -> ``[K, n]`` with gradients; convex ones have one minimum to reach.
        starts: ``[K, n, k]``; starts outside the region are projected first.
        region: Where the heads may be believed.
        neighbour_distance: Typical latent distance between architectures one edit apart.
        settings: Steps and their lengths.
    """
    z = region.project(starts).detach()
    begin = z.clone()
    lengths = torch.full((*z.shape[:2], 1), settings.step * neighbour_distance, dtype=z.dtype)
    z.requires_grad_()
    values = heads(z)
    (gradient,) = torch.autograd.grad(values.sum(), z)
    start_values = values = values.detach()
    accepted = 0.0
    for _ in range(settings.steps):
        direction = -gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        trial = region.project(z.detach() + lengths * direction).requires_grad_()
        trial_values = heads(trial)
        (trial_gradient,) = torch.autograd.grad(trial_values.sum(), trial)
        trial_values = trial_values.detach()
        better = trial_values <= values
        accepted += float(better.double().mean())
        pick = better[..., None]
        z = torch.where(pick, trial.detach(), z.detach())
        gradient = torch.where(pick, trial_gradient, gradient)
        values = torch.where(better, trial_values, values)
        lengths = torch.where(pick, lengths * settings.grow, lengths * settings.shrink)
    z = z.detach()
    return Descent(
        points=z,
        values=values,
        start_values=start_values,
        accepted=accepted / max(1, settings.steps),
        distance=float((z - begin.detach()).norm(dim=-1).mean()) / neighbour_distance,
    )
