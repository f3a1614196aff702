"""The decoder against brute force over all codes and torch.distributions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from crlso.latent.decoder import CodeDecoder, beam, draw, most_likely, negative_log_likelihood
from tests.latent.small import small_model, thin_spaces

SPACES = thin_spaces()
CARDINALITIES = st.lists(st.integers(1, 6), min_size=1, max_size=7)


def logits_of(cardinalities: Sequence[int], n: int, *, scale: float = 1.0, seed: int = 0) -> Tensor:
    """Logits of a random decoder at random points."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = CodeDecoder(cardinalities, latent_dim=3, width=8)
        z = scale * torch.randn(n, 3)
    with torch.no_grad():
        logits: Tensor = decoder(z)
    return logits


def log_probabilities(logits: Tensor, cardinalities: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """All codes, and the log probability of each under one distribution ``[d, c]``."""
    codes = np.array(list(itertools.product(*(range(c) for c in cardinalities))))
    entries = [
        torch.distributions.Categorical(logits=logits[i, :c].double()) for i, c in enumerate(cardinalities)
    ]
    total = sum(entry.log_prob(torch.from_numpy(codes[:, i])) for i, entry in enumerate(entries))
    return codes, np.asarray(total)


@settings(max_examples=60, deadline=None)
@given(
    cardinalities=CARDINALITIES,
    exponent=st.integers(-2, 8),
    width=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_never_decodes_outside_the_cardinalities(
    cardinalities: list[int], exponent: int, width: int, seed: int
) -> None:
    logits = logits_of(cardinalities, 5, scale=10.0**exponent, seed=seed)
    assert logits.shape == (5, len(cardinalities), max(cardinalities))
    generator = torch.Generator().manual_seed(seed)
    candidates = beam(logits, width)
    assert candidates.shape == (5, min(width, int(np.prod(cardinalities))), len(cardinalities))
    for codes in (most_likely(logits), draw(logits, generator), candidates.reshape(-1, len(cardinalities))):
        assert codes.dtype == np.int16
        assert (codes >= 0).all()
        assert (codes < np.array(cardinalities)).all()


@settings(max_examples=30, deadline=None)
@given(cardinalities=CARDINALITIES, seed=st.integers(0, 99))
def test_likelihood_equals_categoricals(cardinalities: list[int], seed: int) -> None:
    logits = logits_of(cardinalities, 4, scale=3.0, seed=seed)
    rng = np.random.default_rng(seed)
    codes = torch.from_numpy(rng.integers(0, cardinalities, size=(4, len(cardinalities))))
    nats = negative_log_likelihood(logits, codes)
    for row in range(4):
        entries = [
            torch.distributions.Categorical(logits=logits[row, i, :c]) for i, c in enumerate(cardinalities)
        ]
        expected = -sum(float(entry.log_prob(codes[row, i])) for i, entry in enumerate(entries))
        assert float(nats[row]) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("cardinalities", [(2, 3, 2, 4), (5, 5, 5), (1, 4, 1), (7,), (2,) * 6])
def test_probabilities_sum_to_one(cardinalities: tuple[int, ...]) -> None:
    logits = logits_of(cardinalities, 1).double()
    codes, _ = log_probabilities(logits[0], cardinalities)
    nats = negative_log_likelihood(logits.expand(len(codes), -1, -1), torch.from_numpy(codes))
    assert float(torch.exp(-nats).sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("cardinalities", [(2, 3, 2, 4), (5, 5, 5), (1, 4, 1), (7,), (2,) * 6])
@pytest.mark.parametrize("width", [1, 2, 7, 1000])
def test_beam_equals_sorting_all_codes(cardinalities: tuple[int, ...], width: int) -> None:
    logits = logits_of(cardinalities, 6, scale=5.0).double()
    found = beam(logits, width)
    for row in range(6):
        codes, logp = log_probabilities(logits[row], cardinalities)
        order = np.argsort(-logp)[:width]
        np.testing.assert_array_equal(found[row], codes[order])
    np.testing.assert_array_equal(found[:, 0], most_likely(logits))


def test_beam_of_hundreds_of_entries() -> None:
    """Only 10 of 784 entries are open (at places of their own in each row): all their 1,024 settings."""
    rng = np.random.default_rng(0)
    width = 400
    for row in range(3):
        certain = np.where(rng.random(784) < 0.3, 1.0, -1.0) * rng.uniform(100, 200, 784)
        open_entries = np.sort(rng.permutation(784)[:10])
        certain[open_entries] = rng.normal(scale=2.0, size=10)
        logits = torch.from_numpy(np.stack([np.zeros(784), certain], axis=-1))[None]
        found = beam(logits, width)[0]
        settings = np.array(list(itertools.product((0, 1), repeat=10)))
        entries = torch.distributions.Bernoulli(logits=torch.from_numpy(certain[open_entries]))
        logp = entries.log_prob(torch.from_numpy(settings.astype(np.float64))).sum(1).numpy()
        expected = np.tile(certain > 0, (width, 1)).astype(np.int64)
        expected[:, open_entries] = settings[np.argsort(-logp)[:width]]
        np.testing.assert_array_equal(found, expected, err_msg=f"row {row}")


def test_draw_follows_the_probabilities() -> None:
    cardinalities = (2, 3, 4)
    logits = logits_of(cardinalities, 1, scale=4.0)
    codes, logp = log_probabilities(logits[0], cardinalities)
    n = 20_000
    drawn = draw(logits.expand(n, -1, -1), torch.Generator().manual_seed(0))
    ranks = drawn.astype(np.int64) @ np.array([12, 4, 1])
    counts = np.bincount(ranks, minlength=len(codes))
    expected = n * np.exp(logp)
    assert expected.min() > 5
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


def test_draw_is_decided_by_its_generator() -> None:
    logits = logits_of((5,) * 6, 50)
    first, again, other = (draw(logits, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3, 1e8, 1e20])
@pytest.mark.parametrize("name", SPACES)
def test_every_decoding_is_valid(name: str, scale: float) -> None:
    space = SPACES[name]
    model = small_model(space)
    z = scale * torch.randn(40, model.settings.latent_dim, generator=torch.Generator().manual_seed(0))
    codes = model.decode(z)
    assert codes.shape == (40, len(space.cardinalities))
    assert space.is_valid(codes).all()
    candidates = model.decode_beam(z, 5)
    assert candidates.shape == (40, 5, len(space.cardinalities))
    assert space.is_valid(candidates.reshape(200, -1)).all()
    np.testing.assert_array_equal(candidates[:, 0], codes)
