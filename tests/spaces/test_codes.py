import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import codes

CARDINALITIES = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@given(CARDINALITIES)
def test_ranks_count_codes_in_lexicographic_order(cardinalities):
    grid = np.array(list(itertools.product(*map(range, cardinalities))))
    ranks = codes.ravel(grid, cardinalities)
    np.testing.assert_array_equal(ranks, np.arange(len(grid)))
    np.testing.assert_array_equal(codes.unravel(ranks, cardinalities), grid)
    np.testing.assert_array_equal(np.concatenate(list(codes.enumerate_codes(cardinalities, chunk=7))), grid)


@given(CARDINALITIES, st.randoms())
def test_one_edit_is_all_codes_at_hamming_distance_one(cardinalities, random):
    grid = np.array(list(itertools.product(*map(range, cardinalities))))
    code = grid[random.randrange(len(grid))]
    found = codes.one_edit(code, cardinalities)
    expected = grid[(grid != code).sum(axis=1) == 1]
    np.testing.assert_array_equal(np.unique(found, axis=0), expected.reshape(-1, len(cardinalities)))
    assert len(found) == len(expected)


def test_row_keys_sort_like_rows():
    rows = np.random.default_rng(0).integers(0, 300, size=(500, 3)).astype(np.int16)
    keys = codes.rows_as_keys(rows)
    _, first = np.unique(keys, return_index=True)
    np.testing.assert_array_equal(rows[first], np.unique(rows, axis=0))


def test_large_spaces_have_codes_without_ranks():
    wide = (2,) * 70
    np.testing.assert_array_equal(
        next(codes.enumerate_codes(wide, chunk=3))[:, -2:], [[0, 0], [0, 1], [1, 0]]
    )
    assert codes.code_keys(np.eye(70, dtype=np.int16), wide).dtype == np.uint64
    assert len(np.unique(codes.code_keys(np.eye(70, dtype=np.int16), wide))) == 70
    with pytest.raises(UserError, match="too many for ranks"):
        codes.ravel(np.zeros((1, 70), dtype=int), wide)
    with pytest.raises(UserError, match=re.escape("more than 2**63 codes")):
        codes.all_codes("wide", wide)
    with pytest.raises(UserError, match="262,144 codes"):
        codes.all_codes("square", (512, 512))
    assert codes.ravel(np.ones((1, 63), dtype=int), (2,) * 63)[0] == 2**63 - 1


def test_digest_keys_do_not_depend_on_the_process():
    # By `printf crlso | b2sum -l 64`.
    assert int(codes.digest_keys([b"crlso"])[0]).to_bytes(8, "little").hex() == "2095cde42ef0022b"
    assert codes.digest_keys([]).shape == (0,)


@pytest.mark.parametrize(
    ("given_codes", "message"),
    [
        ([[0, 3]], "entry 1 of code 0 is 3; allowed: 0 to 2"),
        ([[0, 0], [-1, 0]], "entry 0 of code 1 is -1; allowed: 0 to 1"),
        ([[0, 0, 0]], "shape [n, 2], got an array of shape [1x3]"),
        ([[0.0, 1.0]], "must be integers, got an array of type float64"),
        ([["a", "b"]], "must be integers"),
        (5, "shape [n, 2]"),
    ],
)
def test_wrong_codes(given_codes, message):
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        codes.as_codes(given_codes, (2, 3))


@pytest.mark.parametrize("wrong", [[[0, 0]], [], 3])
def test_one_code_is_one_dimensional(wrong):
    with pytest.raises(ArchitectureError, match=r"one code of shape \[2\]"):
        codes.as_code(wrong, (2, 3))


@pytest.mark.parametrize(
    ("ranks", "message"), [([6], "between 0 and 5"), ([-1], "between"), ([0.5], "integers")]
)
def test_wrong_ranks(ranks, message):
    with pytest.raises(ArchitectureError, match=message):
        codes.unravel(ranks, (2, 3))


def test_empty_arrays():
    assert codes.as_codes([], (2, 3)).shape == (0, 2)
    assert codes.ravel(np.zeros((0, 2), dtype=int), (2, 3)).shape == (0,)
    assert codes.unravel([], (2, 3)).shape == (0, 2)
