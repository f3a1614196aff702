"""Derivation by perturbation: an operation is worth what the supernet loses without it.

Derivation by magnitude is :meth:`supernet.networks.family.NetworkFamily.strongest`; what is returned here is
in its form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crlso.errors import UserError


@dataclass(frozen=True, eq=False)
class Decisions:
    """Which edges are decided, and how.

    Attributes:
        shares: ``[kinds, edges, operations]``: on decided edges 1 for the operation that is kept, or all 0
            for an edge that is left out.
        decided: ``[kinds, edges]`` bool.
    """

    shares: Tensor
    decided: Tensor

    def apply(self, relaxed: Tensor) -> Tensor:
        """The decided shares where edges are decided, those of the relaxation elsewhere; differentiable."""
        fixed = self.shares.to(device=relaxed.device, dtype=relaxed.dtype)
        return torch.where(self.decided.to(relaxed.device)[..., None], fixed, relaxed)


def perturbation(
    relaxed: Callable[[], Tensor],
    edges: Sequence[tuple[int, int]],
    *,
    measure: Callable[[Tensor], float],
    finetune: Callable[[Decisions], None],
    rng: np.random.Generator,
    kept: Sequence[int] | None = None,
    inputs: int | None = None,
) -> Tensor:
    """Selects operations, then edges, by what the supernet loses without them (DARTS-PT, Wang et al. 2021).

    In a random order of the edges: each operation of an edge is removed in turn (its share becomes 0, the
    others stay as they are), and the one whose removal leaves the lowest accuracy is kept alone. Then, in a
    random order of the nodes with too many edges: the edge whose removal leaves the highest accuracy is left
    out, again and again. After every decision (one for each kind of cell) the supernet is fine-tuned, except
    after the last.

    As in the released code, shares are not normalised again after a
    removal, edges of a node go one by one, the first of equal operations is kept and the last of equal edges
    left out. The released code fine-tunes for 5 epochs at a tenth of the learning rate, architecture weights
    included, and also after the last decision; the derived architecture is the same without that.

    Args:
        relaxed: The shares ``[kinds, edges, operations]`` of the relaxation at present.
        edges: (source, target) of every edge.
        measure: From shares to the supernet's accuracy on the validation part; or minus its loss.
        finetune: Trains the supernet on, with the decisions applied to the relaxation's shares.
        rng: For the two orders.
        kept: Indices of the operations that an edge may keep (all but ``none``, where a space has no absent
            edges); all by default.
        inputs: Edges that a node keeps; all by default.

    Returns:
        ``[kinds, edges, operations]``: 1 for the operations that are kept, 0 for all others.

    Raises:
        UserError: No operation may be kept, an index that is none of an operation, or fewer than 1 input.
    """
    kinds, _, operations = relaxed().shape
    candidates = tuple(range(operations)) if kept is None else tuple(kept)
    if not candidates or not set(candidates) <= set(range(operations)):
        raise UserError(f"an edge keeps one of the operations 0 to {operations - 1}, got {candidates}")
    if inputs is not None and inputs < 1:
        raise UserError(f"a node keeps 1 edge or more, got {inputs}")
    decisions = Decisions(
        torch.zeros(kinds, len(edges), operations), torch.zeros(kinds, len(edges), dtype=torch.bool)
    )
    started = False
    for round_edges in _orders(range(len(edges)), kinds, rng):
        if started:
            finetune(decisions)
        started = True
        for kind, edge in enumerate(round_edges):
            accuracies = []
            for operation in candidates:
                shares = decisions.apply(relaxed().detach()).clone()
                shares[kind, edge, operation] = 0
                accuracies.append(measure(shares))
            decisions = _keep(decisions, kind, edge, candidates[int(np.argmin(accuracies))])
    crowded = [node for node in _targets(edges) if inputs is not None and _degree(edges, node) > inputs]
    for round_nodes in _orders(crowded, kinds, rng):
        finetune(decisions)
        for kind, node in enumerate(round_nodes):
            remaining = [index for index, (_, target) in enumerate(edges) if target == node]
            while inputs is not None and len(remaining) > inputs:
                accuracies = [measure(_without(decisions, kind, edge).shares) for edge in remaining]
                best = max(range(len(remaining)), key=lambda i: (accuracies[i], i))
                decisions = _without(decisions, kind, remaining.pop(best))
    return decisions.shares


def _orders(items: Sequence[int], kinds: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Rounds: in each one item for every kind of cell, each kind in an order of its own."""
    orders = [rng.permutation(np.asarray(items, dtype=int)).tolist() for _ in range(kinds)]
    return list(zip(*orders, strict=True))


def _targets(edges: Sequence[tuple[int, int]]) -> list[int]:
    return sorted({target for _, target in edges})


def _degree(edges: Sequence[tuple[int, int]], node: int) -> int:
    return sum(target == node for _, target in edges)


def _keep(decisions: Decisions, kind: int, edge: int, operation: int) -> Decisions:
    shares, decided = decisions.shares.clone(), decisions.decided.clone()
    shares[kind, edge, operation] = 1
    decided[kind, edge] = True
    return Decisions(shares, decided)


def _without(decisions: Decisions, kind: int, edge: int) -> Decisions:
    shares = decisions.shares.clone()
    shares[kind, edge] = 0
    return Decisions(shares, decisions.decided)
