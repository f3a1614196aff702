"""The loop of a search: learns, goes on bit for bit, says where a loss goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crlso.errors import RunError, UserError
from crlso.runs.checkpoint import dump_state, parse_state
from supernet.relaxation import Gumbel
from supernet.search import Search
from supernet.search.directory import SeedDirectory, read_records
from tests.supernet.search.small import search, splits


def finish(found: Search) -> Search:
    while not found.finished:
        found.run_epoch()
    return found


def everything(found: Search) -> dict[str, Any]:
    """All that a search came to, but for measured times."""
    state = found.state_dict()
    records = [{k: v for k, v in r.items() if k not in ("seconds", "cpu_seconds")} for r in state["records"]]
    optimisers = [
        [value for entry in state[name]["state"].values() for value in entry.values()]
        for name in ("weights_optimizer", "architecture_optimizer")
    ]
    return {
        "weights": list(state["weights"].values()),
        "alpha": state["alpha"],
        "optimisers": optimisers,
        "records": records,
        "history": state["history"],
        "place": (state["epoch"], state["step"]),
    }


def same(first: Any, second: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, np.ndarray):
        return bool(np.array_equal(first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)


@pytest.mark.parametrize(
    "recipe", ["darts_1st", "darts_2nd", "darts_2nd_exact", "milenas", "gdas", "na_darts"]
)
def test_a_resumed_search_equals_an_uninterrupted_one(recipe: str) -> None:
    whole = everything(finish(search(recipe)))
    for stop in (1, 3, 4):
        first = search(recipe)
        for _ in range(stop):
            first.run_step()
            if first.step == first.steps:
                first.end_epoch()
        state = parse_state(_file(dump_state(first.state_dict())))
        second = search(recipe)
        second.load_state_dict(state)
        assert same(everything(finish(second)), whole)


def test_the_same_seed_is_the_same_search_and_another_is_not() -> None:
    first, again, other = (everything(finish(search(seed=seed))) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first["weights"], other["weights"])
    assert not same(first["alpha"], other["alpha"])


def test_it_learns() -> None:
    found = search(epochs=12)
    records = [found.run_epoch() for _ in range(12)]
    assert records[-1].valid_accuracy > 90
    assert records[-1].train_loss < 0.75 * records[0].train_loss
    assert [record.epoch for record in records] == list(range(1, 13))
    assert len(found.history) == 13
    assert not np.array_equal(found.history[0], found.history[-1])


def test_architecture_weights_rest_while_the_weights_warm_up() -> None:
    found = search(epochs=3, warmup_epochs=2)
    for _ in range(2):
        found.run_epoch()
    assert np.array_equal(found.history[0], found.history[2])
    found.run_epoch()
    assert not np.array_equal(found.history[2], found.history[3])


def test_fast_and_reference_path_are_the_same_search() -> None:
    # In float64 nothing but rounding differs, which a few steps do not blow up.
    fast, reference = (
        finish(search(space="darts", epochs=1, path=path, precision="64-true"))
        for path in ("fast", "reference")
    )
    np.testing.assert_allclose(fast.alpha.detach(), reference.alpha.detach(), rtol=1e-9, atol=1e-12)
    assert fast.records[0].train_loss == pytest.approx(reference.records[0].train_loss, rel=1e-9)
    assert fast.records[0].valid_loss == pytest.approx(reference.records[0].valid_loss, rel=1e-9)


def test_a_wrong_loss_is_said_where_it_is() -> None:
    found = search(learning_rate=1e30, clip=0.0, epochs=3)
    with pytest.raises(RunError, match=r"no finite number in epoch 1, step [23] of 3 \(seed 0\)"):
        finish(found)


def test_the_eigenvalue_is_measured_when_asked_for() -> None:
    found = search(epochs=2, curvature_every=2)
    first, second = found.run_epoch(), found.run_epoch()
    assert first.eigenvalue is None
    assert second.eigenvalue is not None


def test_bad_data_and_seeds() -> None:
    with pytest.raises(UserError, match="batch of 200 images is more than the data has"):
        search(batch=200)
    with pytest.raises(UserError, match="seed must be 0 or more"):
        search(seed=-1)


def test_the_last_good_state_stays(tmp_path: Path) -> None:
    whole = everything(finish(search()))
    found, folder = search(), SeedDirectory(tmp_path, writes=True)
    steps = folder.run(found)
    while next(steps) is None:
        pass
    with torch.no_grad():
        next(found.network.parameters()).fill_(torch.nan)
    with pytest.raises(RunError, match=r"epoch 2, step 1 of 3 .*the last good state is kept in .*checkpoint"):
        list(steps)
    again = search()
    assert folder.restore(again)
    assert again.epoch == 1
    assert len(read_records(tmp_path)) == 1
    assert same(everything(finish(again)), whole)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"space": "darts"}, "space is darts there, three here"),
        ({"recipe": "milenas"}, "recipe is milenas there, darts_1st here"),
        ({"seed": 3}, "seed is 3 there, 0 here"),
        ({"epochs": 5}, "search.epochs is 5 there, 2 here"),
        ({"update.kind": "single_level"}, "update.kind is single_level there, first_order here"),
    ],
)
def test_a_checkpoint_of_another_search_is_refused(other: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        search().load_state_dict(search(**other).state_dict())


def test_a_checkpoint_of_another_format_is_refused() -> None:
    found = search()
    with pytest.raises(RunError, match="has format 0; this version reads"):
        found.load_state_dict({**found.state_dict(), "format": 0})


def test_measuring_sees_all_images() -> None:
    found = search(data=splits(600))
    loss, accuracy = found.measure(found.shares)
    assert 0 <= accuracy <= 100
    assert accuracy * 240 / 100 == pytest.approx(round(accuracy * 240 / 100))
    assert loss > 0


def _file(data: bytes) -> Any:
    import io

    return io.BytesIO(data)


def test_one_operation_at_a_time_is_derived_by_its_margin() -> None:
    """GDAS' own shares are 0 and 1: all edges of a node would be as strong as one another."""
    found = search("gdas", space="darts")
    sep, pool, none = (
        found.family.operations.index(name) for name in ("sep_conv_3x3", "max_pool_3x3", "none")
    )
    with torch.no_grad():
        found.alpha.zero_()
        for edge, (source, target) in enumerate(found.family.edges):
            found.alpha[:, edge, pool] = 1.0
            if target == 5 and source in (2, 4):
                found.alpha[:, edge, sep] = 3.0
                found.alpha[:, edge, none] = 3.2
    text = found.family.space.format(found.derived())
    assert "('sep_conv_3x3', 2), ('sep_conv_3x3', 4)], normal_concat" in text
    assert found.run_epoch().entropy[0] > 0


def test_the_temperature_at_the_end_of_an_epoch_is_found_again() -> None:
    first = search("gdas", epochs=3)
    for _ in range(2):
        first.run_epoch()
    second = search("gdas", epochs=3)
    second.load_state_dict(first.state_dict())
    assert isinstance(first.relaxation, Gumbel)
    assert isinstance(second.relaxation, Gumbel)
    assert first.relaxation.temperature == second.relaxation.temperature
    assert second.relaxation.temperature != search("gdas", epochs=3).relaxation.temperature
