"""Relaxations: from architecture weights to the shares of the operations on each edge."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from crlso.errors import UserError

Edges = Sequence[tuple[int, int]]
"""``(source, target)`` of each edge; the edges of a target lie next to each other."""


class Relaxation(ABC):
    """Turns architecture weights into mixing shares, differentiably.

    What is random in it is drawn by :meth:`noise` once per step and handed to every pass of that step, so
    that all of them see the same function.

    Attributes:
        alive: ``[kinds, edges, operations]`` bool: what has not been removed; ``None``: nothing ever is.
    """

    alive: Tensor | None = None

    def noise(
        self, shape: torch.Size, generator: torch.Generator | None, device: torch.device
    ) -> Tensor | None:
        """What one step needs to be drawn for weights of a shape, on a device; by default nothing."""
        del shape, generator, device
        return None

    @abstractmethod
    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """Shares ``[kinds, edges, operations]``, in float32 or better.

        Those of an edge sum to 1; where a relaxation says so, those of a node (all edges into it).

        Args:
            alpha: Architecture weights ``[kinds, edges, operations]``.
            noise: What :meth:`noise` drew, or ``None`` for the shares without noise.
        """


@final
class Softmax(Relaxation):
    """Softmax over the operations of each edge (DARTS, Liu et al. 2019, equation 2)."""

    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """See the base class."""
        del noise
        return torch.softmax(_precise(alpha), dim=-1)


@final
class Gumbel(Relaxation):
    """Softmax of architecture weights plus Gumbel noise, divided by a temperature (SNAS, Xie et al. 2019).

    With ``hard`` an edge takes its strongest operation alone, and the gradient is that of the soft shares
    (straight through): the estimator of GDAS (Dong and Yang 2019, equations 5 to 7). GDAS also saves the
    operations that were not taken; here the supernet evaluates all of them, and the result is the same.

    Args:
        temperature: Above 0. It is kept as a tensor, which :meth:`anneal` writes into: compiled functions
            stay valid.
        hard: See above.
        device: Where the architecture weights are.

    Raises:
        UserError: A temperature that is not a positive number.
    """

    def __init__(
        self, temperature: float = 1.0, *, hard: bool = False, device: torch.device | str = "cpu"
    ) -> None:
        self.temperature = torch.tensor(_positive(temperature), dtype=torch.float32, device=device)
        self.hard = hard

    def anneal(self, temperature: float) -> None:
        """Sets the temperature, say once per epoch.

        Raises:
            UserError: A temperature that is not a positive number.
        """
        self.temperature.fill_(_positive(temperature))

    def noise(
        self, shape: torch.Size, generator: torch.Generator | None, device: torch.device
    ) -> Tensor | None:
        """Standard Gumbel numbers, drawn where the generator is (on the device, at best)."""
        place = device if generator is None else generator.device
        waits = torch.empty(shape, dtype=torch.float32, device=place).exponential_(generator=generator)
        tiny = torch.finfo(waits.dtype).tiny
        return -waits.clamp_min(tiny).log().to(device)

    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """See the base class. Without noise: the soft or hard shares of the architecture weights alone."""
        logits = _precise(alpha)
        if noise is not None:
            logits = logits + noise
        soft = torch.softmax(logits / self.temperature, dim=-1)
        if not self.hard:
            return soft
        strongest = soft.argmax(dim=-1, keepdim=True)
        taken = torch.zeros_like(soft).scatter(-1, strongest, 1.0)
        # In this order the forward values are 0 and 1 without a rounding error.
        return taken + (soft - soft.detach())


@final
class NodeSoftmax(Relaxation):
    """Softmax over all operations on all edges into a node: one distribution per node and kind.

    The normaliser of our reconstruction of FX-DARTS (Rao et al. 2025), whose abstract does not name it.

    Args:
        edges: ``(source, target)`` of each edge, by target.
        temperature: Architecture weights are divided by it.

    Raises:
        UserError: A temperature that is not a positive number, or edges that are not in order.
    """

    def __init__(self, edges: Edges, temperature: float = 1.0) -> None:
        self._sizes = node_sizes(edges)
        self.temperature = _positive(temperature)

    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """See the base class; the shares of a node sum to 1."""
        del noise
        nodes = _by_node(_precise(alpha) / self.temperature, self._sizes)
        return _by_edge([torch.softmax(node, dim=-1) for node in nodes], self._sizes)


@final
class NodeReLU(Relaxation):
    """``relu(alpha) / sum(relu(alpha))`` over all operations on all edges into a node (SNPS, Rao et al.).

    The released code starts from 2 everywhere. There a node all of whose weights are 0 or below divides by
    0; here its largest weight has the share 1, and no gradient.

    Args:
        edges: ``(source, target)`` of each edge, by target.

    Raises:
        UserError: Edges that are not in order.
    """

    def __init__(self, edges: Edges) -> None:
        self._sizes = node_sizes(edges)

    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """See the base class; the shares of a node sum to 1."""
        del noise
        nodes = _by_node(_precise(alpha), self._sizes)
        return _by_edge([_rectified(node) for node in nodes], self._sizes)


def _rectified(node: Tensor) -> Tensor:
    """Shares ``[kinds, entries]`` of a node's weights."""
    parts = torch.relu(node)
    total = parts.sum(dim=-1, keepdim=True)
    empty = total < torch.finfo(node.dtype).eps
    largest = _largest(node.detach()).to(node.dtype)
    # The division is safe on both sides: a gradient of 0 times infinity would be no number.
    return torch.where(empty, largest, parts / torch.where(empty, torch.ones_like(total), total))


@final
class Masked(Relaxation):
    """Another relaxation without the entries that were removed: their share and their gradient are 0.

    Their architecture weights count as minus infinity. A node (an edge, for relaxations by edge) has to keep
    one entry.

    Args:
        inner: The relaxation of what is left.
        alive: ``[kinds, edges, operations]`` bool, on the device of the architecture weights. It is read
            anew in every call: what removes writes into it.
    """

    def __init__(self, inner: Relaxation, alive: Tensor) -> None:
        self.inner = inner
        self.alive: Tensor = alive

    def noise(
        self, shape: torch.Size, generator: torch.Generator | None, device: torch.device
    ) -> Tensor | None:
        """That of the other relaxation."""
        return self.inner.noise(shape, generator, device)

    def shares(self, alpha: Tensor, noise: Tensor | None) -> Tensor:
        """See the base class."""
        return self.inner.shares(alpha.masked_fill(~self.alive, -math.inf), noise)


def entropy(shares: Tensor) -> Tensor:
    """``[kinds, edges]`` entropies of the edges in nats, where 0 log 0 is 0, of shares that sum to 1."""
    entropies: Tensor = torch.special.entr(shares).sum(dim=-1)
    return entropies


def node_sums(values: Tensor, edges: Edges) -> Tensor:
    """``[kinds, nodes]`` sums of ``[kinds, edges, operations]`` over all operations on all edges into a node.

    Raises:
        UserError: Edges that are not in order.
    """
    return torch.stack([node.sum(dim=-1) for node in _by_node(values, node_sizes(edges))], dim=-1)


def node_strongest(values: Tensor, edges: Edges) -> Tensor:
    """``[kinds, edges, operations]`` bool: the largest entry of each node, the first of equal ones.

    Raises:
        UserError: Edges that are not in order.
    """
    sizes = node_sizes(edges)
    return _by_edge([_largest(node) for node in _by_node(values, sizes)], sizes)


def node_entropy(shares: Tensor, edges: Edges) -> Tensor:
    """``[kinds, nodes]`` entropies in nats, where 0 log 0 is 0, of shares that sum to 1 in each node.

    The gradient in a share of 0 is finite, so that it is 0 in what made that share 0.

    Raises:
        UserError: Edges that are not in order.
    """
    # The logarithm's slope at 0 is infinite, and times the 0 of a removed entry no number.
    logs = shares.clamp_min(torch.finfo(shares.dtype).tiny).log()
    return node_sums(-shares * logs, edges)


def node_sizes(edges: Edges) -> list[int]:
    """Number of edges into each node, in order.

    Raises:
        UserError: The edges into a node do not lie next to each other.
    """
    targets = [target for _, target in edges]
    runs = [(target, len(list(run))) for target, run in itertools.groupby(targets)]
    if len(runs) != len(set(targets)):
        raise UserError(f"edges must be ordered by their targets for shares per node, got targets {targets}")
    return [count for _, count in runs]


def _largest(node: Tensor) -> Tensor:
    """``[kinds, entries]`` bool."""
    none = torch.zeros_like(node, dtype=torch.bool)
    return none.scatter(-1, node.argmax(dim=-1, keepdim=True), True)


def _by_node(values: Tensor, sizes: list[int]) -> list[Tensor]:
    """``[kinds, edges, operations]`` as ``[kinds, edges of the node * operations]`` for each node."""
    return [part.flatten(-2) for part in torch.split(values, sizes, dim=-2)]


def _by_edge(nodes: list[Tensor], sizes: list[int]) -> Tensor:
    """The inverse of :func:`_by_node`."""
    parts = [torch.unflatten(node, -1, (size, -1)) for node, size in zip(nodes, sizes, strict=True)]
    return torch.cat(parts, dim=-2)


def _precise(alpha: Tensor) -> Tensor:
    return alpha.to(torch.promote_types(alpha.dtype, torch.float32))


def _positive(temperature: float) -> float:
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"the temperature must be a positive number, got {temperature}")
    return temperature
