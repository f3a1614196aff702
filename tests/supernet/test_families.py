"""Families of networks: formulas against counting, the two readings of mixing shares against plain loops."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import EdgeCellSpace, get_space, nasbench201
from crlso.spaces.genotype import cells_from_code
from supernet.networks import (
    DARTSSizes,
    EdgeCellFamily,
    ImageTask,
    NetworkFamily,
    Skeleton,
    edge_cells,
    family_of,
)
from supernet.networks.darts import edge_stride, preprocessing, stem
from supernet.networks.normalisation import Style
from supernet.networks.operations import OPERATIONS
from supernet.networks.skeleton import ResidualReduction
from tests.spaces.test_darts import DARTS_V2
from tests.supernet.counting import weights, work

DARTS = get_space("darts")
NASBENCH = edge_cells(get_space("nasbench201"))
CIFAR = ImageTask(3, (32, 32), 10)


def darts(sizes: DARTSSizes | None = None, task: ImageTask = CIFAR) -> Any:
    return family_of(DARTS, task, sizes)


def nasbench(skeleton: Skeleton | None = None, task: ImageTask = CIFAR) -> Any:
    return family_of(NASBENCH, task, skeleton)


FAMILIES = [
    darts(DARTSSizes(4, 1), ImageTask(1, (8, 8), 10)),
    darts(DARTSSizes(2, 2), ImageTask(2, (7, 9), 3)),
    darts(DARTSSizes(6, 8), ImageTask(3, (32, 32), 10)),
    darts(DARTSSizes(4, 4, "imagenet"), ImageTask(3, (225, 97), 12)),
    nasbench(Skeleton(4, 2, 3), ImageTask(3, (9, 12), 7)),
    family_of(
        EdgeCellSpace("all", nodes=3, operations=list(OPERATIONS)), ImageTask(1, (8, 8), 5), Skeleton(6, 1, 2)
    ),
]


@pytest.mark.parametrize("family", FAMILIES, ids=NetworkFamily.describe)
def test_formulas_are_what_is_counted(family: NetworkFamily) -> None:
    codes = family.space.sample(4, np.random.default_rng(0))
    task = family.task
    for row, code in enumerate(codes):
        with torch.device("meta"):
            network = family.network(code)
        assert family.parameters(codes)[row] == weights(network)
        assert family.multiplications(codes)[row] == work(whole(family, code), (task.channels, *task.size))


def whole(family: NetworkFamily, code: Any) -> nn.Module:
    """The network with the edges that its output does not depend on, which the formulas count."""
    with torch.device("meta"):
        network = family.network(code)
        if isinstance(family, EdgeCellFamily):
            task = family.task
            network = type(network)(  # type: ignore[call-arg]
                family.space,
                code,
                family.skeleton,
                inputs=task.channels,
                classes=task.classes,
                skip_unused=False,
            )
    return network


class Everything(nn.Module):
    """All operations on all edges, each of them run once: something to count."""

    def __init__(self, family: Any) -> None:
        super().__init__()
        style = family.shared_style()
        task = family.task
        self.parts = nn.ModuleList()
        self.given: list[tuple[int, int, int]] = []

        def add(part: nn.Module, channels: int, size: tuple[int, int]) -> None:
            self.parts.append(part)
            self.given.append((channels, *size))

        if isinstance(family, EdgeCellFamily):
            size, width = task.size, family.skeleton.channels
            add(nn.Conv2d(task.channels, width, 3, padding=1, bias=False), task.channels, size)
            self.around = nn.ModuleList([style.around(width)])
            for stage in range(family.skeleton.stages):
                if stage:
                    add(ResidualReduction(width, 2 * width, Style(style.around)), width, size)
                    size, width = tuple(-(-side // 2) for side in size), 2 * width
                for _ in range(family.skeleton.cells):
                    for _ in family.edges:
                        for name in family.operations:
                            add(OPERATIONS[name].build(width, 1, style), width, size)
            self.around.append(style.around(width))
        else:
            add(stem(family.sizes, task.channels, style), task.channels, task.size)
            for place in family.sizes.places(task.size):
                larger = [2 * side for side in place.size] if place.halves_older else place.size
                older, previous = preprocessing(place, style)
                add(older, place.older, tuple(larger))
                add(previous, place.previous, place.size)
                for source, _ in family.edges:
                    stride = edge_stride(place, source)
                    size = place.size if source < 2 else place.output_size
                    for name in family.operations:
                        add(OPERATIONS[name].build(place.channels, stride, style), place.channels, size)
                width = 4 * place.channels
        self.classifier = nn.Linear(width, task.classes)

    def forward(self, x: torch.Tensor) -> None:
        for part, shape in zip(self.parts, self.given, strict=True):
            part(torch.zeros(1, *shape, device=x.device))
        self.classifier(torch.zeros(1, self.classifier.in_features, device=x.device))


@pytest.mark.parametrize("family", FAMILIES, ids=NetworkFamily.describe)
def test_formulas_of_the_supernet(family: NetworkFamily) -> None:
    with torch.device("meta"):
        everything = Everything(family)
    assert family.supernet_parameters() == weights(everything)
    assert family.supernet_multiplications() == work(everything, (1, 1, 1))


def test_published_counts() -> None:
    assert darts().supernet_parameters() == 1_930_618
    assert darts(DARTSSizes(36, 20)).parameters(DARTS.parse(DARTS_V2)) == 3_349_342
    codes = NASBENCH.sample(50, np.random.default_rng(0))
    # The benchmark's own formula, which tests/spaces has held against its table.
    np.testing.assert_allclose(nasbench().parameters(codes) / 1e6, nasbench201.parameters(codes), rtol=1e-12)


def published_rule(shares: Any) -> list[list[tuple[str, int]]]:
    """DARTS' rule as its paper says it, one node at a time."""
    names = darts().operations
    cells = []
    for kind in shares.tolist():
        pairs, first = [], 0
        for node in range(4):
            rows = kind[first : first + node + 2]
            first += node + 2
            sources = sorted(range(node + 2), key=lambda source: -max(rows[source][1:]))[:2]
            for source in sorted(sources):
                strengths = rows[source][1:]
                pairs.append((names[1 + strengths.index(max(strengths))], source))
        cells.append(pairs)
    return cells


@pytest.mark.parametrize("levels", [3, 1000])
def test_strongest_edges_of_darts(levels: int) -> None:
    """With few levels there are ties."""
    family = darts()
    generator = torch.Generator().manual_seed(levels)
    for _ in range(50):
        shares = torch.randint(levels, (2, 14, 8), generator=generator) / levels
        shares[..., 0] += 1  # a large none changes nothing
        code = family.strongest(shares.requires_grad_())
        assert list(cells_from_code(code)) == published_rule(shares)


def test_strongest_operations_of_nasbench201() -> None:
    """As published, none can win."""
    family = nasbench()
    for seed in range(20):
        shares = torch.rand(1, 6, 5, generator=torch.Generator().manual_seed(seed))
        rows = shares[0].tolist()
        assert family.strongest(shares).tolist() == [row.index(max(row)) for row in rows]


def test_mixing_of_codes() -> None:
    family = darts()
    codes = DARTS.sample(20, np.random.default_rng(0))
    shares = family.mixing(codes)
    assert (shares.shape, shares.dtype) == ((20, 2, 14, 8), torch.float32)
    for code, mixed in zip(codes, shares, strict=True):
        expected = torch.zeros(2, 14, 8)
        for kind, pairs in enumerate(cells_from_code(code)):
            for place, (name, source) in enumerate(pairs):
                edge = family.edges.index((source, 2 + place // 2))
                expected[kind, edge, family.operations.index(name)] = 1
        assert torch.equal(mixed, expected)
        np.testing.assert_array_equal(family.strongest(mixed), code)
    other = nasbench()
    codes = NASBENCH.sample(20, np.random.default_rng(0))
    shares = other.mixing(codes)
    assert (shares.shape, shares.dtype) == ((20, 1, 6, 5), torch.float32)
    np.testing.assert_array_equal(shares[:, 0].argmax(dim=2).numpy(), codes)
    assert torch.equal(shares.sum(dim=3), torch.ones(20, 1, 6))
    with pytest.raises(ArchitectureError):
        family.mixing(codes)


def test_numbers_of_convolutions_and_skips() -> None:
    for code in DARTS.sample(10, np.random.default_rng(0)):
        cells = cells_from_code(code)
        names = [[name for name, _ in cell] for cell in cells]
        assert darts().convolutions(code) == tuple(sum("conv" in name for name in cell) for cell in names)
        assert darts().skips(code) == tuple(cell.count("skip_connect") for cell in names)
    code = NASBENCH.parse(
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|skip_connect~2|"
    )
    assert (nasbench().convolutions(code), nasbench().skips(code)) == ((2,), (2,))


def test_families_say_what_they_are_and_travel() -> None:
    assert darts().describe() == "channels 16, cells 8, stem cifar, auxiliary False"
    assert nasbench().describe() == "channels 16, cells 5, stages 3"
    assert (len(darts().edges), darts().kinds, nasbench().kinds) == (14, ("normal", "reduce"), ("cell",))
    assert nasbench().edges == NASBENCH.edges
    copied = pickle.loads(pickle.dumps(darts()))
    assert copied == darts()
    assert pickle.loads(pickle.dumps(nasbench())).describe() == nasbench().describe()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="'toy64' is a ChoiceChain"):
        family_of(get_space("toy64"), CIFAR)
    with pytest.raises(UserError, match="'darts' have DARTSSizes, got Skeleton"):
        darts(Skeleton())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'nasbench201' have a Skeleton, got DARTSSizes"):
        nasbench(DARTSSizes())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="needs 3 pixels or more"):
        darts(task=ImageTask(1, (2, 2), 10))
    with pytest.raises(UserError, match="2x2 can have up to 2 stages"):
        nasbench(task=ImageTask(1, (2, 2), 10))
    with pytest.raises(UserError, match=r"shape \[2, 14, 8\], got \[14, 8\]"):
        darts().strongest(torch.zeros(14, 8))
    with pytest.raises(UserError, match="NaN"):
        nasbench().strongest(torch.full((1, 6, 5), torch.nan))
