"""REINFORCE against torch: autograd, its distributions, its Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Categorical

from crlso.errors import UserError
from crlso.protocols import SearchSpace
from crlso.search import make_method
from crlso.search.reinforce import Reinforce
from crlso.search.testing import objective
from crlso.spaces import ChoiceChain, get_space

VALUES = (3.0, 9.0, -1.0, 4.0, float("nan"), 12.0, 5.0)


@pytest.fixture
def uneven() -> SearchSpace:
    """Positions of two, four and three choices."""
    return ChoiceChain("uneven", [("a", "b"), ("c", "d", "e", "f"), ("g", "h", "i")])


def built(space: SearchSpace, **settings: Any) -> Reinforce:
    method = make_method("reinforce", space, seed=0, settings=settings)
    assert isinstance(method, Reinforce)
    return method


def test_steps_are_torchs(uneven: SearchSpace) -> None:
    """Autograd's gradient of log-probability and entropy, torch's Adam, the baseline by hand."""
    method = built(uneven, learning_rate=0.2, entropy=0.3, momentum=0.8)
    codes = uneven.sample(len(VALUES), np.random.default_rng(0))
    method.tell(codes, np.array(VALUES)[:, None])
    logits = [torch.zeros(c, dtype=torch.float64, requires_grad=True) for c in uneven.cardinalities]
    optimizer = torch.optim.Adam(logits, lr=0.2)
    baseline, variance = VALUES[0], 0.0
    for code, value in zip(codes.tolist(), VALUES, strict=True):
        reward = -1.0 if np.isnan(value) else value  # the worst before it
        away = reward - baseline
        variance = 0.8 * variance + 0.2 * away**2
        baseline = 0.8 * baseline + 0.2 * reward
        advantage = away / variance**0.5 if variance else 0.0
        policies = [Categorical(logits=position) for position in logits]
        gains = [
            advantage * policy.log_prob(torch.tensor(entry)) + 0.3 * policy.entropy()
            for policy, entry in zip(policies, code, strict=True)
        ]
        optimizer.zero_grad()
        (-torch.stack(gains).sum()).backward()
        optimizer.step()
    probabilities = method.probabilities()
    for row, position in zip(probabilities, logits, strict=True):
        expected = position.detach().softmax(dim=0).numpy()
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-9)
        assert (row[len(expected) :] == 0).all()
    entropy = np.mean([float(Categorical(logits=position.detach()).entropy()) for position in logits])
    assert method.diagnostics()["curve/entropy"][-1] == pytest.approx(entropy)


def test_samples_follow_the_policy(uneven: SearchSpace) -> None:
    method = built(uneven, learning_rate=0.3)
    codes = uneven.sample(8, np.random.default_rng(1))
    method.tell(codes, np.arange(8.0)[:, None])
    drawn = method.ask(20_000)
    for position, (row, count) in enumerate(zip(method.probabilities(), uneven.cardinalities, strict=True)):
        observed = np.bincount(drawn[:, position], minlength=count)
        assert stats.chisquare(observed, row[:count] * len(drawn)).pvalue > 1e-3
    assert not np.allclose(method.probabilities()[1], 0.25, atol=0.05)


def test_scale_of_the_values_has_no_effect(uneven: SearchSpace) -> None:
    codes = uneven.sample(8, np.random.default_rng(1))
    values = np.random.default_rng(0).standard_normal((8, 1))
    first, second = built(uneven), built(uneven)
    first.tell(codes, values)
    second.tell(codes, 1000 * values - 77)
    np.testing.assert_allclose(first.probabilities(), second.probabilities(), atol=1e-9)


def test_settles_on_what_is_best() -> None:
    space = get_space("nasbench201")
    method = built(space, learning_rate=0.1)
    for _ in range(400):
        codes = method.ask(1)
        method.tell(codes, objective(space, codes))
    assert method.probabilities().max(axis=1).min() > 0.6
    start, end = (
        objective(space, space.sample(200, np.random.default_rng(0))),
        objective(space, method.ask(200)),
    )
    assert end.mean() > start.max() - 3


def test_failures_before_any_value_teach_nothing(uneven: SearchSpace) -> None:
    method = built(uneven)
    method.tell(uneven.sample(3, np.random.default_rng(0)), np.full((3, 1), np.nan))
    np.testing.assert_allclose(method.probabilities()[1], 0.25)
    assert method.diagnostics() == {}


def test_samples_are_repaired() -> None:
    space = get_space("fxdarts")
    assert space.is_valid(built(space).ask(20)).all()


@pytest.mark.parametrize(("name", "value"), [("learning_rate", 0.0), ("momentum", 1.0), ("entropy", -0.1)])
def test_refuses_settings_without_sense(uneven: SearchSpace, name: str, value: float) -> None:
    with pytest.raises(UserError, match=name):
        built(uneven, **{name: value})
