"""The discrete networks of DARTS (Liu, Simonyan, Yang 2019, released code), for small and large images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import UserError
from crlso.spaces.darts_costs import AUXILIARY, Place, Stem, places
from crlso.spaces.genotype import INPUTS, NODES, Pair, cells_from_code
from supernet.networks.classifier import Classifier
from supernet.networks.normalisation import TRAINED, Style
from supernet.networks.operations import OPERATIONS, FactorizedReduce, ReLUConvBN
from supernet.networks.skeleton import MOST_CELLS, MOST_CHANNELS

_STEM_HALVINGS: Final = {"cifar": 0, "imagenet": 3}


@dataclass(frozen=True)
class DARTSSizes:
    """Sizes of a network of DARTS cells.

    Attributes:
        channels: Of the nodes of the first cells, an even number; each of the two reduction cells doubles
            them, up to 4096. In the literature 16 while searching, 36 on CIFAR-10, 48 on ImageNet.
        cells: Up to 100 (8 while searching, 20 on CIFAR-10, 14 on ImageNet). Reduction cells are number
            ``cells // 3`` and ``2 * cells // 3``, from 0: a network of 1 cell has a reduction cell and no
            normal one, with 2 both are reduction cells, with 3 the last two.
        stem: ``cifar``, a 3x3 convolution; ``imagenet``, three of stride 2.
        auxiliary: Whether the discrete network has a second classifier behind the later reduction cell,
            which serves training only. It does not count among its weights, as in the literature.

    Raises:
        UserError: A size outside these bounds.
    """

    channels: int = 16
    cells: int = 8
    stem: Stem = "cifar"
    auxiliary: bool = False

    def __post_init__(self) -> None:
        if self.channels < 1 or self.cells < 1:
            raise UserError(
                f"a network's channels and cells must be 1 or more, got {self.channels} and {self.cells}"
            )
        if self.cells > MOST_CELLS:
            raise UserError(f"a network's cells must be {MOST_CELLS} or fewer, got {self.cells}")
        if self.channels * 4 > MOST_CHANNELS:
            raise UserError(
                f"a network's last cells can have up to {MOST_CHANNELS} channels, four times those of the"
                f" first, so these up to {MOST_CHANNELS // 4}; got {self.channels}"
            )
        places(self.channels, self.cells, stem=self.stem)  # refuses odd channels and unknown stems

    def check_image(self, size: tuple[int, int]) -> None:
        """Every reduction must have something to halve.

        Raises:
            UserError: Images of this size (height, width) are too small; the message says how large they
                must be.
        """
        halvings = _STEM_HALVINGS[self.stem] + sum(place.cell for place in self.places((1, 1)))
        least = 2 ** (halvings - 1) + 1
        if max(size) < least:
            raise UserError(
                f"a DARTS network of {self.cells} cells with the stem {self.stem} halves the image {halvings}"
                f" times, which needs {least} pixels or more in height or width; got {size[0]}x{size[1]}"
            )

    def places(self, size: tuple[int, int]) -> list[Place]:
        """The cells in their order, for images of ``size`` (height, width)."""
        return places(self.channels, self.cells, stem=self.stem, size=size)

    @property
    def auxiliary_cell(self) -> int:
        """The cell whose output the auxiliary classifier takes."""
        return 2 * self.cells // 3

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The cells before each reduction cell, and the last: three, or as many as there are cells."""
        ends = (self.cells // 3 - 1, 2 * self.cells // 3 - 1, self.cells - 1)
        return tuple(end for end in ends if end >= 0)

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Of what comes out of the cells at :attr:`stage_ends`."""
        stack = self.places((1, 1))
        return tuple(NODES * stack[end].channels for end in self.stage_ends)


@final
class DARTSCell(nn.Module):
    """A cell of a genotype: each of its four nodes is the sum of two operations; the output has all nodes.

    Args:
        pairs: Operation and predecessor, two for each node; 0 and 1 are the inputs.
        place: Where it stands: channels, and whether it reduces.
        style: How to normalise.
    """

    def __init__(self, pairs: list[Pair], place: Place, style: Style = TRAINED) -> None:
        super().__init__()
        self.older, self.previous = preprocessing(place, style)
        self.operations = nn.ModuleList(
            OPERATIONS[name].build(place.channels, edge_stride(place, source), style)
            for name, source in pairs
        )
        self._sources = tuple(source for _, source in pairs)

    def forward(
        self, older: Tensor, previous: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Outputs of the two cells before to ``[n, 4 * channels, h', w']``.

        Args:
            older: ``[n, place.older, h, w]``, or twice as large where the place says so.
            previous: ``[n, place.previous, h, w]``.
            drop: Done to the output of every operation that is not an identity.
        """
        states = [self.older(older), self.previous(previous)]
        for node in range(NODES):
            terms = []
            for edge in (2 * node, 2 * node + 1):
                operation = self.operations[edge]
                term = operation(states[self._sources[edge]])
                terms.append(term if drop is None or isinstance(operation, nn.Identity) else drop(term))
            states.append(terms[0] + terms[1])
        return torch.cat(states[INPUTS:], dim=1)


def preprocessing(place: Place, style: Style) -> tuple[nn.Module, nn.Module]:
    """What brings the two inputs of a cell to its channels and to one size."""
    older: nn.Module = (
        FactorizedReduce(place.older, place.channels, style)
        if place.halves_older
        else ReLUConvBN(place.older, place.channels, 1, style=style)
    )
    return older, ReLUConvBN(place.previous, place.channels, 1, style=style)


def edge_stride(place: Place, source: int) -> int:
    """2 for the edges of a reduction cell that leave one of its inputs, otherwise 1."""
    return 2 if place.cell and source < INPUTS else 1


@final
class CIFARStem(nn.Module):
    """A 3x3 convolution to three times the channels; both inputs of the first cell are its output."""

    def __init__(self, inputs: int, channels: int, style: Style = TRAINED) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, 3 * channels, 3, padding=1, bias=False)
        self.normalisation = style.around(3 * channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``[n, inputs, h, w]`` to ``[n, 3 * channels, h, w]``, twice the same."""
        made = self.normalisation(self.convolution(images))
        return made, made


@final
class ImageNetStem(nn.Module):
    """Three 3x3 convolutions of stride 2; the first cell takes what two and what all three have made."""

    def __init__(self, inputs: int, channels: int, style: Style = TRAINED) -> None:
        super().__init__()
        half = channels // 2
        self.first = nn.Sequential(
            nn.Conv2d(inputs, half, 3, stride=2, padding=1, bias=False),
            style.around(half),
            nn.ReLU(),
            nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False),
            style.around(channels),
        )
        self.second = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            style.around(channels),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``[n, inputs, h, w]`` to channels on a quarter and on an eighth of height and width, rounded up."""
        older = self.first(images)
        return older, self.second(older)


def stem(sizes: DARTSSizes, inputs: int, style: Style) -> nn.Module:
    """The stem of these sizes, for images of ``inputs`` channels; it makes both inputs of the first cell."""
    kind = CIFARStem if sizes.stem == "cifar" else ImageNetStem
    return kind(inputs, sizes.channels, style)


@final
class AuxiliaryHead(nn.Module):
    """The second classifier, which helps to train what lies below it.

    The released code pools 8x8 (CIFAR-10) or 7x7 (ImageNet) pixels to 2x2, with windows of 5x5. Windows here
    are half the image and one pixel more (rounded up), one in each corner, which is the same for those two
    and does for all others.

    Args:
        channels: That come in.
        classes: Number of classes.
        last_normalisation: Whether one follows the second convolution. For ImageNet there is none, on
            purpose, as the released code says.
        style: How to normalise.
    """

    def __init__(
        self, channels: int, classes: int, *, last_normalisation: bool = True, style: Style = TRAINED
    ) -> None:
        super().__init__()
        first, second = AUXILIARY
        self.body = nn.Sequential(
            nn.Conv2d(channels, first, 1, bias=False),
            style.around(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 2, bias=False),
            style.around(second) if last_normalisation else nn.Identity(),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(second, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, h, w]`` to logits ``[n, classes]``."""
        logits: Tensor = self.classifier(self.body(_corners(F.relu(x))).flatten(1))
        return logits


def _corners(x: Tensor) -> Tensor:
    """``[n, c, 2, 2]``: means over the four windows that reach from a corner beyond the middle."""
    height, width = (min(-(-side // 2) + 1, side) for side in x.shape[2:])
    rows = torch.stack((x[:, :, :height].mean(2), x[:, :, -height:].mean(2)), dim=2)
    return torch.stack((rows[..., :width].mean(3), rows[..., -width:].mean(3)), dim=3)


class CellStack(Classifier):
    """A stem, cells of two inputs each, and a classifier; an auxiliary one where the sizes say so.

    Args:
        sizes: Of the network.
        cells: All that there are.
        auxiliary_cell: Whose output the auxiliary classifier takes.
        inputs: Channels of the images.
        classes: Number of classes.
        style: How it normalises.
    """

    def __init__(
        self,
        sizes: DARTSSizes,
        cells: nn.Module,
        auxiliary_cell: int,
        *,
        inputs: int,
        classes: int,
        style: Style,
    ) -> None:
        super().__init__()
        stack = sizes.places((1, 1))  # the modules do not depend on the image's size
        # In this order: initial weights are drawn one module after the other.
        self.stem = stem(sizes, inputs, style)
        self.cells = cells
        self.classifier = nn.Linear(NODES * stack[-1].channels, classes)
        self.auxiliary: AuxiliaryHead | None = None
        self._auxiliary_cell = auxiliary_cell
        if sizes.auxiliary:
            self.auxiliary = AuxiliaryHead(
                NODES * stack[auxiliary_cell].channels,
                classes,
                last_normalisation=sizes.stem == "cifar",
                style=style,
            )

    @abstractmethod
    def features(self, images: Tensor, drop: Callable[[Tensor], Tensor] | None) -> Mapping[int, Tensor]:
        """Output of every cell that there is, by its number, from the first to the last.

        Args:
            images: ``[n, inputs, h, w]``, normalised.
            drop: Done to the output of every operation that is not an identity.
        """

    def forward(self, images: Tensor) -> Tensor:
        """``[n, inputs, h, w]`` normalised images to logits ``[n, classes]``; the auxiliary head rests."""
        return self._logits(self.features(images, None))

    @final
    def training_logits(
        self, images: Tensor, drop_path: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Logits of the network, then of the auxiliary head if it has one, see the base class.

        Drop-path (Larsson et al. 2017, as in the released code): the output of an operation is dropped for an
        image with probability ``drop_path`` and divided by ``1 - drop_path`` otherwise; identities are never
        dropped.
        """
        outputs = self.features(images, None if drop_path == 0 else DropPath(drop_path, generator))
        logits = (self._logits(outputs),)
        if self.auxiliary is None:
            return logits
        return (*logits, self.auxiliary(outputs[self._auxiliary_cell]))

    def _logits(self, outputs: Mapping[int, Tensor]) -> Tensor:
        logits: Tensor = self.classifier(outputs[max(outputs)].mean((2, 3)))
        return logits


@final
class DARTSNetwork(CellStack):
    """Image classifier from the cells of a genotype.

    Its modules have PyTorch's default initial weights until :func:`~supernet.networks.initialise` sets them.

    Args:
        code: ``[d]`` an architecture of the space ``darts``.
        sizes: Of the network.
        inputs: Channels of the images.
        classes: Number of classes.
        style: How it normalises.

    Raises:
        ArchitectureError: The code is none of the space.
    """

    def __init__(
        self, code: ArrayLike, sizes: DARTSSizes, *, inputs: int, classes: int, style: Style = TRAINED
    ) -> None:
        pairs = cells_from_code(code)
        cells = nn.ModuleList(DARTSCell(pairs[place.cell], place, style) for place in sizes.places((1, 1)))
        super().__init__(sizes, cells, sizes.auxiliary_cell, inputs=inputs, classes=classes, style=style)

    def features(self, images: Tensor, drop: Callable[[Tensor], Tensor] | None) -> Mapping[int, Tensor]:
        """See the base class."""
        older, previous = self.stem(images)
        outputs = {}
        for number, cell in enumerate(self.cells.children()):
            older, previous = previous, cell(older, previous, drop)
            outputs[number] = previous
        return outputs


@final
@dataclass(frozen=True)
class DropPath:
    """Drops a tensor for some of the images of a batch, and scales it up for the others.

    Attributes:
        probability: Of being dropped, for each image on its own; 0 or more, less than 1.
        generator: On the tensor's device.

    Raises:
        UserError: A probability outside of these bounds.
    """

    probability: float
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.probability < 1:
            raise UserError(f"drop_path must lie in [0, 1), got {self.probability}")

    # A probability that changes from epoch to epoch would be translated anew every time.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to the same shape."""
        keep = 1 - self.probability
        kept = torch.empty(len(x), 1, 1, 1, dtype=x.dtype, device=x.device)
        return x * kept.bernoulli_(keep, generator=self.generator) / keep
