"""Where the latent points of `crlso` lie, and what the model makes of them before any training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crlso.search.crlso_latent import latent_model, latent_points
from crlso.search.crlso_settings import CRLSOSettings
from crlso.search.observations import Representatives
from crlso.spaces import get_space
from crlso.spaces.neighbourhoods import WeisfeilerLehman


def test_a_small_space_is_known_whole() -> None:
    """With every network a landmark and enough dimensions, products are the similarities, exactly."""
    space = get_space("toy64")
    representatives = Representatives(space)
    codes = representatives(np.concatenate(list(space.enumerate())))
    points = latent_points(space, representatives, CRLSOSettings(latent_dim=128, landmarks=64))(codes)
    expected = WeisfeilerLehman(space).similarity(codes, codes)
    np.testing.assert_allclose(points @ points.T, expected, atol=1e-9)


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_points_do_not_depend_on_anything_random(name: str) -> None:
    space = get_space(name)
    codes = Representatives(space)(space.sample(20, np.random.default_rng(3)))
    settings = CRLSOSettings(latent_dim=8, landmarks=50)
    one, other = (latent_points(space, Representatives(space), settings)(codes) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (20, 8)
    assert np.square(one).sum(axis=1).max() <= 1 + 1e-12


@pytest.mark.parametrize("anchored", [True, False])
def test_an_anchored_model_starts_at_the_points(anchored: bool) -> None:
    space = get_space("nasbench201")
    codes = Representatives(space)(space.sample(20, np.random.default_rng(3)))
    settings = CRLSOSettings(latent_dim=8, landmarks=50, anchored=anchored)
    wanted = latent_points(space, Representatives(space), settings)
    model = latent_model(space, settings, seed=0, wanted=wanted)
    expected = torch.from_numpy(wanted(codes) * 8**0.5).float()
    # Up to the rounding of float32.
    assert torch.allclose(model.encode(codes), expected, rtol=1e-6, atol=1e-7) == anchored
