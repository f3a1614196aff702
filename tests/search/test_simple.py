"""Random search, evolution and local search: traces worked out by hand, and distributions."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import SearchMethod
from crlso.search import METHODS, make_method, make_settings, parse_method
from crlso.spaces import get_space
from tests.runs.fakes import Line, row


def ask_and_tell(method: SearchMethod, value: float) -> int:
    codes = method.ask(1)
    method.tell(codes, np.array([[value]]))
    return int(codes[0, 0])


def test_local_search_by_hand() -> None:
    # Values of 0 ... 9; one edit is one step up.
    values = [0.0, 1.0, 2.0, 5.0, 6.0, 4.0, 9.0, math.nan, 3.0, 2.0]
    method = make_method("local", Line(10, script=[3, 6, 8, 1]), seed=0)
    asked = []
    for _ in range(9):
        codes = method.ask(1)
        number = int(codes[0, 0])
        asked.append(number)
        method.tell(codes, np.array([[values[number]]]))
    # 3 start, 4 better, 5 worse: restart; 6 start, 7 failed: restart; 8 start, 9 worse: restart; 1, 2 better.
    assert asked == [3, 4, 5, 6, 7, 8, 9, 1, 2]


def test_local_search_goes_on_where_a_start_failed_or_a_neighbour_is_dropped() -> None:
    method = make_method("local", Line(10, script=[5, 2, 8], steps=[1, -1]), seed=0)
    assert ask_and_tell(method, math.nan) == 5
    assert ask_and_tell(method, 1.0) == 2
    first, second = int(method.ask(1)[0, 0]), int(method.ask(1)[0, 0])
    assert {first, second} == {1, 3}
    # Neither was told, as if the run loop had dropped both: the neighbourhood is used up.
    assert method.ask(1).tolist() == [[8]]


def test_local_search_moves_at_the_first_improvement_only() -> None:
    method = make_method("local", Line(100, script=[50, 10], steps=[-3, -2, -1, 1, 2, 3]), seed=1)
    assert ask_and_tell(method, 0.0) == 50
    worse = ask_and_tell(method, 0.0)
    assert worse != 50 and abs(worse - 50) <= 3
    better = ask_and_tell(method, 0.5)
    # From here on all proposals surround the new centre, each neighbour once.
    around = [ask_and_tell(method, 0.5) for _ in range(6)]
    assert sorted(around) == sorted(better + step for step in (-3, -2, -1, 1, 2, 3))
    assert ask_and_tell(method, 0.0) == 10


def test_local_search_visits_neighbours_in_random_order() -> None:
    first = Counter(
        tuple(make_order(seed))
        for seed in range(600)  # 3 neighbours: 6 orders, 100 each
    )
    assert len(first) == 6
    assert stats.chisquare(list(first.values())).pvalue > 1e-3


def make_order(seed: int) -> list[int]:
    method = make_method("local", Line(10, script=[5], steps=[-1, 1, 2]), seed=seed)
    ask_and_tell(method, 1.0)
    return [ask_and_tell(method, 0.0) for _ in range(3)]


def test_evolution_by_hand() -> None:
    # Population 3; 60 contestants out of 3, so that the best is among them (else: once in 10^10).
    space = Line(100, script=[40, 10, 70])
    method = make_method("evolution", space, seed=0, settings={"population": 3, "sample": 60})
    assert [ask_and_tell(method, value) for value in (5.0, 9.0, math.nan)] == [40, 10, 70]
    # Alive: 40 (5), 10 (9), 70 (failed). The child of 10 is 11; 40 dies of age.
    assert ask_and_tell(method, 1.0) == 11
    # Alive: 10 (9), 70 (failed), 11 (1). 10 wins again, and is now the oldest: it dies, the best as it is.
    assert ask_and_tell(method, 3.0) == 11
    # Alive: 70 (failed), 11 (1), 11 (3).
    assert ask_and_tell(method, 2.0) == 12
    # Alive: 11 (1), 11 (3), 12 (2): 11 wins.
    assert ask_and_tell(method, 0.0) == 12
    # Alive: 11 (3), 12 (2), 12 (0).
    assert ask_and_tell(method, 7.0) == 12
    # Alive: 12 (2), 12 (0), 12 (7).
    assert ask_and_tell(method, 0.0) == 13


def test_evolution_mutates_uniformly() -> None:
    space = get_space("nasbench201")
    method = make_method("evolution", space, seed=0, settings={"population": 1})
    parent = space.sample(1, np.random.default_rng(0))
    method.tell(parent, np.array([[1.0]]))
    children = method.ask(4800)
    keys, counts = np.unique(children, axis=0, return_counts=True)
    assert len(keys) == 24
    assert ((keys != parent).sum(axis=1) == 1).all()
    assert stats.chisquare(counts).pvalue > 1e-3


def test_evolution_draws_contestants_with_replacement() -> None:
    # Two members, two contestants: the worse one wins when it is drawn twice, a quarter of the times.
    method = make_method("evolution", Line(100), seed=0, settings={"population": 2, "sample": 2})
    method.tell(row(10, 50), np.array([[1.0], [2.0]]))
    worse = int((method.ask(2000)[:, 0] == 11).sum())
    assert stats.binomtest(worse, 2000, 0.25).pvalue > 1e-3


def test_evolution_without_neighbours_samples() -> None:
    method = make_method("evolution", Line(3, script=[2]), seed=0, settings={"population": 1})
    assert ask_and_tell(method, 1.0) == 2
    assert method.ask(1)[0, 0] in range(3)


def test_random_search_is_uniform_where_the_space_is() -> None:
    counts = np.bincount(make_method("random", Line(8), seed=0).ask(4000)[:, 0], minlength=8)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("random", "random", {}),
        ("evolution:population=5:sample=2", "evolution", {"population": "5", "sample": "2"}),
    ],
)
def test_parse_method(text: str, name: str, settings: dict[str, str]) -> None:
    assert parse_method(text) == (name, settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rnd",
            r"unknown method 'rnd'; known: bananas, bo, crlso, crlso-paper, evolution, local, nsga2, "
            r"random, reinforce, ridge, syne-tune, tpe",
        ),
        ("evolution:population", r"'population' is no setting; write name:key=value:key=value"),
        ("evolution:=3", r"'=3' is no setting"),
        ("evolution:sample=3:sample=4", r"'sample' is given twice"),
    ],
)
def test_parse_method_refuses(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_method(text)


def test_settings_are_converted_and_checked() -> None:
    assert make_settings("evolution", {"population": "7"}).population == 7
    with pytest.raises(UnknownNameError, match=r"setting of evolution 'size'; known: population, sample"):
        make_settings("evolution", {"size": 3})
    for wrong in ("many", "3.5", True, 3.5, None):
        with pytest.raises(UserError, match=r"population=.*must be a whole number"):
            make_settings("evolution", {"population": wrong})
    with pytest.raises(UserError, match="sample=0; it must be 1 or more"):
        make_settings("evolution", {"sample": 0})


def test_every_method_has_a_line_of_help() -> None:
    assert all(entry.summary for entry in METHODS.values())
