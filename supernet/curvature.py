"""Curvature of the validation loss in the architecture weights: a warning sign of collapse."""

from __future__ import annotations

import torch
from torch import Tensor

from crlso.errors import UserError
from supernet.update_rules import Batch, Problem


def dominant_eigenvalue(
    problem: Problem, valid: Batch, *, iterations: int = 20, generator: torch.Generator | None = None
) -> Tensor:
    """Eigenvalue of largest magnitude, with its sign, of the loss's second derivative in the architecture.

    RobustDARTS (Zela et al. 2020) follows it during a search: where it grows, the derived cell tends to be
    bad. Power iteration with products of the Hessian and a vector (forward over reverse differentiation), a
    fixed number of them, and the Rayleigh quotient at the end; nothing waits for the device. Each product
    takes the time of three to four passes on a CPU. The relative error falls as ``(second / first
    eigenvalue) ** (2 * iterations)``; where two of opposite signs have the same magnitude, the answer lies
    between them.

    Args:
        problem: The losses, with the noise of the step drawn.
        valid: A batch of the validation part.
        iterations: Number of Hessian-vector products, 1 or more.
        generator: For the first vector; may be on another device than the weights.

    Returns:
        A tensor without dimensions, the mean over all processes' batches. NaN if the loss is.

    Raises:
        UserError: No iterations.
    """
    if iterations < 1:
        raise UserError(f"a power iteration needs 1 iteration or more, got {iterations}")
    alpha = problem.alpha
    place = alpha.device if generator is None else generator.device
    vector = torch.randn(alpha.shape, generator=generator, dtype=alpha.dtype, device=place).to(alpha.device)
    # Without this, processes with generators of their own would follow different vectors.
    vector = _unit(problem.mean([vector])[0])
    value = vector.new_zeros(())
    for _ in range(iterations):
        product = problem.hessian_product(valid, vector)
        value = (vector * product).sum()
        vector = _unit(product)
    return value


def _unit(vector: Tensor) -> Tensor:
    """Of length 1; zeros, as from a loss without curvature, stay zeros."""
    length = torch.linalg.vector_norm(vector)
    unit: Tensor = vector / length.clamp_min(torch.finfo(vector.dtype).tiny ** 0.5)
    return unit
