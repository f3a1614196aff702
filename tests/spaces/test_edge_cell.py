import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import EdgeCellSpace, Roles, get_space

GOOD = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
ALLOWED = "none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3"


@pytest.fixture
def space():
    return get_space("nasbench201")


def test_edges_are_in_the_order_of_the_text(space):
    assert space.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    np.testing.assert_array_equal(space.parse(GOOD), [3, 3, 4, 1, 3, 1])
    assert space.format(space.parse(GOOD)) == GOOD
    np.testing.assert_array_equal(space.parse(f"  {GOOD}\n"), space.parse(GOOD))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("avg_pool_3x3", "conv_5x5"),
            f"character 33 of {GOOD.replace('avg_pool_3x3', 'conv_5x5')!r}: ",
        ),
        (GOOD.replace("avg_pool_3x3", "conv_5x5"), f"expected one of {ALLOWED}, got 'conv_5x5'"),
        (GOOD.replace("avg_pool_3x3~1", "avg_pool_3x3~2"), "expected source node 1 (edge 1->2), got '2'"),
        (GOOD.replace("avg_pool_3x3~1", "avg_pool_3x3~"), "expected source node 1 (edge 1->2), got '|'"),
        (GOOD.replace("3x3~0|+", "3x3~0|"), "character 16 "),
        (GOOD.replace("3x3~0|+", "3x3~0|"), "expected '+' before the edges into node 2, got '|'"),
        (GOOD[1:], "character 0 "),
        (GOOD[:-1], f"character {len(GOOD) - 1} of {GOOD[:-1]!r}: expected '|' after edge 2->3, got the end"),
        (GOOD + "+|none~0|", f"character {len(GOOD)} of"),
        (GOOD.replace("skip_connect~0", "skip_connect"), "expected '~' and the source node 0, got '|'"),
        (GOOD.replace("skip_connect~0", "~0"), f"expected one of {ALLOWED}, got '~'"),
        ("|nor_conv_3x3~01|", "expected source node 0 (edge 0->1), got '01'"),
        ("|nor_conv_3x3~0|+", "character 17 "),
        ("", "character 0 of '': expected '|' before the edges into node 1, got the end of the text"),
    ],
)
def test_wrong_text_says_where_and_what_is_allowed(space, text, message):
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        space.parse(text)


@given(st.text(alphabet="|+~01 no_convskip_connectnone", max_size=60))
def test_no_text_breaks_the_parser(text):
    space = EdgeCellSpace("two", nodes=2, operations=["none", "conv"])
    try:
        code = space.parse(text)
    except ArchitectureError as error:
        assert 0 <= int(re.match(r"character (\d+)", str(error))[1]) <= len(text)
    else:
        assert space.format(code) == text.strip()


@settings(max_examples=30)
@given(st.integers(2, 7), st.integers(1, 6), st.randoms(use_true_random=False))
def test_texts_of_any_declared_space(nodes, operations, random):
    space = EdgeCellSpace("any", nodes=nodes, operations=[f"op_{i}" for i in range(operations)])
    assert len(space.cardinalities) == nodes * (nodes - 1) // 2
    code = space.sample(1, np.random.default_rng(random.randrange(2**32)))[0]
    np.testing.assert_array_equal(space.parse(space.format(code)), code)


def test_graph_of_a_cell(space):
    graph = space.graphs(space.parse(GOOD)[None])[0]
    names = [space.vocabulary[label] for label in graph.x.tolist()]
    assert names[0] == "input"
    assert names[-1] == "output"
    assert names[1:-1] == [part.split("~")[0] for part in re.split(r"[|+]+", GOOD.strip("|"))]
    # Slots 1 to 6 are the edges (0,1), (0,2), (1,2), (0,3), (1,3), (2,3) of the cell.
    assert sorted(zip(*graph.edge_index.tolist(), strict=True)) == sorted(
        [(0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 7)]
    )


def test_sampling_is_uniform(space):
    codes = space.sample(50_000, np.random.default_rng(0))
    counts = np.stack([(codes == value).sum(axis=0) for value in range(5)])
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000 * 0.8)


def test_roles():
    space = EdgeCellSpace("r", nodes=3, operations=["none", "skip_connect", "conv", "max_pool", "pool2"])
    assert space.roles == Roles(zero=("none",), identity=("skip_connect",), pure=("max_pool", "pool2"))
    plain = EdgeCellSpace("r", nodes=3, operations=space.operations, roles=Roles())
    everything = np.concatenate(list(plain.enumerate()))
    assert len(np.unique(plain.class_keys(everything))) > len(np.unique(space.class_keys(everything)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nodes": 1}, "nodes must lie between 2 and 16, got 1"),
        ({"nodes": 17}, "nodes must lie between 2 and 16"),
        ({"operations": []}, "needs one operation or more"),
        ({"operations": ["a", "a"]}, "'a' is listed twice"),
        ({"operations": ["a", "b|c"]}, "name 'b|c' is not allowed"),
        ({"operations": ["a", "input"]}, "'input' is reserved"),
        ({"operations": ["a", False]}, "must be texts, got False (write it in quotes)"),
        ({"roles": Roles(zero=("b",))}, "role of an unknown operation 'b'; operations: a"),
        ({"roles": Roles(zero=("a",), pure=("a",))}, "'a' has more than one role"),
    ],
)
def test_wrong_declarations(arguments, message):
    with pytest.raises(UserError, match=re.escape(message)):
        EdgeCellSpace("wrong", **{"nodes": 3, "operations": ["a"], **arguments})
