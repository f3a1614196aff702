"""The network around the cells, as NAS-Bench-201 has it, in sizes of one's own; counts by formula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import UserError
from crlso.protocols import FloatArray
from crlso.spaces import EdgeCellSpace
from crlso.spaces.codes import as_codes
from supernet.networks.cell import EdgeCell
from supernet.networks.classifier import Classifier
from supernet.networks.normalisation import TRAINED, AffineBatchStatistics, Style
from supernet.networks.operations import OPERATIONS, ReLUConvBN, check_operations

MOST_CHANNELS: Final = 4096
MOST_CELLS: Final = 100


@dataclass(frozen=True)
class Skeleton:
    """Sizes of the network around the cells (Dong and Yang 2020, figure 1).

    Attributes:
        channels: Of the first stage; every later stage has twice those of the one before, up to 4096.
        cells: Per stage, up to 100; all have the same code, each its own weights.
        stages: Number of stages; a residual block that halves the image stands between two of them.

    Raises:
        UserError: A size outside these bounds.
    """

    channels: int = 16
    cells: int = 5
    stages: int = 3

    def __post_init__(self) -> None:
        for name, value in (("channels", self.channels), ("cells", self.cells), ("stages", self.stages)):
            if value < 1:
                raise UserError(f"a network's {name} must be 1 or more, got {value}")
        if self.cells > MOST_CELLS:
            raise UserError(f"a network's cells per stage must be {MOST_CELLS} or fewer, got {self.cells}")
        # No powers of unbounded numbers: every stage doubles, so that there are few of them.
        if self.stages > MOST_CHANNELS.bit_length() or self.channels << (self.stages - 1) > MOST_CHANNELS:
            raise UserError(
                f"a network's last stage can have up to {MOST_CHANNELS} channels; {self.channels} in the"
                f" first of {self.stages} stages, doubled with each, are more"
            )

    def check_image(self, size: tuple[int, int]) -> None:
        """Every reduction must have something to halve.

        Raises:
            UserError: More stages than images of this size (height, width) have halvings, and one.
        """
        most = (max(size) - 1).bit_length() + 1
        if self.stages > most:
            raise UserError(
                f"a network for images of {size[0]}x{size[1]} can have up to {most} stages (each halves the"
                f" image), got {self.stages}"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.channels * 2**stage for stage in range(self.stages))

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The last cell of each stage, as a place among all cells and the reductions between stages."""
        return tuple(stage * (self.cells + 1) + self.cells - 1 for stage in range(self.stages))

    def parameters(self, space: EdgeCellSpace, codes: ArrayLike, *, inputs: int, classes: int) -> FloatArray:
        """``[n]`` number of weights of whole networks, for images of ``inputs`` channels, by formula.

        All edges count, used or not. With the default sizes, 3 input channels and 10 classes this is
        :func:`crlso.spaces.nasbench201.parameters` (which counts in millions).
        """
        return _add_up(space, codes, self._fixed_weights(inputs, classes), self._weights(space))

    def supernet_parameters(self, space: EdgeCellSpace, *, inputs: int, classes: int) -> int:
        """Weights of the network that has all operations on all edges, by formula.

        Its cells normalise without weights; what stands around them has all of its own.
        """
        every = sum(self._weights(space, affine=False))
        return self._fixed_weights(inputs, classes) + len(space.edges) * every

    def multiplications(
        self, space: EdgeCellSpace, codes: ArrayLike, *, inputs: int, classes: int, size: tuple[int, int]
    ) -> FloatArray:
        """``[n]`` multiply-accumulate operations for one image of ``size`` (height, width), by formula.

        The benchmark's ``flops``: convolutions and the classifier with its bias count; normalisation, pooling
        and ReLU do not.
        """
        return _add_up(space, codes, self._fixed_work(inputs, classes, size), self._work(space, size))

    def supernet_multiplications(
        self, space: EdgeCellSpace, *, inputs: int, classes: int, size: tuple[int, int]
    ) -> int:
        """Multiply-accumulate operations of the network that has all operations on all edges."""
        return self._fixed_work(inputs, classes, size) + len(space.edges) * sum(self._work(space, size))

    def _fixed_weights(self, inputs: int, classes: int) -> int:
        """Of all but the cells."""
        first, last = self.widths[0], self.widths[-1]
        fixed = 9 * inputs * first + 2 * first  # stem
        # Two 3x3 convolutions with their normalisations, and the 1x1 shortcut.
        fixed += sum(9 * a * b + 2 * b + 9 * b * b + 2 * b + a * b for a, b in pairwise(self.widths))
        return fixed + 2 * last + (last + 1) * classes

    def _weights(self, space: EdgeCellSpace, *, affine: bool = True) -> list[int]:
        """Per operation: of one edge with it, in all cells together."""
        return [
            self.cells * sum(OPERATIONS[name].parameters(width, affine=affine) for width in self.widths)
            for name in _buildable(space)
        ]

    def _fixed_work(self, inputs: int, classes: int, size: tuple[int, int]) -> int:
        areas = list(self._areas(size))
        fixed = 9 * inputs * self.widths[0] * areas[0]
        fixed += sum(
            (9 * a * b + 9 * b * b + a * b) * area
            for (a, b), area in zip(pairwise(self.widths), areas[1:], strict=True)
        )
        return fixed + (self.widths[-1] + 1) * classes

    def _work(self, space: EdgeCellSpace, size: tuple[int, int]) -> list[int]:
        areas = list(self._areas(size))
        return [
            self.cells
            * sum(
                OPERATIONS[name].multiplications(width) * area
                for width, area in zip(self.widths, areas, strict=True)
            )
            for name in _buildable(space)
        ]

    def _areas(self, size: tuple[int, int]) -> Iterator[int]:
        """Pixels of the feature maps of each stage."""
        height, width = size
        for _ in range(self.stages):
            yield height * width
            height, width = -(-height // 2), -(-width // 2)


def _buildable(space: EdgeCellSpace) -> tuple[str, ...]:
    check_operations(space.operations, space.name)
    return space.operations


def _add_up(space: EdgeCellSpace, codes: ArrayLike, fixed: int, per_operation: list[int]) -> FloatArray:
    edges = np.array(per_operation, dtype=np.int64)[as_codes(codes, space.cardinalities)]
    return np.asarray(fixed + edges.sum(axis=1), dtype=np.float64)


@final
class ResidualReduction(nn.Module):
    """Residual block that halves the image: two 3x3 convolutions beside averaging and a 1x1 convolution.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        style: Its normalisations are those around the cells.
    """

    def __init__(self, inputs: int, outputs: int, style: Style = TRAINED) -> None:
        super().__init__()
        around = Style(style.around)
        self.body = nn.Sequential(
            ReLUConvBN(inputs, outputs, 3, stride=2, style=around),
            ReLUConvBN(outputs, outputs, 3, style=around),
        )
        # Odd sizes are rounded up, as the convolution beside does; for even ones it is the benchmark's block.
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w]`` to ``[n, outputs, ceil(h / 2), ceil(w / 2)]``."""
        reduced: Tensor = self.body(x) + self.shortcut(x)
        return reduced


@final
class CellNetwork(Classifier):
    """Image classifier from cells of one code: stem, stages of cells with reductions between, linear head.

    Its modules have PyTorch's default initial weights until :func:`initialise` sets them.

    Args:
        space: Says what the code means.
        code: ``[d]`` the architecture.
        skeleton: Sizes of the network.
        inputs: Channels of the images.
        classes: Number of classes.
        skip_unused: As in :class:`~supernet.networks.cell.EdgeCell`.
        style: How it normalises.

    Raises:
        UserError: An operation of the space can not be built.
        ArchitectureError: The code is none of the space.
    """

    def __init__(
        self,
        space: EdgeCellSpace,
        code: ArrayLike,
        skeleton: Skeleton,
        *,
        inputs: int,
        classes: int,
        skip_unused: bool = True,
        style: Style = TRAINED,
    ) -> None:
        super().__init__()
        first, last = skeleton.widths[0], skeleton.widths[-1]
        self.stem = nn.Sequential(nn.Conv2d(inputs, first, 3, padding=1, bias=False), style.around(first))
        body: list[nn.Module] = []
        for stage, width in enumerate(skeleton.widths):
            if stage:
                body.append(ResidualReduction(skeleton.widths[stage - 1], width, style))
            body += [
                EdgeCell(space, code, width, skip_unused=skip_unused, style=style)
                for _ in range(skeleton.cells)
            ]
        self.body = nn.Sequential(*body)
        self.last = style.around(last)
        self.classifier = nn.Linear(last, classes)

    def forward(self, images: Tensor) -> Tensor:
        """``[n, inputs, h, w]`` normalised images to logits ``[n, classes]``."""
        features = F.relu(self.last(self.body(self.stem(images))))
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draws all weights anew, from PyTorch's default distributions, but with a generator of one's own.

    Convolutions and linear layers: uniform on plus or minus 1 / sqrt(fan in), biases too (He's rule with
    a = sqrt(5)). Normalisations: scale 1, shift 0.

    Args:
        network: Changed in place; must lie on the generator's device.
        generator: Where the numbers come from.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d | AffineBatchStatistics):
            module.reset_parameters()
