"""The map in two dimensions against a singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from crlso.latent.projection import project_2d


def cloud(n: int = 200, k: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, k)) * np.arange(1, k + 1) @ rng.standard_normal((k, k)) + 5


def test_equals_principal_components() -> None:
    points = cloud()
    (flat,) = project_2d(points)
    left, singular, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    expected = left[:, :2] * singular[:2]
    np.testing.assert_allclose(np.abs(flat), np.abs(expected), atol=1e-8)
    assert flat[:, 0].std() > flat[:, 1].std()
    np.testing.assert_allclose(flat.mean(0), 0, atol=1e-9)


def test_others_use_the_same_axes() -> None:
    points = cloud()
    flat, some, none = project_2d(points, points[17:30], points[:0])
    np.testing.assert_allclose(some, flat[17:30], atol=1e-12)
    assert none.shape == (0, 2)


def test_the_picture_is_never_mirrored() -> None:
    points = cloud()
    order = np.random.default_rng(1).permutation(len(points))
    np.testing.assert_allclose(project_2d(points[order])[0], project_2d(points)[0][order], atol=1e-8)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5, 1), (2, 4)])
def test_few_points_and_few_dimensions(shape: tuple[int, int]) -> None:
    points = np.random.default_rng(0).standard_normal(shape)
    flat, path = project_2d(points, np.zeros((3, shape[1])))
    assert flat.shape == (shape[0], 2)
    assert path.shape == (3, 2)
    assert np.isfinite(flat).all()
    # The distances of points on a line or in a plane are kept.
    if shape[0]:
        np.testing.assert_allclose(
            np.linalg.norm(flat - flat[0], axis=1), np.linalg.norm(points - points[0], axis=1), atol=1e-9
        )
