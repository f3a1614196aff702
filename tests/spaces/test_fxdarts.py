import re

import numpy as np
import pytest

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import get_space
from crlso.spaces.fxdarts import FreeTopologySpace


@pytest.fixture
def small():
    return FreeTopologySpace("small", cells=3, nodes=2, operations=["conv", "skip_connect"])


def test_sampling_draws_the_operator_count_first():
    space = get_space("fxdarts")
    codes = space.sample(2000, np.random.default_rng(0))
    counts = codes[:, :14].sum(axis=1)  # the first node has 2 predecessors x 7 operations
    assert set(counts) == set(range(1, 15))
    assert np.abs(np.bincount(counts, minlength=15)[1:] - 2000 / 14).max() < 60
    assert np.abs(codes[:, :14].mean(axis=0) - 7.5 / 14).max() < 0.05


def test_enumeration_is_complete():
    space = FreeTopologySpace("tiny", cells=1, nodes=2, operations=["conv"])
    everything = np.concatenate(list(space.enumerate()))
    assert len(everything) == (2**2 - 1) * (2**3 - 1)
    np.testing.assert_array_equal(np.unique(everything, axis=0), everything)


def test_unused_cells_do_not_count(small):
    # Cell 2 takes the stem's side only: predecessor 0 is the cell before the previous one, cell 0.
    text = "|conv~0|+|conv~2|/|conv~1|+|conv~2|/|conv~0|+|conv~2|skip_connect~0|"
    code = small.parse(text)
    np.testing.assert_array_equal(small.used(code), [[True, False, True]])
    other = small.parse(text.replace("/|conv~1|", "/|skip_connect~1|conv~0|"))
    assert small.class_keys(code) == small.class_keys(other)
    assert small.class_keys(code, "code") != small.class_keys(other, "code")
    assert small.format(small.canonical(code)[0]).split("/")[1] == "|conv~0|+|conv~0|"
    used = small.parse(text.replace("skip_connect~0", "skip_connect~1"))
    assert small.used(used).all()
    assert small.class_keys(used) != small.class_keys(code)


def test_repair_fills_empty_nodes_only(small):
    code = small.sample(1, np.random.default_rng(0))[0]
    code[:4] = 0
    repaired = small.repair(code)[0]
    np.testing.assert_array_equal(repaired[:4], [1, 0, 0, 0])
    np.testing.assert_array_equal(repaired[4:], code[4:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|conv~0|+|conv~0|", "character 17: expected 3 cells, got 1"),
        (
            "|conv~0|/",
            "character 0: expected 3 cells of 2 nodes, 6 groups in all, got 1 groups in cell 0 of 2",
        ),
        ("|conv~0|+|conv~0|/|c~0|+|conv~0|", "character 19: expected one of conv, skip_connect, got 'c'"),
        ("|conv~0|+|conv~3|/|conv~0|+|conv~0|", "character 15: expected a predecessor from 0 to 2, got '3'"),
        ("|conv~0|conv~0|+|conv~0|", "character 8: 'conv~0' stands twice in node 0 of cell 0"),
        ("|conv~0|+conv~0", "character 9: expected |operation~predecessor|..., got 'conv~0'"),
    ],
)
def test_wrong_texts(small, text, message):
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        small.parse(text)


def test_wrong_sizes():
    with pytest.raises(UserError, match="cells and nodes must be 1 or more, got 0 and 2"):
        FreeTopologySpace("none", cells=0, nodes=2)
