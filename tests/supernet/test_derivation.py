"""Selection by perturbation where the answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from crlso.errors import UserError
from crlso.spaces import get_space
from supernet.derivation import Decisions, perturbation
from supernet.networks.families import family_of
from supernet.networks.family import ImageTask

# Nodes 2 and 3 between two inputs, 0 and 1.
EDGES = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATIONS = 3


def ignore(decisions: Decisions) -> None:
    del decisions


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, len(EDGES), OPERATIONS)
    shares = torch.softmax(torch.randn(shape, generator=generator), dim=-1)
    return shares, torch.rand(shape, generator=generator)


@pytest.mark.parametrize("seed", range(5))
def test_a_linear_accuracy_has_a_known_answer(seed: int) -> None:
    """Removing an operation costs its worth times its share, whatever the order."""
    shares, worth = drawn(seed)
    got = perturbation(
        lambda: shares,
        EDGES,
        measure=lambda mixing: float((mixing * worth).sum()),
        finetune=ignore,
        rng=np.random.default_rng(seed),
        inputs=2,
    )
    expected = torch.zeros_like(shares)
    for kind, edge in itertools.product(range(2), range(len(EDGES))):
        expected[kind, edge, (shares * worth)[kind, edge].argmax()] = 1
    for kind in range(2):
        # Node 3 has one edge too many: the one whose operation is worth least.
        weakest = (expected * worth)[kind, 2:].sum(-1).argmin()
        expected[kind, 2 + weakest] = 0
    assert torch.equal(got, expected)


def test_it_is_not_the_magnitude() -> None:
    shares = torch.tensor([[[0.6, 0.4]]])
    got = perturbation(
        lambda: shares,
        [(0, 1)],
        measure=lambda mixing: float(mixing[0, 0, 1]),
        finetune=ignore,
        rng=np.random.default_rng(0),
    )
    assert got.tolist() == [[[0.0, 1.0]]]


def test_edges_go_one_by_one() -> None:
    """Two edges that stand in for one another: the least useful alone are needed together."""
    edges = [(0, 4), (1, 4), (2, 4), (3, 4)]

    def measure(mixing: Tensor) -> float:
        a, b, c, d = mixing[0, :, 0].tolist()
        return max(a, b) + 0.3 * c + 0.2 * d

    got = perturbation(
        lambda: torch.ones(1, 4, 1),
        edges,
        measure=measure,
        finetune=ignore,
        rng=np.random.default_rng(0),
        inputs=2,
    )
    # Without either of the first two nothing is lost; the last of equals goes, then d costs less than c.
    assert got[0, :, 0].tolist() == [1.0, 0.0, 1.0, 0.0]


def test_what_is_measured_and_when_it_is_fine_tuned() -> None:
    shares, worth = drawn(0)
    measured: list[Tensor] = []
    tuned: list[Decisions] = []
    measures_before: list[int] = []

    def measure(mixing: Tensor) -> float:
        measured.append(mixing)
        return float((mixing * worth).sum())

    def finetune(decisions: Decisions) -> None:
        tuned.append(decisions)
        measures_before.append(len(measured))

    perturbation(
        lambda: shares, EDGES, measure=measure, finetune=finetune, rng=np.random.default_rng(1), inputs=2
    )
    # Five rounds for edges, one for the only node with more than two; none after the last.
    assert len(tuned) == 5
    assert [int(d.decided.sum()) for d in tuned] == [2, 4, 6, 8, 10]
    assert measures_before == [6, 12, 18, 24, 30]
    assert len(measured) == 30 + 2 * 3
    # The first measurement: nothing decided, one share removed, the others as they were.
    different = (measured[0] != shares).nonzero()
    assert len(different) == 1
    assert measured[0][tuple(different[0])] == 0


def test_decisions_hold_while_the_relaxation_goes_on() -> None:
    """Fine-tuning changes the shares; decided edges stay as they were decided."""
    shares, worth = drawn(3)
    present = [shares]
    measured: list[tuple[Decisions | None, Tensor]] = []
    last: list[Decisions | None] = [None]

    def finetune(decisions: Decisions) -> None:
        last[0] = decisions
        present[0] = present[0].flip(-1)

    def measure(mixing: Tensor) -> float:
        measured.append((last[0], mixing))
        return float((mixing * worth).sum())

    perturbation(lambda: present[0], EDGES, measure=measure, finetune=finetune, rng=np.random.default_rng(1))
    checked = 0
    for decisions, mixing in measured:
        if decisions is not None:
            checked += 1
            assert torch.equal(mixing[decisions.decided], decisions.shares[decisions.decided])
    assert checked == 24


def test_operations_that_may_not_be_kept() -> None:
    shares, worth = drawn(1)
    worth[..., 0] = 10
    got = perturbation(
        lambda: shares,
        EDGES,
        measure=lambda mixing: float((mixing * worth).sum()),
        finetune=ignore,
        rng=np.random.default_rng(0),
        kept=(1, 2),
    )
    assert got[..., 0].sum() == 0
    assert torch.equal(got.sum(-1), torch.ones(2, len(EDGES)))


def test_decisions_are_differentiable() -> None:
    shares, _ = drawn(0)
    shares.requires_grad_()
    decided = torch.zeros(2, len(EDGES), dtype=torch.bool)
    decided[0, 1] = True
    made = Decisions(torch.zeros_like(shares), decided).apply(shares)
    made.sum().backward()
    assert shares.grad is not None
    assert torch.equal(shares.grad.sum(-1) == 0, decided)


@pytest.mark.parametrize(("name", "inputs", "first"), [("darts", 2, 1), ("nasbench201", None, 0)])
def test_the_result_is_an_architecture_of_the_space(name: str, inputs: int | None, first: int) -> None:
    """What an architecture's own operations are worth most for is that architecture."""
    space = get_space(name)
    family = family_of(space, ImageTask(3, (32, 32), 10))
    rng = np.random.default_rng(0)
    for code in space.sample(3, rng):
        target = family.mixing([code])[0]
        worth = target + 0.1 * torch.rand(target.shape, generator=torch.Generator().manual_seed(0))

        def measure(mixing: Tensor, worth: Tensor = worth) -> float:
            return float((mixing * worth).sum())

        got = perturbation(
            lambda target=target: torch.full_like(target, 0.1),
            family.edges,
            measure=measure,
            finetune=ignore,
            rng=rng,
            kept=range(first, len(family.operations)),
            inputs=inputs,
        )
        assert family.strongest(got).tolist() == code.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kept": ()}, r"operations 0 to 2, got \(\)"),
        ({"kept": (1, 3)}, r"operations 0 to 2, got \(1, 3\)"),
        ({"inputs": 0}, "1 edge or more, got 0"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    shares, _ = drawn(0)
    with pytest.raises(UserError, match=message):
        perturbation(
            lambda: shares,
            EDGES,
            measure=lambda mixing: 0.0,
            finetune=ignore,
            rng=np.random.default_rng(0),
            **settings,  # type: ignore[arg-type]
        )
