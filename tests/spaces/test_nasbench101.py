import itertools
import json
import re

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crlso.errors import ArchitectureError
from crlso.spaces import get_space
from crlso.spaces.nasbench101 import OPERATIONS, from_record, from_records, parameters, to_record
from tests.spaces.data import data_file

C3, C1, MP = OPERATIONS
# The cell of the benchmark's README.
INCEPTION = {
    "matrix": [
        [0, 1, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    "ops": ["input", C1, C3, C3, C3, MP, "output"],
}


@pytest.fixture(scope="module")
def space():
    return get_space("nasbench101")


def text(matrix, ops):
    return json.dumps({"matrix": matrix, "ops": ops})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{matrix", "character 1: not JSON"),
        ("[]", "exactly 'matrix' and 'ops'"),
        (text([[0]], ["input"]), "ops: must be a list of 2 to 7 names"),
        (text([[0, 1], [0, 0]], ["input", "input"]), "ops, vertex 1: expected output, got 'input'"),
        (text([[0, 1, 0]] * 3, ["input", "conv", "output"]), f"expected {C3} or {C1} or {MP}, got 'conv'"),
        (text([[0, 1]], ["input", "output"]), "one row for each of the 2 operations"),
        (text([[0, 1], [0]], ["input", "output"]), "matrix, row 1: must be a list of 2 entries"),
        (text([[0, 2], [0, 0]], ["input", "output"]), "row 0, column 1: must be 0 or 1, got 2"),
        (text([[0, 1.0], [0, 0]], ["input", "output"]), "row 0, column 1: must be 0 or 1, got 1.0"),
        (text([[0, 1], [1, 0]], ["input", "output"]), "row 1, column 0: must be 0 (upper triangle only)"),
        (text([[0, 0], [0, 0]], ["input", "output"]), "no path leads from input to output"),
        (
            text(np.triu(np.ones((6, 6), dtype=int), 1).tolist(), ["input", C3, C3, C3, C3, "output"]),
            "15 edges lie between input and output; at most 9 may",
        ),
    ],
)
def test_wrong_texts(space, given, message):
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        space.parse(given)


@pytest.mark.parametrize("given", ["[" * 100_000, '{"matrix": [[' + "1" * 5_000 + ']], "ops": []}'])
def test_texts_that_break_the_reader(space, given):
    with pytest.raises(ArchitectureError, match=r"^not a cell: "):
        space.parse(given)


def test_invalid_codes_are_refused_with_the_reason(space):
    crowded = np.ones(26, dtype=int)
    for wrong, reason in [
        (np.zeros(26, dtype=int), "no path leads from input to output"),
        (crowded, "21 edges are left after pruning, at most 9 may be"),
    ]:
        for call in (space.hashes, space.prune, space.class_keys, space.canonical, parameters):
            with pytest.raises(ArchitectureError, match=f"^code 1 is not a valid cell: {reason}$"):
                call([space.parse(json.dumps(INCEPTION)), wrong])


def test_validity_by_the_official_rules(space):
    """Pruned first, then counted: as the benchmark's ModelSpec does it, here with networkx."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, space.cardinalities, size=(3_000, 26))
    codes[::2, :21] &= rng.integers(0, 2, size=codes[::2, :21].shape)  # sparse cells: many are not connected
    valid = space.is_valid(codes)
    for code, said in zip(codes, valid, strict=True):
        edges = pruned_graph(space, code).number_of_edges()
        assert said == (1 <= edges <= 9)
    assert 300 < valid.sum() < 2_700
    assert (codes[valid, :21].sum(axis=1) > 9).any()  # too many edges, but not after pruning


def pruned_graph(space, code):
    """The cell's pruned graph with its operations, from its text and networkx alone."""
    cell = json.loads(space.format(code))
    graph = nx.from_numpy_array(np.array(cell["matrix"]), create_using=nx.DiGraph)
    nx.set_node_attributes(graph, dict(enumerate(cell["ops"])), "op")
    graph = nx.relabel_nodes(graph, {len(cell["ops"]) - 1: 6})  # the output, also of smaller cells
    between = (nx.descendants(graph, 0) | {0}) & (nx.ancestors(graph, 6) | {6})
    return graph.subgraph(between if {0, 6} <= between else [])


def test_pruning(space):
    codes = space.sample(300, np.random.default_rng(1))
    pruned = space.prune(codes)
    for before, after in zip(codes, pruned, strict=True):
        graph = pruned_graph(space, before)
        kept = sorted(graph)
        matrix = nx.to_numpy_array(graph, nodelist=kept, dtype=int).tolist()
        small = text(matrix, [graph.nodes[vertex]["op"] for vertex in kept])
        np.testing.assert_array_equal(after, space.parse(small))
    np.testing.assert_array_equal(space.prune(pruned), pruned)
    assert (pruned[:, :21].sum(axis=1) < codes[:, :21].sum(axis=1)).any()


def test_samples_are_uniform_over_valid_codes(space):
    """Against uniform codes of which the invalid ones are dropped: numbers of edges, and operations."""
    rng = np.random.default_rng(0)
    uniform = rng.integers(0, space.cardinalities, size=(100_000, 26))
    expected = uniform[space.is_valid(uniform)]
    drawn = space.sample(30_000, rng)
    edges = [np.bincount(codes[:, :21].sum(axis=1), minlength=22) for codes in (expected, drawn)]
    often = np.sum(edges, axis=0) > 20
    assert stats.chi2_contingency(np.array(edges)[:, often]).pvalue > 1e-3
    for column in drawn[:, 21:].T:
        assert stats.chisquare(np.bincount(column, minlength=3)).pvalue > 1e-3


def test_records(space):
    """As the benchmark's files write a cell, one by one and many at once."""
    adjacency, operations = "0110001100010000", f"input,{C1},{C3},output"
    code = from_record(adjacency, operations)
    matrix = [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(code, space.parse(text(matrix, operations.split(","))))
    assert to_record(code) == (adjacency, operations)
    codes = space.sample(500, np.random.default_rng(0))
    records = [to_record(code) for code in codes]
    again = from_records(*zip(*records, strict=True))
    assert again.dtype == np.int16
    np.testing.assert_array_equal(again, space.prune(codes))
    np.testing.assert_array_equal([from_record(*record) for record in records], again)
    assert from_records([], []).shape == (0, 26)


WRONG_RECORDS = [
    ("0100", "input", "ops: must be a list of 2 to 7 names"),
    ("0" * 64, ",".join(["input", *[C3] * 6, "output"]), "ops: must be a list of 2 to 7 names"),
    ("010", "input,output", "adjacency: must be 4 digits 0 or 1 for 2 operations, got '010'"),
    ("0200", "input,output", "adjacency: must be 4 digits 0 or 1"),
    ("0\u01310", "input,output", "adjacency: must be 4 digits 0 or 1"),
    (100, "input,output", "adjacency: must be a text, got int"),
    ("0100", None, "operations: must be a text, got NoneType"),
    ("0100", "output,input", "ops, vertex 0: expected input, got 'output'"),
    ("010001000", "input,conv,output", f"ops, vertex 1: expected {C3} or {C1} or {MP}, got 'conv'"),
    ("0110", "input,output", "row 1, column 0: must be 0 (upper triangle only)"),
    ("010000000", f"input,{C3},output", "no path leads from input to output"),
    ("011111001111000111000011000001000000", f"input,{C3},{C3},{C3},{C3},output", "15 edges lie between"),
]


@pytest.mark.parametrize(("adjacency", "operations", "message"), WRONG_RECORDS)
def test_wrong_records(adjacency, operations, message):
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        from_record(adjacency, operations)
    good = ("0100", "input,output")
    with pytest.raises(ArchitectureError, match="^record 1: .*" + re.escape(message)):
        from_records([good[0], adjacency], [good[1], operations])


def test_records_of_different_numbers():
    with pytest.raises(ArchitectureError, match="2 adjacency texts for 1 operation texts"):
        from_records(["0100", "0100"], ["input,output"])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_many_records_are_read_like_single_ones(seed):
    """Damaged records: both readers accept the same ones and read the same codes."""
    rng = np.random.default_rng(seed)
    digits, names = to_record(get_space("nasbench101").sample(1, rng)[0])
    damaged = list(digits)
    for place in rng.integers(0, len(damaged), size=rng.integers(1, 4)):
        damaged[place] = rng.choice(["0", "1", "1", "2", "", "/", "\u0661"])
    if rng.random() < 0.2:
        names = names[: rng.integers(len(names))]
    given = "".join(damaged), names
    try:
        single = from_record(*given)
    except ArchitectureError as error:
        with pytest.raises(ArchitectureError, match="^record 0: " + re.escape(str(error)) + "$"):
            from_records([given[0]], [given[1]])
    else:
        np.testing.assert_array_equal(from_records([given[0]], [given[1]]), [single])


# From the published table: cells of 2 to 7 vertices, channels that do not divide evenly among them.
PUBLISHED_SIZES = [
    ("0100", "input,output", 882_570),
    ("011001000", f"input,{C1},output", 2_793_866),
    ("0110001000010000", f"input,{MP},{MP},output", 1_756_298),
    ("0111100111000100000100000", f"input,{MP},{C3},{C3},output", 6_843_402),
    ("010110001001000100000011000001000000", f"input,{C3},{C3},{MP},{C3},output", 3_984_576),
    ("010100001101000101000010000001000000", f"input,{C1},{C3},{C1},{C1},output", 1_975_439),
    (
        "0110010000100000000100000101000001000000010000000",
        f"input,{C3},{C3},{MP},{C3},{C1},output",
        8_555_530,
    ),
]


def test_published_sizes():
    digits, names, weights = zip(*PUBLISHED_SIZES, strict=True)
    codes = from_records(digits, names)
    np.testing.assert_array_equal(np.round(parameters(codes) * 1e6), weights)
    np.testing.assert_array_equal(np.round(parameters(codes[3]) * 1e6), weights[3:4])


def test_size_counts_what_is_left_after_pruning(space):
    codes = space.sample(500, np.random.default_rng(0))
    np.testing.assert_array_equal(parameters(codes), parameters(space.prune(codes)))


def test_sizes_of_real_cells():
    table = pd.read_parquet(data_file("nasbench101/nb101_30001_val.parquet"))
    codes = from_records(table["adjacency"].tolist(), table["ops"].tolist())
    assert len(codes) == 30_001
    np.testing.assert_array_equal(np.round(parameters(codes) * 1e6), table["trainable_parameters"])


def test_sizes_and_hashes_of_all_cells_of_four_vertices(space):
    """Trained again by others (EC-NAS), written by the benchmark's own code."""
    table = pd.read_csv(data_file("nasbench101/ecnas_4v_all_epochs_3runs.csv"), dtype={"adjacency": str})
    codes = from_records(table["adjacency"].tolist(), table["ops"].tolist())
    np.testing.assert_array_equal(np.round(parameters(codes) * 1e6), table["params"])
    assert space.hashes(codes) == table["module_hash"].tolist()
    listed = np.concatenate([found for _, found in space.classes(4)])
    assert set(space.hashes(codes)) == set(space.hashes(listed))


def test_repair_keeps_as_many_edges_as_may_be(space):
    full = np.ones((1, 26), dtype=int)
    repaired = space.repair(full)
    assert repaired[0, :21].sum() == 9
    empty = space.repair(np.zeros((1, 26), dtype=int))
    assert space.format(empty[0]) == '{"matrix":[[0,1],[0,0]],"ops":["input","output"]}'


def test_texts_have_no_more_vertices_than_it_takes(space):
    asked = '{"matrix":[[0,1,1,0],[0,0,0,1],[0,0,0,1],[0,0,0,0]],"ops":["input",%s,"output"]}'
    for first, second in itertools.product(OPERATIONS, repeat=2):
        text = asked % f'"{first}","{second}"'
        assert space.format(space.parse(text)) == text
    for code in space.sample(500, np.random.default_rng(3)):
        text = space.format(code)
        assert (space.parse(text) == code).all()
        assert len(json.loads(text)["ops"]) <= 7
