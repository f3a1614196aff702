"""CR-LSO: what it proposes, that it goes on bit for bit, ends with the space, and beats random search."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import pandas as pd
import pytest
import torch

from crlso.errors import UserError
from crlso.protocols import Codes, Evaluator, Metric, SearchSpace
from crlso.runs import search
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.search import make_method
from crlso.search.crlso import CRLSO
from crlso.search.testing import run
from crlso.spaces import EdgeCellSpace, Subset
from tests.search.small_crlso import ALIKE, SMALL, SPACES, additive, follow, small, worth


@final
class AdditiveBench:
    """Every entry of a code adds its part; some architectures may fail."""

    name = "additive"
    metrics: Mapping[str, Metric] = {"score": Metric("score", "max", "points", "sum over the entries")}
    fingerprint: Mapping[str, str] = {}

    def __init__(self, space: SearchSpace, support: Codes | None = None, fails: float = 0.0) -> None:
        self.space = space
        self.support = support
        self._fails = fails

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        assert list(metrics) == ["score"]
        assert rng is not None
        values = worth(codes, additive(self.space))
        return pd.DataFrame({"score": np.where(rng.random(len(codes)) < self._fails, math.nan, values)})

    def optimum(self, metric: str) -> float | None:
        return None


def classes(space: SearchSpace) -> int:
    return len(np.unique(space.class_keys(np.concatenate(list(space.enumerate())))))


@pytest.mark.parametrize("name", SPACES)
def test_proposes_valid_architectures(name: str) -> None:
    space = SPACES[name]
    method = small(space)
    for _ in range(11):
        codes = method.ask(1)
        assert codes.shape == (1, len(space.cardinalities))
        assert space.is_valid(codes).all()
        method.tell(codes, worth(codes, additive(space))[:, None])


@pytest.mark.parametrize("name", ["nasbench201", "nasbench101", "declared"])
def test_never_proposes_a_class_that_it_was_told(name: str) -> None:
    space = SPACES[name]
    # Enough candidates: what a round lacks is drawn at random, and the run loop drops what it knows.
    method = small(space, beam=32, starts=8, pretrain_steps=100, learning_rate=1e-2)
    codes = space.sample(6, np.random.default_rng(0))
    method.tell(codes, worth(codes, additive(space))[:, None])
    told = set(space.class_keys(codes).tolist())
    for _ in range(18):
        codes = method.ask(1)
        (key,) = space.class_keys(codes).tolist()
        assert key not in told
        told.add(key)
        method.tell(codes, worth(codes, additive(space))[:, None])


@pytest.mark.parametrize(("size", "explore"), [(1, 0), (3, 0), (3, 1), (5, 5)])
def test_rounds_have_their_size(size: int, explore: int) -> None:
    space = SPACES["nasbench201"]
    method = small(space, initial=6, round=size, explore=explore)
    # The start is not a round: one at a time, until enough is told.
    assert len(method.ask(100)) == 1
    codes = space.sample(6, np.random.default_rng(0))
    method.tell(codes, worth(codes, additive(space))[:, None])
    for _ in range(3):
        codes = method.ask(100)
        assert len(codes) == size
        assert explore or len(np.unique(space.class_keys(codes))) == size
        method.tell(codes, worth(codes, additive(space))[:, None])


def test_a_round_does_not_depend_on_how_it_is_asked_for() -> None:
    space = SPACES["nasbench201"]
    start = space.sample(6, np.random.default_rng(0))
    by_one, at_once = small(space), small(space)
    for method in (by_one, at_once):
        method.tell(start, worth(start, additive(space))[:, None])
    np.testing.assert_array_equal(np.concatenate([by_one.ask(1) for _ in range(3)]), at_once.ask(9))


def test_a_seed_decides_the_search() -> None:
    space = SPACES["nasbench201"]
    trials = []
    for seed, noise in ((1, 0), (1, 5), (2, 0)):
        torch.manual_seed(noise)  # the global generator plays no part
        trials.append(follow(small(space, seed=seed), space, 14))
    assert trials[0] == trials[1]
    assert trials[0] != trials[2]
    first, other = (follow(small(space, seed=seed), space, 4) for seed in (1, 2))
    assert first != other


def test_the_global_generator_of_torch_is_left_alone() -> None:
    before = torch.get_rng_state()
    follow(small(SPACES["nasbench201"]), SPACES["nasbench201"], 8)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("round_steps", [0, 3])
@pytest.mark.parametrize("name", ["nasbench201", "subset"])
def test_goes_on_bit_for_bit_from_every_point(name: str, round_steps: int) -> None:
    """With landmarks among the candidates, and with a latent space that every round trains."""
    space, total = SPACES[name], 11
    method = small(space, explore=1, round_steps=round_steps)
    states = []
    whole: list[tuple[int, ...]] = []
    for _ in range(total):
        states.append(dump_state(method.state_dict()))
        whole += follow(method, space, 1)
    end = method.state_dict()
    for done, state in enumerate(states):
        resumed = small(space, seed=99, explore=1, round_steps=round_steps)
        resumed.load_state_dict(parse_state(io.BytesIO(state)))
        assert follow(resumed, space, total - done) == whole[done:]
        # Not the proposals alone: all weights too.
        weights = resumed.state_dict()["model"]
        assert all(torch.equal(weights[key], value) for key, value in end["model"].items())


def test_goes_on_between_ask_and_tell() -> None:
    space = SPACES["nasbench201"]
    method = small(space)
    follow(method, space, 5)
    codes = method.ask(1)
    state = dump_state(method.state_dict())
    resumed = small(space, seed=99)
    resumed.load_state_dict(parse_state(io.BytesIO(state)))
    for each in (method, resumed):
        each.tell(codes, worth(codes, additive(space))[:, None])
    assert follow(method, space, 6) == follow(resumed, space, 6)


def test_a_state_is_a_copy() -> None:
    space = SPACES["nasbench201"]
    method = small(space)
    follow(method, space, 8)
    state = method.state_dict()
    before = dump_state(state)
    follow(method, space, 6)
    assert dump_state(state) == before
    resumed = small(space, seed=99)
    resumed.load_state_dict(state)
    follow(resumed, space, 6)
    assert dump_state(state) == before


@pytest.mark.parametrize(("name", "explore"), [("toy64", 0), ("subset", 1)])
def test_a_run_ends_with_the_space(name: str, explore: int) -> None:
    space = SPACES[name]
    bench: Evaluator
    if isinstance(space, Subset):
        bench = AdditiveBench(SPACES["nasbench201"], support=np.concatenate(list(space.enumerate())))
    else:
        bench = AdditiveBench(space)
    result = search(
        bench, metric="score", method="crlso", budget=200, settings=SMALL | {"explore": explore, "round": 5}
    )
    assert result.exhausted
    assert len(result.trials) == classes(space)
    codes = np.stack([space.parse(trial.arch) for trial in result.trials])
    assert space.is_valid(codes).all()
    assert len(np.unique(space.class_keys(codes))) == len(codes)
    assert result.best is not None
    assert result.best.value == pytest.approx(worth(codes, additive(space)).max())


def test_failed_evaluations_are_borne() -> None:
    bench = AdditiveBench(SPACES["nasbench201"], fails=0.4)
    result = search(bench, metric="score", method="crlso", budget=25, settings=SMALL)
    values = np.array([trial.value for trial in result.trials])
    assert len(values) == 25
    assert 3 < np.isnan(values).sum() < 20
    assert result.best is not None
    assert result.best.value == np.nanmax(values)


@pytest.mark.parametrize("target", ["rank", "raw"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_failures_among_the_labels(target: str, share: float) -> None:
    space = SPACES["nasbench201"]
    method = small(space, target=target)
    codes = space.sample(8, np.random.default_rng(0))
    values = worth(codes, additive(space))
    values[: int(8 * share)] = math.nan
    method.tell(codes, values[:, None])
    for _ in range(7):
        proposal = method.ask(1)
        assert space.is_valid(proposal).all()
        method.tell(proposal, np.array([[math.nan]]))
    weights = method.state_dict()["model"].values()
    assert all(torch.isfinite(value).all() for value in weights)


def test_scale_and_shift_of_the_values_do_not_matter() -> None:
    """Rank targets: any monotone change of the values leaves the search as it is."""
    space = SPACES["nasbench201"]
    table = additive(space)
    plain = run(small(space), space, 16, value=lambda n, codes: worth(codes, table)[:, None])
    bent = run(small(space), space, 16, value=lambda n, codes: 5 + 1e3 * np.exp(worth(codes, table))[:, None])
    np.testing.assert_array_equal(plain, bent)


def test_values_matter() -> None:
    space = SPACES["nasbench201"]
    table = additive(space)
    up = run(small(space), space, 16, value=lambda n, codes: worth(codes, table)[:, None])
    down = run(small(space), space, 16, value=lambda n, codes: -worth(codes, table)[:, None])
    np.testing.assert_array_equal(up[:4], down[:4])
    assert not np.array_equal(up, down)


def test_beats_random_search_on_a_large_space() -> None:
    space = EdgeCellSpace(
        "five", nodes=5, operations=["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"]
    )
    assert space.size == 4**10
    settings = {
        "initial": 10,
        "round": 5,
        "explore": 0,
        "pretrain_steps": 40,
        "round_steps": 20,
        "unlabelled": 32,
        "heads": 4,
        "starts": 8,
        "descent_steps": 20,
        "beam": 8,
        "latent_dim": 12,
        "width": 32,
        "head_width": 16,
        "head_rank": 4,
        "learning_rate": 5e-3,
    }
    gains = []
    for seed in range(5):
        table = additive(space, 100 + seed)
        best = []
        for name in ("crlso", "random"):
            method = make_method(name, space, seed=seed, settings=settings if name == "crlso" else None)
            trials = run(method, space, 50, value=lambda n, codes, t=table: worth(codes, t)[:, None])
            best.append(worth(trials, table).max())
        gains.append((best[0] - best[1]) / np.sqrt(table.var(axis=1).sum()))
    # In standard deviations of a random architecture's value.
    assert np.mean(gains) > 0.3, gains
    assert sum(gain > 0 for gain in gains) >= 4, gains


def test_diagnostics_show_the_space_and_the_path() -> None:
    space = SPACES["nasbench201"]
    method = small(space)
    assert dict(method.diagnostics()) == {}
    follow(method, space, 10)
    before = dump_state(method.state_dict())
    arrays = method.diagnostics()
    points = len(arrays["space_codes"])
    assert space.is_valid(arrays["space_codes"]).all()
    assert arrays["space_latent"].shape == (points, 2)
    assert arrays["space_predicted"].shape == (points,)
    assert arrays["trial_latent"].shape == (10, 2)
    rounds = {len(values) for name, values in arrays.items() if name.startswith("curve/")}
    assert rounds == {2}
    assert all(np.isfinite(values).all() for values in arrays.values())
    # Looking changes nothing.
    assert dump_state(method.state_dict()) == before
    # Where a trial is on the map, it is drawn at the same place.
    told = method.state_dict()["rounds"]["seen"]["codes"]
    places = {
        tuple(code): place
        for code, place in zip(arrays["space_codes"].tolist(), arrays["space_latent"], strict=True)
    }
    shared = [i for i, code in enumerate(told.tolist()) if tuple(code) in places]
    for i in shared:
        np.testing.assert_allclose(arrays["trial_latent"][i], places[tuple(told[i].tolist())], atol=1e-4)


def test_begins_where_another_task_is_best() -> None:
    """Told the same task before: no random architecture, the first round is far better than random ones."""
    space = SPACES["nasbench201"]
    table = ALIKE
    codes = space.sample(60, np.random.default_rng(0))
    method = make_method("crlso", space, seed=0, settings={"pretrain_steps": 60})
    assert isinstance(method, CRLSO)
    method.warm_start(codes, worth(codes, table))
    first = np.array(follow(method, space, 5, table))
    everything = worth(np.concatenate(list(space.enumerate())), table)
    assert np.median(worth(first, table)) > np.quantile(everything, 0.95)
    # With labels of its own it goes on.
    assert space.is_valid(np.array(follow(method, space, 6, table))).all()


def test_training_that_diverges_is_one_line() -> None:
    space = SPACES["nasbench201"]
    method = make_method("crlso", space, seed=0, settings={"learning_rate": 1e30, "pretrain_steps": 5})
    with pytest.raises(UserError, match=r"training diverged: learning_rate=1e\+30, .* take smaller ones$"):
        follow(method, space, 8)
