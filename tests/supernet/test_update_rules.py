"""Architecture gradients against double backward passes in float64 that are written out here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from crlso.errors import UserError
from supernet.networks.relaxed import DARTSFast, DARTSReference, initialise_supernet
from supernet.objectives import LogSum, NodeEntropy
from supernet.relaxation import Gumbel, Masked, NodeReLU, NodeSoftmax, Relaxation, Softmax
from supernet.update_rules import (
    Batch,
    FirstOrder,
    Gradients,
    MixedLevel,
    MixedLevelSecondOrder,
    Problem,
    SecondOrder,
    SecondOrderExact,
    SingleLevel,
    UpdateRule,
    VirtualStep,
    virtual_step,
)
from tests.supernet.dispatch import NoWaiting
from tests.supernet.toys import batch, smooth

RULES: tuple[UpdateRule, ...] = (
    SingleLevel(),
    FirstOrder(),
    MixedLevel(0.7),
    SecondOrder(),
    SecondOrderExact(),
    MixedLevelSecondOrder(0.7),
)
NAMES = [type(rule).__name__ for rule in RULES]


@dataclass(frozen=True)
class Case:
    network: nn.Module
    problem: Problem
    train: Batch
    valid: Batch
    virtual: VirtualStep
    relaxed: Callable[[Tensor], Tensor] = lambda alpha: torch.softmax(alpha, dim=-1)
    objective: Callable[[Tensor, Tensor], Tensor] = lambda task, mixing: task

    def run(self, rule: UpdateRule) -> Gradients:
        return rule.gradients(self.problem, self.train, self.valid, self.virtual)

    def loss(self, data: Batch, weights: Sequence[Tensor], alpha: Tensor) -> Tensor:
        """The objective once more, with nothing of the problem but its noise."""
        mixing, _, task = self.task(data, weights, alpha)
        return self.objective(task, mixing)

    def task(self, data: Batch, weights: Sequence[Tensor], alpha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares, logits and the task's loss."""
        names = [name for name, _ in self.network.named_parameters()]
        logits = alpha if self.problem.noise is None else alpha + self.problem.noise
        mixing = self.relaxed(logits)
        made = functional_call(self.network, dict(zip(names, weights, strict=True)), (data.images, mixing))
        if isinstance(made, tuple):
            return mixing, made[0], F.cross_entropy(made[0], data.labels) + made[1]
        return mixing, made, F.cross_entropy(made, data.labels)

    def slope(self, data: Batch, weights: Sequence[Tensor]) -> Tensor:
        alpha = self.problem.alpha
        return torch.autograd.grad(self.loss(data, weights, alpha), alpha)[0]

    def ahead(self, alpha: Tensor) -> list[Tensor]:
        """The weights after the virtual step, as a differentiable function of the architecture."""
        weights, step = list(self.network.parameters()), self.virtual
        gradients = torch.autograd.grad(self.loss(self.train, weights, alpha), weights, create_graph=True)
        buffers = step.buffers or tuple(torch.zeros_like(w) for w in weights)
        return [
            w - step.learning_rate * (step.momentum * m + g + step.weight_decay * w)
            for w, g, m in zip(weights, gradients, buffers, strict=True)
        ]

    def exact(self, data: Batch) -> Tensor:
        """Derivative of the loss after the virtual step, through the step: no derivation by hand in it."""
        alpha = self.problem.alpha
        return torch.autograd.grad(self.loss(data, self.ahead(alpha), alpha), alpha)[0]

    def difference(self, data: Batch, radius: float) -> Tensor:
        """Equation 8 of the DARTS paper."""
        weights = [w.detach() for w in self.network.parameters()]
        ahead = [w.detach().requires_grad_() for w in self.ahead(self.problem.alpha)]
        direct, *v = torch.autograd.grad(
            self.loss(data, ahead, self.problem.alpha), [self.problem.alpha, *ahead]
        )
        eps = radius / torch.cat([x.flatten() for x in v]).norm()
        above = self.slope(self.train, [w + eps * x for w, x in zip(weights, v, strict=True)])
        below = self.slope(self.train, [w - eps * x for w, x in zip(weights, v, strict=True)])
        return direct - self.virtual.learning_rate * (above - below) / (2 * eps)


def problem(network: nn.Module, alpha: Tensor, relaxation: Relaxation | None = None) -> Problem:
    made = Problem(network, alpha, relaxation or Softmax())
    made.draw(torch.Generator().manual_seed(5))
    return made


def step_of(network: nn.Module) -> VirtualStep:
    generator = torch.Generator().manual_seed(9)
    buffers = tuple(
        0.1 * torch.randn(w.shape, dtype=w.dtype, generator=generator) for w in network.parameters()
    )
    return VirtualStep(0.2, momentum=0.9, weight_decay=0.01, buffers=buffers)


def toy(relaxation: Relaxation | None = None) -> Case:
    network, alpha = smooth()
    return Case(network, problem(network, alpha, relaxation), batch(1), batch(2), step_of(network))


def darts() -> Case:
    torch.manual_seed(0)
    network = DARTSReference(channels=4, cells=3, inputs=2, classes=5).double()
    alpha = nn.Parameter(torch.randn(2, 14, 8, dtype=torch.float64))
    return Case(network, problem(network, alpha), batch(1, size=8), batch(2, size=8), step_of(network))


EDGES = ((0, 2), (1, 2))  # of the small network, as if both led into one node


class Imitating(nn.Module):
    """The small network, and how far a projection of its logits is from something fixed."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.projection = nn.Linear(5, 3, bias=False, dtype=torch.float64)

    def forward(self, images: Tensor, mixing: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.student(images, mixing)
        target = images.mean((2, 3)).repeat(1, 2)[:, :3]
        return logits, 0.4 * (self.projection(logits).sin() - target).square().mean()


def sparse() -> Case:
    """A log-sum over rectified shares of a node, and distillation."""
    student, alpha = smooth()
    alpha.data.abs_()
    network = Imitating(student)
    made = Problem(network, alpha, NodeReLU(EDGES), objective=LogSum(0.03, 0.2), distilled=True)

    def relaxed(alpha: Tensor) -> Tensor:
        return alpha.clamp(min=0) / alpha.clamp(min=0).sum((1, 2), keepdim=True)

    def objective(task: Tensor, mixing: Tensor) -> Tensor:
        terms = (1 + 50 * mixing).log().sum()
        return task + 0.03 * terms * task + 0.03 * 0.2 * terms

    return Case(network, made, batch(1), batch(2), step_of(network), relaxed, objective)


def entropic() -> Case:
    """Entropies of nodes, one of which has lost an entry."""
    network, alpha = smooth()
    alive = torch.ones(network.SHAPE, dtype=torch.bool)
    alive[0, 1, 1] = False
    made = Problem(network, alpha, Masked(NodeSoftmax(EDGES), alive), objective=NodeEntropy(EDGES, 0.3))

    def relaxed(alpha: Tensor) -> Tensor:
        powers = alpha.exp() * alive
        return powers / powers.sum((1, 2), keepdim=True)

    def objective(task: Tensor, mixing: Tensor) -> Tensor:
        return task - 0.3 * (mixing[alive] * mixing[alive].log()).sum()

    return Case(network, made, batch(1), batch(2), step_of(network), relaxed, objective)


def same(got: Tensor, expected: Tensor, tolerance: float = 1e-8) -> None:
    assert expected.norm() > 0
    assert (got - expected).norm() <= tolerance * expected.norm()


CASES: dict[str, Callable[[], Case]] = {"toy": toy, "gumbel": lambda: toy(Gumbel()), "darts": darts}
CASES |= {"log-sum": sparse, "entropy": entropic}
case = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


@case
def test_single_level(make: Callable[[], Case]) -> None:
    here = make()
    weights = list(here.network.parameters())
    alpha, *expected = torch.autograd.grad(
        here.loss(here.train, weights, here.problem.alpha), [here.problem.alpha, *weights]
    )
    got = here.run(SingleLevel())
    same(got.alpha, alpha)
    assert got.weights is not None
    for mine, theirs in zip(got.weights, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


@case
def test_first_order(make: Callable[[], Case]) -> None:
    here = make()
    got = here.run(FirstOrder())
    same(got.alpha, here.slope(here.valid, list(here.network.parameters())))
    assert got.weights is None


@case
def test_mixed_level(make: Callable[[], Case]) -> None:
    here = make()
    weights = list(here.network.parameters())
    got = here.run(MixedLevel(0.7))
    same(got.alpha, here.slope(here.train, weights) + 0.7 * here.slope(here.valid, weights))


@case
def test_second_order_exact(make: Callable[[], Case]) -> None:
    here = make()
    exact = here.exact(here.valid)
    same(here.run(SecondOrderExact()).alpha, exact)
    # The test would see a wrong correction.
    first = here.slope(here.valid, [w.detach() for w in here.ahead(here.problem.alpha)])
    assert (first - exact).norm() > 1e-5 * exact.norm()


@case
def test_second_order_is_the_published_difference(make: Callable[[], Case]) -> None:
    here = make()
    for radius in (0.01, 0.1):
        same(here.run(SecondOrder(radius)).alpha, here.difference(here.valid, radius))


@case
def test_mixed_level_second_order(make: Callable[[], Case]) -> None:
    here = make()
    expected = here.difference(here.train, 0.01) + 0.7 * here.difference(here.valid, 0.01)
    got = here.run(MixedLevelSecondOrder(0.7))
    same(got.alpha, expected)
    single = here.run(SingleLevel()).weights
    assert got.weights is not None
    assert single is not None
    assert all(torch.equal(*pair) for pair in zip(got.weights, single, strict=True))


def test_difference_converges_to_the_exact_derivative() -> None:
    here = toy()
    exact = here.run(SecondOrderExact()).alpha
    errors = [(here.run(SecondOrder(r)).alpha - exact).norm().item() for r in (0.1, 0.01, 0.001)]
    # A central difference's error falls with the square of its step.
    assert errors[0] > 30 * errors[1] > 30 * 30 * errors[2] > 0


def test_mixed_level_without_validation_is_single_level() -> None:
    here = toy()
    single, mixed = here.run(SingleLevel()), here.run(MixedLevel(0.0))
    assert torch.equal(single.alpha, mixed.alpha)
    assert single.weights is not None
    assert mixed.weights is not None
    assert all(torch.equal(*pair) for pair in zip(single.weights, mixed.weights, strict=True))


@pytest.mark.parametrize("setting", ["momentum", "weight_decay", "learning_rate"])
@pytest.mark.parametrize("rule", [SecondOrder(), SecondOrderExact(), MixedLevelSecondOrder()])
def test_the_virtual_step_counts(rule: UpdateRule, setting: str) -> None:
    here = toy()
    without = rule.gradients(here.problem, here.train, here.valid, replace(here.virtual, **{setting: 0.0}))
    assert (without.alpha - here.run(rule).alpha).abs().max() > 1e-5


def test_without_learning_rate_second_order_is_first_order() -> None:
    here = toy()
    still = replace(here.virtual, learning_rate=0.0)
    for rule in (SecondOrder(), SecondOrderExact()):
        got = rule.gradients(here.problem, here.train, here.valid, still)
        assert torch.equal(got.alpha, here.run(FirstOrder()).alpha)


def test_virtual_step_is_the_optimisers() -> None:
    network, alpha = smooth()
    here = problem(network, alpha)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9, weight_decay=0.02)
    for step in range(3):
        virtual = virtual_step(optimizer, here.parameters)
        assert (virtual.buffers is None) is (step == 0)
        gradients = here.gradient(batch(step), "weights").weights
        assert gradients is not None
        ahead = virtual.apply(here.parameters, gradients)
        for w, g in zip(here.parameters, gradients, strict=True):
            w.grad = g
        optimizer.step()
        for mine, theirs in zip(ahead, here.parameters, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("settings", [{"nesterov": True}, {"dampening": 0.5}])
def test_other_optimisers_are_refused(settings: dict[str, float]) -> None:
    network, _ = smooth()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9, **settings)
    with pytest.raises(UserError, match="without nesterov and without dampening"):
        virtual_step(optimizer, tuple(network.parameters()))


@pytest.mark.parametrize("rule", [r for r in RULES if r.needs_virtual])
def test_a_missing_virtual_step_is_refused(rule: UpdateRule) -> None:
    here = toy()
    with pytest.raises(ValueError, match="needs the virtual step"):
        rule.gradients(here.problem, here.train, here.valid)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_all_passes_have_the_same_noise(rule: UpdateRule) -> None:
    seen: list[Tensor | None] = []

    class Recorded(Relaxation):
        def noise(
            self, shape: torch.Size, generator: torch.Generator | None, device: torch.device
        ) -> Tensor | None:
            return Gumbel().noise(shape, generator, device)

        def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
            seen.append(noise)
            return Gumbel().shares(alpha, noise)

    here = toy(Recorded())
    here.run(rule)
    assert len(seen) >= 1
    assert all(noise is here.problem.noise for noise in seen)
    before = here.problem.noise
    here.problem.draw()
    assert before is not None
    assert here.problem.noise is not None
    assert not torch.equal(before, here.problem.noise)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_nothing_is_changed(rule: UpdateRule) -> None:
    here = toy()
    before = [w.clone() for w in (*here.problem.parameters, here.problem.alpha)]
    first, second = here.run(rule), here.run(rule)
    assert torch.equal(first.alpha, second.alpha)
    after = (*here.problem.parameters, here.problem.alpha)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert all(w.grad is None for w in after)
    assert not first.alpha.requires_grad


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_reference_changes_no_number(rule: UpdateRule) -> None:
    here = toy()
    plain = here.run(rule).alpha
    here.problem.reference = True
    torch.testing.assert_close(here.run(rule).alpha, plain, rtol=1e-12, atol=1e-12)
    assert here.problem.backward(here.train, "alpha").weights is not None


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@pytest.mark.parametrize("make", [toy, sparse, entropic])
def test_losses_and_accuracies(rule: UpdateRule, make: Callable[[], Case]) -> None:
    """Those of the task, whatever the objective."""
    here = make()
    got, weights = here.run(rule), list(here.network.parameters())
    _, logits, train = here.task(here.train, weights, here.problem.alpha)
    valid_at = [w.detach() for w in here.ahead(here.problem.alpha)] if rule.needs_virtual else weights
    _, _, valid = here.task(here.valid, valid_at, here.problem.alpha)
    for mine, theirs in ((got.train_loss, train), (got.valid_loss, valid)):
        if mine is not None:
            torch.testing.assert_close(mine, theirs.detach(), rtol=1e-10, atol=0)
    assert (got.valid_loss is not None) is rule.needs_valid
    assert got.train_loss is not None or got.valid_loss is not None
    if got.train_accuracy is not None:
        right = logits.argmax(1) == here.train.labels
        assert got.train_accuracy == right.double().mean()


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_one_average_over_processes_in_a_pass(rule: UpdateRule) -> None:
    here = toy()
    calls: list[int] = []

    def mean(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        calls.append(len(tensors))
        return tensors

    here.problem.mean = mean
    here.run(rule)
    passes = {"SingleLevel": 1, "FirstOrder": 1, "MixedLevel": 2, "SecondOrderExact": 3, "SecondOrder": 4}
    assert len(calls) == passes.get(type(rule).__name__, 7)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_fast_path_has_the_gradients_of_the_reference(rule: UpdateRule) -> None:
    torch.manual_seed(0)
    fast = DARTSFast(channels=4, cells=2, inputs=2, classes=5).double()
    initialise_supernet(fast, torch.Generator().manual_seed(0))
    alpha = nn.Parameter(torch.randn(2, 14, 8, dtype=torch.float64))
    train, valid, step = batch(1, size=16), batch(2, size=16), VirtualStep(0.2, 0.0, 0.01)
    expected = rule.gradients(problem(fast.to_reference(), alpha), train, valid, step)
    with NoWaiting():
        got = rule.gradients(problem(fast, alpha), train, valid, step)
    same(got.alpha, expected.alpha, 1e-10)


@pytest.mark.parametrize("make", [sparse, entropic])
def test_the_loss_and_its_curvature_are_those_of_the_objective(make: Callable[[], Case]) -> None:
    here = make()
    alpha, weights = here.problem.alpha, list(here.network.parameters())
    torch.testing.assert_close(
        here.problem.loss(here.valid), here.loss(here.valid, weights, alpha), rtol=1e-12, atol=0
    )
    along = torch.randn(alpha.shape, dtype=alpha.dtype, generator=torch.Generator().manual_seed(3))
    slope = torch.autograd.grad(here.loss(here.valid, weights, alpha), alpha, create_graph=True)[0]
    same(here.problem.hessian_product(here.valid, along), torch.autograd.grad(slope, alpha, along)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixedLevel(-1.0), "0 or more, got -1.0"),
        (lambda: MixedLevel(float("nan")), "0 or more, got nan"),
        (lambda: SecondOrder(0.0), "positive number, got 0.0"),
        (lambda: MixedLevelSecondOrder(1.0, float("inf")), "positive number, got inf"),
    ],
)
def test_bad_settings(make: Callable[[], UpdateRule], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_a_direction_of_length_zero() -> None:
    """A validation loss that no weight changes: the correction is zero, not a division by zero."""
    here = toy()
    zeros = tuple(torch.zeros_like(w) for w in here.problem.parameters)
    assert SecondOrder().correction(here.problem, here.train, zeros).abs().max() == 0
    assert SecondOrderExact().correction(here.problem, here.train, zeros).abs().max() == 0
