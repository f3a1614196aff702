"""The latent model: what its methods say follows from its parts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from crlso.errors import UserError
from crlso.latent import ConvexHeads, LatentModel, ModelSettings
from crlso.latent.icnn import FreeHeads
from crlso.latent.model import sizes_for
from crlso.latent.training import Trainer, TrainingSettings
from crlso.spaces import FreeTopologySpace, get_space
from crlso.spaces.genotype import OPERATIONS
from crlso.threads import threads
from tests.latent.small import SMALL, small_model, thin_spaces

SPACES = thin_spaces()


@pytest.mark.parametrize("name", SPACES)
def test_shapes(name: str) -> None:
    space = SPACES[name]
    model = small_model(space)
    codes = space.sample(7, np.random.default_rng(0))
    mean, log_variance = model.posterior(codes)
    assert mean.shape == log_variance.shape == (7, SMALL.latent_dim)
    assert mean.requires_grad
    assert not model.encode(codes).requires_grad
    assert model.predict(codes).shape == (SMALL.heads, 7)
    assert model.decode(model.encode(codes)).shape == codes.shape
    assert model.encode(codes[:0]).shape == (0, SMALL.latent_dim)


def test_chunks_make_no_difference() -> None:
    model = small_model(SPACES["nasbench201"])
    codes = SPACES["nasbench201"].sample(23, np.random.default_rng(0))
    for chunk in (1, 5, 23, 100):
        torch.testing.assert_close(
            model.encode(codes, chunk=chunk), model.encode(codes), atol=1e-6, rtol=1e-5
        )


def test_predictions_are_the_heads_at_the_means() -> None:
    model = small_model(SPACES["nasbench201"])
    codes = SPACES["nasbench201"].sample(9, np.random.default_rng(0))
    with torch.no_grad():
        torch.testing.assert_close(model.predict(codes), model.heads(model.posterior(codes)[0]))


def test_a_seed_decides_the_parameters_and_nothing_else_does() -> None:
    before = torch.get_rng_state()
    first, other = small_model(SPACES["toy64"], seed=1), small_model(SPACES["toy64"], seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    again = small_model(SPACES["toy64"], seed=1)
    for one, two in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.encoder.mean.weight, other.encoder.mean.weight)
    assert not torch.equal(first.heads.linear, other.heads.linear)


def test_settings_are_the_sizes() -> None:
    settings = ModelSettings(
        latent_dim=3, width=5, layers=4, heads=2, head_width=7, head_layers=3, head_rank=1
    )
    model = LatentModel(SPACES["nasbench201"], settings, seed=0)
    assert len(model.encoder.convs) == 4
    assert model.encoder.mean.weight.shape == (3, 5)
    assert [tuple(skip.shape) for skip in model.heads.skips] == [(2, 3, 7)] * 3
    assert model.heads.quadratic is not None
    assert model.heads.quadratic.shape == (2, 3, 1)
    flat = LatentModel(SPACES["nasbench201"], dataclasses.replace(settings, head_rank=0), seed=0)
    assert flat.heads.quadratic is None


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(ModelSettings) if field.type == "int"]
)
def test_wrong_sizes_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} must be \d or more, got -1"):
        ModelSettings(**{name: -1})


@pytest.mark.parametrize(
    ("name", "dimension", "direct"),
    [
        ("toy64", 24, False),
        ("nasbench201", 24, False),
        ("nasbench101", 31, False),
        ("darts", 128, True),
        ("fxdarts", 784, True),
    ],
)
def test_sizes_are_what_the_codes_need(name: str, dimension: int, direct: bool) -> None:
    assert sizes_for(get_space(name)) == ModelSettings(latent_dim=dimension, direct=direct)


def test_linear_terms_are_added_to_what_the_networks_say() -> None:
    space = SPACES["fxdarts"]
    codes = space.sample(4, np.random.default_rng(0))
    model = LatentModel(space, dataclasses.replace(SMALL, direct=True), seed=0)
    plain = LatentModel(space, SMALL, seed=0)
    kept = {name: value for name, value in model.state_dict().items() if ".direct." not in name}
    plain.load_state_dict(kept)
    mean, log_variance = model.posterior(codes)
    other, same = plain.posterior(codes)
    assert torch.equal(log_variance, same)
    assert (mean - other).abs().min() > 0
    added = model.decoder(mean) - plain.decoder(mean)
    assert model.decoder.direct is not None
    expected = (mean @ model.decoder.direct.weight.T).view(4, 784, 2)
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-5)


def test_encoder_and_decoder_do_not_depend_on_the_kind_of_heads() -> None:
    settings = ModelSettings(latent_dim=3, width=5, heads=2)
    convex = LatentModel(SPACES["nasbench201"], settings, seed=0)
    free = LatentModel(SPACES["nasbench201"], dataclasses.replace(settings, convex=False), seed=0)
    assert type(convex.heads) is ConvexHeads
    assert type(free.heads) is FreeHeads
    for part in ("encoder", "decoder"):
        weights = getattr(convex, part).state_dict()
        assert all(
            torch.equal(weights[name], value) for name, value in getattr(free, part).state_dict().items()
        )


def test_more_bits_than_the_width_come_back_by_the_linear_terms() -> None:
    """Held-out codes of 140 bits, encoder and decoder of width 64 and 128: entries that come back."""
    space = FreeTopologySpace("bits", cells=4, nodes=2, operations=OPERATIONS)
    rng = np.random.default_rng(0)
    train, held_out = space.sample(3000, rng), space.sample(300, rng)
    share = {}
    for direct in (True, False):
        model = LatentModel(space, dataclasses.replace(sizes_for(space), direct=direct), seed=0)
        settings = TrainingSettings(batch=32)
        trainer = Trainer(model, lambda n, rng: train[rng.integers(0, len(train), n)], settings, seed=0)
        with threads():
            trainer.run(300, None)
            share[direct] = (model.decode(model.encode(held_out)) == held_out).mean()
    assert share[True] > 0.9
    assert share[False] < 0.8
