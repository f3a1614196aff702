"""Models and heads small enough for tests."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from crlso.latent import ConvexHeads, LatentModel, ModelSettings
from crlso.protocols import Codes, SearchSpace
from crlso.spaces import EdgeCellSpace, Subset, get_space

SMALL = ModelSettings(latent_dim=6, width=12, layers=2, heads=3, head_width=5, head_layers=2, head_rank=2)


def small_model(space: SearchSpace, *, seed: int = 0) -> LatentModel:
    """A model with random parameters."""
    return LatentModel(space, SMALL, seed=seed)


def all_codes(space: SearchSpace) -> Codes:
    """Every code of a small space."""
    return np.concatenate(list(space.enumerate()))


def thin_spaces() -> dict[str, SearchSpace]:
    """One space of each kind."""
    nasbench201 = get_space("nasbench201")
    members = np.unique(nasbench201.sample(50, np.random.default_rng(0)), axis=0)
    return {
        "nasbench201": nasbench201,
        "nasbench101": get_space("nasbench101"),
        "fxdarts": get_space("fxdarts"),
        "toy64": get_space("toy64"),
        "subset": Subset(nasbench201, members),
        "declared": EdgeCellSpace("declared", nodes=3, operations=["none", "skip_connect", "conv"]),
    }


def quadratic_heads(matrices: Tensor, linear: Tensor, constant: float = 0.0) -> ConvexHeads:
    """Heads ``|Q^T z|^2 / 2 + a^T z + c`` in float64, from ``Q`` ``[K, k, r]`` and ``a`` ``[K, k]``."""
    count, dim, rank = matrices.shape
    heads = ConvexHeads(count, dim, width=2, layers=1, rank=rank).double()
    assert heads.quadratic is not None
    with torch.no_grad():
        heads.out_theta.fill_(-1e4)  # softplus is exactly 0: the hidden units do not count
        heads.quadratic.copy_(matrices)
        heads.linear.copy_(linear[..., None])
        heads.constant.fill_(constant)
    return heads


def shake(module: nn.Module, scale: float, seed: int) -> None:
    """Adds normal noise of the given scale to all parameters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(scale * noise.to(parameter.dtype))
