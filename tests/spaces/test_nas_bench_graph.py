"""The space of NAS-Bench-Graph against the benchmark's own package and an independent count of networks."""

from collections import Counter

import numpy as np
import pytest
from nas_bench_graph import Arch, all_archs, gnn_list

from crlso.errors import ArchitectureError
from crlso.spaces import get_space

ALL = 157_464 - 24  # 24 orders of sources, 9 operations four times, without skip connections alone


@pytest.fixture(scope="module")
def space():
    return get_space("nas_bench_graph")


@pytest.fixture(scope="module")
def codes(space):
    return np.concatenate(list(space.enumerate()))


def official(code):
    return Arch(code[:4].tolist(), [gnn_list[value] for value in code[4:]])


def remainder(sources, operations):
    """What is left of a network without skip connections, as a nested tuple; no raw input to the output.

    A tree is its operation, how often the output gets its value, and the trees that it feeds, in order.
    """
    children = [[node + 1 for node in range(4) if sources[node] == value] for value in range(5)]

    def below(value):
        trees, outputs = [], int(not children[value])
        for node in children[value]:
            if operations[node - 1] == "skip":
                more, again = below(node)
                trees, outputs = trees + more, outputs + again
            else:
                fed, given = below(node)
                trees.append((operations[node - 1], given, tuple(sorted(fed))))
        return trees, outputs

    return tuple(sorted(below(0)[0]))


def test_operations_in_the_official_order(space):
    assert space.operations == tuple(gnn_list)


def test_hashes_of_all_codes(space, codes):
    assert len(codes) == ALL
    expected = [official(code).valid_hash() for code in codes]
    np.testing.assert_array_equal(space.hashes(codes), expected)
    assert len(set(expected)) == 26_206


def test_official_list_is_the_list_of_representatives(space, codes):
    """The package lists each architecture once: those are our representatives, and nothing else is."""
    listed = np.array([[*arch.link, *map(gnn_list.index, arch.ops)] for arch in all_archs()])
    assert len(listed) == 26_206
    np.testing.assert_array_equal(space.canonical(listed), listed)
    chosen = np.unique(space.canonical(codes), axis=0)
    np.testing.assert_array_equal(chosen, np.unique(listed, axis=0))
    np.testing.assert_array_equal(space.from_hashes([arch.valid_hash() for arch in all_archs()]), listed)


def test_classes_are_networks(space, codes):
    """Same key, same network without skip connections; and the other way round."""
    keys = space.class_keys(codes).tolist()
    found = {}
    for key, code in zip(keys, codes.tolist(), strict=True):
        found.setdefault(key, set()).add(remainder(code[:4], [gnn_list[value] for value in code[4:]]))
    assert set(map(len, found.values())) == {1}
    assert len(set.union(*found.values())) == len(found) == 26_206


def test_the_rules_exact_and_official_are_one(space, codes):
    np.testing.assert_array_equal(space.class_keys(codes, "exact"), space.class_keys(codes, "official"))


@pytest.mark.parametrize("number", [88888, -1, 0x7FFFFFFF, 90000, 9, 10, 2**40])
def test_numbers_that_are_no_hash(space, number):
    with pytest.raises(ArchitectureError, match=f"^{number} is the hash of no architecture"):
        space.from_hashes([0, number])


def test_number_of_neighbors(space, codes):
    """One of 1+2+3 other sources or 4 x 8 other operations, but none of skip connections alone."""
    some = codes[:: len(codes) // 2000]
    last = (some[:, 4:] == 8).sum(axis=1) == 3
    counts = Counter(zip(last.tolist(), (len(space.neighbors(code)) for code in some), strict=True))
    assert counts.keys() == {(False, 38), (True, 37)}


def test_only_skip_connections(space):
    nothing = np.array([[0, 1, 0, 2, 8, 8, 8, 8]])
    assert not space.is_valid(nothing).any()
    assert space.repair(nothing).tolist() == [[0, 1, 0, 2, 0, 8, 8, 8]]
    with pytest.raises(ArchitectureError, match="four skip connections are no architecture"):
        space.parse("Arch([0, 1, 0, 2], ['skip', 'skip', 'skip', 'skip'])")


def test_samples_are_uniform(space):
    """Every source and every operation as often as among all valid codes, within five standard deviations."""
    drawn = space.sample(20_000, np.random.default_rng(0))
    for entry, choices in enumerate(space.cardinalities):
        shares = np.bincount(drawn[:, entry], minlength=choices) / len(drawn)
        expected = np.full(choices, 1 / choices)
        if entry >= 4:
            expected[8] = 24 * (9**3 - 1) / ALL
            expected[:8] = 24 * 9**3 / ALL
        assert np.abs(shares - expected).max() < 5 * np.sqrt(0.25 / len(drawn))


def test_graph(space):
    """Arch([0, 1, 1, 0], ...): the first node feeds two, those and the fourth feed the output."""
    graph = space.graphs([space.parse("Arch([0, 1, 1, 0], ['gcn', 'gat', 'skip', 'fc'])")])[0]
    assert [space.vocabulary[label] for label in graph.x] == ["input", "gcn", "gat", "skip", "fc", "output"]
    assert sorted(map(tuple, graph.edge_index.T.tolist())) == [
        (0, 1),
        (0, 4),
        (1, 2),
        (1, 3),
        (2, 5),
        (3, 5),
        (4, 5),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Arch([0, 2, 0, 0], ['gcn', 'gcn', 'gcn', 'gcn'])",
            "character 9 .* the source of node 2, 0 to 1, got '2'",
        ),
        (
            "Arch([0, 1, 2], ['gcn', 'gcn', 'gcn', 'gcn'])",
            "character 13 .* expected ',' and the source of node 4",
        ),
        (
            "Arch([0, 1, 2, 1], ['gcn', 'gcn', 'gcn', 'mlp'])",
            "character 41 .* expected one of gat, gcn, .* got",
        ),
        ("Arch([0, 1, 2, 1], ['gcn', 'gcn', 'gcn'])", "character 39 .* and the operation of node 4"),
        ("Arch([0, 1, 2, 1], __import__('os'))", "character 19 .* got '__import__'"),
    ],
)
def test_messages(space, text, message):
    with pytest.raises(ArchitectureError, match=message):
        space.parse(text)


def test_two_forms_that_the_readme_of_the_benchmark_takes_for_one(space):
    """fc follows gin in the first and cheb in the second: two networks, by the package's own hash too."""
    texts = (
        "Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb'])",
        "Arch([0, 1, 1, 2], ['gcn', 'cheb', 'gin', 'fc'])",
    )
    codes = np.array([space.parse(text) for text in texts])
    assert space.hashes(codes).tolist() == [61237, 61327] == [official(code).valid_hash() for code in codes]
