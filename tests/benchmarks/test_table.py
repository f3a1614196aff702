"""The table evaluator and its look-up, beyond the contract."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import TableEvaluator, lookup
from benchmarks.lookup import CodeIndex
from crlso.errors import UnknownNameError, UserError
from crlso.protocols import Metric
from crlso.spaces import get_space

SPACE = get_space("toy64")
CODES = np.concatenate(list(SPACE.enumerate()))
UP, DOWN = Metric("up", "max", "", "more"), Metric("down", "min", "", "less")


def table(rows: int = 10, **columns: np.ndarray) -> TableEvaluator:
    given_columns = {"up": np.arange(rows, dtype=float), "down": np.arange(rows, dtype=float)} | columns
    return TableEvaluator("t", SPACE, CODES[:rows], given_columns, {"up": UP, "down": DOWN})


def test_optimum_and_rank_follow_the_direction_and_skip_missing_values() -> None:
    values = np.array([np.nan, 1.0, 3.0, 3.0, 2.0])
    some = table(5, up=values, down=values)
    assert (some.optimum("up"), some.optimum("down")) == (3, 1)
    assert some.rank("up", 3) == (1, 4)
    assert some.rank("up", 2) == (3, 4)
    assert some.rank("down", 2) == (2, 4)
    with pytest.raises(UnknownNameError, match="known: down, up"):
        some.rank("sideways", 1)


def test_support_is_none_for_the_whole_space_only() -> None:
    assert table(len(CODES)).support is None
    part = table(len(CODES) - 1)
    assert part.support is not None
    assert len(part.support) == len(CODES) - 1 == len(part)


def test_a_code_outside_names_the_architecture() -> None:
    with pytest.raises(UserError) as caught:
        table().evaluate(CODES[[0, 20]], metrics=["up"])
    assert SPACE.format(CODES[20]) in str(caught.value)
    assert "holds 10 architectures" in str(caught.value)


@pytest.mark.parametrize(
    ("codes", "columns", "message"),
    [
        (CODES[:0], {"up": np.zeros(0)}, "no rows"),
        (CODES[[0, 1, 0]], {"up": np.zeros(3)}, "rows 0 and 2 hold the same"),
        (CODES[:2], {"up": np.zeros(3)}, "shape"),
        (CODES[:2], {"down": np.zeros(2)}, "differ in down, up"),
        (CODES[:2] + 99, {"up": np.zeros(2)}, "row 0: .*cardinalities"),
    ],
)
def test_tables_that_do_not_fit_together(
    codes: np.ndarray, columns: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        TableEvaluator("t", SPACE, codes, columns, {"up": UP})


def test_what_it_hands_out_can_not_be_changed() -> None:
    some = table()
    for array in (some.codes, some.column("up")):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert "10 rows" in repr(some)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_dense_and_sorted_look_up_agree_with_a_dictionary(data: st.DataObject) -> None:
    cardinalities = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    drawn = rng.integers(cardinalities, size=(50, len(cardinalities))).astype(np.int16)
    codes = rng.permutation(np.unique(drawn, axis=0))[: data.draw(st.integers(1, 50))]
    rows = {code.tobytes(): row for row, code in enumerate(codes)}
    asked = rng.integers(-1, np.array(cardinalities) + 1, size=(80, len(cardinalities))).astype(np.int16)
    asked = np.concatenate([asked, drawn])
    expected = [rows.get(code.tobytes(), -1) for code in asked]
    dense = CodeIndex(cardinalities, codes)
    assert dense.find(asked).tolist() == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "_DENSE_LIMIT", 0)
        assert CodeIndex(cardinalities, codes).find(asked).tolist() == expected


def test_spaces_beyond_64_bits() -> None:
    cardinalities = (2,) * 100
    codes = np.unique(np.random.default_rng(0).integers(0, 2, size=(5_000, 100)), axis=0).astype(np.int16)
    index = CodeIndex(cardinalities, codes)
    assert index.find(codes[::-1]).tolist() == list(range(len(codes)))[::-1]
    assert (index.find(1 - codes) == -1).mean() > 0.99
    with pytest.raises(UserError, match="rows 3 and 7 hold the same"):
        CodeIndex(cardinalities, np.concatenate([codes[:7], codes[3:4]]))
