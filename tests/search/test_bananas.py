"""BANANAS: the batched ensemble against networks trained one by one, its candidates, its draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crlso.errors import UserError
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search import make_method
from crlso.search.bananas import Bananas, BananasSettings, _Ensemble
from crlso.search.testing import objective, run
from crlso.spaces import Subset, get_space


@pytest.fixture
def space() -> SearchSpace:
    return get_space("nasbench201")


def built(space: SearchSpace, **settings: Any) -> Bananas:
    method = make_method("bananas", space, seed=0, settings=settings)
    assert isinstance(method, Bananas)
    return method


def alone(ensemble: _Ensemble, member: int) -> nn.Sequential:
    """One network of an ensemble of two hidden layers, as torch writes it."""
    layers: list[nn.Module] = []
    for matrix, bias in zip(ensemble._matrices, ensemble._biases, strict=True):
        linear = nn.Linear(matrix.shape[1], matrix.shape[2])
        with torch.no_grad():
            linear.weight.copy_(matrix[member].T)
            linear.bias.copy_(bias[member, 0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_members_are_trained_as_if_alone() -> None:
    settings = BananasSettings(steps=12, learning_rate=0.02, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    features, targets = torch.rand(20, 7, generator=generator), torch.rand(20, generator=generator)
    ensemble = _Ensemble([7, 6, 5, 1], 3, seed=1)
    networks = [alone(ensemble, member) for member in range(3)]
    error = ensemble.fit(features, targets, settings)
    errors = []
    for network in networks:
        named = list(network.named_parameters())
        groups = [
            {"params": [p for name, p in named if name.endswith("weight")], "weight_decay": 0.1},
            {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=0.02)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
        for _ in range(12):
            loss = nn.functional.l1_loss(network(features)[:, 0], targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        errors.append(float(loss.detach()))
    with torch.no_grad():
        expected = torch.stack([network(features)[:, 0] for network in networks])
        torch.testing.assert_close(ensemble(features), expected, atol=1e-5, rtol=1e-4)
    assert error == pytest.approx(np.mean(errors), rel=1e-4)


def test_members_start_apart() -> None:
    ensemble = _Ensemble([200, 300, 1], 2, seed=0)
    assert not torch.equal(ensemble._matrices[0][0], ensemble._matrices[0][1])
    assert float(ensemble._matrices[0].detach().std()) == pytest.approx(0.1, rel=0.02)


def test_candidates_are_unasked_mutants_of_the_best(space: SearchSpace) -> None:
    method = built(space, parents=2, edits=2, mutants=400)
    codes = np.unique(space.sample(30, np.random.default_rng(0)), axis=0)
    values = objective(space, codes)
    method.tell(codes, values)
    candidates = method._candidates()
    parents = codes[np.argsort(-values[:, 0])[:2]]
    distance = (candidates[:, None] != parents).sum(axis=2).min(axis=1)
    assert set(distance.tolist()) == {1, 2}
    keys = space.class_keys(candidates)
    assert len(np.unique(keys)) == len(keys)
    assert not np.isin(keys, space.class_keys(codes)).any()


def test_proposes_the_highest_draws(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the ensemble agrees the best means are proposed, where it does not anything may be."""
    codes = space.sample(30, np.random.default_rng(0))

    def proposed(spread: float) -> tuple[list[float], list[float]]:
        method = built(space, round=3)
        method.tell(codes, objective(space, codes))
        seen: list[float] = []

        def predict(candidates: Codes) -> tuple[FloatArray, FloatArray]:
            mean = objective(space, candidates)[:, 0]
            seen.extend(mean.tolist())
            return mean, np.full(len(mean), spread)

        monkeypatch.setattr(method, "_predict", predict)
        return objective(space, method.ask(3))[:, 0].tolist(), sorted(seen, reverse=True)[:3]

    certain, best = proposed(0.0)
    assert certain == best
    unsure, best = proposed(100.0)
    assert unsure != best


def test_fits_what_it_was_told(space: SearchSpace) -> None:
    method = built(space)
    codes = space.sample(60, np.random.default_rng(0))
    method.tell(codes, objective(space, space.canonical(codes)))
    others = space.canonical(space.sample(300, np.random.default_rng(1)))
    mean, spread = method._predict(others)
    assert np.corrcoef(mean, objective(space, others)[:, 0])[0, 1] > 0.7
    assert (spread > 0).all()


def test_finds_a_smooth_optimum(space: SearchSpace) -> None:
    def value(number: int, codes: Codes) -> FloatArray:
        return objective(space, space.canonical(codes))

    everything = np.unique(space.canonical(np.concatenate(list(space.enumerate()))), axis=0)
    best = value(0, run(built(space, steps=40), space, 50, value=value)).max()
    # 50 random ones reach the best thousandth once in twenty times.
    assert (objective(space, everything) > best).mean() < 1e-3


def test_draws_at_random_where_nothing_is_left_around_the_best(space: SearchSpace) -> None:
    members = np.unique(space.sample(12, np.random.default_rng(0)), axis=0)
    subset = Subset(space, members)
    method = built(subset, steps=1)
    method.tell(members, objective(space, members))
    assert subset.is_valid(method.ask(5)).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("initial", 1), ("round", 0), ("ensemble", 0), ("steps", -1), ("learning_rate", 0.0), ("edits", 0)],
)
def test_refuses_settings_without_sense(space: SearchSpace, name: str, value: float) -> None:
    with pytest.raises(UserError, match=name):
        built(space, **{name: value})
