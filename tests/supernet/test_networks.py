"""Discrete networks: counts against the benchmark's published ones, values against their definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import EdgeCellSpace, get_space
from supernet.networks import OPERATIONS, CellNetwork, EdgeCell, Skeleton, edge_cells, initialise
from supernet.networks.normalisation import TRAINED
from tests.spaces.data import data_file
from tests.supernet import counting

SPACE = EdgeCellSpace("all", nodes=3, operations=list(OPERATIONS))
NASBENCH = edge_cells(get_space("nasbench201"))


@pytest.mark.parametrize("skeleton", [Skeleton(8, 1, 2), Skeleton(3, 2, 3)])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_formulas_are_what_is_counted(skeleton: Skeleton, size: tuple[int, int]) -> None:
    codes = SPACE.sample(12, np.random.default_rng(0))
    weights = skeleton.parameters(SPACE, codes, inputs=2, classes=7)
    work = skeleton.multiplications(SPACE, codes, inputs=2, classes=7, size=size)
    for row, code in enumerate(codes):
        network = CellNetwork(SPACE, code, skeleton, inputs=2, classes=7, skip_unused=False)
        assert weights[row] == sum(p.numel() for p in network.parameters())
        assert work[row] == counting.work(network, (2, *size))


def test_default_sizes_are_the_benchmarks() -> None:
    table = pd.read_parquet(data_file("nasbench201/nasbench201.parquet"))
    codes = np.array([NASBENCH.parse(text) for text in table.arch_str])
    for data, classes, size in (("cifar10", 10, 32), ("cifar100", 100, 32), ("imagenet16", 120, 16)):
        weights = Skeleton().parameters(NASBENCH, codes, inputs=3, classes=classes)
        # 150 cells were trained with one operation other than their text says.
        assert (weights != table[f"{data}_params"]).sum() == 150
        work = Skeleton().multiplications(NASBENCH, codes, inputs=3, classes=classes, size=(size, size))
        np.testing.assert_array_equal(work, table[f"{data}_flops_formula"])
    np.testing.assert_array_equal(
        Skeleton().parameters(NASBENCH, codes, inputs=3, classes=10), table["cifar10_params_formula"]
    )
    for row in (0, 1234, 15_000):
        network = CellNetwork(NASBENCH, codes[row], Skeleton(), inputs=3, classes=10)
        assert sum(p.numel() for p in network.parameters()) == table.cifar10_params_formula[row]


def test_a_cell_sums_its_edges() -> None:
    torch.manual_seed(0)
    code = SPACE.parse("|nor_conv_3x3~0|+|max_pool_3x3~0|nor_conv_1x1~1|")
    cell = EdgeCell(SPACE, code, 4).eval()
    x = torch.randn(2, 4, 5, 5)
    first, pool, second = cell.edges
    np.testing.assert_array_equal(cell(x).detach().numpy(), (pool(x) + second(first(x))).detach().numpy())


def test_operations_are_torchs() -> None:
    x = torch.randn(2, 4, 5, 5)
    kernel = torch.ones(4, 1, 3, 3)
    mean = nn.functional.conv2d(x, kernel, padding=1, groups=4) / nn.functional.conv2d(
        torch.ones_like(x), kernel, padding=1, groups=4
    )
    torch.testing.assert_close(OPERATIONS["avg_pool_3x3"].build(4, 1, TRAINED)(x), mean)
    assert torch.equal(OPERATIONS["skip_connect"].build(4, 1, TRAINED)(x), x)
    assert not OPERATIONS["none"].build(4, 1, TRAINED)(x).any()


def test_leaving_out_unused_edges_changes_nothing() -> None:
    skeleton = Skeleton(4, 1, 2)
    x = torch.randn(6, 1, 8, 8)
    for code in SPACE.sample(20, np.random.default_rng(1)):
        answers = []
        for skip in (True, False):
            network = CellNetwork(SPACE, code, skeleton, inputs=1, classes=3, skip_unused=skip)
            initialise(network, torch.Generator().manual_seed(5))
            out = network(x)
            out.sum().backward()
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
            answers.append([out.detach(), *gradients])
        for short, whole in zip(*answers, strict=True):
            torch.testing.assert_close(short, whole)


def test_initial_weights_have_pytorchs_distribution() -> None:
    code = SPACE.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|")
    network = CellNetwork(SPACE, code, Skeleton(32, 2, 2), inputs=1, classes=10)
    theirs = [float(p.detach().std()) for p in network.parameters() if p.dim() == 4]
    initialise(network, torch.Generator().manual_seed(0))
    ours = [float(p.detach().std()) for p in network.parameters() if p.dim() == 4]
    np.testing.assert_allclose(ours, theirs, rtol=0.1)


def test_what_can_not_be_built_is_refused() -> None:
    with pytest.raises(UserError, match="'toy64' is a ChoiceChain"):
        edge_cells(get_space("toy64"))
    with pytest.raises(UserError, match="operation 'conv', which no network can be built from; known: none"):
        edge_cells(EdgeCellSpace("odd", nodes=2, operations=["none", "conv"]))
    with pytest.raises(ArchitectureError):
        EdgeCell(SPACE, np.array([0, 0, 99]), 4)
    with pytest.raises(UserError, match="cells must be 1 or more"):
        Skeleton(cells=0)
    with pytest.raises(UserError, match="cells per stage must be 100 or fewer"):
        Skeleton(cells=101)
    for sizes in ((4097, 1, 1), (10**30, 1, 1), (16, 1, 10), (1, 1, 10**30)):
        with pytest.raises(UserError, match="last stage can have up to 4096 channels"):
            Skeleton(*sizes)
    assert Skeleton(16, 100, 9).widths[-1] == 4096
    for size, most in (((1, 1), 1), ((2, 1), 2), ((7, 7), 4), ((8, 8), 4), ((28, 28), 6)):
        Skeleton(1, 1, most).check_image(size)
        with pytest.raises(UserError, match=f"up to {most} stages"):
            Skeleton(1, 1, most + 1).check_image(size)
