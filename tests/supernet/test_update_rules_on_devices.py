"""Update rules leave the device alone, can be translated, and compute in mixed precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from supernet.networks.relaxed import DARTSReference
from supernet.relaxation import Gumbel, Masked, Relaxation, Softmax
from supernet.update_rules import (
    Batch,
    FirstOrder,
    Problem,
    SecondOrder,
    SecondOrderExact,
    UpdateRule,
    VirtualStep,
    virtual_step,
)
from tests.supernet.dispatch import NoWaiting, WouldWaitError
from tests.supernet.test_update_rules import NAMES, RULES, Case, entropic, problem, same, sparse, toy
from tests.supernet.toys import batch, smooth


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_autocast(rule: UpdateRule) -> None:
    network, alpha = smooth()
    network, alpha = network.float(), nn.Parameter(alpha.detach().float())
    data = [Batch(b.images.float(), b.labels) for b in (batch(1, 32), batch(2, 32))]
    entered: list[int] = []

    def precision() -> torch.autocast:
        entered.append(1)
        return torch.autocast("cpu", dtype=torch.bfloat16)

    step = VirtualStep(0.05, 0.9, 3e-4)
    exact = rule.gradients(Problem(network, alpha, Softmax()), *data, step).alpha
    got = rule.gradients(Problem(network, alpha, Softmax(), precision=precision), *data, step).alpha
    assert got.dtype == torch.float32
    assert not torch.equal(got, exact)
    assert (got - exact).norm() < 0.1 * exact.norm()
    # The ends of a difference, and second derivatives, are always computed precisely.
    passes = {"SingleLevel": 1, "FirstOrder": 1, "MixedLevel": 2, "SecondOrderExact": 2, "SecondOrder": 2}
    assert len(entered) == passes.get(type(rule).__name__, 3)


def meta_step(network: nn.Module, alpha: Tensor, relaxation: Relaxation, rule: UpdateRule) -> None:
    """Two steps, the first one without momentum buffers."""
    data = [
        Batch(torch.empty(4, 2, 8, 8, device="meta"), torch.empty(4, dtype=torch.int64, device="meta"))
        for _ in range(2)
    ]
    here = Problem(network, alpha, relaxation)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4)
    with NoWaiting("meta"):
        for _ in range(2):
            here.draw()
            got = rule.gradients(here, *data, virtual_step(optimizer, here.parameters))
            weights = got.weights or here.backward(data[0], "weights").weights
            assert weights is not None
            for w, g in zip(here.parameters, weights, strict=True):
                assert g.device.type == "meta"
                w.grad = g
            optimizer.step()
    assert got.alpha.device.type == "meta"
    assert got.alpha.shape == alpha.shape


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@pytest.mark.parametrize("relaxation", ["softmax", "gumbel", "hard"])
def test_a_step_on_the_meta_device(rule: UpdateRule, relaxation: str) -> None:
    network, alpha = smooth()
    relaxed = Softmax() if relaxation == "softmax" else Gumbel(hard=relaxation == "hard", device="meta")
    meta_step(network.float().to("meta"), nn.Parameter(alpha.detach().float().to("meta")), relaxed, rule)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_step_of_darts_on_the_meta_device(rule: UpdateRule) -> None:
    with torch.device("meta"):
        network = DARTSReference(channels=2, cells=2, inputs=2)
        alpha = nn.Parameter(torch.empty(2, 14, 8))
    meta_step(network, alpha, Softmax(), rule)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@pytest.mark.parametrize(
    "make",
    [toy, lambda: toy(Gumbel(hard=True)), sparse, entropic],
    ids=["softmax", "hard", "log-sum", "entropy"],
)
def test_no_step_waits_for_the_device(rule: UpdateRule, make: Callable[[], Case]) -> None:
    here = make()
    with NoWaiting():
        here.problem.draw()
        here.run(rule)


@pytest.mark.parametrize("make", [sparse, entropic])
@pytest.mark.parametrize("rule", [FirstOrder(), SecondOrderExact()])
def test_compiled_objectives_stay_valid(rule: UpdateRule, make: Callable[[], Case]) -> None:
    """A number of the objective, or a mask, that changes makes no new trace."""
    torch.compiler.reset()
    here = make()
    old = here.problem
    traced = Problem(
        old.network,
        old.alpha,
        old.relaxation,
        compiler=partial(torch.compile, backend="eager", fullgraph=True),
        objective=old.objective,
        distilled=old.distilled,
    )
    for step in range(2):
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            got = rule.gradients(traced, here.train, here.valid, here.virtual)
        same(got.alpha, here.run(rule).alpha)
        for number in old.objective.tensors().values():
            number.mul_(3)
        if isinstance(old.relaxation, Masked):
            old.relaxation.alive[1, 0, 0] = False


@pytest.mark.parametrize("rule", [FirstOrder(), SecondOrder(), SecondOrderExact()])
def test_compiled_functions_give_the_same_and_stay_valid(rule: UpdateRule) -> None:
    """Traced whole; no new trace for the next step's weights, noise, learning rate and temperature."""
    torch.compiler.reset()
    network, alpha = smooth()
    plain = problem(network, alpha, Gumbel())
    traced = Problem(
        network, alpha, plain.relaxation, compiler=partial(torch.compile, backend="eager", fullgraph=True)
    )
    for epoch, temperature in enumerate((1.0, 0.5, 0.25)):
        assert isinstance(plain.relaxation, Gumbel)
        plain.relaxation.anneal(temperature)
        plain.draw(torch.Generator().manual_seed(epoch))
        traced.noise = plain.noise
        step = VirtualStep(0.1 / (1 + epoch), 0.9, 0.01)
        with torch._dynamo.config.patch(error_on_recompile=epoch > 0):
            got = rule.gradients(traced, batch(epoch), batch(epoch + 10), step)
        same(got.alpha, rule.gradients(plain, batch(epoch), batch(epoch + 10), step).alpha)
        with torch.no_grad():
            torch._foreach_mul_(list(plain.parameters), 0.9)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: bool(x[0] > 0),
        lambda x: x[x > 0],
        lambda x: torch.empty_like(x, device="meta").copy_(x),
        lambda x: x.to("meta"),
    ],
)
def test_waiting_is_seen(wait: Callable[[Tensor], object]) -> None:
    with NoWaiting(), pytest.raises(WouldWaitError):
        wait(torch.ones(3))


def test_a_tensor_of_the_host_is_seen() -> None:
    on_meta, number = torch.ones(3, device="meta"), torch.tensor(2.0)
    with NoWaiting("meta"):
        assert (2 * on_meta + torch.zeros_like(on_meta)).device.type == "meta"
        with pytest.raises(WouldWaitError, match="on cpu"):
            torch.zeros(3)
        with pytest.raises(WouldWaitError, match="on cpu"):
            on_meta / number
