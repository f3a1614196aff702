"""Maxima of a score among unasked architectures, against brute force over all codes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from crlso.errors import UserError
from crlso.protocols import Codes, FloatArray, Keys, SearchSpace
from crlso.search.acquisition import Acquisition, ClimbSettings, best_distinct, mutate
from crlso.spaces import Subset, get_space

NOTHING: Keys = np.zeros(0, np.uint64)


@pytest.fixture
def space() -> SearchSpace:
    return get_space("nasbench201")


def height(codes: Codes) -> FloatArray:
    """Depends on the class alone where it is given canonical codes; no two codes are the same."""
    weights = np.random.default_rng(3).standard_normal((6, 5))
    scores: FloatArray = weights[np.arange(6), codes].sum(axis=1)
    return scores


def by_brute_force(space: SearchSpace, count: int, asked: Keys) -> list[list[int]]:
    codes = np.concatenate(list(space.enumerate()))
    codes = np.unique(space.canonical(codes), axis=0)
    codes = codes[~np.isin(space.class_keys(codes), asked)]
    found: list[list[int]] = codes[np.argsort(-height(codes))[:count]].tolist()
    return found


def test_scan_finds_the_best_classes(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    acquisition = Acquisition(space)
    assert acquisition.scanned
    asked = space.class_keys(np.array(by_brute_force(space, 3, NOTHING), np.int16))
    for keys, count in ((NOTHING, 5), (asked, 7)):
        found = acquisition.best(height, count, asked=keys, starts=space.sample(0, rng), rng=rng)
        assert found.tolist() == by_brute_force(space, count, keys)


def test_scan_ends_where_the_space_does(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    members = space.canonical(np.unique(space.sample(20, rng), axis=0))
    subset = Subset(space, members)
    acquisition = Acquisition(subset)
    asked = subset.class_keys(members[:-3])
    found = acquisition.best(height, 10, asked=asked, starts=members[:0], rng=rng)
    assert {tuple(code) for code in found.tolist()} == {tuple(code) for code in members[-3:].tolist()}
    none = acquisition.best(height, 10, asked=subset.class_keys(members), starts=members[:0], rng=rng)
    assert none.shape == (0, 6)


def test_climb_reaches_the_top_of_a_single_hill(space: SearchSpace) -> None:
    """A sum over positions has one maximum, which single edits lead to from anywhere."""
    everything = np.concatenate(list(space.enumerate()))
    top = everything[np.argmax(height(everything))]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        acquisition = Acquisition(space, scan_limit=100, climb=ClimbSettings(random_starts=1))
        assert not acquisition.scanned
        first, second = acquisition.best(height, 2, asked=NOTHING, starts=everything[:0], rng=rng)
        assert first.tolist() == top.tolist()
        assert len(np.unique(space.class_keys(np.stack([first, second])))) == 2
        asked = space.class_keys(first[None])
        again = acquisition.best(height, 2, asked=asked, starts=first[None], rng=rng)
        assert not np.isin(space.class_keys(again), asked).any()


def test_climbs_from_its_starts(space: SearchSpace) -> None:
    """With one step, what is found lies one edit from a start or from a random architecture."""
    start = np.array([[4, 4, 4, 4, 4, 4]], np.int16)
    near = {tuple(code) for code in space.neighbors(start[0]).tolist()}

    def like_start(codes: Codes) -> FloatArray:
        return -(codes != start[0]).sum(axis=1).astype(np.float64)

    acquisition = Acquisition(space, scan_limit=0, climb=ClimbSettings(random_starts=1, steps=1))
    asked = space.class_keys(start)
    found = acquisition.best(like_start, 8, asked=asked, starts=start, rng=np.random.default_rng(0))
    assert {tuple(code) for code in found.tolist()} <= near


def test_climbs_in_spaces_without_end() -> None:
    space = get_space("fxdarts")
    rng = np.random.default_rng(0)
    acquisition = Acquisition(space, climb=ClimbSettings(random_starts=2, steps=4, neighbors=16))
    with pytest.raises(UserError, match="'fxdarts' is too large"):
        acquisition.classes()
    calls = []

    def ones(codes: Codes) -> FloatArray:
        calls.append(len(codes))
        return codes.sum(axis=1).astype(np.float64)

    starts = space.sample(3, rng)
    found = acquisition.best(ones, 4, asked=NOTHING, starts=starts, rng=rng)
    assert calls == [5, 80, 80, 80, 80]
    assert len(np.unique(space.class_keys(found))) == 4
    assert space.is_valid(found).all()
    # Every climb of four steps adds four operators.
    assert found.sum(axis=1).max() >= starts.sum(axis=1).max() + 4


def test_the_best_of_a_class_stands_for_it(space: SearchSpace) -> None:
    """Repetitions and what was asked are passed over; NaN comes last."""
    rng = np.random.default_rng(0)
    codes = np.array([[3] * 6, [0] * 6, [3] * 6, [0, 0, 0, 0, 0, 1][::-1], [2] * 6, [1] * 6], np.int16)
    scores = np.array([1.0, 9.0, 5.0, 2.0, np.nan, 4.0])
    asked = space.class_keys(codes[[5]])
    found = best_distinct(space, codes, scores, 10, asked=asked, rng=rng)
    # [1, 0, 0, 0, 0, 0] does not reach the output: the same network as all zero.
    assert found.tolist() == [[0] * 6, [3] * 6, [2] * 6]
    assert best_distinct(space, codes, scores, 0, asked=asked, rng=rng).shape == (0, 6)


def test_equal_scores_are_drawn(space: SearchSpace) -> None:
    codes = np.array([[3] * 6, [2] * 6], np.int16)
    first = Counter(
        int(best_distinct(space, codes, np.ones(2), 1, asked=NOTHING, rng=np.random.default_rng(seed))[0, 0])
        for seed in range(40)
    )
    assert min(first[2], first[3]) >= 8


def test_mutations_are_edits(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    codes = space.sample(200, rng)
    before = codes.copy()
    assert ((mutate(space, codes, 1, rng) != codes).sum(axis=1) == 1).all()
    twice = (mutate(space, codes, 2, rng) != codes).sum(axis=1)
    assert set(twice.tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(codes, before)
    lonely = Subset(space, codes[:1])
    assert mutate(lonely, codes[:1], 3, rng).tolist() == codes[:1].tolist()


def test_refuses_climbs_that_go_nowhere() -> None:
    with pytest.raises(UserError, match="must be 1 or more, got 1, 0 and 3"):
        ClimbSettings(random_starts=1, steps=0, neighbors=3)
