import numpy as np
import pandas as pd
import pytest

from crlso.errors import UserError
from crlso.spaces import get_space
from crlso.spaces.darts_costs import flops, parameters
from crlso.spaces.genotype import OPERATIONS, cells_from_code, genotype_from_cells
from tests.spaces import darts_network
from tests.spaces.data import data_file

# The second-order result of the DARTS paper, as its released code has it.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), "
    "('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


@pytest.fixture(scope="module")
def space():
    return get_space("darts")


@pytest.fixture(scope="module")
def published(space):
    table = pd.read_csv(data_file("darts/darts_nb301_surrogate10000.csv.gz"))[::20]
    codes = [genotype_from_cells(*cells) for cells in zip(table["normal"], table["reduce"], strict=True)]
    return table, np.array(codes)


def test_size(space):
    """As counted in the literature: per cell, C(2,2) C(3,2) C(4,2) C(5,2) inputs and 7^8 operations."""
    assert space.size == (1 * 3 * 6 * 10 * 7**8) ** 2 == 1_076_746_950_455_072_400
    assert len(space.neighbors(space.parse(DARTS_V2))) == 2 * (2 + 5 + 9) + 16 * 6


def test_published_genotypes_are_different_networks(space, published):
    _, codes = published
    assert len(np.unique(space.class_keys(codes))) == len(np.unique(codes, axis=0)) == len(codes)


def test_weights_of_a_published_network(space):
    """DARTS_V2's log reads "param size = 3.349342MB" (the paper: 3.3 M)."""
    assert parameters(space.parse(DARTS_V2))[0] == pytest.approx(3.349342, abs=1e-9)


def test_costs_of_published_genotypes(published):
    table, codes = published
    counted = flops(codes, pixels=16) * 1e6  # the column is for images of 16 pixels, without the last bias
    np.testing.assert_array_equal(np.round(counted - 10), table["flops_maestro"])


@pytest.mark.parametrize(
    ("channels", "layers", "classes"), [(36, 20, 10), (32, 8, 10), (4, 3, 7), (2, 2, 2), (2, 1, 2)]
)
def test_costs_against_a_network(space, channels, layers, classes):
    sizes = {"channels": channels, "layers": layers, "classes": classes}
    codes = space.sample(2, np.random.default_rng(layers))
    for code in codes:
        network = darts_network.network(*cells_from_code(code), **sizes)
        every, auxiliary = darts_network.weights(network), darts_network.weights(network.auxiliary)
        assert round(parameters(code, **sizes)[0] * 1e6) == every - auxiliary
        assert round(parameters(code, **sizes, auxiliary=True)[0] * 1e6) == every
        counted = darts_network.multiply_accumulates(network, 32)
        assert round(flops(code, **sizes)[0] * 1e6) == counted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 35}, "channels must be even .* got 35"),
        ({"layers": 0}, "layers must be 1 or more, got 0"),
        ({"classes": 0}, "classes must be 1 or more, got 0"),
        ({"pixels": 0}, "height must be 1 or more, got 0"),
        ({"inputs": 0}, "inputs must be 1 or more, got 0"),
        ({"stem": "mnist"}, "unknown stem 'mnist'; known: cifar, imagenet"),
    ],
)
def test_wrong_sizes(space, arguments, message):
    with pytest.raises(UserError, match=message):
        flops(space.parse(DARTS_V2), **arguments)


def node_values(code, rng, width=6):
    """All nodes of both cells as numbers: operations on vectors, weights drawn per node and operation."""
    values = []
    for kind, pairs in zip(("normal", "reduce"), cells_from_code(code), strict=True):
        states = list(np.random.default_rng(7).normal(size=(2, width)))
        matrices = rng.normal(size=(4, 7, width, width))
        for node in range(4):
            total = np.zeros(width)
            for name, source in pairs[2 * node : 2 * node + 2]:
                x = states[source]
                reducing = kind == "reduce" and source < 2
                if name == "skip_connect" and not reducing:
                    total += x
                elif "pool" in name:
                    other = np.roll(x, 1)
                    total += np.maximum(x, other) if name == "max_pool_3x3" else np.tanh(x + other) + 1
                else:
                    total += np.tanh(matrices[node, OPERATIONS.index(name)] @ x)
            states.append(total)
        values += states[2:]
    return np.concatenate(values)


def test_classes_are_those_of_the_values(space):
    """Cells of few weights, so that many coincide: keys are equal if and only if all nodes' values are."""
    rng = np.random.default_rng(0)
    pairs = np.stack(np.unravel_index(np.arange(180), (1, 3, 6, 10)), axis=1)  # all of a cell
    few = [OPERATIONS.index(name) for name in ("skip_connect", "max_pool_3x3", "sep_conv_3x3")]
    codes = np.zeros((2, 20, 180, 2, 4, 3), dtype=np.int16)
    codes[...] = space.sample(1, rng).reshape(2, 4, 3)
    for changed in range(2):
        codes[changed, :, :, changed, :, 0] = pairs
        codes[changed, :, :, changed, :, 1:] = rng.choice(few, size=(20, 1, 4, 2), p=[0.6, 0.2, 0.2])
    codes = np.unique(codes.reshape(-1, 24), axis=0)
    numbers = np.array([node_values(code, np.random.default_rng(1)) for code in codes])
    _, by_value = np.unique(np.round(numbers, 6), axis=0, return_inverse=True)
    _, by_key = np.unique(space.class_keys(codes), return_inverse=True)
    classes = len(set(by_key))
    assert classes < len(codes) - 50  # there is something to be found
    assert classes == len(set(by_value)) == len(set(zip(by_key, by_value, strict=True)))
    chosen = space.canonical(codes)
    assert len(np.unique(chosen, axis=0)) == classes
    for code, other in zip(codes[::50], chosen[::50], strict=True):
        assert tuple(other) <= tuple(code)
        np.testing.assert_allclose(
            node_values(code, np.random.default_rng(1)), node_values(other, np.random.default_rng(1))
        )


def cell(*pairs):
    return str([(name, source) for name, source in pairs])


CONV = "sep_conv_3x3"
PLAIN = cell(*[(CONV, source) for source in (0, 1, 0, 1, 0, 1, 0, 1)])


@pytest.mark.parametrize(
    ("pool", "normal_same", "reduce_same"),
    [("skip_connect", True, False), ("avg_pool_3x3", True, True), (CONV, False, False)],
)
def test_which_operations_make_equal_nodes(space, pool, normal_same, reduce_same):
    """Nodes 2 and 3 take the same of the same: whether node 4 reads one or the other is no difference."""
    cells = [
        cell(
            (pool, 0),
            (pool, 1),
            (pool, 0),
            (pool, 1),
            (CONV, source),
            (CONV, 0),
            ("max_pool_3x3", 1),
            (CONV, 2),
        )
        for source in (2, 3)
    ]
    for same, texts in [
        (normal_same, [(text, PLAIN) for text in cells]),
        (reduce_same, [(PLAIN, text) for text in cells]),
    ]:
        keys = space.class_keys([genotype_from_cells(*pair) for pair in texts])
        assert (keys[0] == keys[1]) == same


def test_renumbered_nodes_are_another_network(space):
    """They permute the channels that the next cell gets."""
    first, second = (
        cell(
            (CONV, 0),
            (CONV, 1),
            *[(name, source) for name in names for source in (0, 1)],
            (CONV, 0),
            (CONV, 1),
        )
        for names in (("max_pool_3x3", CONV), (CONV, "max_pool_3x3"))
    )
    keys = space.class_keys([genotype_from_cells(text, PLAIN) for text in (first, second)])
    assert keys[0] != keys[1]


def test_graph_of_a_genotype(space):
    """Both cells in a row: operations between what they take in and their nodes."""
    graph = space.graphs([space.parse(DARTS_V2)])[0]
    names = [space.vocabulary[label] for label in graph.x]
    assert len(names) == 31
    assert names.count("input") == 1
    assert sorted(set(names) - {"input", "output"}) == sorted(
        ["sep_conv_3x3", "skip_connect", "dil_conv_3x3", "max_pool_3x3"]
    )
    into = np.bincount(graph.edge_index[1], minlength=31)
    assert sorted(into) == [0] + [1] * (2 * (2 + 8)) + [2] * 8 + [4] * 2
