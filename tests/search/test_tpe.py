"""The method ``tpe`` against Optuna studies that are run by hand."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import numpy as np
import optuna
import pytest

from benchmarks import TableEvaluator
from crlso.errors import UserError
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.runs import search
from crlso.search import make_method
from crlso.search.testing import objective, run
from crlso.search.tpe import TPE
from crlso.spaces import ChoiceChain, get_space

METRIC = "cifar10/valid_accuracy@200"


@pytest.fixture
def space() -> SearchSpace:
    return get_space("nasbench201")


def built(space: SearchSpace, **settings: Any) -> TPE:
    method = make_method("tpe", space, seed=0, settings=settings)
    assert isinstance(method, TPE)
    return method


def study_of(codes: Codes, values: FloatArray, **options: Any) -> optuna.Study:
    """A study in which these codes were trials; the sampler has the first seed of a method of seed 0."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for code, value in zip(codes.tolist(), values[:, 0].tolist(), strict=True):
        study.enqueue_trial({str(position): entry for position, entry in enumerate(code)})
        trial = study.ask()
        for position in range(len(code)):
            trial.suggest_categorical(str(position), range(5))
        study.tell(trial, value)
    study.sampler = optuna.samplers.TPESampler(seed=int(np.random.default_rng(0).integers(2**31)), **options)
    return study


def suggested(study: optuna.Study) -> list[int]:
    trial = study.ask()
    return [trial.suggest_categorical(str(position), range(5)) for position in range(6)]


@pytest.mark.parametrize("multivariate", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_proposes_what_a_study_does(space: SearchSpace, multivariate: bool, seed: int) -> None:
    """The first proposal whose class was not told; those before it are running trials of the study."""
    codes = space.sample(40, np.random.default_rng(seed))
    values = objective(space, codes)
    method = built(space, multivariate=multivariate)
    method.tell(codes, values)
    study = study_of(codes, values, multivariate=multivariate)
    draws = np.array([suggested(study) for _ in range(20)], dtype=np.int16)
    fresh = np.flatnonzero(~np.isin(space.class_keys(draws), space.class_keys(codes)))
    assert method.ask(1).tolist() == [draws[fresh[0]].tolist()]
    assert method.diagnostics()["curve/draws"].tolist() == [fresh[0] + 1]


def test_a_random_architecture_stands_in() -> None:
    """All but one of sixteen architectures are told, and Optuna may be asked once only."""
    space = ChoiceChain("bits", [("a", "b")] * 4)
    codes = np.unique(np.concatenate(list(space.enumerate())), axis=0)
    method = built(space, draws=1, candidates=1)
    method.tell(codes[1:], objective(space, codes[1:]))
    assert method.ask(1).tolist() == codes[:1].tolist()
    assert method.diagnostics()["curve/draws"].tolist() == [2]


def test_failures_count_like_the_worst(space: SearchSpace) -> None:
    codes = space.sample(30, np.random.default_rng(0))
    values = objective(space, codes)
    failed, worst = values.copy(), values.copy()
    failed[::4], worst[::4] = np.nan, np.delete(values, slice(None, None, 4)).min()
    first, second = built(space), built(space)
    first.tell(codes, failed)
    second.tell(codes, worst)
    np.testing.assert_array_equal(first.ask(1), second.ask(1))


def test_proposals_are_repaired() -> None:
    space = get_space("nasbench101")
    codes = space.sample(20, np.random.default_rng(0))
    method = built(space)
    method.tell(codes, objective(space, codes))
    raw = np.stack(
        [code for code, _ in zip(method._proposals(method._rounds.seen, 0), range(40), strict=False)]
    )
    raw = raw.astype(np.int16)
    assert not space.is_valid(raw).all()
    assert space.is_valid(space.repair(raw)).all()
    for _ in range(10):
        assert space.is_valid(method.ask(1)).all()


def test_bears_hundreds_of_entries() -> None:
    space = get_space("fxdarts")
    assert space.is_valid(run(built(space, initial=5), space, 8)).all()


def test_finds_better_cells_than_random_search(nasbench201: TableEvaluator) -> None:
    def mean(method: str) -> float:
        found = [
            search(nasbench201, method=method, metric=METRIC, seed=s, budget=40) for s in range(1000, 1003)
        ]
        return float(np.mean([result.regret for result in found]))

    assert mean("tpe") < mean("random") - 0.2


def test_leaves_optuna_as_it_was(space: SearchSpace, caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.INFO):
            run(built(space, initial=2), space, 4)
        assert caplog.records == []
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.disable_propagation()


def test_listing_methods_imports_no_extra() -> None:
    script = (
        "import sys; from crlso.search import METHODS, make_settings; list(METHODS), make_settings('tpe'), "
        "make_settings('syne-tune'); "
        "print([m for m in ('optuna', 'syne_tune', 'xgboost') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


def test_needs_the_extra(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r'the method tpe needs Optuna: pip install "crlso\[optuna\]"'):
        make_method("tpe", space, seed=0)


@pytest.mark.parametrize(("name", "value"), [("initial", 1), ("candidates", 0), ("draws", 0)])
def test_refuses_settings_without_sense(space: SearchSpace, name: str, value: int) -> None:
    with pytest.raises(UserError, match=name):
        built(space, **{name: value})
