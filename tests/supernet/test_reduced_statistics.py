"""Two processes with half a batch each against one process with all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from supernet.curvature import dominant_eigenvalue
from supernet.networks.normalisation import OwnBatch, Statistics
from supernet.relaxation import Gumbel
from supernet.update_rules import (
    Batch,
    FirstOrder,
    MixedLevel,
    MixedLevelSecondOrder,
    Problem,
    SecondOrder,
    SecondOrderExact,
    SingleLevel,
    VirtualStep,
)
from tests.supernet.toys import batch, smooth

RULES = (
    SingleLevel(),
    FirstOrder(),
    MixedLevel(),
    SecondOrder(),
    SecondOrderExact(),
    MixedLevelSecondOrder(),
)


def halves(data: Batch, rank: int, world: int) -> Batch:
    return Batch(data.images.chunk(world)[rank], data.labels.chunk(world)[rank])


def mean(tensors: Any) -> list[Tensor]:
    made = []
    for tensor in tensors:
        total = tensor.clone()
        dist.all_reduce(total)
        made.append(total / dist.get_world_size())
    return made


def computed(rank: int, world: int, statistics: Statistics) -> dict[str, Tensor]:
    """Everything that can be compared, from this process' share of the images."""
    average = mean if world > 1 else list
    out: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 6, 3, 4, 4, dtype=torch.float64, generator=generator).unbind()
    # An offset of 1000 would show a variance computed as the mean of squares minus the squared mean.
    x = (x + 1000).chunk(world)[rank].requires_grad_()
    scale = torch.rand(3, dtype=torch.float64, generator=generator).requires_grad_()
    y = statistics.normalise(x, scale)
    first = torch.autograd.grad(
        (y.sin() * weight.chunk(world)[rank]).sum() / (6 // world), [x, scale], create_graph=True
    )
    # Of the mean over processes, as the gradients in a weight.
    second = torch.autograd.grad(first[0].pow(2).sum() * world, [x, scale])
    out |= {"own y": y, "own dx": first[0] / world, "own unscaled": statistics.normalise(x)}
    out |= {"dscale": average([first[1]])[0], "own ddx": second[0] / world**3}
    out |= {"ddscale": average([second[1]])[0] / world**2}

    network, alpha = smooth(0, statistics)
    problem = Problem(network, alpha, Gumbel(), mean=average)
    problem.draw(torch.Generator().manual_seed(3))
    train, valid = (halves(batch(seed), rank, world) for seed in (1, 2))
    for rule in RULES:
        got = rule.gradients(problem, train, valid, VirtualStep(0.2, 0.9, 0.01))
        name = type(rule).__name__
        out[name] = got.alpha
        for index, each in enumerate(got.weights or ()):
            out[f"{name} weights {index}"] = each
        for what in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"):
            value = getattr(got, what)
            if value is not None:
                out[f"{name} {what}"] = value
    out["eigenvalue"] = dominant_eigenvalue(
        problem, valid, iterations=3, generator=torch.Generator().manual_seed(4)
    )
    return {name: value.detach() for name, value in out.items()}


@pytest.fixture(scope="module")
def both(two_processes: Path) -> list[dict[str, Tensor]]:
    return [torch.load(two_processes / f"{rank}.pt") for rank in range(2)]


def test_two_processes_equal_one(both: list[dict[str, Tensor]]) -> None:
    whole = computed(0, 1, OwnBatch())
    assert set(whole) == set(both[0]) == set(both[1])
    for name, expected in whole.items():
        for rank, got in enumerate(both):
            mine = expected.chunk(2)[rank] if name.startswith("own") else expected
            torch.testing.assert_close(
                got[name], mine, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_statistics_of_the_own_batch_would_not_pass(both: list[dict[str, Tensor]]) -> None:
    own = computed(0, 1, OwnBatch())
    generator = torch.Generator().manual_seed(0)
    x, _ = torch.randn(2, 6, 3, 4, 4, dtype=torch.float64, generator=generator).unbind()
    half = OwnBatch().normalise((x + 1000)[:3])
    assert (half - own["own unscaled"][:3]).abs().max() > 0.01
    torch.testing.assert_close(both[0]["own unscaled"], own["own unscaled"][:3], rtol=0, atol=1e-9)
