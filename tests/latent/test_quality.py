"""Figures of a latent space: of a model whose figures are known, and recomputed for a trained one."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from crlso.latent import (
    LatentModel,
    LatentQuality,
    ModelSettings,
    Trainer,
    TrainingSettings,
    check_convexity,
    measure,
    split_by_class,
)
from crlso.latent.quality import draw_latents
from crlso.latent.study import StudySettings, model_convexity, train_latent
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.spaces import EdgeCellSpace, Subset, get_space
from tests.latent.small import all_codes, small_model

NASBENCH201 = get_space("nasbench201")
SPREAD = 3.0


@dataclass(frozen=True)
class Sizes:
    latent_dim: int


class PerfectModel:
    """A latent space without flaws: a code is its one-hot vector; the decoder takes the largest part.

    A standard normal point decodes to independent uniform entries, by symmetry.
    """

    def __init__(self, space: SearchSpace, sharpness: float = 1e4) -> None:
        self.space = space
        self.sharpness = sharpness
        self.d = len(space.cardinalities)
        self.c = space.cardinalities[0]
        assert set(space.cardinalities) == {self.c}
        self.settings = Sizes(self.d * self.c)

    def posterior(self, codes: Codes) -> tuple[Tensor, Tensor]:
        one_hot = torch.nn.functional.one_hot(torch.from_numpy(codes.astype(np.int64)), self.c)
        mean = SPREAD * one_hot.reshape(len(codes), -1).float()
        return mean, torch.full_like(mean, -10.0)

    def encode(self, codes: Codes) -> Tensor:
        return self.posterior(codes)[0]

    def decoder(self, z: Tensor) -> Tensor:
        return self.sharpness * z.view(len(z), self.d, self.c)

    def decode(self, z: Tensor) -> Codes:
        return self.space.repair(self.decoder(z).argmax(-1).numpy().astype(np.int16))

    def predict(self, codes: Codes) -> Tensor:
        """Two heads; their mean is the loss of :func:`worth`."""
        loss = -torch.from_numpy(worth(codes))
        return torch.stack([2 * loss, 0 * loss])


def worth(codes: Codes) -> FloatArray:
    value: FloatArray = codes.astype(float) @ np.sqrt(np.arange(2.0, 2 + codes.shape[1]))
    return value


def measured(model: object, **arguments: Any) -> LatentQuality:
    return measure(cast(LatentModel, model), **arguments)


def expected_distinct(sizes: np.ndarray, draws: int) -> float:
    """Mean share of distinct values among draws of values with these weights."""
    shares = sizes / sizes.sum()
    return float((1 - (1 - shares) ** draws).sum() / draws)


@pytest.fixture(scope="module")
def perfect() -> LatentQuality:
    split = split_by_class(NASBENCH201, all_codes(NASBENCH201), share=0.3, rng=np.random.default_rng(0))
    held_out = split.held_out[::10]
    truth = worth(held_out)
    return measured(
        PerfectModel(NASBENCH201), train=split.train, held_out=held_out, beta=0.25, seed=0, truth=truth
    )


def test_a_perfect_model_is_perfect(perfect: LatentQuality) -> None:
    assert perfect.reconstruction_mean == perfect.reconstruction_entries == perfect.reconstruction_train == 1
    assert perfect.reconstruction_dvae == pytest.approx(1)
    assert perfect.reconstruction_nats == pytest.approx(0, abs=1e-6)
    assert perfect.valid == perfect.valid_before_repair == perfect.dvae_valid == perfect.arch2vec_valid == 1
    assert perfect.spearman == pytest.approx(1)
    assert perfect.kendall == pytest.approx(1)
    assert perfect.beta == 0.25
    # Six parts at 3, all 30 with variance e^-10.
    by_hand = (6 * SPREAD**2 + 30 * (math.exp(-10) - 1 + 10)) / 2
    assert perfect.kl_nats == pytest.approx(by_hand, rel=1e-5)


def test_uniform_cells_are_seldom_repeated_but_often_the_same_network(perfect: LatentQuality) -> None:
    keys = NASBENCH201.class_keys(all_codes(NASBENCH201))
    sizes = np.unique(keys, return_counts=True)[1]
    codes, classes = expected_distinct(np.ones(15_625), 1000), expected_distinct(sizes, 1000)
    assert codes == pytest.approx(0.97, abs=0.005)
    assert classes == pytest.approx(0.56, abs=0.01)
    # Drawn from the space, and decoded from a standard normal by a model without preferences.
    for unique_codes, unique_classes in (
        (perfect.unique_codes_uniform, perfect.unique_classes_uniform),
        (perfect.unique_codes, perfect.unique_classes),
    ):
        assert unique_codes == pytest.approx(codes, abs=0.02)
        assert unique_classes == pytest.approx(classes, abs=0.05)


def test_novelty_is_the_share_that_was_not_trained_on() -> None:
    codes = all_codes(NASBENCH201)
    known = np.random.default_rng(0).permutation(codes)[:5000]
    quality = measured(PerfectModel(NASBENCH201), train=known, held_out=codes[:20], beta=0, seed=1)
    assert quality.novel == pytest.approx(1 - 5000 / 15_625, abs=0.06)
    everything = measured(PerfectModel(NASBENCH201), train=codes, held_out=codes[:20], beta=0, seed=1)
    assert everything.novel == everything.dvae_novel == 0
    assert everything.spearman is None
    assert everything.kendall is None


def test_rescaled_priors_are_rescaled_to_the_training_latents() -> None:
    # All training cells but one entry are alike: so is what the two protocols decode (to e-foldings of 1e4).
    codes = np.zeros((5, 6), dtype=np.int16)
    codes[:, 2] = np.arange(5)
    quality = measured(PerfectModel(NASBENCH201), train=codes, held_out=codes, beta=0, seed=0)
    assert quality.dvae_unique == 5 / 10_000
    assert quality.arch2vec_unique == 5 / 10_000
    assert quality.dvae_novel == 0
    assert quality.unique_codes > 0.9


def test_a_decoder_that_guesses_reconstructs_as_often_as_chance() -> None:
    space = EdgeCellSpace("small", nodes=3, operations=["none", "conv"])
    codes = all_codes(space)
    quality = measured(
        PerfectModel(space, sharpness=0.0), train=codes, held_out=np.tile(codes, (50, 1)), beta=0, seed=0
    )
    assert quality.reconstruction_dvae == pytest.approx(1 / 8, abs=0.01)
    assert quality.reconstruction_nats == pytest.approx(math.log(8))
    # Always the same code: one in eight is right, one in a thousand is distinct.
    assert quality.reconstruction_mean == 1 / 8
    assert quality.unique_codes == quality.unique_classes == 1 / 1000


def test_validity_is_measured_before_and_after_repair() -> None:
    members = np.unique(NASBENCH201.sample(3000, np.random.default_rng(0)), axis=0)
    subset = Subset(NASBENCH201, members)
    quality = measured(PerfectModel(subset), train=members, held_out=members[:10], beta=0, seed=0)
    assert quality.valid == quality.dvae_valid == quality.arch2vec_valid == 1
    assert quality.valid_before_repair == pytest.approx(len(members) / 15_625, abs=0.05)


def test_one_training_code_is_enough() -> None:
    codes = all_codes(NASBENCH201)[:6]
    quality = measured(small_model(NASBENCH201), train=codes[:1], held_out=codes[1:], beta=0, seed=0)
    assert all(math.isfinite(value) for value in dataclasses.asdict(quality).values() if value is not None)


@pytest.fixture(scope="module")
def trained() -> LatentModel:
    """Trained for so short a time that no figure is at its end."""
    model = LatentModel(NASBENCH201, ModelSettings(latent_dim=8, width=16, layers=1, heads=2), seed=0)
    settings = TrainingSettings(batch=64, learning_rate=1e-2)
    Trainer(model, NASBENCH201.sample, settings, seed=0).run(300, None)
    return model


def test_figures_of_a_trained_model_recomputed(trained: LatentModel) -> None:
    rng = np.random.default_rng(5)
    codes = rng.permutation(all_codes(NASBENCH201))
    train, held_out = codes[:3000], codes[3000:3200]
    truth = worth(held_out)
    truth[::7] = math.nan
    quality = measured(trained, train=train, held_out=held_out, beta=0.01, seed=3, truth=truth)
    mean, log_variance = (part.detach() for part in trained.posterior(held_out))
    decoded = [trained.decode(point[None])[0] for point in mean]
    hits = [tuple(a) == tuple(b) for a, b in zip(decoded, held_out, strict=True)]
    assert quality.held_out == 200
    assert quality.reconstruction_mean == pytest.approx(np.mean(hits))
    assert 0.1 < quality.reconstruction_mean < 1
    entries = [
        a == b for row, code in zip(decoded, held_out, strict=True) for a, b in zip(row, code, strict=True)
    ]
    assert quality.reconstruction_entries == pytest.approx(np.mean(entries))
    again = trained.decode(trained.encode(train[::2]))
    assert quality.reconstruction_train == pytest.approx(np.mean([(again == train[::2]).all(1)]))

    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros(8), torch.ones(8))
    kl = torch.distributions.kl_divergence(posterior, prior).sum(-1).mean()
    assert quality.kl_nats == pytest.approx(float(kl), rel=1e-4)

    # The expectation of D-VAE's share: the probability of the code under the decoder, over other samples.
    torch.manual_seed(0)
    with torch.no_grad():
        logits = trained.decoder(posterior.sample((60,)).flatten(0, 1))
    entries = torch.distributions.Categorical(logits=logits.view(60, 200, 6, 5))
    logp = entries.log_prob(torch.from_numpy(held_out.astype(np.int64)).expand(60, -1, -1)).sum(-1)
    assert quality.reconstruction_dvae == pytest.approx(float(logp.exp().mean()), abs=0.02)
    assert quality.reconstruction_nats == pytest.approx(-float(logp.mean()), rel=0.05)
    assert 0.01 < quality.reconstruction_dvae < 1

    # Rank correlations by counting pairs.
    known = np.isfinite(truth)
    scores = -trained.predict(held_out).mean(0).double().numpy()[known]
    values = truth[known]
    signs = np.sign(scores[:, None] - scores) * np.sign(values[:, None] - values)
    assert quality.kendall == pytest.approx(signs.sum() / (len(values) * (len(values) - 1)), abs=5e-3)
    order = [np.array([(array < x).sum() + (array == x).mean() for x in array]) for array in (scores, values)]
    assert quality.spearman == pytest.approx(np.corrcoef(*order)[0, 1], abs=5e-3)


def test_a_seed_decides_the_figures(trained: LatentModel) -> None:
    codes = all_codes(NASBENCH201)
    first, again, other = (
        measured(trained, train=codes[:500], held_out=codes[600:700], beta=0.01, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert first.reconstruction_mean == other.reconstruction_mean


def test_drawn_latents_follow_the_posterior(trained: LatentModel) -> None:
    code = all_codes(NASBENCH201)[[77]]
    mean, log_variance = (part.detach().double()[0] for part in trained.posterior(code))
    points = draw_latents(trained, code)(40_000, torch.Generator().manual_seed(0))
    assert points.shape == (40_000, 8)
    assert points.dtype == torch.float64
    deviation = (log_variance / 2).exp()
    assert ((points.mean(0) - mean).abs() < 5 * deviation / 200).all()
    torch.testing.assert_close(points.std(0), deviation, rtol=0.03, atol=0)


def test_convexity_of_a_trained_model(trained: LatentModel) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    report = model_convexity(trained, all_codes(NASBENCH201)[::10], pairs=5_000)
    assert report.is_convex
    assert report.pairs == 5_000
    # A check in float64 leaves the model in float32.
    assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())
    # The decoder, as a function to be checked by the same means, is not convex.
    other = check_convexity(
        lambda z: trained.decoder(z.float())[:, 0, 0].double(),
        draw_latents(trained, all_codes(NASBENCH201)[::10]),
        pairs=5000,
        distances=(0.1,),
    )
    assert not other.is_convex


def test_the_smallest_space_of_all() -> None:
    space = EdgeCellSpace("tiny", nodes=2, operations=["none", "conv"])
    study = train_latent(
        space,
        settings=StudySettings(held_out=0.5),
        model=ModelSettings(latent_dim=4, width=8, layers=1, heads=1),
        training=TrainingSettings(steps=5, batch=4),
    )
    assert study.quality.held_out == 1
    assert study.labels == 0


@pytest.mark.slow
def test_nasbench201_in_full(nasbench201: Any) -> None:
    study = train_latent(
        NASBENCH201,
        evaluator=nasbench201,
        metric="cifar10/valid_accuracy@200",
        # What `crlso embed train` uses.
        training=TrainingSettings(steps=2000, beta=0.002, labelled_batch=128),
    )
    quality = study.quality
    assert study.cpu_seconds < 90
    assert quality.reconstruction_mean == 1
    assert quality.reconstruction_dvae >= 0.995
    assert quality.valid == quality.dvae_valid == quality.arch2vec_valid == 1
    assert quality.unique_codes >= 0.93
    assert quality.spearman is not None
    assert quality.spearman > 0.5
    assert study.convexity.pairs == 20_000
    assert study.convexity.passed
