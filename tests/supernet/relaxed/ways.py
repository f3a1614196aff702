"""The ways in which operations are merged, each on any device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from supernet.networks.relaxed.merged import MergedEdges
from supernet.networks.relaxed.sparse import SparseEdges

WAYS = ("by_kind", "joined", "joined, all digits")


@contextlib.contextmanager
def merged(way: str) -> Iterator[None]:
    """Inside, merged cells compute in one of :data:`WAYS`, which the device would choose otherwise."""
    name, _, digits = way.partition(", ")

    def forward(self: MergedEdges, inputs: Sequence[Tensor], shares: Tensor) -> list[Tensor]:
        return self.states(inputs, shares, self.ways[name])

    def sparse(self: SparseEdges, inputs: Mapping[int, Tensor], shares: Tensor) -> list[Tensor]:
        return self.states(inputs, shares, name)

    with (
        pytest.MonkeyPatch.context() as patch,
        torch.backends.cudnn.flags(enabled=True, allow_tf32=not digits),
    ):
        patch.setattr(MergedEdges, "forward", forward)
        patch.setattr(SparseEdges, "forward", sparse)
        yield
