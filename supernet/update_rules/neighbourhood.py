"""The rule that looks at the architecture's neighbours."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal, final, get_args

import torch
from torch import Tensor

from crlso.errors import UserError
from supernet.update_rules.problem import Batch, Problem
from supernet.update_rules.rule import Gradients, UpdateRule
from supernet.update_rules.virtual import VirtualStep

Aggregate = Literal["mean", "worst"]
"""Over a neighbourhood."""

AGGREGATES: Final[tuple[Aggregate, ...]] = get_args(Aggregate)


@final
class NeighbourhoodAveraged(UpdateRule):
    """First order, with the validation loss of an architecture's neighbours in the place of its own.

    A RECONSTRUCTION of NA-DARTS (Wang et al. 2021), whose abstract says that the performance of a relaxed
    neighbourhood is aggregated, and no more. Here, in every step, copies of the shares are drawn: in each,
    one edge of one kind gives a part of its shares to one of its operations, which is an edit of one edge,
    made in part. ``alpha: d/dalpha G(Lvalid(w, copy 1), Lvalid(w, copy 2), ...)``, where G is the mean or the
    largest loss (of the task, not of a problem's objective). An edge and its operation are drawn uniformly
    from the operations that are left. The weights descend the loss of the architecture itself, afterwards.

    Args:
        copies: Neighbours per step, 1 or more: passes, one after the other.
        strength: Part of the edge's shares that moves, in [0, 1]; 0: :class:`FirstOrder`.
        aggregate: ``mean`` or ``worst``.

    Raises:
        UserError: A value that is not allowed.
    """

    needs_virtual = False
    needs_valid = True

    def __init__(self, copies: int, strength: float, aggregate: Aggregate = "mean") -> None:
        if copies < 1:
            raise UserError(f"a neighbourhood needs 1 or more copies, got {copies}")
        if not 0 <= strength <= 1:
            raise UserError(f"the strength of a neighbourhood's edits must lie in [0, 1], got {strength}")
        if aggregate not in AGGREGATES:
            raise UserError(f"a neighbourhood's aggregate is one of {', '.join(AGGREGATES)}, not {aggregate}")
        self.copies, self.strength, self.aggregate = copies, strength, aggregate

    @property
    def passes(self) -> int:
        """See the base class."""
        return 1 + self.copies

    def noise(self, shape: torch.Size, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """``[copies, kinds, edges, operations]`` uniform numbers: the largest one tells what is edited."""
        place = device if generator is None else generator.device
        return torch.rand((self.copies, *shape), generator=generator, device=place).to(device)

    def gradients(
        self, problem: Problem, train: Batch, valid: Batch, virtual: VirtualStep | None = None
    ) -> Gradients:
        """See the base class.

        Raises:
            ValueError: The problem has not drawn this rule's noise.
        """
        del train, virtual
        if problem.rule_noise is None:
            raise ValueError("a neighbourhood needs the noise of Problem.draw(generator, rule)")
        passes = [
            problem.gradient(valid, "alpha", change=partial(edited, onto=onto, strength=self.strength))
            for onto in chosen(problem.rule_noise, problem.relaxation.alive)
        ]
        alphas = torch.stack([seen.alpha for seen in passes if seen.alpha is not None])
        losses = torch.stack([seen.loss for seen in passes])
        accuracies = torch.stack([seen.accuracy for seen in passes])
        if self.aggregate == "mean":
            return Gradients(alphas.mean(0), valid_loss=losses.mean(), valid_accuracy=accuracies.mean())
        # By a tensor of one index: a number would have to be waited for.
        worst = losses.argmax().view(1)
        alpha, loss, accuracy = (x.index_select(0, worst)[0] for x in (alphas, losses, accuracies))
        return Gradients(alpha, valid_loss=loss, valid_accuracy=accuracy)


def chosen(noise: Tensor, alive: Tensor | None) -> Tensor:
    """``[copies, kinds, edges, operations]`` bool: the operation of each copy that gets a part of its edge.

    Args:
        noise: ``[copies, kinds, edges, operations]`` uniform numbers of [0, 1).
        alive: ``[kinds, edges, operations]`` bool: those that may be chosen; ``None``: all.
    """
    numbers = noise if alive is None else noise.masked_fill(~alive, -1.0)
    flat = numbers.flatten(1)
    none = torch.zeros_like(flat, dtype=torch.bool)
    return none.scatter(1, flat.argmax(dim=1, keepdim=True), True).view_as(noise)


def edited(shares: Tensor, onto: Tensor, strength: float) -> Tensor:
    """The shares after an edge has given a part of its shares to one of its operations; its sum stays.

    Args:
        shares: ``[kinds, edges, operations]``.
        onto: Likewise, bool: the operation.
        strength: The part.
    """
    replaced = onto * shares.sum(dim=-1, keepdim=True)
    return torch.where(onto.any(dim=-1, keepdim=True), torch.lerp(shares, replaced, strength), shares)
