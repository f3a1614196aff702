"""The method ``syne-tune`` against Syne Tune's searcher, run by hand."""

from __future__ import annotations

import logging
import random
import sys
from typing import Any

import numpy as np
import pytest
from syne_tune.config_space import choice
from syne_tune.optimizer.schedulers.searchers.bore import Bore

from benchmarks import TableEvaluator
from crlso.errors import UserError
from crlso.protocols import Codes, SearchSpace
from crlso.search import make_method
from crlso.search.syne_tune import SyneTune
from crlso.search.testing import objective, through_file
from crlso.spaces import ChoiceChain, Subset, get_space

METRIC = "cifar10/valid_accuracy@200"


@pytest.fixture
def space() -> SearchSpace:
    return get_space("nasbench201")


def built(space: SearchSpace, seed: int = 0, **settings: Any) -> SyneTune:
    method = make_method("syne-tune", space, seed=seed, settings=settings)
    assert isinstance(method, SyneTune)
    return method


def told(method: SyneTune, codes: Codes, space: SearchSpace) -> SyneTune:
    method.tell(codes, objective(space, codes))
    return method


@pytest.mark.parametrize("choices", [100, 500])
def test_proposes_what_the_searcher_does(space: SearchSpace, choices: int) -> None:
    """The first suggestion whose class was not told, with numpy's global generator seeded alike."""
    codes = np.unique(space.sample(40, np.random.default_rng(1)), axis=0)
    method = told(built(space, candidates=choices), codes, space)
    seed = int(np.random.default_rng(0).integers(2**31))
    state = np.random.get_state()  # noqa: NPY002 (what Syne Tune draws from)
    np.random.seed(seed)  # noqa: NPY002
    by_hand = Bore({str(i): choice(list(range(5))) for i in range(6)}, random_seed=seed, feval_acq=choices)
    for number, (code, value) in enumerate(zip(codes.tolist(), objective(space, codes)[:, 0], strict=True)):
        by_hand.on_trial_complete(number, {str(i): entry for i, entry in enumerate(code)}, -value)
    suggestions = [by_hand.suggest() for _ in range(3)]
    np.random.set_state(state)  # noqa: NPY002
    draws = np.array([[config[str(i)] for i in range(6)] for config in suggestions], dtype=np.int16)
    fresh = np.flatnonzero(~np.isin(space.class_keys(draws), space.class_keys(codes)))
    assert method.ask(1).tolist() == [draws[fresh[0]].tolist()]
    assert method.diagnostics()["curve/draws"].tolist() == [fresh[0] + 1]


def test_goes_on_from_a_state(space: SearchSpace) -> None:
    method = built(space, initial=5, candidates=50)
    first = told(method, space.sample(12, np.random.default_rng(0)), space).ask(1)
    told(method, first, space)
    resumed = built(space, seed=9, initial=5, candidates=50)
    resumed.load_state_dict(through_file(method.state_dict()))
    for _ in range(2):
        expected = method.ask(1)
        np.testing.assert_array_equal(resumed.ask(1), expected)
        told(method, expected, space)
        told(resumed, expected, space)


def test_leaves_what_is_global_as_it_was(space: SearchSpace) -> None:
    """Generators, the root logger, floating-point errors; also where all values are equal."""
    method = built(space, initial=2, candidates=50)
    root = logging.getLogger()

    def everything() -> list[Any]:
        generators = np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
        return [*generators, list(root.handlers), root.level, root.manager.disable, np.geterr()]

    before = everything()
    codes = space.sample(5, np.random.default_rng(0))
    method.tell(codes, np.ones((5, 1)))
    method.ask(1)
    told(method, codes, space)
    method.ask(1)
    np.testing.assert_equal(everything(), before)


def test_failures_count_like_the_worst(space: SearchSpace) -> None:
    codes = space.sample(20, np.random.default_rng(0))
    values = objective(space, codes)
    failed, worst = values.copy(), values.copy()
    failed[::4], worst[::4] = np.nan, np.delete(values, slice(None, None, 4)).min()
    first, second = (built(space, candidates=100) for _ in range(2))
    first.tell(codes, failed)
    second.tell(codes, worst)
    np.testing.assert_array_equal(first.ask(1), second.ask(1))


def test_proposals_are_repaired(space: SearchSpace) -> None:
    members = np.unique(space.sample(600, np.random.default_rng(0)), axis=0)
    subset = Subset(space, members)
    method = told(built(subset, candidates=100), members[:20], subset)
    raw = next(method._proposals(method._rounds.seen, 0)).astype(np.int16)
    assert not subset.is_valid(raw[None])[0]
    proposed = method.ask(1)
    assert subset.is_valid(proposed)[0]
    assert not np.isin(space.class_keys(proposed), space.class_keys(members[:20]))[0]


def test_positions_without_a_choice_are_left_out() -> None:
    space = ChoiceChain("gap", [tuple("abcdefgh"), ("x",), tuple("ijklmnop"), tuple("qrstuvwx")])
    codes = space.sample(30, np.random.default_rng(0))
    method = told(built(space, candidates=100), codes, space)
    assert set(method._domains) == {"0", "2", "3"}
    assert space.is_valid(method.ask(1))[0]
    assert method.diagnostics()["curve/draws"][0] <= 20


def test_proposes_what_is_good(nasbench201: TableEvaluator) -> None:
    """After 60 random cells, its proposals are among the best fifth of the table in the mean."""
    space = nasbench201.space
    method = built(space)
    codes = space.sample(60, np.random.default_rng(5))
    method.tell(codes, nasbench201.evaluate(codes, metrics=[METRIC]).to_numpy())
    proposed = np.concatenate([method.ask(1) for _ in range(4)])
    values = nasbench201.evaluate(proposed, metrics=[METRIC]).to_numpy()[:, 0]
    everything = nasbench201.evaluate(np.concatenate(list(space.enumerate())), metrics=[METRIC]).to_numpy()[
        :, 0
    ]
    assert np.mean([(everything > value).mean() for value in values]) < 0.2


def test_needs_the_extra(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "syne_tune.config_space", None)
    with pytest.raises(UserError, match=r'syne-tune needs Syne Tune: pip install "crlso\[syne-tune\]"'):
        make_method("syne-tune", space, seed=0)


@pytest.mark.parametrize(("name", "value"), [("initial", 1), ("draws", 0), ("candidates", 0)])
def test_refuses_settings_without_sense(space: SearchSpace, name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        built(space, **{name: value})
