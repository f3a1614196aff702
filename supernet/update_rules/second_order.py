"""Rules that look at the validation loss after an imagined step of the shared weights."""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Final, final

import torch
from torch import Tensor

from crlso.errors import UserError
from supernet.update_rules.first_order import checked_mixing
from supernet.update_rules.problem import Batch, Pass, Problem, Weights
from supernet.update_rules.rule import Gradients, UpdateRule
from supernet.update_rules.virtual import VirtualStep

RADIUS: Final = 0.01
"""Length of the published finite difference's step in weight space (Liu et al. 2019, footnote 2)."""


class Bilevel(UpdateRule):
    """DARTS, second order (Liu et al. 2019, equations 6 to 8), whatever way the second derivative is taken.

    ``alpha: d/dalpha Lvalid(w', alpha) - xi * d/dalpha <d/dw Ltrain(w, alpha), v>`` with ``w'`` and ``v``
    held fixed, where ``w' = w - xi * (momentum * buffer + d/dw Ltrain(w, alpha) + decay * w)`` and
    ``v = d/dw' Lvalid(w', alpha)``. The paper's virtual step is without momentum and decay; they are the
    released code's, as is that the last term differentiates the gradient of the loss only. The released code
    builds a copy of the network in every step; here the weights are arguments. The noise is the same in all
    passes.
    """

    passes = 5
    needs_virtual = True
    needs_valid = True

    @final
    def gradients(
        self, problem: Problem, train: Batch, valid: Batch, virtual: VirtualStep | None = None
    ) -> Gradients:
        """See the base class."""
        step = _given(virtual)
        learned = problem.gradient(train, "weights")
        ahead = step.apply(problem.parameters, _weights(learned))
        seen = problem.gradient(valid, "both", ahead)
        correction = self.correction(problem, train, _weights(seen))
        return Gradients(
            _alpha(seen) - step.learning_rate * correction,
            None,
            learned.loss,
            learned.accuracy,
            seen.loss,
            seen.accuracy,
        )

    @abstractmethod
    def correction(self, problem: Problem, train: Batch, direction: Weights) -> Tensor:
        """``d/dalpha <d/dw Ltrain(w, alpha), direction>``, of the architecture weights' shape."""


@final
class SecondOrder(Bilevel):
    """Second-order DARTS by a central difference, as published (equation 8).

    The last term is ``(d/dalpha Ltrain(w + eps v, alpha) - d/dalpha Ltrain(w - eps v, alpha)) / (2 eps)``
    with ``eps = radius / |v|``; the norm is over all weights. 5 passes per step with that of the weights. The
    two of the difference are in the weights' own precision whatever that of the others is: a difference of
    near values has no digits to spare.

    Args:
        radius: How far the weights are moved, 0.01 as published.

    Raises:
        UserError: A radius that is not a positive number.
    """

    def __init__(self, radius: float = RADIUS) -> None:
        self.radius = checked_radius(radius)

    def correction(self, problem: Problem, train: Batch, direction: Weights) -> Tensor:
        """See the base class."""
        return central_difference(problem, train, direction, self.radius)


@final
class SecondOrderExact(Bilevel):
    """Second-order DARTS with the exact derivative: forward over reverse differentiation.

    The architecture gradient of the training loss is differentiated along ``v`` (``torch.func.jvp`` of
    ``grad``): no graph of a backward pass is kept, and no radius is to be chosen. 4 passes per step with that
    of the weights, one of which carries a tangent; on a CPU that one takes the time of three to four. It does
    not see the kinks of ReLU and pooling, over which the published difference averages: on the networks of
    DARTS the two differ by more than the size of the derivative.
    """

    def correction(self, problem: Problem, train: Batch, direction: Weights) -> Tensor:
        """See the base class."""
        return problem.mixed_derivative(train, direction)


@final
class MixedLevelSecondOrder(UpdateRule):
    """MiLeNAS, second order (He et al. 2020): both of its losses after the virtual step.

    ``alpha: G(Ltrain) + mixing * G(Lvalid)`` with ``w'`` as in :class:`Bilevel` and
    ``G(L) = d/dalpha L(w', alpha) - xi * d/dalpha <d/dw Ltrain(w, alpha), d/dw' L(w', alpha)>``, its last
    term by a central difference; ``weights: d/dw Ltrain(w, alpha)``, which falls out of the virtual step.
    7 passes per step. The paper advises against it (less accurate, slowest). As printed, its formula has the
    weight at the training loss, against its own equation 5; here it is at the validation loss.

    Args:
        mixing: Weight of the validation loss (lambda).
        radius: How far the weights are moved for the difference.

    Raises:
        UserError: A negative weight, or a radius that is not a positive number.
    """

    passes = 7
    needs_virtual = True
    needs_valid = True

    def __init__(self, mixing: float = 1.0, radius: float = RADIUS) -> None:
        self.mixing = checked_mixing(mixing)
        self.radius = checked_radius(radius)

    def gradients(
        self, problem: Problem, train: Batch, valid: Batch, virtual: VirtualStep | None = None
    ) -> Gradients:
        """See the base class."""
        step = _given(virtual)
        learned = problem.gradient(train, "weights")
        ahead = step.apply(problem.parameters, _weights(learned))
        alphas, held_out = [], learned
        for batch in (train, valid):
            held_out = problem.gradient(batch, "both", ahead)
            correction = central_difference(problem, train, _weights(held_out), self.radius)
            alphas.append(_alpha(held_out) - step.learning_rate * correction)
        return Gradients(
            alphas[0] + self.mixing * alphas[1],
            learned.weights,
            learned.loss,
            learned.accuracy,
            held_out.loss,
            held_out.accuracy,
        )


def central_difference(problem: Problem, train: Batch, direction: Weights, radius: float) -> Tensor:
    """``d/dalpha <d/dw Ltrain(w, alpha), direction>`` by two architecture gradients, 2 passes.

    A direction of length 0 has the derivative 0, which the formula alone would not give.
    """
    length = torch.nn.utils.get_total_norm(direction)
    # Too short to be told from 0: the difference is one of equal terms then, whatever it is divided by.
    step = radius / length.clamp_min(torch.finfo(length.dtype).tiny ** 0.5)
    moves = torch._foreach_mul(list(direction), step)
    with torch.no_grad():
        above = torch._foreach_add(list(problem.parameters), moves)
        below = torch._foreach_sub(list(problem.parameters), moves)
    with _all_digits():
        ends = [_alpha(problem.gradient(train, "alpha", end, precise=True)) for end in (above, below)]
    return (ends[0] - ends[1]) / (2 * step)


@contextlib.contextmanager
def _all_digits() -> Iterator[None]:
    """Convolutions with all digits of float32; CUDA devices have them work with fewer (TF32) by default."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def checked_radius(radius: float) -> float:
    """The number, if it can be a radius.

    Raises:
        UserError: It is not a positive number.
    """
    if not (math.isfinite(radius) and radius > 0):
        raise UserError(f"the radius of a finite difference must be a positive number, got {radius}")
    return radius


def _given(virtual: VirtualStep | None) -> VirtualStep:
    if virtual is None:
        raise ValueError("a second-order rule needs the virtual step of the weights' optimiser")
    return virtual


def _alpha(seen: Pass) -> Tensor:
    assert seen.alpha is not None
    return seen.alpha


def _weights(seen: Pass) -> Weights:
    assert seen.weights is not None
    return seen.weights
