"""Rules that take the shared weights as they are."""

from __future__ import annotations

import math
from typing import final

from crlso.errors import UserError
from supernet.update_rules.problem import Batch, Problem
from supernet.update_rules.rule import Gradients, UpdateRule
from supernet.update_rules.virtual import VirtualStep


@final
class SingleLevel(UpdateRule):
    """Architecture and weights descend the training loss at once.

    ``alpha: d/dalpha Ltrain(w, alpha)``, ``weights: d/dw Ltrain(w, alpha)``; 1 pass per step gives both.
    DARTS (Liu et al. 2019, section 3.3) reports it as the worse alternative to its bilevel rule, there on
    all data; MiLeNAS is equal to it at a mixing of 0.
    """

    passes = 1
    needs_virtual = False
    needs_valid = False

    def gradients(
        self, problem: Problem, train: Batch, valid: Batch, virtual: VirtualStep | None = None
    ) -> Gradients:
        """See the base class."""
        del valid, virtual
        seen = problem.gradient(train, "both")
        assert seen.alpha is not None
        return Gradients(seen.alpha, seen.weights, seen.loss, seen.accuracy)


@final
class FirstOrder(UpdateRule):
    """DARTS, first order (Liu et al. 2019, section 2.3: the virtual learning rate is 0).

    ``alpha: d/dalpha Lvalid(w, alpha)``; 2 passes per step with that of the weights, which comes
    afterwards, as in the released code.
    """

    passes = 2
    needs_virtual = False
    needs_valid = True

    def gradients(
        self, problem: Problem, train: Batch, valid: Batch, virtual: VirtualStep | None = None
    ) -> Gradients:
        """See the base class."""
        del train, virtual
        seen = problem.backward(valid, "alpha")
        assert seen.alpha is not None
        return Gradients(seen.alpha, valid_loss=seen.loss, valid_accuracy=seen.accuracy)


@final
class MixedLevel(UpdateRule):
    """MiLeNAS, first order (He et al. 2020, equations 5 and 6), called MLDAS in its abstract.

    ``alpha: d/dalpha Ltrain(w, alpha) + mixing * d/dalpha Lvalid(w, alpha)``,
    ``weights: d/dw Ltrain(w, alpha)``, both at the same point; 2 passes per step, since one pass over the
    training batch gives both of its gradients. The released code departs from the paper, and this from it:
    it makes 3 passes, accepts the weight of the validation loss but scales the training loss instead, and
    clips the gradient of the architecture where it means that of the weights. The paper's results have
    ``mixing`` 1.

    Args:
        mixing: Weight of the validation loss (lambda); 0: single level.

    Raises:
        UserError: A negative weight.
    """

    passes = 2
    needs_virtual = False
    needs_valid = True

    def __init__(self, mixing: float = 1.0) -> None:
        self.mixing = checked_mixing(mixing)

    def gradients(
        self, problem: Problem, train: Batch, valid: Batch, virtual: VirtualStep | None = None
    ) -> Gradients:
        """See the base class."""
        del virtual
        learned = problem.gradient(train, "both")
        held_out = problem.backward(valid, "alpha")
        assert learned.alpha is not None
        assert held_out.alpha is not None
        return Gradients(
            learned.alpha + self.mixing * held_out.alpha,
            learned.weights,
            learned.loss,
            learned.accuracy,
            held_out.loss,
            held_out.accuracy,
        )


def checked_mixing(mixing: float) -> float:
    """The number, if it can weight a loss.

    Raises:
        UserError: It is negative or not finite.
    """
    if not (math.isfinite(mixing) and mixing >= 0):
        raise UserError(f"the weight of the validation loss must be 0 or more, got {mixing}")
    return mixing
