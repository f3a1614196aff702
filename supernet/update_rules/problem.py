"""What an update rule works on: losses of a supernet as functions of its weights and of the architecture."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.objectives import Objective, Plain
from supernet.relaxation import Relaxation

if TYPE_CHECKING:
    from supernet.update_rules.rule import UpdateRule

Weights = tuple[Tensor, ...]
"""The supernet's weights, or something of their shapes, in the order of :attr:`Problem.parameters`."""

Mean = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Averages tensors over processes: in one process, these tensors."""


Change = Callable[[Tensor], Tensor]
"""A differentiable change of the shares ``[kinds, edges, operations]``."""


def alone(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The mean over one process."""
    return tensors


@dataclass(frozen=True, eq=False)
class Batch:
    """Images and what they are.

    Attributes:
        images: ``[n, c, h, w]``, normalised.
        labels: ``[n]`` int64.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Pass:
    """What one forward and backward pass gives: means over the batches of all processes.

    Attributes:
        loss: The task's loss in nats (cross-entropy, with the distillation loss of a distilled network), a
            number without graph: not what the problem's objective makes of it.
        accuracy: Share of the images that are classified correctly.
        alpha: Gradient of the objective in the architecture weights, ``None`` where not asked for.
        weights: Gradient of the objective in the supernet's weights, ``None`` where not asked for.
    """

    loss: Tensor
    accuracy: Tensor
    alpha: Tensor | None
    weights: Weights | None


@final
class Problem:
    """The losses of a search and their gradients at the present weights or at others.

    All processes have the same weights and batches of the same size. Gradients are means over them, so that
    whatever is composed from gradients is that of the batches together. Nothing here waits for the device.

    What is differentiated is always the objective, of the training and of the validation part alike.

    Args:
        network: The supernet, ``network(images, mixing) -> logits``, on the device, with weights in float32
            or better.
        alpha: Architecture weights ``[kinds, edges, operations]``.
        relaxation: From architecture weights to mixing shares.
        mean: Averages a list of tensors over processes.
        precision: Makes the context that the network computes in (an autocast); shares and losses stay in
            float32 or better.
        compiler: Applied to the pure functions that do the work (``torch.compile``).
        reference: Compute all gradients where the published implementation calls ``backward()``, also those
            that nobody needs: for comparisons of speed.
        objective: From the task's loss and the shares to what is descended along.
        distilled: The network gives ``(logits, distillation loss)``; the task's loss is their sum.

    Attributes:
        parameters: The network's own weights, in order.
        noise: What the relaxation drew for this step; the same for all passes until the next :meth:`draw`.
        rule_noise: What the update rule drew for this step, likewise.
    """

    def __init__(
        self,
        network: nn.Module,
        alpha: Tensor,
        relaxation: Relaxation,
        *,
        mean: Mean = alone,
        precision: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
        compiler: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
        reference: bool = False,
        objective: Objective | None = None,
        distilled: bool = False,
    ) -> None:
        named = dict(network.named_parameters())
        self.network = network
        self.names: tuple[str, ...] = tuple(named)
        self.parameters: Weights = tuple(named.values())
        self.alpha = alpha
        self.relaxation = relaxation
        self.mean = mean
        self.reference = reference
        self.objective = objective or Plain()
        self.distilled = distilled
        self.noise: Tensor | None = None
        self.rule_noise: Tensor | None = None
        self._precision = precision
        self._compiled = compiler is not None
        self._functional: Callable[..., Any] = compiler(self._call) if compiler else self._call
        self._second: Callable[..., Tensor] = (
            compiler(self._mixed_derivative) if compiler else self._mixed_derivative
        )

    def draw(self, generator: torch.Generator | None = None, rule: UpdateRule | None = None) -> None:
        """Draws the noise of the next step: the relaxation's, and that of an update rule."""
        shape, device = self.alpha.shape, self.alpha.device
        self.noise = self.relaxation.noise(shape, generator, device)
        self.rule_noise = rule.noise(shape, generator, device) if rule else None

    def drawn(self) -> tuple[Tensor, ...]:
        """All that :meth:`draw` drew, for :meth:`take`."""
        return tuple(noise for noise in (self.noise, self.rule_noise) if noise is not None)

    def take(self, drawn: Sequence[Tensor]) -> None:
        """Puts tensors in the place of those that were drawn."""
        given = iter(drawn)
        self.noise = None if self.noise is None else next(given)
        self.rule_noise = None if self.rule_noise is None else next(given)

    def loss(
        self,
        batch: Batch,
        weights: Sequence[Tensor] | None = None,
        alpha: Tensor | None = None,
        *,
        precise: bool = False,
    ) -> Tensor:
        """Objective of this process' batch, as a function of weights and architecture weights.

        Args:
            batch: Images and labels.
            weights: Of the network; its own by default.
            alpha: Architecture weights; the present ones by default.
            precise: Compute in the weights' precision, not in the problem's.
        """
        return self._evaluate(batch, weights, alpha, None, precise)[0]

    def gradient(
        self,
        batch: Batch,
        of: Literal["alpha", "weights", "both"],
        weights: Sequence[Tensor] | None = None,
        *,
        change: Change | None = None,
        precise: bool = False,
    ) -> Pass:
        """Loss and gradients at the network's own weights or at others, averaged over processes.

        Args:
            batch: Images and labels of this process.
            of: What to differentiate in.
            weights: Where; the gradient in ``weights`` is that at these.
            change: Applied to the shares: the loss is that of the changed ones.
            precise: See :meth:`loss`.
        """
        at = None
        if weights is None and of == "alpha":
            # Detached: torch's own functions leave out the weights' gradients by themselves, others do not.
            weights = self.parameters
        inputs: list[Tensor] = [] if of == "weights" else [self.alpha]
        if weights is not None:
            at = [w.detach().requires_grad_(of != "alpha") for w in weights]
        if of != "alpha":
            inputs += self.parameters if at is None else at
        with torch.enable_grad():
            objective, loss, logits = self._evaluate(batch, at, None, change, precise)
        # A weight that the loss does not depend on has a gradient of zeros.
        gradients = torch.autograd.grad(objective, inputs, allow_unused=True, materialize_grads=True)
        right = (logits.detach().argmax(dim=1) == batch.labels).to(loss.dtype).mean()
        loss, right, *rest = self.mean([loss.detach(), right, *gradients])
        first = 0 if of == "weights" else 1
        return Pass(
            loss,
            right,
            alpha=rest[0] if first else None,
            weights=None if of == "alpha" else tuple(rest[first:]),
        )

    def backward(self, batch: Batch, of: Literal["alpha", "weights"]) -> Pass:
        """As :meth:`gradient` at the own weights; with ``reference``, everything is differentiated in."""
        return self.gradient(batch, "both" if self.reference else of)

    def mixed_derivative(self, batch: Batch, direction: Weights) -> Tensor:
        """Derivative in the architecture weights of the loss's slope along a direction of the weights.

        That is ``d/dalpha <d/dw loss(w, alpha), direction>`` at the present weights, averaged over processes.
        It is computed as the derivative of the architecture gradient along the direction (forward over
        reverse), so that no graph of a backward pass is kept, and in the weights' precision: torch has no
        forward derivatives of normalisations in mixed ones.
        """
        weights = tuple(w.detach() for w in self.parameters)
        product = self._second(
            weights, self.alpha.detach(), (batch.images, batch.labels), direction, self.noise
        )
        return self.mean([product])[0]

    def hessian_product(self, batch: Batch, vector: Tensor) -> Tensor:
        """Second derivative of the loss in the architecture weights, times a vector of their shape.

        At the present point, averaged over processes; forward over reverse, in the weights' precision.
        """
        weights = tuple(w.detach() for w in self.parameters)

        def gradient(alpha: Tensor) -> Tensor:
            return self._architecture_gradient(weights, alpha, (batch.images, batch.labels), self.noise)

        product: Tensor = torch.func.jvp(gradient, (self.alpha.detach(),), (vector,))[1]
        return self.mean([product])[0]

    def _evaluate(
        self,
        batch: Batch,
        weights: Sequence[Tensor] | None,
        alpha: Tensor | None,
        change: Change | None,
        precise: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Objective, the task's loss and logits."""
        at = self.alpha if alpha is None else alpha
        with contextlib.nullcontext() if precise else self._precision():
            if weights is None and not self._compiled:
                mixing = self._mixing(at, self.noise, change)
                made = self.network(batch.images, mixing)
            else:
                own = self.parameters if weights is None else tuple(weights)
                made, mixing = self._functional(own, at, batch.images, self.noise, change)
        loss, logits = self._task_loss(made, batch.labels)
        return self.objective(loss, mixing), loss, logits

    def _task_loss(self, made: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The task's loss and logits, from what the network gives."""
        logits = _precise(made[0] if self.distilled else made)
        loss = F.cross_entropy(logits, labels)
        return (loss + _precise(made[1]) if self.distilled else loss), logits

    def _mixing(self, alpha: Tensor, noise: Tensor | None, change: Change | None) -> Tensor:
        mixing = self.relaxation.shares(alpha, noise)
        return change(mixing) if change else mixing

    def _call(
        self,
        weights: Weights,
        alpha: Tensor,
        images: Tensor,
        noise: Tensor | None,
        change: Change | None = None,
    ) -> tuple[Any, Tensor]:
        """What the network gives, and the shares."""
        named = dict(zip(self.names, weights, strict=True))
        mixing = self._mixing(alpha, noise, change)
        return torch.func.functional_call(self.network, named, (images, mixing)), mixing

    def _architecture_gradient(
        self, weights: Weights, alpha: Tensor, batch: tuple[Tensor, Tensor], noise: Tensor | None
    ) -> Tensor:
        images, labels = batch

        def loss(alpha: Tensor) -> Tensor:
            made, mixing = self._call(weights, alpha, images, noise)
            return self.objective(self._task_loss(made, labels)[0], mixing)

        gradient: Tensor = torch.func.grad(loss)(alpha)
        return gradient

    def _mixed_derivative(
        self,
        weights: Weights,
        alpha: Tensor,
        batch: tuple[Tensor, Tensor],
        direction: Weights,
        noise: Tensor | None,
    ) -> Tensor:
        def gradient(weights: Weights) -> Tensor:
            return self._architecture_gradient(weights, alpha, batch, noise)

        product: Tensor = torch.func.jvp(gradient, (weights,), (direction,))[1]
        return product


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
