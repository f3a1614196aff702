"""Regularisers against known answers and formulas that are written out here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from crlso.errors import UserError
from supernet.objectives import LogSum, NodeEntropy, Objective, Plain, sparsity
from supernet.relaxation import NodeReLU
from tests.supernet.dispatch import NoWaiting

EDGES = tuple((source, node) for node in range(2, 6) for source in range(node))
FIRST = (0, 2, 5, 9)  # first edge into each node


def equal_operators(cells: int, count: int) -> Tensor:
    """Shares of cells whose nodes have so many operators on their first edge."""
    shares = torch.zeros(cells, 14, 3, dtype=torch.float64)
    shares[:, FIRST, :count] = 1 / count
    return shares


@pytest.mark.parametrize(
    ("cells", "start", "sparse"),
    [(8, "576.2", ["125.8", "208.5", "275.7"]), (14, "1008.4", ["220.2", "364.9", "482.4"])],
)
def test_sparsity_has_the_known_values(cells: int, start: str, sparse: list[str]) -> None:
    """At the start, and with 1, 2 and 3 equal operators in each node."""
    dense = NodeReLU(EDGES).shares(torch.full((cells, 14, 3), 2.0, dtype=torch.float64), None)
    assert f"{sparsity(dense):.1f}" == start
    assert [f"{sparsity(equal_operators(cells, count)):.1f}" for count in (1, 2, 3)] == sparse


def random_shares(seed: int = 0) -> Tensor:
    alpha = torch.randn(2, 14, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return NodeReLU(EDGES).shares(alpha, None)


def test_plain() -> None:
    task = torch.tensor(1.5)
    assert Plain()(task, random_shares()) is task
    assert not Plain().tensors()


def test_log_sum() -> None:
    shares, made = random_shares(), LogSum(0.02, 0.3)
    s = math.fsum(math.log(1 + 50 * w) for w in shares.flatten().tolist())
    task = torch.tensor(1.5, dtype=torch.float64)
    assert made(task, shares).item() == pytest.approx(1.5 * (1 + 0.02 * s) + 0.02 * 0.3 * s, rel=1e-12)
    made.tensors()["gamma"].mul_(2)
    made.tensors()["mu"].mul_(3)
    assert made(task, shares).item() == pytest.approx(1.5 * (1 + 0.04 * s) + 0.04 * 0.9 * s, rel=1e-12)


def test_entropy() -> None:
    shares, made = random_shares(), NodeEntropy(EDGES, 0.02)
    ends = (*FIRST, 14)
    nodes = [shares[k, a:b].flatten().numpy() for k in range(2) for a, b in itertools.pairwise(ends)]
    h = float(np.sum([scipy.stats.entropy(node) for node in nodes]))
    task = torch.tensor(1.5, dtype=torch.float64)
    assert made(task, shares).item() == pytest.approx(1.5 + 0.02 * h, rel=1e-12)
    made.tensors()["weight"].mul_(5)
    assert made(task, shares).item() == pytest.approx(1.5 + 0.1 * h, rel=1e-12)


@pytest.mark.parametrize("objective", [Plain(), LogSum(), NodeEntropy(EDGES, 0.1)])
def test_gradients_and_types(objective: Objective) -> None:
    task = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    shares = (random_shares() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(objective, (task, shares))
    with NoWaiting():
        assert objective(task.float(), shares.float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogSum(0.0), "gamma above 0 .* got gamma 0.0 and mu 0.1"),
        (lambda: LogSum(1e-4, -1.0), "mu of 0 or more, got gamma 0.0001 and mu -1.0"),
        (lambda: LogSum(math.nan), "got gamma nan"),
        (lambda: NodeEntropy(EDGES, 0.0), "positive number, got 0.0"),
        (lambda: NodeEntropy(EDGES, math.inf), "positive number, got inf"),
        (lambda: NodeEntropy([(0, 2), (0, 3), (1, 2)], 1.0), "ordered by their targets"),
    ],
)
def test_bad_numbers(make: Callable[[], Objective], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
