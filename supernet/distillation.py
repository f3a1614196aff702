"""A supernet that imitates a teacher's feature maps while it learns (Rao, Zhao, Liu 2022: DNAD)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import UserError
from supernet.networks import ImageTask
from supernet.networks.skeleton import initialise
from supernet.networks.supernet import Supernet
from supernet.teachers import Teacher


@final
class Distilled(nn.Module):
    """A supernet and its distance to a teacher: the mean squared difference of their feature maps.

    At the end of every stage the supernet's feature map goes through a 1x1 convolution to the teacher's
    number of channels, which learns with the supernet's weights; then both are normalised per channel over
    the batch, without scale and shift (arXiv 2504.20080, released code). The loss is the weighted sum of the
    stages' mean squared differences, times ``ratio``, in float32 or better.

    Departure: where the maps differ in height or width, both are averaged to the smaller one (adaptive
    average pooling); in the released code they have to be equal.

    The teacher is no part of its weights and not moved with it: see :meth:`~supernet.teachers.Teacher.to`.

    Args:
        supernet: Learns.
        teacher: Tells its feature maps, on the supernet's device, in its precision.
        task: The images.
        stages: Weights of the stages, from the first to the last.
        ratio: Weight of the whole.
        generator: For the projections' first weights.

    Attributes:
        supernet: What it is made of.
        projections: The 1x1 convolutions, by stage.
        weights: ``[stages]`` of the distances, ``ratio`` included.

    Raises:
        UserError: The teacher does not take the images, or the numbers of stages, of the teacher's features
            and of weights differ.
    """

    weights: Tensor

    def __init__(
        self,
        supernet: Supernet,
        teacher: Teacher,
        task: ImageTask,
        *,
        stages: Sequence[float],
        ratio: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        own, other = supernet.feature_channels, teacher.channels(task)
        if not len(own) == len(other) == len(stages):
            raise UserError(
                f"the supernet has {len(own)} stages, {teacher.name} {len(other)} features, and"
                f" distillation.stages {len(stages)} weights: these must be as many as one another"
            )
        self.supernet = supernet
        self.projections = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1, bias=False) for inputs, outputs in zip(own, other, strict=True)
        )
        initialise(self.projections, generator)
        self._teacher = teacher
        weights = ratio * torch.tensor(stages, dtype=torch.float64)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[n, classes]`` and the weighted distance, a number.

        Args:
            images: ``[n, c, h, w]``, normalised for the supernet.
            mixing: ``[kinds, edges, operations]``.
        """
        logits, features = self.supernet.outputs(images, mixing)
        targets = self._teacher(images)
        pairs = zip(self.projections, features, targets, strict=True)
        distances = torch.stack([self._distance(*pair) for pair in pairs])
        return logits, (self.weights.to(distances.dtype) * distances).sum()

    def _distance(self, projection: nn.Module, feature: Tensor, target: Tensor) -> Tensor:
        feature, target = _as_small(feature, target)
        found, wanted = self._normalised(projection(feature)), self._normalised(target)
        return (found - wanted).square().mean()

    def _normalised(self, x: Tensor) -> Tensor:
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        return self.supernet.statistics.normalise(precise)


def _as_small(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the smaller height and the smaller width of the two."""
    height, width = (min(sides) for sides in zip(first.shape[2:], second.shape[2:], strict=True))
    return _pooled(first, (height, width)), _pooled(second, (height, width))


def _pooled(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if tuple(x.shape[2:]) == size else F.adaptive_avg_pool2d(x, size)
