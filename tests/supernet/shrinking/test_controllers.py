"""Controllers against traces that were computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict

import pytest
import torch

from crlso.errors import UserError
from supernet.objectives import LogSum, NodeEntropy
from supernet.shrinking import Controller, ESSController, Pace, SNPSController
from tests.supernet.dispatch import NoWaiting

EDGES = tuple((source, node) for node in range(2, 6) for source in range(node))

# All numbers are sums of powers of two: nothing is rounded.
PACE = Pace(most=0.5, target=1.0, smoothing=0.5, up=2.0, down=0.5, patience=2)
REMOVED = (4, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0)

# Rate, gamma, mu, target, stalls, plateau after each of these steps. Steps 1 and 2 are fast enough (a rate
# that equals the target is); 6 reaches the bound and is no stall yet; 10 breaks the row of stalls.
SNPS = (
    (2.0, 0.0625, 0.125, 1.0, 0, False),
    (1.0, 0.03125, 0.125, 1.0, 0, False),
    (0.5, 0.0625, 0.125, 1.0, 0, False),
    (0.25, 0.125, 0.125, 1.0, 0, False),
    (0.125, 0.25, 0.125, 1.0, 0, False),
    (0.0625, 0.5, 0.125, 1.0, 0, False),
    (0.03125, 1.0, 0.125, 1.0, 1, False),
    (0.015625, 2.0, 0.1875, 0.5, 0, True),
    (0.0078125, 4.0, 0.1875, 0.5, 1, False),
    (1.00390625, 2.0, 0.1875, 0.5, 0, False),
    (0.501953125, 1.0, 0.1875, 0.5, 0, False),
    (0.2509765625, 2.0, 0.1875, 0.5, 1, False),
    (0.12548828125, 4.0, 0.28125, 0.25, 0, True),
)

# Rate, weight, its bound, stalls, plateau: the weight stays at its bound, which a plateau doubles.
ESS = (
    (2.0, 0.0625, 0.5, 0, False),
    (1.0, 0.03125, 0.5, 0, False),
    (0.5, 0.0625, 0.5, 0, False),
    (0.25, 0.125, 0.5, 0, False),
    (0.125, 0.25, 0.5, 0, False),
    (0.0625, 0.5, 0.5, 0, False),
    (0.03125, 0.5, 0.5, 1, False),
    (0.015625, 0.5, 1.0, 0, True),
    (0.0078125, 1.0, 1.0, 0, False),
    (1.00390625, 0.5, 1.0, 0, False),
    (0.501953125, 1.0, 1.0, 0, False),
    (0.2509765625, 1.0, 1.0, 1, False),
    (0.12548828125, 1.0, 2.0, 0, True),
)


def test_snps_step_by_step() -> None:
    objective = LogSum(0.125, 0.125)
    controller = SNPSController(objective, PACE, mu_factor=1.5, target_factor=0.5)
    for removed, expected in zip(REMOVED, SNPS, strict=True):
        plateau = controller.step(torch.tensor(removed))
        values = controller.values()
        names = ("rate", "weight", "mu", "target", "stalls")
        assert (*(values[name].item() for name in names), plateau.item()) == expected
        assert (objective.gamma.item(), objective.mu.item()) == expected[1:3]


def test_ess_step_by_step() -> None:
    objective = NodeEntropy(EDGES, 0.125)
    controller = ESSController(objective, PACE, growth=2.0)
    for removed, expected in zip(REMOVED, ESS, strict=True):
        plateau = controller.step(torch.tensor(removed))
        values = controller.values()
        names = ("rate", "weight", "most", "stalls")
        assert (*(values[name].item() for name in names), plateau.item()) == expected
        assert values["target"] == 1.0
        assert objective.weight.item() == expected[1]


def test_published_numbers() -> None:
    """Without removals gamma passes its bound after ln 1000 / ln 1.01 steps; 50 stalls are a plateau."""
    objective = LogSum()
    controller = SNPSController(objective)
    reached = math.ceil(math.log(0.10 / 1e-4) / math.log(1.01))
    plateaus = [step for step in range(1, 901) if controller.step(torch.tensor(0))]
    assert plateaus == [reached + 50, reached + 100, reached + 150, reached + 200]
    assert objective.mu.item() == pytest.approx(0.1 * 1.5**4)
    assert objective.gamma.item() == pytest.approx(1e-4 * 1.01**900)
    assert controller.target == 0.005
    assert asdict(Pace()) == {
        "most": 0.10,
        "target": 0.005,
        "smoothing": 0.90,
        "up": 1.01,
        "down": 0.99,
        "patience": 50,
    }


CONTROLLERS: tuple[Callable[[], Controller], ...] = (
    lambda: SNPSController(LogSum(0.125, 0.125), PACE, target_factor=0.5),
    lambda: ESSController(NodeEntropy(EDGES, 0.125), PACE, growth=2.0),
)


@pytest.mark.parametrize("make", CONTROLLERS)
def test_a_step_waits_for_nothing_and_moves_nothing(make: Callable[[], Controller]) -> None:
    controller = make()
    places = {name: tensor.data_ptr() for name, tensor in controller.tensors().items()}
    with NoWaiting():
        for removed in REMOVED:
            plateau = controller.step(torch.tensor(removed))
    assert plateau.shape == ()
    assert plateau.dtype == torch.bool
    assert {name: tensor.data_ptr() for name, tensor in controller.tensors().items()} == places


@pytest.mark.parametrize("make", CONTROLLERS)
@pytest.mark.parametrize("at", [1, 7, 10])
def test_its_tensors_are_all_its_state(make: Callable[[], Controller], at: int) -> None:
    first, second = make(), make()
    for removed in REMOVED[:at]:
        first.step(torch.tensor(removed))
    for name, tensor in second.tensors().items():
        tensor.copy_(first.tensors()[name])
    for removed in REMOVED[at:]:
        assert first.step(torch.tensor(removed)) == second.step(torch.tensor(removed))
        assert {n: v.item() for n, v in first.values().items()} == {
            n: v.item() for n, v in second.values().items()
        }


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pace(most=0.0), "shrinking.most must be a positive number, got 0.0"),
        (lambda: Pace(target=math.inf), "shrinking.target must be a positive number, got inf"),
        (lambda: Pace(smoothing=1.0), "shrinking.smoothing must be 0 or more and below 1, got 1.0"),
        (lambda: Pace(up=0.9), "shrinking.up must be 1 or more, got 0.9"),
        (lambda: Pace(down=1.1), "shrinking.down must be 1 or less, got 1.1"),
        (lambda: Pace(patience=0), "shrinking.patience must be 1 or more, got 0"),
        (lambda: SNPSController(LogSum(), mu_factor=0.0), "mu_factor must be a positive number, got 0.0"),
        (lambda: SNPSController(LogSum(), target_factor=math.nan), "target_factor .* got nan"),
        (lambda: ESSController(NodeEntropy(EDGES, 0.1), PACE, growth=-1.0), "growth .* got -1.0"),
    ],
)
def test_bad_numbers(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
