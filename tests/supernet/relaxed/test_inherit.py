"""Discrete networks with shared weights equal the supernet with one-hot shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crlso.errors import UserError
from crlso.protocols import SearchSpace
from crlso.spaces import EdgeCellSpace, get_space
from supernet.networks import OPERATIONS, Skeleton
from supernet.networks.darts import DARTSSizes
from supernet.networks.families import family_of
from supernet.networks.family import ImageTask, NetworkFamily, Path
from supernet.networks.relaxed import initialise_supernet


def family(name: str) -> NetworkFamily:
    task = ImageTask(channels=2, size=(18, 25) if name == "imagenet" else (8, 7), classes=5)
    if name == "all":
        space: SearchSpace = EdgeCellSpace("all", nodes=4, operations=list(OPERATIONS))
        return family_of(space, task, Skeleton(4, 1, 2))
    if name == "nasbench201":
        return family_of(get_space(name), task, Skeleton(4, 1, 2))
    return family_of(
        get_space("darts"), task, DARTSSizes(4, 3, "imagenet" if name == "imagenet" else "cifar")
    )


@pytest.mark.parametrize("path", ["fast", "reference"])
@pytest.mark.parametrize("name", ["darts", "imagenet", "nasbench201", "all"])
def test_one_hot_shares_are_the_discrete_network(name: str, path: Path) -> None:
    networks = family(name)
    supernet = networks.supernet(path=path).double()
    initialise_supernet(supernet, torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    images = torch.randn(6, 2, *networks.task.size, dtype=torch.float64)
    codes = networks.space.sample(4, np.random.default_rng(0))
    mixings = networks.mixing(codes).double()
    for code, mixing, another in zip(codes, mixings, mixings.roll(1, 0), strict=True):
        discrete = networks.inherit(supernet, code)
        with torch.no_grad():
            relaxed, alone = supernet(images, mixing), discrete(images)
        torch.testing.assert_close(alone, relaxed, rtol=1e-10, atol=1e-10)
        assert not torch.allclose(supernet(images, another), relaxed)
    # Copies, not the supernet's own.
    with torch.no_grad():
        for weight in discrete.parameters():
            weight.zero_()
        torch.testing.assert_close(supernet(images, mixing), relaxed)


def test_another_spaces_supernet() -> None:
    darts, cells = family("darts"), family("nasbench201")
    for one, other in ((darts, cells), (cells, darts)):
        with pytest.raises(UserError, match="has no weights for the space"):
            one.inherit(other.supernet(), one.space.sample(1, np.random.default_rng(0))[0])
