"""Searches whose supernet shrinks: removals, noted architectures, resumption, parts that do not fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from crlso.errors import UserError
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.spaces import FreeTopologySpace
from supernet.networks import DARTSSizes, ImageTask
from supernet.networks.free_family import FreeTopologyFamily
from supernet.networks.relaxed.layout import divide
from supernet.processes import Processes
from supernet.recipe import load_recipe
from supernet.search import Search
from tests.supernet.dispatch import NoWaiting
from tests.supernet.search.small import splits
from tests.supernet.search.test_loop import _file, everything, finish, same

SPACE = FreeTopologySpace("tiny", cells=2, nodes=4, operations=["skip_connect", "dil_conv_3x3"])
FAST = {
    # From 56 operators to few in some twenty steps.
    "snps": {
        "objective.weight": 1.0,
        "architecture_learning_rate": 60.0,
        "shrinking.up": 1.5,
        "shrinking.down": 0.9,
        "shrinking.target": 4.0,
        "shrinking.patience": 2,
    },
    "fx_darts": {
        "objective.weight": 1.0,
        "architecture_learning_rate": 0.3,
        "shrinking.up": 1.5,
        "shrinking.down": 0.9,
        "shrinking.target": 4.0,
        "shrinking.most": 20.0,
    },
}


def search(
    recipe: str = "snps",
    *,
    seed: int = 0,
    space: FreeTopologySpace = SPACE,
    device: str = "cpu",
    **changes: Any,
) -> Search:
    """Batches of 8, 3 steps an epoch, a look after every 2 steps."""
    values = {
        "epochs": 8,
        "batch": 8,
        "augmentation": "shift",
        "warmup_epochs": 0,
        "shrinking.every": 2,
        "shrinking.stop_sparsity": 0.0,
        "shrinking.stop_operators": 0.0,
        **FAST[recipe],
        **changes,
    }
    found = load_recipe(recipe, preset="small", changes=values)
    data = splits()
    task = ImageTask(data.channels, data.size, data.classes)
    family = FreeTopologyFamily(space, DARTSSizes(2, space.cells), task)
    return Search(family, data, found, seed=seed, processes=Processes(device, found.search.precision))


def all_of(found: Search) -> dict[str, Any]:
    """All that a search came to, but for measured times."""
    assert found.shrinking is not None
    trace = {name: column for name, column in found.shrinking.trace.items() if "seconds" not in name}
    noted = [noted.to_dict() for noted in found.shrinking.noted]
    return {**everything(found), "trace": trace, "noted": noted, "operators": found.shrinking.operators}


@pytest.mark.parametrize("recipe", FAST)
def test_it_goes_from_dense_to_sparse(recipe: str) -> None:
    found = finish(search(recipe))
    assert found.shrinking is not None
    noted = found.shrinking.noted
    assert found.shrinking.left == noted[-1].operators < 40
    assert len(noted) >= 4
    counts = [each.operators for each in noted]
    assert counts == sorted(counts, reverse=True)
    assert len({each.architecture for each in noted}) == len(noted)
    for each in noted:
        assert SPACE.is_valid(SPACE.parse(each.architecture)[None]).all()
    trace = found.shrinking.trace
    assert np.array_equal(trace["step"], np.arange(1, 25))
    assert np.array_equal(56 - np.cumsum(trace["removed"]), trace["alive"])
    assert (trace["physical"] >= trace["alive"]).all()
    assert found.records[-1].operators == trace["alive"][-1]
    code = found.derived()
    assert SPACE.is_valid(code[None]).all()
    assert code.sum() == found.shrinking.left


def test_a_warm_up_is_not_counted_as_time_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that ticks once a step, every step takes one tick."""
    now = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: 2 * now[0])
    monkeypatch.setattr("supernet.search.shrinking.time", clock)
    found = search(epochs=4, warmup_epochs=2)
    while not found.finished:
        for _ in range(found.steps):
            found.run_step()
            now[0] += 1
        now[0] += 5  # measuring at the end of an epoch
        found.end_epoch()
    assert found.shrinking is not None
    trace = found.shrinking.trace
    assert len(trace["seconds"]) == 6
    # Looked at after every second step, when the clock has not ticked for it yet.
    assert trace["seconds"][:2].tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(trace["cpu_seconds"], 2 * trace["seconds"])


@pytest.mark.parametrize("recipe", FAST)
def test_masked_operators_and_physical_removals_are_the_same_search(recipe: str) -> None:
    often, never = (
        finish(search(recipe, precision="64-true", **{"shrinking.every": every})) for every in (1, 3)
    )
    masked = search(recipe, precision="64-true", **{"shrinking.every": 1000})
    assert masked.shrinking is not None
    masked.shrinking.look = lambda measure: None  # type: ignore[method-assign]
    for _ in range(8):
        masked.run_step()
        masked.run_step()
        masked.run_step()
        masked.sums.zero_()
        masked.step, masked.epoch = 0, masked.epoch + 1
    assert often.shrinking is not None
    assert often.shrinking.left < 40
    for other in (never, masked):
        torch.testing.assert_close(often.alpha, other.alpha, rtol=1e-7, atol=1e-9)
        assert torch.equal(often.shares > 0, other.shares > 0)
    assert [r.train_loss for r in often.records] == pytest.approx(
        [r.train_loss for r in never.records], rel=1e-8
    )
    # What is left of the weights is the same, and of their momentum.
    whole = divide(masked.network.layout(), dict(masked.network.named_parameters()))  # type: ignore[operator]
    small = divide(often.network.layout(), dict(often.network.named_parameters()))  # type: ignore[operator]
    assert len(small) < len(whole)
    for name, weight in small.items():
        torch.testing.assert_close(weight, whole[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("recipe", FAST)
@pytest.mark.parametrize("path", ["fast", "reference"])
def test_a_resumed_search_equals_an_uninterrupted_one(recipe: str, path: str) -> None:
    changes = {"epochs": 5, "path": path, "shrinking.every": 4}
    whole = finish(search(recipe, **changes))
    wanted = all_of(whole)
    assert wanted["operators"].sum() < 56
    for stop in (1, 6, 11) if path == "fast" else (7,):  # between removals, after one, at the end of an epoch
        first = search(recipe, **changes)
        for _ in range(stop):
            first.run_step()
            if first.step == first.steps:
                first.end_epoch()
        state = parse_state(_file(dump_state(first.state_dict())))
        second = search(recipe, **changes)
        second.load_state_dict(state)
        assert same(all_of(finish(second)), wanted), stop


@pytest.mark.parametrize("recipe", FAST)
@pytest.mark.parametrize(
    "update", ["single_level", "first_order", "second_order", "second_order_exact", "mixed_level"]
)
def test_every_update_rule_shrinks_without_waiting(recipe: str, update: str) -> None:
    optimizer = {"optimizer": "sgd"} if update.startswith("second") else {}
    found = search(recipe, **{"update.kind": update, "shrinking.every": 1000, **optimizer})
    with NoWaiting():
        found.run_step()
        found.run_step()
    assert found.shrinking is not None
    assert found.sums[2] == 0
    assert found.shrinking.shrinker.steps == 2


def test_the_stopping_rules() -> None:
    for key, value in (("stop_operators", 4.0), ("stop_sparsity", 16.0)):
        found = finish(search(epochs=30, **{"shrinking.stop_operators": 0.0, f"shrinking.{key}": value}))
        assert found.shrinking is not None
        assert found.stopped
        assert found.epoch < 30
        if key == "stop_operators":
            assert found.shrinking.left <= 4 * 8
            assert all(record.operators > 4 * 8 for record in found.records[:-1])  # type: ignore[operator]
        assert found.shrinking.noted[-1].operators == found.shrinking.left


def test_operators_rest_while_the_weights_warm_up() -> None:
    found = search(epochs=3, warmup_epochs=2)
    for _ in range(2):
        found.run_epoch()
    assert found.shrinking is not None
    assert found.shrinking.left == 56
    assert found.shrinking.shrinker.steps == 0


def test_a_dense_supernet_can_be_trained() -> None:
    found = finish(search("fx_darts", epochs=2, **{"shrinking.kind": "none"}))
    assert found.shrinking is None
    assert found.derived().all()


def test_what_does_not_fit_together() -> None:
    with pytest.raises(UserError, match="does not fit the space 'tiny'"):
        search(
            "fx_darts", **{"relaxation.kind": "softmax", "objective.kind": "plain", "shrinking.kind": "none"}
        )
    with pytest.raises(UserError, match=r"shrinking\.threshold must be above 0 and below 0\.1"):
        search(**{"shrinking.threshold": 0.1})
    with pytest.raises(UserError, match=r"recipe dnad needs a teacher: set distillation\.teacher"):
        FAST["dnad"] = FAST["snps"]
        try:
            search("dnad")
        finally:
            del FAST["dnad"]
