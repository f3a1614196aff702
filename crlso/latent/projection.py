"""The latent space in two dimensions, for drawing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from crlso.protocols import FloatArray


def project_2d(latents: ArrayLike, *others: ArrayLike) -> tuple[FloatArray, ...]:
    """Principal components of latent points: the two directions in which they spread most.

    The same input gives the same picture, never its mirror image: along each axis, the latent coordinate
    that counts most counts positively.

    Args:
        latents: ``[n, k]``, the points that decide the projection.
        others: ``[m, k]`` each, projected with the same axes and centre (a search's path, for example).

    Returns:
        ``[n, 2]`` and one ``[m, 2]`` per further array. Where the points span fewer than two dimensions the
        rest is zero.
    """
    points = np.asarray(latents, dtype=np.float64)
    k = points.shape[1]
    axes = np.zeros((k, 2))
    centre = points.mean(0) if len(points) else np.zeros(k)
    if len(points):
        offsets = points - centre
        _, vectors = np.linalg.eigh(offsets.T @ offsets)
        found = vectors[:, ::-1][:, :2]
        largest = np.abs(found).argmax(0)
        axes[:, : found.shape[1]] = found * np.where(found[largest, np.arange(found.shape[1])] < 0, -1.0, 1.0)
    return tuple((np.asarray(array, dtype=np.float64) - centre) @ axes for array in (points, *others))
