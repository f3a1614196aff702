import json
import re

import numpy as np
import pandas as pd
import pytest

from crlso.errors import ArchitectureError
from crlso.spaces import get_space
from crlso.spaces.nasbench101 import OPERATIONS, module_hash
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


def test_golden_hashes(space):
    code = space.parse(json.dumps(INCEPTION))
    assert space.hashes(code) == ["28cfc7874f6d200472e1a9dcd8650aa0"]
    rows = ["0100110", "0010000", "0001001", "0000010", "0000010", "0000001", "0000000"]
    matrix = [[int(entry) for entry in row] for row in rows]
    assert module_hash(matrix, [-1, 0, 2, 0, 0, 1, -2]) == "00005c142e6f48ac74fdcf73e3439874"


def test_hashes_of_real_cells(space):
    table = pd.read_parquet(data_file("nasbench101/nb101_30001_val.parquet"))[::15]
    codes = []
    for adjacency, ops, n in zip(table["adjacency"], table["ops"], table["n_vertices"], strict=True):
        matrix = np.array(list(adjacency), dtype=int).reshape(n, n)
        codes.append(space.parse(text(matrix.tolist(), ops.split(","))))
    assert space.is_valid(np.array(codes)).all()
    assert space.hashes(np.array(codes)) == table["module_hash"].tolist()
    assert len(np.unique(space.class_keys(np.array(codes)))) == len(codes)


def test_classes_survive_renumbering_and_dead_vertices(space):
    code = space.parse(json.dumps(INCEPTION))
    swapped = {  # vertices 1 and 2 changed places
        "matrix": INCEPTION["matrix"],
        "ops": ["input", C3, C1, C3, C3, MP, "output"],
    }
    assert space.class_keys(space.parse(json.dumps(swapped))) == space.class_keys(code)
    small = space.parse(text([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["input", C3, "output"]))
    dead = small.copy()
    dead[-1] = 2  # the operation of a vertex without edges
    assert space.class_keys(dead) == space.class_keys(small)
    assert space.class_keys(dead, "code") != space.class_keys(small, "code")


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


def test_invalid_codes_have_no_hash(space):
    with pytest.raises(ArchitectureError, match="code 1 is not a valid cell"):
        space.hashes([space.parse(json.dumps(INCEPTION)), np.zeros(26, dtype=int)])


def test_repair_keeps_as_many_edges_as_may_be(space):
    full = np.ones((1, 26), dtype=int)
    repaired = space.repair(full)
    assert repaired[0, :21].sum() == 9
    empty = space.repair(np.zeros((1, 26), dtype=int))
    assert json.loads(space.format(empty[0]))["matrix"][0] == [0, 0, 0, 0, 0, 0, 1]
