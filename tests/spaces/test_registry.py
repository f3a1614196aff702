import re
import subprocess
import sys

import numpy as np
import pytest

from crlso.errors import UnknownNameError, UserError
from crlso.spaces import BUILT_IN, EdgeCellSpace, Roles, Subset, get_space, space_from_dict, space_to_dict
from crlso.spaces.chain import ChoiceChain
from crlso.spaces.fxdarts import FreeTopologySpace

YAML = """
space: edge_cell
name: mine            # 3 nodes, 4 operations: 64 cells
nodes: 3
operations: [none, skip_connect, conv, my_pool]
"""


def write(folder, content):
    path = folder / "space.yaml"
    path.write_text(content, encoding="utf-8")
    return path


def test_importing_spaces_does_not_import_torch():
    code = (
        "import sys, crlso.spaces; sys.exit(any(m in sys.modules for m in ('torch', 'pandas', 'networkx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "name", ["nasbench201", "nasbench101", "nats_size", "nas_bench_graph", "darts", "fxdarts", "toy64"]
)
def test_built_in_spaces(name):
    space = get_space(name)
    assert space.name == name
    assert space_to_dict(space) == {"space": name}
    assert space_from_dict({"space": name}).name == name
    assert name in BUILT_IN


def test_declared_edge_cell(tmp_path):
    space = get_space(write(tmp_path, YAML))
    assert isinstance(space, EdgeCellSpace)
    assert (space.name, space.nodes, space.size) == ("mine", 3, 64)
    assert space.roles == Roles(zero=("none",), identity=("skip_connect",), pure=("my_pool",))
    again = space_from_dict(space_to_dict(space))
    assert isinstance(again, EdgeCellSpace)
    assert again.to_dict() == space.to_dict()
    everything = np.concatenate(list(space.enumerate()))
    np.testing.assert_array_equal(again.class_keys(everything), space.class_keys(everything))


def test_declared_roles(tmp_path):
    content = YAML.replace("skip_connect", "id") + "roles: {identity: id, pure: []}\n"
    space = get_space(str(write(tmp_path, content)))
    assert space.roles == Roles(zero=("none",), identity=("id",), pure=())
    moved = get_space(write(tmp_path, YAML + "roles: {zero: [none, my_pool]}\n"))
    assert moved.roles == Roles(zero=("none", "my_pool"), identity=("skip_connect",), pure=())


def test_declared_chain(tmp_path):
    space = get_space(write(tmp_path, "space: chain\nname: c\nchoices: [[a, b], [a, skip_connect, c]]\n"))
    assert isinstance(space, ChoiceChain)
    assert space.size == 6
    assert space_from_dict(space_to_dict(space)).to_dict() == space.to_dict()
    assert space.roles.identity == ("skip_connect",)
    assert space.parse("b/c").tolist() == [1, 2]


def test_declared_separator(tmp_path):
    content = "space: chain\nname: widths\nchoices: [['16', '32'], ['32', '64']]\nseparator: '::'\n"
    space = get_space(write(tmp_path, content))
    assert space.format([1, 0]) == "32::32"
    again = space_from_dict(space_to_dict(space))
    assert again.parse("16::64").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is a mapping with a field 'space' (one of edge_cell, chain, free_topology, nasbench201"),
        ("- a\n", "is a mapping"),
        ("name: x\n", "needs a field 'space': one of edge_cell"),
        ("space: [", "is not valid YAML"),
        ("space: tree\n", "unknown kind of space 'tree'; known: chain, darts, edge_cell, "),
        (
            "space: edge_cell\nname: x\n",
            "missing nodes, operations; fields: space, name, nodes, operations, roles",
        ),
        (YAML + "node: 4\n", "unknown field 'node'"),
        (YAML.replace("nodes: 3", "nodes: three"), "nodes must be a whole number, got 'three'"),
        (YAML.replace("nodes: 3", "nodes: true"), "nodes must be a whole number, got True"),
        (YAML.replace("name: mine", "name: 3"), "name must be a text, got 3"),
        (YAML.replace("name: mine", "name: toy64"), "can not be named 'toy64'"),
        (
            YAML.replace("[none, skip_connect, conv, my_pool]", "conv"),
            "operations must be a list that is not empty",
        ),
        (YAML.replace("none,", "no,"), "must be texts, got False (write it in quotes)"),
        (YAML + "roles: none\n", "roles must be a mapping with keys zero, identity, pure, got 'none'"),
        (YAML + "roles: {nothing: none}\n", "unknown role 'nothing'; known: zero, identity, pure"),
        (YAML + "roles: {zero: 3}\n", "role 'zero' must list operation names, got 3"),
        (YAML + "roles: {zero: [nil]}\n", "role of an unknown operation 'nil'"),
        ("space: toy64\nnodes: 3\n", "the built-in space 'toy64' takes no field 'nodes'"),
        ("space: chain\nname: c\nchoices: [a, b]\n", "choice 0 must be a list of options, got 'a'"),
        ("space: chain\nname: c\nchoices: [[a]]\nseparator: 3\n", "separator must be a text, got 3"),
        ("space: chain\nname: c\nchoices: []\n", "choices must be a list that is not empty"),
    ],
)
def test_wrong_files(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        get_space(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the space declaration .*no\.yaml: No such file"):
        get_space(tmp_path / "no.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        get_space(tmp_path / "binary.yaml")
    with pytest.raises(
        UnknownNameError,
        match="known: darts, fxdarts, nas_bench_graph, nasbench101, nasbench201, nats_size, toy64",
    ):
        get_space("nasbench301")


class Undeclared:
    """A space of a plug-in."""

    name = "own"


def test_a_declared_free_topology(tmp_path):
    content = "space: free_topology\nname: snps\ncells: 3\nnodes: 4\noperations: [conv, skip_connect]\n"
    space = get_space(write(tmp_path, content))
    assert isinstance(space, FreeTopologySpace)
    assert len(space.cardinalities) == 3 * 14 * 2
    again = space_from_dict(space_to_dict(space))
    assert again.cardinalities == space.cardinalities
    assert space_to_dict(get_space("fxdarts")) == {"space": "fxdarts"}
    with pytest.raises(UserError, match="cells"):
        get_space(write(tmp_path, content.replace("cells: 3", "cells: 0")))
    with pytest.raises(UserError, match="built-in space"):
        get_space(write(tmp_path, content.replace("snps", "fxdarts")))


def test_what_can_not_be_written_down():
    with pytest.raises(UserError, match="cannot be written down"):
        space_to_dict(Undeclared())
    with pytest.raises(UserError, match="write down the whole space 'toy64'"):
        space_to_dict(Subset(get_space("toy64"), [[0, 0, 0]]))
    with pytest.raises(UserError, match="that is a built-in space"):
        space_to_dict(EdgeCellSpace("nasbench201", nodes=2, operations=["conv"]))
