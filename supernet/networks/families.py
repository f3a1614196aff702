"""The families of networks: cells of DARTS, cells with an operation on every edge, free topologies."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Code, FloatArray, SearchSpace
from crlso.spaces import EdgeCellSpace, FreeTopologySpace, darts_costs
from crlso.spaces.codes import as_code, as_codes
from crlso.spaces.darts import DARTSSpace, decoded
from crlso.spaces.genotype import CARDINALITIES, CELLS, INPUTS, NODES, OPERATIONS, PAIRS
from supernet.networks.cell import edge_cells
from supernet.networks.classifier import Classifier
from supernet.networks.darts import DARTSNetwork, DARTSSizes
from supernet.networks.family import ImageTask, NetworkFamily, Path, listed, on_host, other_supernet
from supernet.networks.free_family import FreeTopologyFamily
from supernet.networks.normalisation import TRAINED, Statistics, Style, shared
from supernet.networks.relaxed import (
    DARTSFast,
    DARTSReference,
    DARTSSupernet,
    EdgeCellFast,
    EdgeCellReference,
    EdgeCellSupernet,
    inherit_darts,
    inherit_edge_cells,
)
from supernet.networks.skeleton import CellNetwork, Skeleton

if TYPE_CHECKING:
    from supernet.networks.supernet import Supernet

_DARTS_EDGES: Final = tuple(
    (source, node) for node in range(INPUTS, INPUTS + NODES) for source in range(node)
)


@final
@dataclass(frozen=True)
class DARTSFamily(NetworkFamily):
    """The networks of the space ``darts`` in one size.

    Attributes:
        sizes: Of the networks; the supernet has no auxiliary classifier.
        images: What they classify.

    Raises:
        UserError: Images too small to be halved so often.
    """

    sizes: DARTSSizes
    images: ImageTask

    def __post_init__(self) -> None:
        self.sizes.check_image(self.images.size)

    @property
    def space(self) -> DARTSSpace:
        """``darts``."""
        return DARTSSpace()

    @property
    def task(self) -> ImageTask:
        """The images."""
        return self.images

    @property
    def kinds(self) -> tuple[str, ...]:
        """``normal``, ``reduce``."""
        return CELLS

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """14: states 0 and 1 are the outputs of the two cells before, 2 to 5 the nodes."""
        return _DARTS_EDGES

    @property
    def operations(self) -> tuple[str, ...]:
        """``none``, then the space's seven: DARTS' order."""
        return ("none", *OPERATIONS)

    def describe(self) -> str:
        """``channels 16, cells 8, stem cifar, auxiliary False``."""
        return listed(self.sizes)

    def parameters(self, codes: ArrayLike) -> FloatArray:
        """``[n]`` weights, without the auxiliary classifier, see :mod:`crlso.spaces.darts_costs`."""
        millions = darts_costs.parameters(codes, **self._sized())
        return np.rint(millions * 1e6)

    def multiplications(self, codes: ArrayLike) -> FloatArray:
        """``[n]`` multiply-accumulate operations for one image, likewise."""
        millions = darts_costs.flops(codes, pixels=self.images.size, **self._sized())
        return np.rint(millions * 1e6)

    def supernet_parameters(self) -> int:
        """1,930,618 in the search of the literature (16 channels, 8 cells, RGB images of 10 classes)."""
        return darts_costs.supernet_parameters(**self._sized())

    def supernet_multiplications(self) -> int:
        """See the base class."""
        return darts_costs.supernet_flops(pixels=self.images.size, **self._sized())

    def _sized(self) -> dict[str, Any]:
        """What all cost formulas ask for."""
        return {
            "channels": self.sizes.channels,
            "layers": self.sizes.cells,
            "classes": self.images.classes,
            "inputs": self.images.channels,
            "stem": self.sizes.stem,
        }

    def network(self, code: ArrayLike, style: Style = TRAINED) -> DARTSNetwork:
        """See the base class."""
        task = self.images
        return DARTSNetwork(code, self.sizes, inputs=task.channels, classes=task.classes, style=style)

    def shared_style(self, statistics: Statistics | None = None) -> Style:
        """Pooling is followed by a normalisation too."""
        return shared(pools=True, statistics=statistics)

    def supernet(self, *, path: Path = "fast", statistics: Statistics | None = None) -> Supernet:
        """See the base class."""
        kind = DARTSFast if path == "fast" else DARTSReference
        return kind(
            channels=self.sizes.channels,
            cells=self.sizes.cells,
            stem=self.sizes.stem,
            inputs=self.images.channels,
            classes=self.images.classes,
            statistics=statistics,
        )

    def inherit(self, supernet: Supernet, code: ArrayLike) -> Classifier:
        """See the base class."""
        if not isinstance(supernet, DARTSSupernet):
            raise other_supernet(self, supernet)
        return inherit_darts(supernet, code)

    def mixing(self, codes: ArrayLike) -> Tensor:
        """``[n, 2, 14, 8]`` float32: 1 for the eight operations of each cell, 0 elsewhere.

        Raises:
            ArchitectureError: Codes that are none of the space.
        """
        checked = as_codes(codes, CARDINALITIES)
        sources, chosen = decoded(checked)  # [n, kinds, nodes, 2] each
        first_edge = np.array([_DARTS_EDGES.index((0, INPUTS + node)) for node in range(NODES)])
        edges = first_edge[:, None] + sources
        shares = np.zeros((len(checked), len(CELLS), len(_DARTS_EDGES), 1 + len(OPERATIONS)), np.float32)
        rows, kinds = np.ogrid[: len(checked), : len(CELLS)]
        shares[rows[..., None, None], kinds[..., None, None], edges, chosen + 1] = 1
        return torch.from_numpy(shares)

    def strongest(self, shares: Tensor) -> Code:
        """Per node the two edges whose best operation has the largest share, each with that operation.

        ``none`` is passed over (Liu, Simonyan, Yang 2019, section 2.4); of equal shares the first counts.

        Raises:
            UserError: Shares of another shape, or that are no numbers.
        """
        values = on_host(self, shares)[..., 1:]
        best = values.argmax(axis=2)  # [kinds, edges]
        strength = values.max(axis=2)
        entries = np.empty((len(CELLS), NODES, 3), dtype=CODE_DTYPE)
        for node, pairs in enumerate(PAIRS):
            own = [edge for edge, (_, target) in enumerate(_DARTS_EDGES) if target == INPUTS + node]
            order = np.argsort(-strength[:, own], axis=1, kind="stable")
            chosen = np.sort(order[:, :2], axis=1)  # the two sources, lower one first
            entries[:, node, 0] = [pairs.index((low, high)) for low, high in chosen.tolist()]
            entries[:, node, 1:] = np.take_along_axis(best[:, own], chosen, axis=1)
        return entries.reshape(-1)

    @property
    def node_inputs(self) -> int:
        """2, which never carry ``none``."""
        return 2

    def count(self, code: ArrayLike, names: Collection[str]) -> tuple[int, ...]:
        """In the normal and the reduction cell, 0 to 8 each."""
        _, chosen = decoded(as_code(code, CARDINALITIES)[None])
        found: list[int] = np.isin(OPERATIONS, list(names))[chosen[0]].sum(axis=(1, 2)).tolist()
        return tuple(found)


@final
@dataclass(frozen=True)
class EdgeCellFamily(NetworkFamily):
    """The networks of a space with an operation on every edge of a cell, in one size.

    Attributes:
        cells: The space: ``nasbench201``, or a declared one.
        skeleton: Sizes of the networks.
        images: What they classify.

    Raises:
        UserError: Operations that no network can be built from, or more stages than the images can be halved
            for.
    """

    cells: EdgeCellSpace
    skeleton: Skeleton
    images: ImageTask

    def __post_init__(self) -> None:
        edge_cells(self.cells)
        self.skeleton.check_image(self.images.size)

    @property
    def space(self) -> EdgeCellSpace:
        """The space that its codes belong to."""
        return self.cells

    @property
    def task(self) -> ImageTask:
        """The images."""
        return self.images

    @property
    def kinds(self) -> tuple[str, ...]:
        """There is one."""
        return ("cell",)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The space's; state 0 is the cell's input."""
        return self.cells.edges

    @property
    def operations(self) -> tuple[str, ...]:
        """The space's."""
        return self.cells.operations

    def describe(self) -> str:
        """``channels 16, cells 5, stages 3``."""
        return listed(self.skeleton)

    def parameters(self, codes: ArrayLike) -> FloatArray:
        """``[n]``, see :meth:`~supernet.networks.Skeleton.parameters`."""
        task = self.images
        return self.skeleton.parameters(self.cells, codes, inputs=task.channels, classes=task.classes)

    def multiplications(self, codes: ArrayLike) -> FloatArray:
        """``[n]``, see :meth:`~supernet.networks.Skeleton.multiplications`."""
        task = self.images
        return self.skeleton.multiplications(
            self.cells, codes, inputs=task.channels, classes=task.classes, size=task.size
        )

    def supernet_parameters(self) -> int:
        """See the base class."""
        task = self.images
        return self.skeleton.supernet_parameters(self.cells, inputs=task.channels, classes=task.classes)

    def supernet_multiplications(self) -> int:
        """See the base class."""
        task = self.images
        return self.skeleton.supernet_multiplications(
            self.cells, inputs=task.channels, classes=task.classes, size=task.size
        )

    def network(self, code: ArrayLike, style: Style = TRAINED) -> CellNetwork:
        """See the base class."""
        task = self.images
        return CellNetwork(
            self.cells, code, self.skeleton, inputs=task.channels, classes=task.classes, style=style
        )

    def shared_style(self, statistics: Statistics | None = None) -> Style:
        """Pooling stays as it is."""
        return shared(pools=False, statistics=statistics)

    def supernet(self, *, path: Path = "fast", statistics: Statistics | None = None) -> Supernet:
        """See the base class."""
        kind = EdgeCellFast if path == "fast" else EdgeCellReference
        return kind(
            self.cells,
            self.skeleton,
            inputs=self.images.channels,
            classes=self.images.classes,
            statistics=statistics,
        )

    def inherit(self, supernet: Supernet, code: ArrayLike) -> Classifier:
        """See the base class."""
        if not isinstance(supernet, EdgeCellSupernet):
            raise other_supernet(self, supernet)
        return inherit_edge_cells(supernet, code)

    def mixing(self, codes: ArrayLike) -> Tensor:
        """``[n, 1, edges, operations]`` float32: 1 for the operation of each edge, 0 elsewhere.

        ``none`` is an operation like the others here.

        Raises:
            ArchitectureError: Codes that are none of the space.
        """
        checked = as_codes(codes, self.cells.cardinalities).astype(np.int64)
        return torch.from_numpy(np.eye(len(self.operations), dtype=np.float32)[checked][:, None])

    def strongest(self, shares: Tensor) -> Code:
        """On every edge the operation with the largest share, ``none`` included (Dong and Yang 2020).

        Of equal shares the first counts.

        Raises:
            UserError: Shares of another shape, or that are no numbers.
        """
        code: Code = on_host(self, shares)[0].argmax(axis=1).astype(CODE_DTYPE)
        return code

    @property
    def node_inputs(self) -> None:
        """All."""
        return None

    def count(self, code: ArrayLike, names: Collection[str]) -> tuple[int, ...]:
        """On all edges, whether the output depends on them or not."""
        row = as_code(code, self.cells.cardinalities)
        return (int(np.isin(self.operations, list(names))[row].sum()),)


def family_of(
    space: SearchSpace, task: ImageTask, sizes: DARTSSizes | Skeleton | None = None
) -> NetworkFamily:
    """The family of a space's networks.

    Args:
        space: ``darts``, ``nasbench201``, ``fxdarts``, or one declared with ``space: edge_cell`` or
            ``space: free_topology``.
        task: The images.
        sizes: :class:`~supernet.networks.darts.DARTSSizes` for ``darts`` and free topologies, otherwise a
            :class:`~supernet.networks.skeleton.Skeleton`; by default those of the literature.

    Raises:
        UserError: A space that no networks are known for, sizes of the other kind, or images too small.
    """
    if isinstance(space, DARTSSpace):
        sizes = DARTSSizes() if sizes is None else sizes
        if not isinstance(sizes, DARTSSizes):
            raise UserError(f"networks of {space.name!r} have DARTSSizes, got {type(sizes).__name__}")
        return DARTSFamily(sizes, task)
    if isinstance(space, FreeTopologySpace):
        sizes = DARTSSizes(cells=space.cells) if sizes is None else sizes
        if not isinstance(sizes, DARTSSizes):
            raise UserError(f"networks of {space.name!r} have DARTSSizes, got {type(sizes).__name__}")
        return FreeTopologyFamily(space, sizes, task)
    if isinstance(space, EdgeCellSpace):
        sizes = Skeleton() if sizes is None else sizes
        if not isinstance(sizes, Skeleton):
            raise UserError(f"networks of {space.name!r} have a Skeleton, got {type(sizes).__name__}")
        return EdgeCellFamily(space, sizes, task)
    raise UserError(
        f"networks can be built for the space darts, for spaces with an operation on every edge of a cell"
        f" (nasbench201, or declared with `space: edge_cell`) and for free topologies (fxdarts, or declared"
        f" with `space: free_topology`); {space.name!r} is a {type(space).__name__}"
    )
