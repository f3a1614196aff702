"""What the settings of CR-LSO change: heads, descent, decoding, training, targets, acquisition."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
import torch
from scipy import stats

from crlso.errors import UnknownNameError, UserError
from crlso.latent.gaussian_process import NOISES
from crlso.latent.model import LatentModel
from crlso.latent.quadratics import QuadraticPosterior
from crlso.protocols import Codes, FloatArray, Goal
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.search import make_method
from crlso.search.crlso import CRLSO, CRLSOSettings
from crlso.search.crlso_settings import SHARES
from crlso.search.observations import Representatives
from crlso.search.testing import run
from crlso.targets import rank_loss
from tests.search.small_crlso import ALIKE, SMALL, SPACES, additive, follow, small, worth


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


@pytest.mark.parametrize(
    ("base", "arm"),
    [
        (PLAIN, {"head": "convex"}),
        (PLAIN, {"descent": "off"}),
        (PLAIN, {"descent": "ascent"}),
        (PLAIN, {"decode": "line"}),
        (PLAIN, {"direct": True}),
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
