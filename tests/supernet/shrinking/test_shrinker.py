"""The shrinker against removals that are done here one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from crlso.errors import RunError, UserError
from crlso.protocols import BoolArray
from supernet.objectives import LogSum, NodeEntropy, sparsity
from supernet.relaxation import Masked, NodeReLU, NodeSoftmax, Relaxation
from supernet.shrinking import ESSController, Pace, Shrinker, SNPSController
from supernet.shrinking.shrinker import MOST_PLATEAUS, MOST_ROWS
from tests.supernet.dispatch import NoWaiting

EDGES = tuple((source, node) for node in range(2, 6) for source in range(node))
SHAPE = (2, 14, 3)
NODES = (slice(0, 2), slice(2, 5), slice(5, 9), slice(9, 14))  # rows of the edges into each node
PACE = Pace(most=0.5, target=1.0, smoothing=0.5, up=2.0, down=0.5, patience=2)


def snps(threshold: float = 0.01, shape: tuple[int, int, int] = SHAPE) -> Shrinker:
    return Shrinker(EDGES, shape, threshold, SNPSController(LogSum(0.125, 0.125), PACE))


def ess() -> Shrinker:
    return Shrinker(EDGES, SHAPE, 0.02, ESSController(NodeEntropy(EDGES, 0.125), PACE, growth=2.0))


def left_of(alive: BoolArray, shares: NDArray[Any], threshold: float) -> BoolArray:
    """Removes entries one at a time, node by node."""
    left = alive.copy()
    for kind in range(len(left)):
        for rows in NODES:
            own = [(edge, op) for edge in range(rows.start, rows.stop) for op in range(left.shape[2])]
            own = [(edge, op) for edge, op in own if alive[kind, edge, op]]
            strongest = max(own, key=lambda entry: float(shares[kind][entry]))  # the first of equal ones
            for entry in own:
                if shares[kind][entry] < threshold and entry != strongest:
                    left[kind][entry] = False
    return left


def drawn(seed: int, spread: float = 2.0) -> Tensor:
    return spread * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from([0.0, -0.0, 1e-30, -1e-30, 1e-3, 0.1, 1.0, -1.0, 90.0, -1e4, 1e4, 1e30, -1e30]),
            min_size=84,
            max_size=84,
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([NodeSoftmax(EDGES), NodeReLU(EDGES)]),
    st.sampled_from([1e-6, 0.01, 0.06]),
)
def test_removals_and_what_stays(weights: list[list[float]], inner: Relaxation, threshold: float) -> None:
    shrinker = snps(threshold)
    relaxation = Masked(inner, shrinker.alive)
    alive: BoolArray = np.ones(SHAPE, dtype=np.bool_)
    for row in weights:
        alpha = nn.Parameter(torch.tensor(row).view(SHAPE))
        shares = relaxation.shares(alpha, None)
        shrinker.step(shares)
        alive = left_of(alive, shares.detach().numpy(), threshold)
        assert np.array_equal(shrinker.alive.numpy(), alive)
        for rows in NODES:
            assert alive[:, rows].any(axis=(1, 2)).all()
        after = relaxation.shares(alpha, None)
        assert (after[~shrinker.alive] == 0).all()
        LogSum(0.1, 0.1)(torch.tensor(1.0), after).backward()
        assert alpha.grad is not None
        assert torch.isfinite(alpha.grad).all()
        assert (alpha.grad[~shrinker.alive] == 0).all()


def test_the_first_of_equally_strong_ones_stays() -> None:
    shrinker = snps()
    shares = torch.zeros(SHAPE)
    shrinker.step(shares)
    expected = torch.zeros(SHAPE, dtype=torch.bool)
    for rows in NODES:
        expected[:, rows.start, 0] = True
    assert torch.equal(shrinker.alive, expected)


def test_what_is_no_number_removes_nothing() -> None:
    shrinker = snps()
    shrinker.step(torch.full(SHAPE, float("nan")))
    assert shrinker.alive.all()


def many_steps(shrinker: Shrinker, steps: range) -> list[BoolArray]:
    """What is left after each step."""
    relaxation = Masked(NodeSoftmax(EDGES), shrinker.alive)
    seen: list[BoolArray] = []
    for step in steps:
        shrinker.step(relaxation.shares(drawn(step), None))
        seen.append(shrinker.alive.numpy().copy())
    return seen


@pytest.mark.parametrize("make", [snps, ess])
def test_the_trace_tells_what_happened(make: Any) -> None:
    shrinker = make()
    seen = [np.ones(SHAPE, dtype=np.bool_), *many_steps(shrinker, range(30))]
    trace = shrinker.flush()
    counts = np.array([alive.sum() for alive in seen])
    assert counts[0] > counts[1] > counts[-1]
    assert np.array_equal(trace["step"], np.arange(1, 31))
    assert np.array_equal(trace["alive"], counts[1:])
    assert np.array_equal(trace["removed"], counts[:-1] - counts[1:])
    rate = 0.0
    for removed, noted in zip(trace["removed"], trace["rate"], strict=True):
        rate = 0.5 * rate + 0.5 * removed
        assert noted == rate
    assert {"target", "weight", "stalls"} < set(trace)
    for step, alive in enumerate(seen):
        assert np.array_equal(shrinker.alive_after(step), alive)
    for step in (-1, 31):
        with pytest.raises(ValueError, match=f"step {step} of 30"):
            shrinker.alive_after(step)
    removed_at = shrinker.removed_at.numpy()
    for entry in np.ndindex(SHAPE):
        gone = [step for step, alive in enumerate(seen) if not alive[entry]]
        assert removed_at[entry] == (gone[0] if gone else -1)
    assert len(shrinker.flush()["step"]) == 0
    many_steps(shrinker, range(30, 32))
    assert shrinker.flush()["step"].tolist() == [31, 32]


def equal(shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return NodeSoftmax(EDGES).shares(torch.zeros(shape), None)


def test_plateaus_are_those_of_the_controller() -> None:
    """4 removals, then as in the controller's trace by hand: the first plateau after 8 steps."""
    shrinker = snps()
    shares = equal()
    shares[0, 0:2, :2] = 0.0
    shares[0, 0:2, 2] = 0.5
    for step in range(9):
        shrinker.step(shares)
        assert shrinker.plateaus() == ((8,) if step >= 7 else ())
    shares[1, 2, 0:2] = 0.0
    for _ in range(4):
        shrinker.step(shares)
    # The target stays here (1.0): after 2 removals the rate is 1.004, 0.502, 0.251, 0.125.
    assert shrinker.plateaus() == (8, 12)
    trace = shrinker.flush()
    assert trace["removed"].tolist() == [4.0, *[0.0] * 8, 2.0, *[0.0] * 3]
    assert trace["rate"][9:].tolist() == [1.00390625, 0.501953125, 0.2509765625, 0.12548828125]


def test_more_steps_than_a_trace_holds() -> None:
    edges, shape = ((0, 2), (1, 2)), (1, 2, 1)
    pace = Pace(most=1.0, target=1.0, smoothing=0.0, up=1.0, down=1.0, patience=8)
    shrinker = Shrinker(edges, shape, 0.1, SNPSController(LogSum(1.0, 0.1), pace, mu_factor=1.0))
    shares, steps = torch.full(shape, 0.5), MOST_ROWS + 40
    for _ in range(steps):
        shrinker.step(shares)
    again = Shrinker(edges, shape, 0.1, SNPSController(LogSum(1.0, 0.1), pace, mu_factor=1.0))
    again.load_state_dict(shrinker.state_dict())
    for one in (shrinker, again):
        assert one.plateaus() == tuple(8 * (number + 1) for number in range(MOST_PLATEAUS))
        assert int(one.steps) == steps
        assert one.flush()["step"].tolist() == list(range(41, steps + 1))


@pytest.mark.parametrize("make", [snps, ess])
@pytest.mark.parametrize("at", [0, 1, 9, 17])
def test_a_state_goes_on_as_if_nothing_had_been(make: Any, at: int) -> None:
    whole, first, second = make(), make(), make()
    many_steps(whole, range(24))
    many_steps(first, range(at))
    second.load_state_dict(first.state_dict())
    many_steps(second, range(at, 24))
    assert whole.plateaus() == second.plateaus()
    assert whole.plateaus()
    for step in range(25):
        assert np.array_equal(whole.alive_after(step), second.alive_after(step))
    one, other = whole.flush(), second.flush()
    assert set(one) == set(other)
    for name in one:
        assert np.array_equal(one[name], other[name])


def test_a_state_is_a_copy_and_keeps_its_places() -> None:
    shrinker = snps()
    masked = Masked(NodeSoftmax(EDGES), shrinker.alive)
    many_steps(shrinker, range(3))
    state, alive = shrinker.state_dict(), shrinker.alive.clone()
    many_steps(shrinker, range(3, 9))
    assert not torch.equal(shrinker.alive, alive)
    shrinker.load_state_dict(state)
    assert torch.equal(shrinker.alive, alive)
    assert masked.alive is shrinker.alive


def test_a_state_of_another_shrinker_is_refused() -> None:
    for other in (ess(), snps(shape=(3, 14, 3))):
        with pytest.raises(RunError, match="state of another shrinker; choose another directory"):
            snps().load_state_dict(other.state_dict())


@pytest.mark.parametrize("make", [snps, ess])
def test_no_step_waits_for_the_device_or_moves_its_state(make: Any) -> None:
    shrinker = make()
    alive = shrinker.alive.data_ptr()
    relaxation = Masked(NodeSoftmax(EDGES), shrinker.alive)
    alphas = [drawn(step) for step in range(10)]
    with NoWaiting():
        for alpha in alphas:
            shrinker.step(relaxation.shares(alpha, None))
    assert shrinker.alive.data_ptr() == alive
    assert len(shrinker.flush()["step"]) == 10


def test_a_step_on_the_meta_device() -> None:
    controller = SNPSController(LogSum(device="meta"), PACE)
    shrinker = Shrinker(EDGES, SHAPE, 0.01, controller, "meta")
    with NoWaiting("meta"):
        shrinker.step(torch.empty(SHAPE, device="meta"))


def test_a_descent_leaves_the_best_operator_of_each_node() -> None:
    """SNPS with a task that prefers some operators: these are left, and the sparsity is the known one."""
    objective = LogSum(0.1, 0.1)
    shrinker = Shrinker(EDGES, SHAPE, 0.01, SNPSController(objective, Pace(target=0.5)))
    relaxation = Masked(NodeReLU(EDGES), shrinker.alive)
    alpha = nn.Parameter(torch.full(SHAPE, 2.0))
    optimizer = torch.optim.SGD([alpha], lr=1.0)
    costs = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
    for _ in range(300):
        optimizer.zero_grad()
        shares = relaxation.shares(alpha, None)
        objective((costs * shares).sum(), shares).backward()
        optimizer.step()
        shrinker.step(relaxation.shares(alpha.detach(), None))
    left = shrinker.alive.numpy()
    assert left.sum() == 8
    for kind in range(2):
        for rows in NODES:
            assert left[kind, rows].reshape(-1).argmax() == costs[kind, rows].reshape(-1).argmin()
    with torch.no_grad():
        # 8 nodes of one operator each; the published 125.8 is for 32.
        assert sparsity(relaxation.shares(alpha, None)).item() == pytest.approx(125.8 / 4, abs=0.02)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1 / 15, 0.2, float("nan")])
def test_thresholds_that_would_empty_a_node(threshold: float) -> None:
    """5 predecessors of 3 operations each are the largest node."""
    with pytest.raises(
        UserError, match=r"shrinking\.threshold must be above 0 and below 0\.0666667"
    ) as caught:
        snps(threshold)
    assert f"got {threshold}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_edges_are_those_of_the_shares() -> None:
    with pytest.raises(UserError, match="the shares have 13 edges, but 14 are given"):
        snps(shape=(2, 13, 3))
