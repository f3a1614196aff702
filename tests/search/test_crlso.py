"""CR-LSO: what it proposes, that it goes on bit for bit, ends with the space, and beats random search."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from crlso.errors import UnknownNameError, UserError
from crlso.latent.gaussian_process import NOISES
from crlso.latent.model import LatentModel
from crlso.latent.quadratics import QuadraticPosterior
from crlso.protocols import Codes, Evaluator, FloatArray, Goal, Metric, SearchMethod, SearchSpace
from crlso.runs import search
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.search import make_method
from crlso.search.crlso import CRLSO, CRLSOSettings
from crlso.search.crlso_settings import SHARES
from crlso.search.observations import Representatives
from crlso.search.testing import run
from crlso.spaces import EdgeCellSpace, Subset, get_space
from crlso.targets import rank_loss

SMALL: dict[str, Any] = {
    "initial": 4,
    "round": 3,
    "explore": 0,
    "pretrain_steps": 4,
    "landmarks": 20,
    "round_steps": 3,
    "unlabelled": 8,
    "heads": 3,
    "starts": 4,
    "descent_steps": 4,
    "beam": 4,
    "latent_dim": 6,
    "width": 10,
    "head_width": 5,
    "head_rank": 2,
}


def small(space: SearchSpace, *, seed: int = 0, **settings: Any) -> SearchMethod:
    return make_method("crlso", space, seed=seed, settings=SMALL | settings)


def additive(space: SearchSpace, seed: int = 0) -> FloatArray:
    """``[d, c]``: what each value of each entry is worth."""
    shape = (len(space.cardinalities), max(space.cardinalities))
    return np.random.default_rng([seed, 7]).standard_normal(shape)


def worth(codes: Codes, table: FloatArray) -> FloatArray:
    values: FloatArray = table[np.arange(codes.shape[1]), codes].sum(axis=1)
    return values


ALIKE: FloatArray = np.tile(np.array([0.0, 1.0, -2.0, 3.0, 0.5]), (6, 1))
"""For NAS-Bench-201: every operation has a worth of its own, wherever it stands."""


def follow(
    method: SearchMethod, space: SearchSpace, number: int, table: FloatArray | None = None
) -> list[tuple[int, ...]]:
    """Asks and tells, without a run loop that drops anything."""
    table = additive(space) if table is None else table
    asked = []
    for _ in range(number):
        codes = method.ask(1)
        method.tell(codes, worth(codes, table)[:, None])
        asked.append(tuple(codes[0].tolist()))
    return asked


def members(n: int = 40) -> Subset:
    space = get_space("nasbench201")
    return Subset(space, np.unique(space.sample(n, np.random.default_rng(0)), axis=0))


SPACES: dict[str, SearchSpace] = {
    "nasbench201": get_space("nasbench201"),
    "nasbench101": get_space("nasbench101"),
    "fxdarts": get_space("fxdarts"),
    "toy64": get_space("toy64"),
    "subset": members(),
    "declared": EdgeCellSpace("declared", nodes=4, operations=["none", "skip_connect", "conv"]),
}


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


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "icnn", "round_steps": 150, "pretrain_steps": 0, "label_noise": 0.0, "noise": 0.0},
        {"head": "quadratic", "round_steps": 0, "pretrain_steps": 150, "latent_dim": 24, "unlabelled": 64},
        {"head": "linear", "round_steps": 0, "pretrain_steps": 150, "latent_dim": 24, "unlabelled": 64},
        {"target": "raw", "round_steps": 0, "pretrain_steps": 150, "latent_dim": 24, "unlabelled": 64},
    ],
)
def test_predictions_follow_the_values(settings: dict[str, Any]) -> None:
    """``space_predicted`` is a score: larger is better."""
    space = SPACES["nasbench201"]
    table = additive(space)
    method = small(space, learning_rate=1e-2, **settings)
    codes = space.sample(60, np.random.default_rng(3))
    method.tell(codes, worth(space.canonical(codes), table)[:, None])
    method.ask(1)
    arrays = method.diagnostics()
    truth = worth(space.canonical(arrays["space_codes"]), table)
    assert np.corrcoef(arrays["space_predicted"], truth)[0, 1] > 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"initial": 1}, "initial must be 2 or more"),
        ({"round": 0}, "round must be 1 or more"),
        ({"round": 2, "explore": 3}, "explore must lie between 0 and round"),
        ({"heads": 0}, "heads must be 1 or more"),
        ({"starts": 0}, "starts must be 1 or more"),
        ({"beam": 0}, "beam must be 1 or more"),
        ({"head": "icnn", "round_steps": 0}, "round_steps must be 1 or more"),
        ({"round_steps": -1}, "round_steps must be 0 or more"),
        ({"similarity": -1.0}, "similarity must be 0 or more"),
        ({"head": "network", "round_steps": 0}, "round_steps must be 1 or more"),
        ({"head": "convexe"}, "quadratic"),
        ({"joint": "off"}, "joint=off leaves head=quadratic nothing to learn in a round; set round_steps=0"),
        ({"descent": "up"}, "on, off, ascent"),
        ({"decode": "far"}, "beam, nearest, line"),
        ({"acquisition": "ei"}, "sample, mean, bound, improvement"),
        ({"acquisition": "mean", "head": "convex"}, "acquisition=mean is for head=quadratic or linear"),
        ({"acquisition": "bound", "head": "icnn"}, "acquisition=bound is for head=quadratic or linear"),
        ({"unlabelled": 0}, "unlabelled must be 1 or more"),
        ({"pretrain_steps": -1}, "pretrain_steps must be 0 or more"),
        ({"descent_steps": -1}, "descent_steps must be 0 or more"),
        ({"quantile": 0.0}, "quantile must lie in"),
        ({"quantile": 1.5}, "quantile must lie in"),
        ({"latent_dim": 0}, "latent_dim must be 1 or more"),
        ({"head_rank": -1}, "head_rank must be 0 or more"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"beta": -1.0}, "beta"),
        ({"label_noise": -1.0}, "label_noise must be 0 or more"),
        ({"target": "rnk"}, "rank, raw, logit"),
        ({"depth": 3}, "unknown setting of crlso 'depth'"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        small(SPACES["toy64"], **wrong)
    assert "\n" not in str(caught.value)
    if "depth" in wrong:
        assert isinstance(caught.value, UnknownNameError)


@pytest.mark.parametrize(
    "edge",
    [
        {"starts": 1},
        {"beam": 1},
        {"heads": 1},
        {"head_rank": 0},
        {"descent_steps": 0},
        {"pretrain_steps": 0},
        {"quantile": 1.0},
        {"beta": 0.0},
        {"noise": 0.0},
        {"initial": 2},
        {"explore": 3},
        {"head_layers": 3},
    ],
    ids=str,
)
def test_the_ends_of_the_settings_work(edge: dict[str, Any]) -> None:
    space = SPACES["toy64"]
    method = small(space, **edge)
    for _ in range(9):
        codes = method.ask(1)
        assert space.is_valid(codes).all()
        method.tell(codes, worth(codes, additive(space))[:, None])


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


@pytest.mark.parametrize("head", ["icnn", "network"])
def test_networks_take_no_warm_start(head: Literal["icnn", "network"]) -> None:
    space = SPACES["nasbench201"]
    method = CRLSO(space, seed=0, settings=CRLSOSettings(head=head, round_steps=1))
    message = f"head={head} takes no warm start; heads that do: quadratic, linear, convex"
    with pytest.raises(UserError, match=message):
        method.warm_start(space.sample(2, np.random.default_rng(0)), np.zeros(2))


PLAIN: dict[str, Any] = {"round_steps": 0, "edits": 0, "pretrain_steps": 80, "pool": False}
"""Of a head that is no network, on the latent space as pre-trained; all has to be decoded."""


def test_expected_improvement_proposes_where_it_is_largest() -> None:
    """Of all 5,260 networks, by the formula and a posterior fitted outside of the search."""
    space = SPACES["nasbench201"]
    method = make_method(
        "crlso",
        space,
        seed=0,
        settings=SMALL | PLAIN | {"pool": True, "landmarks": 5000, "round": 1, "acquisition": "improvement"},
    )
    assert isinstance(method, CRLSO)
    asked = np.array(follow(method, space, 9))
    proposed = method.ask(1)
    model, table = method._model, additive(space)
    everything = Representatives(space)(np.concatenate(list(space.enumerate())))
    known, targets = model.encode(Representatives(space)(asked)), rank_loss(worth(asked, table))
    posterior = QuadraticPosterior(known, targets, shares=SHARES["quadratic"], noises=NOISES)
    mean, deviation = posterior.predict(model.encode(everything))
    z = (targets.min() - mean) / deviation
    gain = deviation * (z * stats.norm.cdf(z) + stats.norm.pdf(z))
    gain[np.isin(space.class_keys(everything), space.class_keys(asked))] = -1.0
    place = np.flatnonzero(space.class_keys(everything) == space.class_keys(proposed))[0]
    assert gain[place] == pytest.approx(gain.max(), rel=1e-6)


def test_training_that_diverges_is_one_line() -> None:
    space = SPACES["nasbench201"]
    method = make_method("crlso", space, seed=0, settings={"learning_rate": 1e30, "pretrain_steps": 5})
    with pytest.raises(UserError, match=r"training diverged: learning_rate=1e\+30, .* take smaller ones$"):
        follow(method, space, 8)


@pytest.mark.parametrize(
    ("base", "arm"),
    [
        (PLAIN, {"head": "convex"}),
        (PLAIN, {"descent": "off"}),
        (PLAIN, {"descent": "ascent"}),
        (PLAIN, {"decode": "line"}),
        (PLAIN, {"decode": "nearest"}),
        (PLAIN, {"target": "raw"}),
        (PLAIN, {"target": "logit"}),
        (PLAIN, {"pool": True, "landmarks": 5000}),
        (PLAIN, {"acquisition": "mean"}),
        (PLAIN, {"acquisition": "bound"}),
        (PLAIN, {"acquisition": "improvement"}),
        (PLAIN, {"round_steps": 3}),
        ({"head": "icnn"}, {"head": "network"}),
        ({"head": "icnn"}, {"joint": False}),
        ({"head": "icnn"}, {"descent": "off"}),
        ({"head": "icnn"}, {"descent": "ascent"}),
        ({"head": "icnn"}, {"decode": "line"}),
        ({"head": "icnn"}, {"decode": "nearest"}),
    ],
    ids=str,
)
def test_every_arm_is_a_search_of_its_own(base: dict[str, Any], arm: dict[str, Any]) -> None:
    """Other proposals than without it after an equal beginning; goes on bit for bit."""
    space = SPACES["nasbench201"]
    table = additive(space)

    def percent(_: int, codes: Codes) -> FloatArray:
        return (100 / (1 + np.exp(-worth(codes, table))))[:, None]

    without, method = small(space, **base), small(space, **(base | arm))
    trials = run(method, space, 19, value=percent)
    other = run(without, space, 19, value=percent)
    assert space.is_valid(trials).all()
    np.testing.assert_array_equal(trials[:4], other[:4])
    assert not np.array_equal(trials, other)
    resumed = small(space, seed=99, **(base | arm))
    resumed.load_state_dict(parse_state(io.BytesIO(dump_state(method.state_dict()))))
    np.testing.assert_array_equal(resumed.ask(3), method.ask(3))


@pytest.fixture(scope="module", params=["posterior", "icnn", "network"])
def pretrained(request: pytest.FixtureRequest) -> tuple[list[str], dict[str, Any], list[Mapping[str, Any]]]:
    """Heads that share models, settings, and the states of four searches that were told 60 architectures."""
    space = SPACES["nasbench201"]
    head = "quadratic" if request.param == "posterior" else request.param
    settings = {
        "round_steps": 0 if head == "quadratic" else 60,
        "pretrain_steps": 250,
        "unlabelled": 32,
        "latent_dim": 24,
        "width": 32,
        "learning_rate": 1e-2,
        "label_noise": 0.0,
        "descent_steps": 20,
        "decode": "nearest",
    }
    states = []
    for seed in range(4):
        method = small(space, head=head, explore=0, **settings)
        codes = space.sample(60, np.random.default_rng(seed))
        method.tell(codes, worth(codes, ALIKE)[:, None])
        method.ask(3)
        states.append(method.state_dict())
    return ["quadratic", "linear", "convex"] if head == "quadratic" else [head], settings, states


def test_what_is_decoded_is_better_down_than_up(
    pretrained: tuple[list[str], dict[str, Any], list[Mapping[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the ends alone; without a move it lies between.

    On average over searches, from one random start: other starts are the best that a head was fitted to.
    """
    heads, settings, states = pretrained
    worths: list[float] = []
    decode = LatentModel.decode_beam

    def spy(model: LatentModel, z: torch.Tensor, beam: int) -> Codes:
        codes = decode(model, z, beam)
        worths.append(float(worth(codes.reshape(-1, codes.shape[-1]), ALIKE).mean()))
        return codes

    monkeypatch.setattr(LatentModel, "decode_beam", spy)
    for head in heads:
        means = []
        for descent in ("on", "off", "ascent"):
            worths.clear()
            for state in states:
                method = small(
                    SPACES["nasbench201"], head=head, descent=descent, **(settings | {"starts": 1})
                )
                method.load_state_dict(state)
                method.ask(3)
            assert len(worths) == len(states)
            means.append(np.mean(worths))
        down, still, up = means
        assert down > still + 1 > up + 2, (head, means)


@pytest.mark.parametrize(
    ("settings", "points", "width"),
    [
        ({"head": "convex"}, 3 * (1 + 4 * 4), 4),
        ({}, 3 * (1 + 4 * 4), 4),
        ({"decode": "line"}, 3 * (1 + 4 * 4), 1),
        ({"decode": "nearest"}, 3, 1),
        ({"descent": "off"}, 4, 4),
        ({"head": "icnn"}, 3 * 4, 4),
        ({"head": "network", "decode": "nearest"}, 3 * 4, 1),
        ({"head": "icnn", "decode": "line"}, 4 * 3 * 4, 1),
        ({"head": "icnn", "descent": "off"}, 4, 4),
    ],
    ids=str,
)
def test_where_and_how_architectures_are_decoded(
    settings: dict[str, Any], points: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three functions a round or three networks, four starts, beams of four codes."""
    asked = []
    decode = LatentModel.decode_beam

    def spy(model: LatentModel, z: torch.Tensor, beam: int) -> Codes:
        asked.append((z, beam))
        return decode(model, z, beam)

    monkeypatch.setattr(LatentModel, "decode_beam", spy)
    space = SPACES["nasbench201"]
    method = small(space, **settings)
    follow(method, space, 7)
    ((z, beam),) = asked
    assert (len(z), beam) == (points, width)


@pytest.mark.parametrize("head", ["icnn", "network"])
@pytest.mark.parametrize("joint", [True, False])
def test_without_joint_training_the_latent_space_stays_as_pretrained(head: str, joint: bool) -> None:
    space = SPACES["nasbench201"]
    method = small(space, head=head, joint=joint)
    untrained = small(space, head=head, joint=joint, pretrain_steps=4, explore=0)
    follow(method, space, 10)
    # Told a single round less: pre-trained, and trained once.
    follow(untrained, space, 5)
    after, before = (some.state_dict()["model"] for some in (method, untrained))
    for name, value in after.items():
        part = name.split(".")[0]
        assert torch.equal(value, before[name]) == (part != "heads" and not joint), name


@pytest.mark.parametrize("head", ["quadratic", "convex", "icnn", "network"])
def test_a_certificate_in_every_round_of_convex_functions(head: str) -> None:
    space = SPACES["nasbench201"]
    method = small(space, head=head)
    follow(method, space, 10)
    arrays = method.diagnostics()
    if head == "network":
        assert "curve/certificate_gap" not in arrays
        return
    gaps = arrays["curve/certificate_gap"]
    assert gaps.shape == (2,)
    assert np.isfinite(gaps).all()
    # One architecture in twenty lies outside of the ball, none far.
    assert (gaps > -0.1).all()


def test_logit_targets_are_for_accuracies() -> None:
    space = SPACES["nasbench201"]
    for goal in (Goal(2), Goal(1, 1)):
        with pytest.raises(UserError, match="target=logit is for one objective without constraints"):
            make_method("crlso", space, seed=0, settings={"target": "logit"}, goal=goal)
    method = small(space, target="logit")
    codes = space.sample(4, np.random.default_rng(0))
    method.tell(codes, np.array([[50.0], [101.0], [70.0], [80.0]]))
    with pytest.raises(UserError, match="target=logit takes accuracies in per cent, got 101"):
        method.ask(1)
