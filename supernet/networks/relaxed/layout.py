"""How the tensors of the fast path of a supernet are stacked from those of the reference path."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from supernet.networks.supernet import Supernet

Layout: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""For every tensor of the fast path: the same one of the reference path, or those that it is a stack of."""


def prefixed(layout: Layout, prefix: str) -> dict[str, str | tuple[str, ...]]:
    """A layout inside a larger module, under the same name in both paths."""
    return {
        prefix + name: prefix + parts if isinstance(parts, str) else tuple(prefix + part for part in parts)
        for name, parts in layout.items()
    }


def merge(layout: Layout, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the reference path (weights, gradients, momentum) as the fast path has them."""
    return {
        name: tensors[parts] if isinstance(parts, str) else torch.stack([tensors[part] for part in parts])
        for name, parts in layout.items()
    }


def divide(layout: Layout, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back from :func:`merge`; the results are views."""
    found: dict[str, Tensor] = {}
    for name, parts in layout.items():
        if isinstance(parts, str):
            found[parts] = tensors[name]
        else:
            found.update(zip(parts, tensors[name].unbind(0), strict=True))
    return found


class FastSupernet(Supernet):
    """A supernet with merged operations, beside the reference that computes the same one at a time."""

    @abstractmethod
    def layout(self) -> Layout:
        """What its weights are stacks of."""

    @abstractmethod
    def reference(self) -> Supernet:
        """A reference of the same sizes and statistics, with initial weights of its own."""

    def load_reference(self, reference: Supernet) -> None:
        """Takes over (copies) the weights of a reference of the same sizes.

        Raises:
            KeyError: A reference of other sizes or of another space.
            RuntimeError: Likewise.
        """
        self.load_state_dict(merge(self.layout(), reference.state_dict()))

    def to_reference(self) -> Supernet:
        """A reference with copies of the weights, on their device and with their precision."""
        reference = self.reference().to(next(self.parameters()))
        reference.load_state_dict(divide(self.layout(), self.state_dict()))
        return reference
