"""Ridge search: its regression against scikit-learn on explicit features, and what it proposes."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from crlso.errors import UserError
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search import make_method
from crlso.search.observations import OneHot
from crlso.search.ridge import Ridge, fit_ridge
from crlso.search.testing import objective, run
from crlso.spaces import get_space

SHARES, PENALTIES = (0.0, 0.4, 1.0), (0.01, 0.1, 1.0)


@pytest.fixture
def space() -> SearchSpace:
    return get_space("nasbench201")


def explicit(codes: Codes, share: float) -> FloatArray:
    """One-hot entries and one-hot pairs of entries, of squared lengths ``1 - share`` and ``share``."""
    columns = [(codes[:, i] == value).astype(float) for i in range(6) for value in range(5)]
    pairs = [
        ((codes[:, i] == first) & (codes[:, j] == second)).astype(float)
        for i, j in combinations(range(6), 2)
        for first in range(5)
        for second in range(5)
    ]
    single, double = np.array(columns).T, np.array(pairs).T
    return np.concatenate([single * ((1 - share) / 6) ** 0.5, double * (share / 15) ** 0.5], axis=1)


def test_regression_is_scikit_learns(space: SearchSpace) -> None:
    """The kernel is that of the features, the leave-one-out error that of as many fits."""
    rng = np.random.default_rng(0)
    codes, others = space.sample(30, rng), space.sample(50, rng)
    targets = rng.standard_normal(30) + (codes == 2).sum(axis=1) + 5.0
    equal = (codes[:, None] == codes).sum(axis=2).astype(float)
    equal_others = (others[:, None] == codes).sum(axis=2).astype(float)
    errors = {}
    for share in SHARES:
        for penalty in PENALTIES:
            reference = Reference(alpha=penalty)
            features = explicit(codes, share)
            left_out = cross_val_predict(reference, features, targets, cv=LeaveOneOut())
            errors[share, penalty] = float(np.mean((left_out - targets) ** 2))
            fit = fit_ridge(equal, targets, 6, shares=(share,), penalties=(penalty,))
            assert fit.error == pytest.approx(errors[share, penalty])
            predicted = reference.fit(features, targets).predict(explicit(others, share))
            np.testing.assert_allclose(fit.predict(equal_others, 6), predicted)
    best = fit_ridge(equal, targets, 6, shares=SHARES, penalties=PENALTIES)
    assert (best.share, best.penalty) == min(errors, key=lambda pair: errors[pair])


def test_pairs_are_taken_where_they_matter(space: SearchSpace) -> None:
    codes = space.sample(120, np.random.default_rng(0))
    equal = (codes[:, None] == codes).sum(axis=2).astype(float)
    additive = (codes == np.arange(6) % 5).sum(axis=1).astype(float)
    interaction = ((codes[:, 0] > 1) ^ (codes[:, 5] > 1)).astype(float)
    assert fit_ridge(equal, additive, 6, shares=SHARES).share == 0
    assert fit_ridge(equal, interaction, 6, shares=SHARES).share > 0


def test_one_position() -> None:
    """There are no pairs of a single entry."""
    equal = np.eye(4)
    fits = [fit_ridge(equal, np.arange(4.0), 1, shares=(share,)) for share in (0.0, 1.0)]
    assert np.isfinite(fits[0].error)
    np.testing.assert_array_equal(fits[0].predict(equal, 1), fits[1].predict(equal, 1))


def test_equal_networks_have_equal_features(space: SearchSpace) -> None:
    codes = space.sample(2000, np.random.default_rng(0))
    features = OneHot(space)(codes)
    classes = len(np.unique(space.class_keys(codes)))
    assert len(np.unique(features, axis=0)) == classes < len(np.unique(codes, axis=0))
    assert (features.sum(axis=1) == 6).all()
    np.testing.assert_array_equal(features, OneHot(space)(space.canonical(codes)))


def test_features_of_a_large_space_are_its_codes() -> None:
    space = get_space("darts")
    codes = space.sample(50, np.random.default_rng(0))
    offsets = np.cumsum([0, *space.cardinalities[:-1]])
    expected = np.zeros((50, sum(space.cardinalities)))
    for row, code in enumerate(codes):
        expected[row, offsets + code] = 1
    np.testing.assert_array_equal(OneHot(space)(codes), expected)


def test_proposes_the_best_prediction(space: SearchSpace) -> None:
    """What comes after the initial ones is the maximum over all unasked classes."""
    method = make_method("ridge", space, seed=0, settings={"round": 1, "explore": 0})
    codes = space.canonical(space.sample(40, np.random.default_rng(0)))
    method.tell(codes, objective(space, codes))
    (proposal,) = method.ask(1)
    assert isinstance(method, Ridge)
    share, penalty = (float(method.diagnostics()[f"curve/{name}"][-1]) for name in ("pairs", "penalty"))
    reference = Reference(alpha=penalty).fit(explicit(codes, share), method._rounds.seen.targets())
    everything = np.unique(space.canonical(np.concatenate(list(space.enumerate()))), axis=0)
    everything = everything[~np.isin(space.class_keys(everything), space.class_keys(codes))]
    predicted = reference.predict(explicit(everything, share))
    assert reference.predict(explicit(proposal[None], share))[0] == pytest.approx(predicted.max())


def test_explores_by_its_share(space: SearchSpace) -> None:
    """A round of random ones alone is random search."""
    told = space.sample(10, np.random.default_rng(0))
    greedy, mixed = (
        make_method("ridge", space, seed=0, settings={"round": 4, "explore": explore}) for explore in (0, 3)
    )
    for method in (greedy, mixed):
        method.tell(told, objective(space, told))
    first, second = greedy.ask(4), mixed.ask(4)
    assert len(first) == len(second) == 4
    assert first[0].tolist() == second[0].tolist()
    assert not np.array_equal(first[1:], second[1:])


def test_finds_an_additive_optimum(space: SearchSpace) -> None:
    """The value of a network is that of its representative, so that equal networks are worth the same."""
    best = objective(space, space.canonical(np.concatenate(list(space.enumerate())))).max()
    for seed in range(3):
        proposed = run(
            make_method("ridge", space, seed=seed),
            space,
            45,
            value=lambda number, codes: objective(space, space.canonical(codes)),
        )
        assert objective(space, space.canonical(proposed)).max() == best


def test_climbs_in_a_large_space() -> None:
    space = get_space("fxdarts")
    method = make_method("ridge", space, seed=0, settings={"round": 3, "explore": 0, "starts": 1})
    told = space.sample(30, np.random.default_rng(0))
    method.tell(told, told.sum(axis=1).astype(float)[:, None])
    proposed = method.ask(3)
    assert space.is_valid(proposed).all()
    assert proposed.sum(axis=1).min() > np.quantile(told.sum(axis=1), 0.9)


def test_works_without_torch() -> None:
    """Methods that need no network do not load torch."""
    program = (
        "import sys; from crlso.search import make_method; from crlso.spaces import get_space; "
        "[make_method(name, get_space('nasbench201'), seed=0).ask(1) for name in ('ridge', 'reinforce')]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("initial", 1), ("round", 0), ("explore", 6), ("pairs", ""), ("pairs", "0.5,1.5"), ("starts", 0)],
)
def test_refuses_settings_without_sense(space: SearchSpace, name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        make_method("ridge", space, seed=0, settings={name: value})
