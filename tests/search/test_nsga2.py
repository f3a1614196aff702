"""NSGA-II against brute-force sorting, crowding distances by hand, and pymoo's own tournament."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import binary_tournament
from pymoo.core.population import Population

from crlso.errors import UserError
from crlso.protocols import FloatArray, Goal
from crlso.search import make_method, make_settings
from crlso.search.nsga2 import NSGA2
from crlso.spaces import get_space
from tests.runs.fakes import Line, row


def made(space: Any, goal: Goal, seed: int = 0, **settings: Any) -> NSGA2:
    method = make_method("nsga2", space, seed=seed, settings=settings, goal=goal)
    assert isinstance(method, NSGA2)
    return method


def dominates(one: FloatArray, other: FloatArray) -> bool:
    return bool((one >= other).all() and (one > other).any())


def brute_ranks(values: FloatArray) -> list[int]:
    """Peels front after front."""
    ranks = [-1] * len(values)
    for rank in range(len(values)):
        left = [i for i in range(len(values)) if ranks[i] < 0]
        for i in [i for i in left if not any(dominates(values[j], values[i]) for j in left)]:
            ranks[i] = rank
    return ranks


def crowding(front: FloatArray) -> FloatArray:
    """Deb et al. 2002, section III-B, divided by the number of objectives; no two values are equal here."""
    distance = np.zeros(len(front))
    for column in front.T:
        order = np.argsort(column)
        distance[order[[0, -1]]] = np.inf
        spread = column[order[-1]] - column[order[0]]
        distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance / front.shape[1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("objectives", [2, 3])
def test_survivors_are_those_of_brute_force(seed: int, objectives: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.random((24, objectives)), rng.normal(0.3, 1.0, (24, 1))], axis=1)
    values[3] = np.nan
    codes = row(*range(24))
    method = made(Line(24), Goal(objectives, 1), population=12)
    # The first generation survives as it is; the second is chosen from both.
    method.tell(codes, values)
    state = method.state_dict()
    feasible = np.flatnonzero(values[:, -1] >= 0.0)
    ranks = dict(zip(feasible.tolist(), brute_ranks(values[feasible, :-1]), strict=True))
    last = {
        rank: crowding(values[[i for i in ranks if ranks[i] == rank], :-1]) for rank in set(ranks.values())
    }
    distances = {i: last[rank][[j for j in ranks if ranks[j] == rank].index(i)] for i, rank in ranks.items()}

    def place(i: int) -> tuple[float, ...]:
        """The better, the smaller."""
        if i in ranks:
            return (0, ranks[i], -distances[i])
        return (2, 0, 0) if i == 3 else (1, -values[i, -1], 0)

    survivors = state["parents"][:, 0].tolist()
    assert len(set(survivors)) == 12
    # Of equally far ones in the last front any may survive.
    assert max(map(place, survivors)) <= min(map(place, set(range(24)) - set(survivors)))
    for survivor, rank in zip(survivors, state["rank"].tolist(), strict=True):
        assert rank == ranks.get(survivor, -1)


def test_violations_first_then_failures() -> None:
    method = made(Line(10), Goal(1, 1), population=3)
    told = np.array([[9.0, -0.1], [np.nan, np.nan], [1.0, 2.0], [5.0, -0.5], [8.0, -3.0], [0.0, 0.0]])
    method.tell(row(*range(6)), told)
    assert sorted(method.state_dict()["parents"][:, 0].tolist()) == [0, 2, 5]


def test_generations() -> None:
    method = made(Line(1000, script=[10, 20, 30]), Goal(2), population=3)
    for _ in range(3):
        method.tell(method.ask(1), np.array([[1.0, 1.0]]))
    assert sorted(method.state_dict()["parents"][:, 0].tolist()) == [10, 20, 30]
    # Children of 10, 20, 30, one step up each; nothing is chosen before the generation is complete.
    children = [int(method.ask(1)[0, 0]) for _ in range(2)]
    assert set(children) <= {11, 21, 31}
    method.tell(row(*children), np.array([[2.0, 2.0], [3.0, 0.0]]))
    assert sorted(method.state_dict()["parents"][:, 0].tolist()) == [10, 20, 30]
    method.tell(row(500), np.array([[0.0, 3.0]]))
    assert sorted(method.state_dict()["parents"][:, 0].tolist()) == sorted([*children, 500])


def test_tournaments_are_those_of_pymoo() -> None:
    """The same winner for all pairs in which one of the two is better."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.integers(0, 4, (20, 2)), rng.integers(-2, 4, (20, 1))], axis=1).astype(float)
    method = made(Line(20), Goal(2, 1), population=10)
    method.tell(row(*range(20)), values)
    state = method.state_dict()
    parents, told = state["parents"][:, 0], state["values"]
    violation = np.maximum(-told[:, 2], 0.0)
    population = Population.new(F=-told[:, :2], G=violation[:, None])
    for each, rank, distance in zip(population, state["rank"], state["crowding"], strict=True):
        each.set("rank", rank)
        each.set("crowding", distance)
    algorithm = SimpleNamespace(
        tournament_type="comp_by_rank_and_crowding", random_state=np.random.default_rng(1)
    )
    decided = 0
    for one in range(10):
        for other in range(one):
            pair = [one, other]
            key = [(violation[i], state["rank"][i] if violation[i] == 0 else 0) for i in pair]
            far = [state["crowding"][i] if violation[i] == 0 else 0.0 for i in pair]
            if key[0] == key[1] and far[0] == far[1]:
                continue
            winner = int(binary_tournament(population, np.array([pair]), algorithm)[0, 0])
            method._rng = SimpleNamespace(permutation=lambda n, pair=pair: np.array(pair))  # type: ignore[assignment]
            assert method._winner() == winner
            decided += 1
    assert decided > 20
    assert len(parents) == 10


def test_children_mix_their_parents() -> None:
    space = get_space("nasbench201")
    parents = np.array([[0] * 6, [4] * 6], dtype=np.int16)
    method = made(space, Goal(2), population=2, mutation=0.0, crossover=1.0)
    method.tell(parents, np.array([[1.0, 0.0], [0.0, 1.0]]))
    children = method.ask(2000)
    mixed = children[np.isin(children, [0, 4]).all(axis=1)]
    ones = (mixed == 4).sum(axis=1)
    # Of 64 equally likely mixtures two are a parent; tournaments between two equals take either.
    assert {1, 2, 3, 4, 5} <= set(ones.tolist())
    edited = children[~np.isin(children, [0, 4]).all(axis=1)]
    assert len(edited) > 0
    assert all(
        min((child != parent).sum() for parent in parents) == 1 for child in edited
    )  # copies of a parent, edited once


def test_finds_the_front_of_a_line() -> None:
    """Two maxima, at 0 and at 100 of 201 numbers: the front lies between them."""
    space = Line(201, steps=(-8, -3, -1, 1, 3, 8))
    method = made(space, Goal(2), seed=1, population=20)
    for _ in range(300):
        codes = method.ask(1)
        x = codes[:, 0].astype(float)
        method.tell(codes, np.stack([-x, -np.abs(x - 100.0)], axis=1))
    found = method.state_dict()["parents"][:, 0]
    assert (found <= 100).all()
    assert {0, 100} <= set(found.tolist())
    assert len(set(found.tolist())) >= 10


def test_without_pymoo_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name.startswith("pymoo"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match=r'needs pymoo: pip install "crlso\[pymoo\]"'):
        make_method("nsga2", Line(5), seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 1}, "population=1; it must be 2 or more"),
        ({"mutation": 1.5}, "mutation=1.5; it must be from 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_settings("nsga2", settings)
