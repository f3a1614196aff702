"""Similarities of graphs by their neighbourhoods, and points that have them as products."""

from __future__ import annotations

import numpy as np
import pytest

from crlso.spaces import get_space
from crlso.spaces.neighbourhoods import Coordinates, WeisfeilerLehman


@pytest.mark.parametrize("name", ["nasbench201", "nasbench101", "darts"])
def test_products_of_landmarks_are_their_similarities(name: str) -> None:
    space = get_space(name)
    neighbourhoods = WeisfeilerLehman(space)
    codes = space.sample(40, np.random.default_rng(0))
    points = Coordinates(neighbourhoods, codes, 40)(codes)
    np.testing.assert_allclose(points @ points.T, neighbourhoods.similarity(codes, codes), atol=1e-9)


def test_points_of_others_are_nystroem_s() -> None:
    """By the formula, with numpy's pseudo-inverse, of similarities that the class itself never computes."""
    space = get_space("nasbench201")
    neighbourhoods = WeisfeilerLehman(space)
    rng = np.random.default_rng(1)
    landmarks, others = space.sample(30, rng), space.sample(25, rng)
    points = Coordinates(neighbourhoods, landmarks, 60)(others)
    cross = neighbourhoods.similarity(others, landmarks)
    inverse = np.linalg.pinv(neighbourhoods.similarity(landmarks, landmarks), rcond=1e-9, hermitian=True)
    np.testing.assert_allclose(points @ points.T, cross @ inverse @ cross.T, atol=1e-7)
    # More dimensions than landmarks: nothing in the others.
    assert not points[:, 30:].any()
    assert (np.linalg.norm(points, axis=1) <= 1 + 1e-9).all()


def test_fewer_dimensions_keep_the_largest_directions() -> None:
    space = get_space("nasbench201")
    neighbourhoods = WeisfeilerLehman(space)
    codes = space.sample(50, np.random.default_rng(2))
    similarity = neighbourhoods.similarity(codes, codes)
    points = Coordinates(neighbourhoods, codes, 8)(codes)
    values = np.linalg.eigvalsh(similarity)[::-1]
    error = np.linalg.norm(points @ points.T - similarity)
    assert error == pytest.approx(np.sqrt(np.square(values[8:]).sum()))
