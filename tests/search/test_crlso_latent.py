"""Where the latent points of `crlso` lie, and what the model makes of them before any training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crlso.protocols import FloatArray
from crlso.search.crlso_latent import POOLED, Pool, latent_model, latent_points
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


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("anchored", [True, False])
def test_an_anchored_model_starts_at_the_points(anchored: bool, direct: bool) -> None:
    space = get_space("nasbench201")
    codes = Representatives(space)(space.sample(20, np.random.default_rng(3)))
    settings = CRLSOSettings(latent_dim=8, landmarks=50, anchored=anchored, direct=direct)
    wanted = latent_points(space, Representatives(space), settings)
    model = latent_model(space, settings, seed=0, wanted=wanted)
    expected = torch.from_numpy(wanted(codes) * 8**0.5).float()
    assert (model.encoder.direct is not None) == (model.decoder.direct is not None) == direct
    # Up to the rounding of float32.
    assert torch.allclose(model.encode(codes), expected, rtol=1e-6, atol=1e-7) == anchored


def test_the_pool_gives_the_best_of_all_that_were_not_asked() -> None:
    space = get_space("nasbench201")
    representatives = Representatives(space)
    settings = CRLSOSettings(latent_dim=8, width=16)
    wanted = latent_points(space, representatives, settings)
    model = latent_model(space, settings, seed=0, wanted=wanted)
    pool = Pool(space, wanted.landmarks)
    # All networks of the space, each once: 5,260 classes.
    assert len(np.unique(space.class_keys(wanted.landmarks))) == len(wanted.landmarks) == 5260
    directions = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    values = (model.encode(wanted.landmarks) @ directions.T).T.numpy()
    asked = wanted.landmarks[np.argsort(values[0])[:10]]
    found = pool.best(model, lambda latents: (latents @ directions.T).T.numpy(), space.class_keys(asked))
    forbidden = {tuple(code) for code in asked.tolist()}
    expected: set[tuple[int, ...]] = set()
    for row in values:
        ranked = [tuple(code) for code in wanted.landmarks[np.argsort(row)].tolist()]
        expected |= set([code for code in ranked if code not in forbidden][:POOLED])
    assert len(found) == len(expected)
    assert {tuple(code) for code in found.tolist()} == expected
    # Points are worked out again when the model has changed, and not before.
    with torch.no_grad():
        model.encoder.mean.bias[0] += 1e3
    seen: list[float] = []

    def noted(latents: torch.Tensor) -> FloatArray:
        seen.append(float(latents[:, 0].min()))
        return np.zeros((1, len(latents)))

    pool.best(model, noted, asked=np.zeros(0, np.uint64))
    pool.forget()
    pool.best(model, noted, asked=np.zeros(0, np.uint64))
    assert seen[0] < 500 < seen[1]


def test_without_a_pool_there_is_nothing() -> None:
    space = get_space("toy64")
    codes = np.concatenate(list(space.enumerate()))
    model = latent_model(
        space,
        settings := CRLSOSettings(latent_dim=2, width=8),
        seed=0,
        wanted=latent_points(space, Representatives(space), settings),
    )
    empty = Pool(space, codes[:0]).best(model, lambda latents: latents.T.numpy(), np.zeros(0, np.uint64))
    assert empty.shape == (0, codes.shape[1])
