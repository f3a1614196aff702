import itertools
import re

import numpy as np
import pytest

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import ChoiceChain, Roles, get_space


def test_toy64():
    space = get_space("toy64")
    everything = np.concatenate(list(space.enumerate()))
    assert len(everything) == 64
    # Without skip connections: 3^0 + 3^1 + 3^2 + 3^3 chains.
    assert len(np.unique(space.class_keys(everything))) == 1 + 3 + 9 + 27
    contracted = {
        tuple(name for name in chain if name != "skip_connect")
        for chain in itertools.product(space.operations, repeat=3)
    }
    assert len(contracted) == 40


def test_zero_ends_every_chain():
    space = ChoiceChain("zero", [["none", "conv"]] * 3)
    everything = np.concatenate(list(space.enumerate()))
    assert len(np.unique(space.class_keys(everything))) == 2
    plain = ChoiceChain("zero", [["none", "conv"]] * 3, roles=Roles())
    assert len(np.unique(plain.class_keys(everything))) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/b", "character 2 of 'a/b': expected one of c, d at place 1, got 'b'"),
        ("a", "character 1 of 'a': expected one of c, d at place 1, got the end of the text"),
        ("a/c/c", "character 3 of 'a/c/c': expected the end of the text after 2 choices"),
    ],
)
def test_wrong_texts(text, message):
    space = ChoiceChain("pair", [["a", "b"], ["c", "d"]])
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        space.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a::b", "character 3 of 'a::b': expected one of c, d at place 1, got 'b'"),
        ("a/c", "character 0 of 'a/c': expected one of a, b at place 0, got 'a/c'"),
        ("a::c::c", "character 4 of 'a::c::c': expected the end of the text after 2 choices"),
    ],
)
def test_wrong_texts_with_another_separator(text, message):
    space = ChoiceChain("pair", [["a", "b"], ["c", "d"]], separator="::")
    assert space.parse("b::c").tolist() == [1, 0]
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        space.parse(text)


@pytest.mark.parametrize("separator", ["", "-", "_", " ", "x", ": "])
def test_wrong_separators(separator):
    with pytest.raises(UserError, match="the separator must be a mark such as '/' or ':'"):
        ChoiceChain("pair", [["a"], ["b"]], separator=separator)


def test_graph_is_a_path():
    space = ChoiceChain("pair", [["a", "b"], ["c", "a"]])
    graph = space.graphs([space.parse("b/a")])[0]
    assert [space.vocabulary[label] for label in graph.x] == ["input", "b", "a", "output"]
    assert graph.edge_index.tolist() == [[0, 1, 2], [1, 2, 3]]


def test_no_choices():
    with pytest.raises(UserError, match="one choice or more"):
        ChoiceChain("empty", [])
    with pytest.raises(UserError, match="one operation or more"):
        ChoiceChain("empty", [[]])
