import numpy as np
import pandas as pd
import pytest

from crlso.errors import UnknownNameError
from crlso.spaces import get_space
from crlso.spaces.nasbench201 import HEADS, OPERATIONS, flops, parameters
from tests.spaces.data import data_file

ARCH_0 = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
THREE_3X3 = [3, 3, 4, 1, 3, 1]  # as cell 11 of the official files: three 3x3 convolutions, no 1x1


@pytest.fixture(scope="module")
def space():
    return get_space("nasbench201")


@pytest.fixture(scope="module")
def cells(space):
    return np.concatenate(list(space.enumerate()))


def test_all_cells_as_texts(space, cells):
    assert cells.shape == (15_625, 6) == (space.size, len(space.cardinalities))
    texts = [space.format(code) for code in cells]
    assert len(set(texts)) == 15_625
    np.testing.assert_array_equal([space.parse(text) for text in texts], cells)


def test_the_official_package_reads_the_texts_alike(space, cells):
    from nas_201_api import NASBench201API

    for code in cells[::97]:
        official = NASBench201API.str2lists(space.format(code))
        edges = [(OPERATIONS[value], source) for value, (source, _) in zip(code, space.edges, strict=True)]
        assert [tuple(edge) for node in official for edge in node] == edges


def test_24_neighbors(space, cells):
    assert all(len(space.neighbors(code)) == 24 for code in cells[::500])


def test_341_cells_without_a_path(space, cells):
    connected = space.connected(cells)
    assert (~connected).sum() == 341
    # A cell without a path is one class, whatever else is in it.
    assert len(np.unique(space.class_keys(cells[~connected]))) == 1
    assert not np.isin(space.class_keys(cells[connected]), space.class_keys(cells[~connected])).any()


def test_golden_costs():
    for dataset, weights, operations in [
        ("cifar10", 0.802426, 113.95137),
        ("cifar100", 0.808276, 113.95722),
        ("imagenet16", 0.809576, 28.49548),
    ]:
        assert parameters([THREE_3X3], dataset)[0] == pytest.approx(weights, abs=5e-10)
        assert flops([THREE_3X3], dataset)[0] == pytest.approx(operations, abs=5e-9)
    code = get_space("nasbench201").parse(ARCH_0)
    assert parameters(code)[0] == pytest.approx(0.129306, abs=5e-10)
    assert flops(code)[0] == pytest.approx(15.64737, abs=5e-9)


def test_costs_know_three_data_sets():
    with pytest.raises(
        UnknownNameError, match="unknown data set 'mnist'; known: cifar10, cifar100, imagenet16"
    ):
        parameters([THREE_3X3], "mnist")
    with pytest.raises(UnknownNameError):
        flops([THREE_3X3], "mnist")


def test_costs_of_the_published_table(space):
    table = pd.read_parquet(data_file("nasbench201/nasbench201.parquet"))
    codes = np.array([space.parse(text) for text in table["arch_str"]])
    assert len(np.unique(codes, axis=0)) == 15_625
    for dataset in HEADS:
        stored = table[f"{dataset}_params"].to_numpy()
        # 150 cells were trained with one operation other than their text says.
        assert (np.round(parameters(codes, dataset) * 1e6) != stored).sum() == 150
        np.testing.assert_array_equal(
            np.round(flops(codes, dataset) * 1e6), table[f"{dataset}_flops_formula"].to_numpy()
        )
