"""Sets of a shrinking search: members, what is trained, what is compared with what."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from crlso.protocols import TrainedRecord
from crlso.runs.trainings import Training
from crlso.spaces import FreeTopologySpace
from supernet.networks import DARTSSizes, ImageTask
from supernet.networks.free_family import FreeTopologyFamily
from supernet.pareto import Member
from supernet.pareto.selection import choose
from supernet.search.sets import SIZES, members_of, pairs_of, set_entry, to_verify
from supernet.search.shrinking import Noted

SPACE = FreeTopologySpace(
    "three", cells=3, nodes=4, operations=("sep_conv_3x3", "skip_connect", "dil_conv_5x5")
)
FAMILY = FreeTopologyFamily(SPACE, DARTSSizes(channels=4, cells=3), ImageTask(1, (8, 8), 3))


def texts() -> list[str]:
    """Architectures that get smaller: all operators, then fewer and fewer of them."""
    code = np.ones((1, len(SPACE.cardinalities)), dtype=np.int64)
    by_edge = code.reshape(1, 3, 14, 3)
    found = []
    for operation, edges in ((2, slice(0, 14)), (0, slice(5, 14)), (0, slice(0, 5))):
        found.append(SPACE.format(code[0]))
        by_edge[:, :, edges, operation] = 0
    return [*found, SPACE.format(code[0])]


ALL = texts()


def noted(text: str, step: int, accuracy: float) -> Noted:
    return Noted(step, "ladder", text, int(SPACE.parse(text).sum()), 0.5, accuracy)


NOTED = [noted(text, 10 * number, 60.0 - number) for number, text in enumerate(ALL)]


def test_members_go_from_the_largest_to_the_smallest() -> None:
    members = members_of(NOTED[::-1], FAMILY, {}, metric="valid_accuracy", epochs=0, seed=0)
    assert [member.architecture for member in members] == ALL
    assert [member.step for member in members] == [0, 10, 20, 30]
    for member in members:
        code = SPACE.parse(member.architecture)
        network = FAMILY.network(code)
        weights = sum(weight.numel() for weight in network.parameters())
        assert member.params == pytest.approx(weights / 1e6, rel=1e-12)
        assert member.flops == pytest.approx(FAMILY.multiplications(code[None])[0] / 1e6)
        assert member.operators == code.sum()
    # Without a training the shared weights' accuracy counts: here larger is always better.
    assert [member.valid_accuracy for member in members] == [60.0, 59.0, 58.0, 57.0]
    assert all(member.non_dominated for member in members)


def test_an_architecture_is_a_member_once() -> None:
    again = [*NOTED, noted(ALL[1], 99, 1.0)]
    assert len(members_of(again, FAMILY, {}, metric="valid_accuracy", epochs=0, seed=0)) == 4


def trained(accuracies: Sequence[float], *, epochs: int = 3, seed: int = 5) -> dict[Training, TrainedRecord]:
    return {
        Training(text, epochs, seed): TrainedRecord(
            epochs, seed, {"valid_accuracy": accuracy, "other": -1.0}, {}, math.isnan(accuracy)
        )
        for text, accuracy in zip(ALL, accuracies, strict=False)
    }


def test_verified_accuracies_count_where_there_are_trainings() -> None:
    records = trained([50.0, 70.0, math.nan])  # the last one was not trained, the one before failed
    records |= trained([99.0] * 4, epochs=9) | trained([99.0] * 4, seed=6)
    members = members_of(NOTED, FAMILY, records, metric="valid_accuracy", epochs=3, seed=5)
    assert [member.valid_accuracy for member in members[:2]] == [50.0, 70.0]
    assert all(math.isnan(member.valid_accuracy) for member in members[2:])
    assert [member.shared_valid_accuracy for member in members] == [60.0, 59.0, 58.0, 57.0]
    # The largest is worse than a smaller one, the last two have not been measured.
    assert [member.non_dominated for member in members] == [False, True, False, False]


def test_what_is_to_be_verified_is_what_members_ask_for() -> None:
    assert to_verify(NOTED, epochs=0, seed=5) == []
    wanted = to_verify(NOTED, epochs=3, seed=5)
    assert wanted == [Training(text, 3, 5) for text in ALL]
    assert set(wanted) == set(trained([1.0] * 4))


def members(kept: Sequence[bool]) -> list[Member]:
    made = members_of(NOTED, FAMILY, {}, metric="valid_accuracy", epochs=0, seed=0)
    return [
        Member(**{**vars(member), "non_dominated": is_kept})
        for member, is_kept in zip(made, kept, strict=True)
    ]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        # Numbers of members, from the largest to the smallest: the smallest comes first.
        ((True, True, True, True), {"smallest": 3, "middle": 2, "largest": 0}),
        ((True, True, True, False), {"smallest": 2, "middle": 1, "largest": 0}),
        ((True, True, False, True), {"smallest": 3, "middle": 1, "largest": 0}),
        ((False, True, True, False), {"smallest": 2, "largest": 1}),
        ((False, False, True, False), {"smallest": 2}),
        ((False, False, False, False), {}),
    ],
)
def test_the_smallest_the_middle_and_the_largest(kept: tuple[bool, ...], expected: dict[str, int]) -> None:
    given = members(kept)
    pairs = pairs_of(given, FAMILY, seed=1)
    assert {pair.size: pair.member for pair in pairs} == expected
    if expected:
        assert tuple(expected.values()) == choose(given, tuple(expected), "here")
    assert [pair.size for pair in pairs] == [size for size in SIZES if size in expected]
    for pair in pairs:
        member = given[pair.member]
        assert pair.architecture == member.architecture
        # No other architecture has as many weights as all operators together.
        assert (pair.random == member.architecture) is (pair.member == 0)
        code = SPACE.parse(pair.random)
        assert SPACE.is_valid(code[None])[0]
        assert FAMILY.parameters(code[None])[0] == pytest.approx(member.params * 1e6, rel=0.02)


def test_random_ones_depend_on_the_seed_alone() -> None:
    given = members([False, True, True, True])
    first, again, other = (pairs_of(given, FAMILY, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert all(one.random != two.random for one, two in zip(first, other, strict=True))


def trace(steps: int) -> dict[str, NDArray[np.float64]]:
    return {
        "step": np.arange(1.0, steps + 1),
        "alive": 126.0 - np.arange(1, steps + 1),
        "physical": np.full(steps, 126.0),
        "seconds": np.linspace(2.0, 1.0, steps),
        "cpu_seconds": np.linspace(4.0, 3.0, steps),
    }


def test_the_entry_of_a_summary() -> None:
    given = members([False, True, True, False])
    pairs = pairs_of(given, FAMILY, seed=1)
    figures = {"train_accuracy": 90.0, "valid_accuracy": 80.0, "test_accuracy": 70.0}
    entry = set_entry(given, pairs, trace(5), {ALL[2]: figures, ALL[1]: None}, FAMILY)
    assert (entry["members"], entry["non_dominated"], entry["steps"]) == (4, 2, 5)
    assert entry["operators"] == [126.0, 121.0]
    assert (entry["step_seconds"], entry["step_cpu_seconds"]) == ([2.0, 1.0], [4.0, 3.0])
    smallest, largest = entry["trained"]
    assert (smallest["size"], smallest["member"], smallest["architecture"]) == ("smallest", 2, ALL[2])
    assert (largest["size"], largest["member"], largest["architecture"]) == ("largest", 1, ALL[1])
    assert {name: smallest[name] for name in figures} == figures
    for untrained in (largest, smallest["random"], largest["random"]):
        assert all(untrained[name] is None for name in figures)
    for found in (smallest, largest):
        assert found["params"] == given[found["member"]].params
        assert found["flops"] == given[found["member"]].flops
        assert found["random"]["params"] == pytest.approx(found["params"], rel=0.02)
        assert found["random"]["architecture"] != found["architecture"]


def test_the_entry_of_a_search_without_steps() -> None:
    entry = set_entry((), (), trace(0), {}, FAMILY)
    assert (entry["members"], entry["steps"], entry["trained"]) == (0, 0, [])
    assert entry["operators"] is None
    assert entry["step_seconds"] is None
    assert entry["step_cpu_seconds"] is None
