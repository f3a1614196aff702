"""Sameness of NAS-Bench-101 cells: the benchmark's hash, isomorphism, the list of all classes."""

import hashlib
import itertools
import json
from collections import Counter, defaultdict

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlso.errors import UserError
from crlso.spaces import Subset, get_space
from crlso.spaces.nasbench101 import OPERATIONS, from_records, module_hash
from tests.spaces.data import data_file
from tests.spaces.test_nasbench101 import C1, C3, INCEPTION, MP, pruned_graph, text

PUBLISHED = {2: 1, 3: 6, 4: 84, 5: 2_441, 6: 62_010, 7: 359_082}


@pytest.fixture(scope="module")
def space():
    return get_space("nasbench101")


@pytest.fixture(scope="module")
def classes(space):
    """All classes: ``[n]`` numbers of vertices, ``[n, 26]`` codes."""
    vertices, codes = zip(*space.classes(), strict=True)
    return np.repeat(vertices, [len(chunk) for chunk in codes]), np.concatenate(codes)


@pytest.fixture(scope="module")
def table():
    """30,001 classes of the published table."""
    return pd.read_parquet(data_file("nasbench101/nb101_30001_val.parquet"))


def codes_of(table):
    return from_records(table["adjacency"].tolist(), table["ops"].tolist())


def official_hash(graph):
    """The published algorithm on a pruned networkx graph."""
    label = {"input": -1, "output": -2, **{name: index for index, name in enumerate(OPERATIONS)}}

    def md5(text):
        return hashlib.md5(text.encode()).hexdigest()

    names = {
        v: md5(f"({graph.out_degree(v)}, {graph.in_degree(v)}, {label[graph.nodes[v]['op']]})") for v in graph
    }
    for _ in graph:
        names = {
            v: md5(
                "".join(sorted(names[u] for u in graph.predecessors(v)))
                + "|"
                + "".join(sorted(names[w] for w in graph.successors(v)))
                + "|"
                + names[v]
            )
            for v in graph
        }
    return md5(str(sorted(names.values())))


def isomorphic(first, second):
    return nx.is_isomorphic(first, second, node_match=lambda a, b: a["op"] == b["op"])


def test_golden_hashes(space):
    assert space.hashes(space.parse(json.dumps(INCEPTION))) == ["28cfc7874f6d200472e1a9dcd8650aa0"]
    rows = ["0100110", "0010000", "0001001", "0000010", "0000010", "0000001", "0000000"]
    matrix = [[int(entry) for entry in row] for row in rows]
    assert module_hash(matrix, [-1, 0, 2, 0, 0, 1, -2]) == "00005c142e6f48ac74fdcf73e3439874"
    assert module_hash(np.array(matrix), np.array([-1, 0, 2, 0, 0, 1, -2])) == (
        "00005c142e6f48ac74fdcf73e3439874"
    )
    names = ["input", C3, MP, C3, C3, C1, "output"]
    assert space.hashes(space.parse(text(matrix, names))) == ["00005c142e6f48ac74fdcf73e3439874"]


def test_hashes_of_real_cells(space, table):
    codes = codes_of(table)
    assert space.is_valid(codes).all()
    assert space.hashes(codes) == table["module_hash"].tolist()
    assert len(np.unique(space.class_keys(codes))) == 30_001


def test_hashes_by_the_published_algorithm(space):
    codes = space.sample(1_000, np.random.default_rng(2))
    assert space.hashes(codes) == [official_hash(pruned_graph(space, code)) for code in codes]
    assert space.hashes(codes[:0]) == []


def renumbered(code, rng):
    """The same cell with its inner vertices, unused ones too, in another order that no edge runs against."""
    adjacency = np.zeros((7, 7), dtype=int)
    adjacency[np.triu_indices(7, 1)] = code[:21]
    inner = nx.from_numpy_array(adjacency[1:-1, 1:-1], create_using=nx.DiGraph)
    weight = rng.random(5)
    order = list(nx.lexicographical_topological_sort(inner, key=weight.__getitem__))
    slots = [0, *(vertex + 1 for vertex in order), 6]
    moved = adjacency[np.ix_(slots, slots)]
    assert not np.tril(moved).any()
    return np.concatenate([moved[np.triu_indices(7, 1)], code[21:][order]])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_renumbered_cells_are_one_class(seed):
    space, rng = get_space("nasbench101"), np.random.default_rng(seed)
    code = space.sample(1, rng)[0]
    both = np.stack([code, renumbered(code, rng)])
    assert len(set(space.hashes(both))) == 1
    assert len(set(space.class_keys(both).tolist())) == 1
    first, second = space.canonical(both)
    np.testing.assert_array_equal(first, second)
    assert isomorphic(pruned_graph(space, first), pruned_graph(space, code))


def test_one_class_means_isomorphic(space):
    """Cells of a class against its code, by networkx."""
    codes = space.sample(400, np.random.default_rng(0))
    for code, chosen in zip(codes, space.canonical(codes), strict=True):
        assert isomorphic(pruned_graph(space, code), pruned_graph(space, chosen))


def test_different_classes_are_not_isomorphic(space):
    """All classes of up to 5 vertices, compared where vertices alone do not tell them apart."""
    alike = defaultdict(list)
    for code in np.concatenate([codes for _, codes in space.classes(5)]):
        graph = pruned_graph(space, code)
        outline = sorted((graph.nodes[v]["op"], graph.in_degree[v], graph.out_degree[v]) for v in graph)
        alike[tuple(outline)].append(graph)
    pairs = [pair for graphs in alike.values() for pair in itertools.combinations(graphs, 2)]
    assert len(pairs) > 100
    assert not any(isomorphic(*pair) for pair in pairs)


def test_equal_colours_are_tried_in_all_orders(space):
    """Two chains of equal operations: no local picture tells which ends belong together."""
    chains = [[0] * 6 for _ in range(6)]
    for u, v in [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)]:
        chains[u][v] = 1
    crossed = [row.copy() for row in chains]
    crossed[1][3] = crossed[2][4] = 0
    crossed[1][4] = crossed[2][3] = 1
    names = ["input", C3, C3, C1, C1, "output"]
    first, second = space.parse(text(chains, names)), space.parse(text(crossed, names))
    assert (first != second).any()
    np.testing.assert_array_equal(space.canonical(first), space.canonical(second))
    chains[1][4] = 1  # now the chains differ
    assert space.class_keys(space.parse(text(chains, names))) != space.class_keys(first)


def test_classes_survive_dead_vertices(space):
    small = space.parse(text([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["input", C3, "output"]))
    dead = small.copy()
    dead[-1] = 2  # the operation of a vertex without edges
    dead[2] = 1  # an edge that leads nowhere
    for rule in ("exact", "official"):
        assert space.class_keys(dead, rule) == space.class_keys(small, rule)
    assert space.class_keys(dead, "code") != space.class_keys(small, "code")


def test_published_counts(space, classes):
    vertices, codes = classes
    assert Counter(vertices.tolist()) == PUBLISHED
    assert len(codes) == 423_624
    assert space.is_valid(codes).all()
    assert len(np.unique(space.class_keys(codes))) == 423_624
    some = slice(None, None, 1_001)
    np.testing.assert_array_equal(vertices[some], [len(pruned_graph(space, code)) for code in codes[some]])
    np.testing.assert_array_equal(space.canonical(codes[some]), codes[some])
    np.testing.assert_array_equal(space.prune(codes[some]), codes[some])


def test_all_small_classes_by_brute_force(space):
    """All matrices of up to 4 vertices with all operations, told apart by the published algorithm."""
    found = set()
    for vertices in (2, 3, 4):
        cells = itertools.product((0, 1), repeat=vertices * (vertices - 1) // 2)
        for bits, names in itertools.product(cells, itertools.product(OPERATIONS, repeat=vertices - 2)):
            matrix = np.zeros((vertices, vertices), dtype=int)
            matrix[np.triu_indices(vertices, 1)] = bits
            graph = nx.from_numpy_array(matrix, create_using=nx.DiGraph)
            nx.set_node_attributes(graph, dict(enumerate(["input", *names, "output"])), "op")
            if all(nx.has_path(graph, 0, v) and nx.has_path(graph, v, vertices - 1) for v in graph):
                found.add(official_hash(graph))
    codes = np.concatenate([codes for _, codes in space.classes(4)])
    hashes = space.hashes(codes)
    assert len(hashes) == len(found) == 91
    assert set(hashes) == found


def test_random_and_real_cells_are_listed(space, classes, table):
    cells = np.concatenate([space.sample(20_000, np.random.default_rng(3)), codes_of(table)])
    listed = space.class_keys(classes[1], "code")
    assert np.isin(space.class_keys(space.canonical(cells), "code"), listed).all()


def test_listing_reports_progress(space):
    steps = []
    chunks = list(space.classes(5, lambda done, note: steps.append((done, note))))
    assert steps[-1] == (2_532, "5 vertices")
    assert [done for done, _ in steps] == np.cumsum([len(codes) for _, codes in chunks]).tolist()
    for largest in (1, 8):
        with pytest.raises(UserError, match=f"cells have 2 to 7 vertices, got {largest}"):
            space.classes(largest)


def test_uniform_over_classes(space):
    """What the documentation of ``classes`` advises."""
    subset = Subset(space, np.concatenate([codes for _, codes in space.classes(4)]))
    drawn = subset.sample(2_000, np.random.default_rng(0))
    assert len(np.unique(space.class_keys(drawn))) == 91


@pytest.mark.slow
def test_hashes_of_all_classes(space, classes, table):
    """The table states the rank of 30,001 hashes among all 423,624, sorted."""
    hashes = np.sort(space.hashes(classes[1]))
    assert len(np.unique(hashes)) == 423_624
    assert (hashes[table["rank_in_sorted_423624"].to_numpy()] == table["module_hash"].to_numpy()).all()
