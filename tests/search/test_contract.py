"""Every registered method keeps the contract of search methods."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from crlso.protocols import Goal, SearchMethod, SearchSpace
from crlso.search import METHODS, make_method
from crlso.search.testing import (
    GOALS,
    Build,
    BuildFor,
    SearchMethodContract,
    SeveralObjectivesContract,
    objectives,
)
from crlso.spaces import get_space

SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bananas": {"initial": 5, "ensemble": 2, "width": 4, "steps": 2, "mutants": 20},
        "bo": {"initial": 5, "round": 4},
        "evolution": {"population": 12, "sample": 4},
        "nsga2": {"population": 8},
        "crlso": {
            "initial": 5,
            "round": 8,
            "pretrain_steps": 3,
            "unlabelled": 8,
            "landmarks": 20,
            "heads": 2,
            "starts": 4,
            "descent_steps": 3,
            "beam": 4,
            "latent_dim": 4,
            "width": 8,
            "head_width": 4,
            "head_rank": 2,
        },
        "crlso-paper": {
            "start": 10,
            "epochs": 1,
            "batch": 4096,
            "width": 4,
            "layers": 1,
            "head_width": 4,
            "predictor_epochs": 1,
            "predictor_layers": 1,
            "predictor_width": 4,
            "tune_epochs": 1,
        },
        "syne-tune": {"initial": 41, "candidates": 8, "draws": 2},
        "tpe": {"initial": 5},
    }
)
"""Settings that keep the contract short, where the defaults would not."""


@pytest.fixture(params=[name for name, entry in METHODS.items() if importlib.util.find_spec(entry.module)])
def method_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestContract(SearchMethodContract):
    @pytest.fixture
    def build(self, method_name: str) -> Build:
        def make(space: SearchSpace, seed: int) -> SearchMethod:
            return make_method(method_name, space, seed=seed, settings=SETTINGS.get(method_name))

        return make


ARMS: tuple[Mapping[str, Any], ...] = (
    {"round_steps": 2},
    {"head": "icnn", "round_steps": 2, "decode": "line"},
    {"head": "network", "round_steps": 2, "joint": False, "descent": "ascent", "decode": "nearest"},
)
"""Settings of ``crlso`` that are there to tell what its parts are worth."""


class TestArms(SearchMethodContract):
    evaluations = 22

    @pytest.fixture(params=ARMS, ids=str)
    def build(self, request: pytest.FixtureRequest) -> Build:
        def make(space: SearchSpace, seed: int) -> SearchMethod:
            return make_method("crlso", space, seed=seed, settings={**SETTINGS["crlso"], **request.param})

        return make


class TestSeveralObjectives(SeveralObjectivesContract):
    @pytest.fixture(params=[name for name, entry in METHODS.items() if entry.objectives == "several"])
    def build_for(self, request: pytest.FixtureRequest) -> BuildFor:
        def make(space: SearchSpace, seed: int, goal: Goal) -> SearchMethod:
            name = str(request.param)
            return make_method(name, space, seed=seed, settings=SETTINGS.get(name), goal=goal)

        return make


@pytest.mark.parametrize("goal", GOALS, ids=str)
def test_the_contracts_constraints_are_met_by_some(goal: Goal) -> None:
    space = get_space("nasbench201")
    told = objectives(space, space.sample(1000, np.random.default_rng(0)), goal)
    assert told.shape == (1000, goal.objectives + goal.constraints)
    for margins in told.T[goal.objectives :]:
        assert 0.1 < (margins >= 0).mean() < 0.9
