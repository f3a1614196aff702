"""The dominant eigenvalue against the whole Hessian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import UserError
from supernet.curvature import dominant_eigenvalue
from supernet.relaxation import Softmax
from supernet.update_rules import Batch, Problem
from tests.supernet.dispatch import NoWaiting
from tests.supernet.toys import SmoothSupernet, batch, smooth

# Their dominant eigenvalue is well apart from the others; one is negative.
SEEDS = (0, 1, 5)


def eigenvalues(network: nn.Module, alpha: Tensor, data: Batch) -> Tensor:
    def loss(flat: Tensor) -> Tensor:
        logits = network(data.images, torch.softmax(flat.view_as(alpha), dim=-1))
        return F.cross_entropy(logits, data.labels)

    hessian = torch.autograd.functional.hessian(loss, alpha.detach().flatten())
    return torch.linalg.eigvalsh(hessian)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_the_largest_of_the_whole_hessian(seed: int) -> None:
    network, alpha = smooth(seed)
    values = eigenvalues(network, alpha, batch(seed))
    expected = values[values.abs().argmax()]
    problem = Problem(network, alpha, Softmax())
    got = dominant_eigenvalue(problem, batch(seed), iterations=50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=0)


def test_both_signs_were_among_these() -> None:
    signs = set()
    for seed in SEEDS:
        values = eigenvalues(*smooth(seed), batch(seed))
        signs.add(values[values.abs().argmax()].sign().item())
    assert signs == {-1.0, 1.0}


def test_more_iterations_come_nearer() -> None:
    network, alpha = smooth(1)
    values = eigenvalues(network, alpha, batch(1))
    expected = values[values.abs().argmax()]
    problem = Problem(network, alpha, Softmax())
    errors = [
        (
            dominant_eigenvalue(problem, batch(1), iterations=n, generator=torch.Generator().manual_seed(0))
            - expected
        ).abs()
        for n in (2, 10, 50)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_a_flat_loss_has_curvature_zero() -> None:
    network, alpha = smooth()
    nn.init.zeros_(network.classifier.weight)
    problem = Problem(network, alpha, Softmax())
    assert dominant_eigenvalue(problem, batch(0)) == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_it_does_not_wait_for_the_device(device: str) -> None:
    network = SmoothSupernet().to(device)
    alpha = nn.Parameter(torch.zeros(network.SHAPE, device=device))
    images = torch.zeros(3, 2, 5, 5, device=device)
    problem = Problem(network, alpha, Softmax())
    with NoWaiting():
        got = dominant_eigenvalue(
            problem, Batch(images, torch.zeros(3, dtype=torch.int64, device=device)), iterations=2
        )
    assert got.device.type == device
    assert got.shape == ()


def test_no_iterations_are_refused() -> None:
    network, alpha = smooth()
    with pytest.raises(UserError, match="1 iteration or more, got 0"):
        dominant_eigenvalue(Problem(network, alpha, Softmax()), batch(0), iterations=0)
