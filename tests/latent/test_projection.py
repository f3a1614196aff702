"""Tests of the projection to two dimensions."""

from __future__ import annotations

import numpy as np

from crlso.latent.projection import project_2d


def test_finds_the_plane_the_points_lie_in() -> None:
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((7, 2)))
    flat = rng.standard_normal((200, 2)) * [3.0, 1.0]
    points = flat @ basis.T + 5.0
    (drawn,) = project_2d(points)
    assert drawn.shape == (200, 2)
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(drawn[:, None] - drawn[None], axis=-1), distances, atol=1e-9)
    assert drawn[:, 0].std() > drawn[:, 1].std()


def test_others_share_the_axes() -> None:
    points = np.random.default_rng(1).standard_normal((50, 4))
    drawn, path, nothing = project_2d(points, points[3:9], np.zeros((0, 4)))
    np.testing.assert_allclose(path, drawn[3:9])
    assert nothing.shape == (0, 2)


def test_order_of_the_points_does_not_mirror_the_picture() -> None:
    points = np.random.default_rng(2).standard_normal((60, 5))
    shuffled = np.random.default_rng(3).permutation(60)
    np.testing.assert_allclose(project_2d(points[shuffled])[0], project_2d(points)[0][shuffled], atol=1e-9)


def test_few_points_and_few_dimensions() -> None:
    np.testing.assert_array_equal(project_2d(np.zeros((0, 3)))[0], np.zeros((0, 2)))
    np.testing.assert_allclose(project_2d(np.array([[1.0], [3.0]]))[0], [[-1.0, 0.0], [1.0, 0.0]])
