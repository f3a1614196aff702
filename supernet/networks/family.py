"""What a search space's networks have in common: sizes, costs, how to build one, how all share weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from crlso.errors import UserError
from crlso.protocols import Code, FloatArray, SearchSpace
from supernet.networks.normalisation import TRAINED, Statistics, Style
from supernet.networks.operations import OPERATIONS

if TYPE_CHECKING:
    from supernet.data import Splits
    from supernet.networks.classifier import Classifier
    from supernet.networks.darts import DARTSSizes
    from supernet.networks.skeleton import Skeleton
    from supernet.networks.supernet import Supernet

Path = Literal["fast", "reference"]
"""How a supernet computes: with merged operations, or one operation at a time as published. Equal results."""


@dataclass(frozen=True)
class ImageTask:
    """What networks classify.

    Attributes:
        channels: Of an image.
        size: Height and width of an image, pixels.
        classes: Number of classes.
    """

    channels: int
    size: tuple[int, int]
    classes: int

    @classmethod
    def of(cls, splits: Splits) -> ImageTask:
        """That of a data set."""
        return cls(splits.channels, splits.size, splits.classes)


class NetworkFamily(ABC):
    """The networks of one search space, in one size, for images of one shape.

    Its supernet holds the weights of all of them. An edge of a kind of cell carries a mixture of operations;
    ``mixing`` ``[kinds, edges, operations]`` has their shares. Immutable; can be pickled.
    """

    @property
    @abstractmethod
    def space(self) -> SearchSpace:
        """The space that its codes belong to."""

    @property
    @abstractmethod
    def task(self) -> ImageTask:
        """The images."""

    @property
    @abstractmethod
    def kinds(self) -> tuple[str, ...]:
        """Kinds of cells with architecture weights of their own (``normal``, ``reduce``)."""

    @property
    @abstractmethod
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Of every kind of cell: (source, target), by target, then source; what goes in are states 0, ..."""

    @property
    @abstractmethod
    def operations(self) -> tuple[str, ...]:
        """What an edge mixes, ``none`` included."""

    @abstractmethod
    def describe(self) -> str:
        """The sizes in words: equal texts mean equal networks."""

    @abstractmethod
    def parameters(self, codes: ArrayLike) -> FloatArray:
        """``[n]`` weights of the discrete networks, by formula."""

    @abstractmethod
    def multiplications(self, codes: ArrayLike) -> FloatArray:
        """``[n]`` multiply-accumulate operations for one image, by formula; convolutions and classifier."""

    @abstractmethod
    def supernet_parameters(self) -> int:
        """Weights of the supernet, by formula, without the architecture weights."""

    @abstractmethod
    def supernet_multiplications(self) -> int:
        """Multiply-accumulate operations of the supernet for one image, by formula."""

    @abstractmethod
    def network(self, code: ArrayLike, style: Style = TRAINED) -> Classifier:
        """The discrete network of a code ``[d]``, by default one to be trained.

        Raises:
            ArchitectureError: The code is none of the space.
        """

    @abstractmethod
    def shared_style(self, statistics: Statistics | None = None) -> Style:
        """How the supernet, and networks with its weights, normalise."""

    @abstractmethod
    def supernet(self, *, path: Path = "fast", statistics: Statistics | None = None) -> Supernet:
        """The network with shared weights; normalisations take the statistics of the own batch by default."""

    @abstractmethod
    def inherit(self, supernet: Supernet, code: ArrayLike) -> Classifier:
        """The discrete network of a code with the supernet's weights (copies) and its normalisations.

        It equals the supernet with the code's :meth:`mixing`.
        """

    @abstractmethod
    def mixing(self, codes: ArrayLike) -> Tensor:
        """``[n, kinds, edges, operations]`` float32 shares of 0 and 1, on the CPU.

        An edge that a code does not have mixes nothing at all, not even ``none``; where ``none`` is one of
        the space's operations, it is chosen like the others.
        """

    @abstractmethod
    def strongest(self, shares: Tensor) -> Code:
        """Code ``[d]`` of the architecture that the mixing shares favour, by the space's published rule."""

    @property
    @abstractmethod
    def node_inputs(self) -> int | None:
        """Edges that a node of a discrete cell has; ``None``: all, of which some may carry ``none``."""

    @abstractmethod
    def count(self, code: ArrayLike, names: Collection[str]) -> tuple[int, ...]:
        """Per kind of cell: how many of its operations have one of these names."""

    @final
    def convolutions(self, code: ArrayLike) -> tuple[int, ...]:
        """Per kind of cell: operations that are convolutions; a skip connection of stride 2 is none."""
        return self.count(code, [name for name, kind in OPERATIONS.items() if kind.dense > 0])

    @final
    def skips(self, code: ArrayLike) -> tuple[int, ...]:
        """Per kind of cell: operations that are skip connections."""
        return self.count(code, ["skip_connect"])


def listed(sizes: DARTSSizes | Skeleton) -> str:
    """``channels 8, cells 1, stages 2``."""
    return ", ".join(f"{name} {value}" for name, value in asdict(sizes).items())


def on_host(family: NetworkFamily, shares: Tensor) -> FloatArray:
    """``[kinds, edges, operations]`` shares, after one copy.

    Raises:
        UserError: Another shape, or no numbers.
    """
    expected = (len(family.kinds), len(family.edges), len(family.operations))
    if tuple(shares.shape) != expected:
        raise UserError(
            f"shares of {family.space.name!r} have shape {list(expected)}, got {list(shares.shape)}"
        )
    values: FloatArray = shares.detach().to(device="cpu", dtype=torch.float64).numpy()
    if np.isnan(values).any():
        raise UserError("there are mixing shares that are no numbers (NaN): no architecture can be read off")
    return values


def other_supernet(family: NetworkFamily, supernet: Supernet) -> UserError:
    """What to raise for a supernet of another space."""
    return UserError(f"a {type(supernet).__name__} has no weights for the space {family.space.name!r}")
