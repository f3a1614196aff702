"""The neighbourhood's rule against gradients of neighbours that are written out here."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from crlso.errors import UserError
from supernet.relaxation import Gumbel, Masked, NodeSoftmax, Relaxation, Softmax
from supernet.update_rules import FirstOrder, NeighbourhoodAveraged, Problem
from tests.supernet.dispatch import NoWaiting
from tests.supernet.toys import SmoothSupernet, batch, smooth

TRAIN, VALID = batch(1), batch(2)
EDGES = ((0, 2), (1, 2))
Aggregate = Literal["mean", "worst"]


def made(
    rule: NeighbourhoodAveraged, relaxation: Relaxation | None = None, seed: int = 5
) -> tuple[SmoothSupernet, Problem]:
    network, alpha = smooth()
    problem = Problem(network, alpha, relaxation or Softmax())
    problem.draw(torch.Generator().manual_seed(seed), rule)
    return network, problem


def neighbour(shares: Tensor, noise: Tensor, strength: float, alive: Tensor | None = None) -> Tensor:
    """One edge's shares, moved in part to the operation of the largest number of those that are left."""
    numbers = noise.numpy().copy()
    if alive is not None:
        numbers[~alive.numpy()] = -np.inf
    kind, edge, operation = np.unravel_index(int(numbers.argmax()), numbers.shape)
    rows = []
    for k in range(shares.shape[0]):
        for e in range(shares.shape[1]):
            row = shares[k, e]
            if (k, e) == (kind, edge):
                target = torch.zeros_like(row)
                target[int(operation)] = 1.0
                row = (1 - strength) * row + strength * row.sum() * target
            rows.append(row)
    return torch.stack(rows).view_as(shares)


def losses(
    network: nn.Module, problem: Problem, shares: Tensor, strength: float, alive: Tensor | None = None
) -> list[Tensor]:
    """Of the validation batch, one for each copy."""
    assert problem.rule_noise is not None
    weights = dict(network.named_parameters())
    copies = [neighbour(shares, noise, strength, alive) for noise in problem.rule_noise]
    return [
        F.cross_entropy(functional_call(network, weights, (VALID.images, copy)), VALID.labels)
        for copy in copies
    ]


@pytest.mark.parametrize("aggregate", ["mean", "worst"])
@pytest.mark.parametrize("strength", [0.3, 0.9])
@pytest.mark.parametrize("copies", [1, 4])
def test_gradient_is_that_of_the_aggregated_loss(copies: int, strength: float, aggregate: Aggregate) -> None:
    rule = NeighbourhoodAveraged(copies, strength, aggregate)
    network, problem = made(rule)
    stacked = torch.stack(losses(network, problem, torch.softmax(problem.alpha, -1), strength))
    loss = stacked.mean() if aggregate == "mean" else stacked.max()
    got = rule.gradients(problem, TRAIN, VALID)
    expected = torch.autograd.grad(loss, problem.alpha)[0]
    torch.testing.assert_close(got.alpha, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got.valid_loss, loss.detach(), rtol=1e-12, atol=0)
    # The test would see a rule that does not look at neighbours.
    first = FirstOrder().gradients(problem, TRAIN, VALID).alpha
    assert (first - expected).norm() > 1e-2 * expected.norm()
    assert got.weights is None
    assert not got.alpha.requires_grad


def test_the_aggregates_differ() -> None:
    rules = [NeighbourhoodAveraged(4, 0.9, aggregate) for aggregate in ("mean", "worst")]
    mean, worst = (rule.gradients(made(rule)[1], TRAIN, VALID) for rule in rules)
    assert mean.valid_loss is not None
    assert worst.valid_loss is not None
    assert worst.valid_loss > mean.valid_loss
    assert (worst.alpha - mean.alpha).norm() > 1e-2 * mean.alpha.norm()


@pytest.mark.parametrize("aggregate", ["mean", "worst"])
def test_without_strength_it_is_first_order(aggregate: Aggregate) -> None:
    rule = NeighbourhoodAveraged(4, 0.0, aggregate)
    _, problem = made(rule)
    got, first = rule.gradients(problem, TRAIN, VALID), FirstOrder().gradients(problem, TRAIN, VALID)
    torch.testing.assert_close(got.alpha, first.alpha, rtol=1e-14, atol=1e-16)
    torch.testing.assert_close(got.valid_loss, first.valid_loss, rtol=1e-14, atol=0)
    assert got.valid_accuracy == first.valid_accuracy


def test_nothing_moves_onto_what_was_removed() -> None:
    alive = torch.tensor([[[0, 1, 1], [1, 0, 1]], [[0, 1, 0], [0, 1, 1]]], dtype=torch.bool)
    rule = NeighbourhoodAveraged(8, 0.6)
    network, problem = made(rule, Masked(NodeSoftmax(EDGES), alive))
    powers = problem.alpha.exp() * alive
    shares = powers / powers.sum((1, 2), keepdim=True)
    assert problem.rule_noise is not None
    largest = problem.rule_noise.flatten(1).argmax(dim=1)
    assert not alive.flatten()[largest].all()  # some copies would move a share there
    seen: list[Tensor] = []
    handle = network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].detach()))
    got = rule.gradients(problem, TRAIN, VALID)
    handle.remove()
    assert len(seen) == 8
    for mixing in seen:
        assert (mixing[~alive] == 0).all()
        torch.testing.assert_close(mixing.sum((1, 2)), torch.ones(2, dtype=torch.float64))
    loss = torch.stack(losses(network, problem, shares, 0.6, alive)).mean()
    expected = torch.autograd.grad(loss, problem.alpha)[0]
    assert expected.norm() > 1e-3
    torch.testing.assert_close(got.alpha, expected, rtol=1e-9, atol=1e-12)
    assert (got.alpha[~alive] == 0).all()


def test_edits_are_drawn_uniformly() -> None:
    rule, shape = NeighbourhoodAveraged(6000, 0.5), torch.Size([2, 2, 3])
    noise = rule.noise(shape, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert noise.shape == (6000, *shape)
    counts = Counter(noise.flatten(1).argmax(dim=1).tolist())
    # 500 expected; 5 standard deviations of a binomial number.
    assert len(counts) == 12
    assert all(abs(count - 500) < 5 * (6000 / 12 * 11 / 12) ** 0.5 for count in counts.values())


def test_a_generator_fixes_what_is_drawn_and_others_take_it_over() -> None:
    rule = NeighbourhoodAveraged(3, 0.5)
    (_, one), (_, two), (_, other) = (made(rule, Gumbel(), seed) for seed in (1, 1, 2))
    expected = rule.gradients(one, TRAIN, VALID).alpha
    assert torch.equal(rule.gradients(two, TRAIN, VALID).alpha, expected)
    assert not torch.equal(rule.gradients(other, TRAIN, VALID).alpha, expected)
    assert len(one.drawn()) == 2  # the relaxation's and the rule's
    other.take(one.drawn())
    assert torch.equal(rule.gradients(other, TRAIN, VALID).alpha, expected)


def test_noise_is_needed() -> None:
    rule = NeighbourhoodAveraged(3, 0.5)
    network, alpha = smooth()
    with pytest.raises(ValueError, match=r"Problem\.draw"):
        rule.gradients(Problem(network, alpha, Softmax()), TRAIN, VALID)


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("reference", [False, True])
def test_passes_are_counted(copies: int, reference: bool) -> None:
    rule = NeighbourhoodAveraged(copies, 0.5)
    network, problem = made(rule)
    problem.reference = reference
    seen: list[int] = []
    network.register_forward_pre_hook(lambda *_: seen.append(1))
    assert rule.gradients(problem, TRAIN, VALID).weights is None
    problem.backward(TRAIN, "weights")
    assert len(seen) == rule.passes == 1 + copies


@pytest.mark.parametrize("aggregate", ["mean", "worst"])
def test_no_step_waits_for_the_device(aggregate: Aggregate) -> None:
    rule = NeighbourhoodAveraged(3, 0.5, aggregate)
    alive = torch.ones(2, 2, 3, dtype=torch.bool)
    _, problem = made(rule, Masked(NodeSoftmax(EDGES), alive))
    with NoWaiting():
        problem.draw(None, rule)
        rule.gradients(problem, TRAIN, VALID)


@pytest.mark.parametrize("aggregate", ["mean", "worst"])
def test_compiled_steps_stay_valid(aggregate: Aggregate) -> None:
    """New edits make no new trace."""
    torch.compiler.reset()
    rule = NeighbourhoodAveraged(3, 0.5, aggregate)
    network, problem = made(rule)
    compiler = partial(torch.compile, backend="eager", fullgraph=True)
    traced = Problem(network, problem.alpha, problem.relaxation, compiler=compiler)
    generator = torch.Generator().manual_seed(1)
    for step in range(2):
        problem.draw(generator, rule)
        traced.rule_noise = problem.rule_noise
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            got = rule.gradients(traced, TRAIN, VALID).alpha
        torch.testing.assert_close(got, rule.gradients(problem, TRAIN, VALID).alpha, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 0.5, "mean"), "1 or more copies, got 0"),
        ((3, -0.1, "mean"), r"in \[0, 1\], got -0.1"),
        ((3, float("nan"), "mean"), r"in \[0, 1\], got nan"),
        ((3, 0.5, "median"), "one of mean, worst, not median"),
    ],
)
def test_bad_values(values: tuple[int, float, Aggregate], words: str) -> None:
    with pytest.raises(UserError, match=words):
        NeighbourhoodAveraged(*values)
