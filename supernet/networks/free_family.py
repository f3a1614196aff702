"""The networks of free topologies in one size."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Code, FloatArray
from crlso.spaces import fxdarts_costs
from crlso.spaces.codes import as_codes
from crlso.spaces.fxdarts import FreeTopologySpace
from crlso.spaces.genotype import INPUTS
from supernet.networks.darts import DARTSSizes
from supernet.networks.family import ImageTask, NetworkFamily, Path, listed, on_host, other_supernet
from supernet.networks.free import FreeNetwork, check_free, operators_of
from supernet.networks.normalisation import TRAINED, Statistics, Style, shared
from supernet.networks.relaxed import FreeFast, FreeReference, FreeSupernet, inherit_free

if TYPE_CHECKING:
    from supernet.networks.classifier import Classifier
    from supernet.networks.supernet import Supernet


@final
@dataclass(frozen=True)
class FreeTopologyFamily(NetworkFamily):
    """The networks of a free topology in one size.

    Attributes:
        cells: The space: ``fxdarts``, or a declared one.
        sizes: Of the networks, with as many cells as the space has; the supernet has no auxiliary classifier.
        images: What they classify.

    Raises:
        UserError: A space whose cells have other than four nodes or operations that can not be built, sizes
            of another number of cells, or images too small to be halved so often.
    """

    cells: FreeTopologySpace
    sizes: DARTSSizes
    images: ImageTask

    def __post_init__(self) -> None:
        check_free(self.cells, self.sizes)
        self.sizes.check_image(self.images.size)

    @property
    def space(self) -> FreeTopologySpace:
        """The space that its codes belong to."""
        return self.cells

    @property
    def task(self) -> ImageTask:
        """The images."""
        return self.images

    @property
    def kinds(self) -> tuple[str, ...]:
        """``cell 0``, ``cell 1``, ...: each has its own."""
        return tuple(f"cell {cell}" for cell in range(self.cells.cells))

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """14: states 0 and 1 are the outputs of the two cells before, 2 to 5 the nodes."""
        return self.cells.edges

    @property
    def operations(self) -> tuple[str, ...]:
        """The space's, without ``none``."""
        return self.cells.operations

    def describe(self) -> str:
        """``channels 16, cells 8, stem cifar, auxiliary False``."""
        return listed(self.sizes)

    def parameters(self, codes: ArrayLike) -> FloatArray:
        """``[n]`` weights, without the auxiliary classifier, see :mod:`crlso.spaces.fxdarts_costs`."""
        return np.rint(fxdarts_costs.parameters(self.cells, codes, **self._sized()) * 1e6)

    def multiplications(self, codes: ArrayLike) -> FloatArray:
        """``[n]`` multiply-accumulate operations for one image, likewise."""
        millions = fxdarts_costs.flops(self.cells, codes, pixels=self.images.size, **self._sized())
        return np.rint(millions * 1e6)

    def supernet_parameters(self) -> int:
        """Of the supernet with all operators."""
        return fxdarts_costs.supernet_parameters(self.cells, **self._sized())

    def supernet_multiplications(self) -> int:
        """Of the supernet with all operators."""
        return fxdarts_costs.supernet_flops(self.cells, pixels=self.images.size, **self._sized())

    def _sized(self) -> dict[str, Any]:
        """What all cost formulas ask for."""
        return {
            "channels": self.sizes.channels,
            "classes": self.images.classes,
            "inputs": self.images.channels,
            "stem": self.sizes.stem,
        }

    def network(self, code: ArrayLike, style: Style = TRAINED) -> FreeNetwork:
        """See the base class."""
        task = self.images
        return FreeNetwork(
            self.cells, code, self.sizes, inputs=task.channels, classes=task.classes, style=style
        )

    def shared_style(self, statistics: Statistics | None = None) -> Style:
        """Pooling is followed by a normalisation too."""
        return shared(pools=True, statistics=statistics)

    def supernet(self, *, path: Path = "fast", statistics: Statistics | None = None) -> FreeSupernet:
        """With all operators, see the base class."""
        return self._supernet(None, path, statistics)

    def shrunk(
        self, operators: ArrayLike, *, path: Path = "fast", statistics: Statistics | None = None
    ) -> FreeSupernet:
        """The supernet with these operators alone, see :class:`~supernet.networks.relaxed.FreeSupernet`.

        Args:
            operators: ``[d]`` a code of the space.
            path: How it computes.
            statistics: Where its normalisations take mean and variance from.

        Raises:
            ArchitectureError: No code of the space, or a node without an operator.
        """
        return self._supernet(operators, path, statistics)

    def _supernet(
        self, operators: ArrayLike | None, path: Path, statistics: Statistics | None
    ) -> FreeSupernet:
        kind = FreeFast if path == "fast" else FreeReference
        return kind(
            self.cells,
            self.sizes,
            operators=operators,
            inputs=self.images.channels,
            classes=self.images.classes,
            statistics=statistics,
        )

    def inherit(self, supernet: Supernet, code: ArrayLike) -> Classifier:
        """See the base class.

        Raises:
            UserError: An operator that the supernet no longer has.
        """
        if not isinstance(supernet, FreeSupernet):
            raise other_supernet(self, supernet)
        return inherit_free(supernet, code)

    def mixing(self, codes: ArrayLike) -> Tensor:
        """``[n, cells, 14, operations]`` float32: the codes' bits.

        Raises:
            ArchitectureError: Codes that are none of the space.
        """
        checked = as_codes(codes, self.cells.cardinalities).astype(np.float32)
        shape = (len(self.kinds), len(self.edges), len(self.operations))
        return torch.from_numpy(checked).view(-1, *shape)

    def strongest(self, shares: Tensor) -> Code:
        """All operators with a share above 0: those that a search has not removed.

        Raises:
            UserError: Shares of another shape, or that are no numbers, or a node without an operator.
        """
        present = on_host(self, shares) > 0
        for state in range(INPUTS, INPUTS + self.cells.nodes):
            own = [edge for edge, (_, target) in enumerate(self.edges) if target == state]
            empty = np.flatnonzero(~present[:, own].any(axis=(1, 2)))
            if len(empty):
                raise UserError(
                    f"no operator of node {state - INPUTS} of cell {empty[0]} has a share above 0: no"
                    " architecture can be read off"
                )
        code: Code = present.reshape(-1).astype(CODE_DTYPE)
        return code

    @property
    def node_inputs(self) -> None:
        """Any number."""
        return None

    def count(self, code: ArrayLike, names: Collection[str]) -> tuple[int, ...]:
        """Of every cell, used or not."""
        wanted = np.isin(self.operations, list(names))
        found: list[int] = operators_of(self.cells, code)[:, :, wanted].sum(axis=(1, 2)).tolist()
        return tuple(found)
