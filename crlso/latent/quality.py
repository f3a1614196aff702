"""How good a latent space is, on architectures it was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from crlso.latent.decoder import draw, most_likely, negative_log_likelihood
from crlso.latent.model import LatentModel, graphs_at_once
from crlso.latent.training import gaussian_kl
from crlso.protocols import Codes, FloatArray, Keys, SearchSpace
from crlso.spaces.codes import code_keys

_TRAINED = 2000  # training codes that are reconstructed


@dataclass(frozen=True)
class LatentQuality:
    """Shares lie in [0, 1]; all of them are measured, also those that hold by construction.

    Attributes:
        held_out: Number of held-out codes.
        reconstruction_mean: Share of held-out codes that the most likely decoding of the posterior mean
            returns.
        reconstruction_entries: Share of their entries that it returns.
        reconstruction_train: As ``reconstruction_mean``, of (at most 2,000) codes it was trained on.
        reconstruction_dvae: D-VAE's protocol: share of exact matches over 10 encodings (posterior samples)
            times 10 decodings (decoder samples) of each held-out code.
        reconstruction_nats: Mean nats the decoder needs for a held-out code from one posterior sample.
        kl_nats: Mean KL divergence of held-out posteriors to the prior.
        beta: Weight of the KL divergence in training.
        valid: Share of 1,000 prior samples whose decoding is valid.
        valid_before_repair: The same before the space's repair.
        unique_codes: Distinct codes among the decodings of 1,000 standard normal points, over 1,000.
        unique_classes: Distinct exact classes among them, over 1,000.
        unique_codes_uniform: What drawing 1,000 codes from ``space.sample`` gives, for comparison.
        unique_classes_uniform: The same for classes.
        novel: Share of valid prior decodings whose code is not among the training codes.
        dvae_valid: D-VAE's protocol: 1,000 prior points, rescaled to the mean and standard deviation of the
            training latents, 10 sampled decodings each: share valid.
        dvae_unique: Distinct among the valid ones, over their number.
        dvae_novel: Share of the valid ones that were not trained on.
        arch2vec_valid: arch2vec's protocol: 10,000 rescaled prior points, one most likely decoding each.
        arch2vec_unique: Distinct over valid.
        spearman: Rank correlation of the heads' mean prediction with the truth on held-out codes, ``None``
            without labels and where all known values are the same.
        kendall: The same as Kendall's tau-b.
    """

    held_out: int
    reconstruction_mean: float
    reconstruction_entries: float
    reconstruction_train: float
    reconstruction_dvae: float
    reconstruction_nats: float
    kl_nats: float
    beta: float
    valid: float
    valid_before_repair: float
    unique_codes: float
    unique_classes: float
    unique_codes_uniform: float
    unique_classes_uniform: float
    novel: float
    dvae_valid: float
    dvae_unique: float
    dvae_novel: float
    arch2vec_valid: float
    arch2vec_unique: float
    spearman: float | None
    kendall: float | None


def measure(
    model: LatentModel,
    *,
    train: Codes,
    held_out: Codes,
    beta: float,
    seed: int,
    truth: FloatArray | None = None,
) -> LatentQuality:
    """Measures reconstruction, validity, uniqueness, novelty and the performance heads.

    Args:
        model: A trained model.
        train: ``[m, d]`` codes it was trained on (for novelty and for the rescaled priors).
        held_out: ``[n, d]`` codes of classes it never saw.
        beta: The KL weight it was trained with, to be stated beside the figures.
        seed: Of all samples.
        truth: ``[n]`` performance of the held-out codes, larger is better, or ``None``; NaN rows are left
            out.
    """
    space = model.space
    generator = torch.Generator().manual_seed(seed)
    dim = model.settings.latent_dim
    known = np.unique(code_keys(train, space.cardinalities))

    with torch.no_grad():
        mean, log_variance = _posterior(model, held_out)
        reconstructed = model.decode(mean)
        same = nats = 0.0
        for _ in range(10):
            z = mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, generator=generator)
            logits = model.decoder(z)
            nats += (
                float(negative_log_likelihood(logits, torch.from_numpy(held_out.astype(np.int64))).mean())
                / 10
            )
            for _ in range(10):
                same += float((space.repair(draw(logits, generator)) == held_out).all(1).mean())
        match = float((reconstructed == held_out).all(1).mean())
        kl = float(gaussian_kl(mean, log_variance).mean())

        raw = most_likely(model.decoder(torch.randn(1000, dim, generator=generator)))
        prior = space.repair(raw)
        latents = model.encode(train)
        every = -(-len(train) // _TRAINED)
        again = float((model.decode(latents[::every]) == train[::every]).all(1).mean())
        location, scale = latents.mean(0), latents.std(0, correction=0)

        def rescaled(n: int) -> Tensor:
            return torch.randn(n, dim, generator=generator) * scale + location

        logits = model.decoder(rescaled(1000))
        dvae = np.concatenate([space.repair(draw(logits, generator)) for _ in range(10)])
        arch2vec = space.repair(most_likely(model.decoder(rescaled(10_000))))
        predicted = -model.predict(held_out).mean(0).double().numpy() if truth is not None else None

    uniform = space.sample(1000, np.random.default_rng(seed))
    spearman = kendall = None
    if truth is not None and predicted is not None:
        there = np.isfinite(truth)
        # Between numbers that are all the same there is no rank correlation.
        if min(len(np.unique(predicted[there])), len(np.unique(truth[there]))) > 1:
            spearman = float(stats.spearmanr(predicted[there], truth[there]).statistic)
            kendall = float(stats.kendalltau(predicted[there], truth[there]).statistic)
    return LatentQuality(
        held_out=len(held_out),
        reconstruction_mean=match,
        reconstruction_entries=float((reconstructed == held_out).mean()),
        reconstruction_train=again,
        reconstruction_dvae=same / 100,
        reconstruction_nats=nats,
        kl_nats=kl,
        beta=beta,
        valid=_share_valid(model, prior),
        valid_before_repair=_share_valid(model, raw),
        unique_codes=_distinct(code_keys(prior, space.cardinalities)),
        unique_classes=_distinct(space.class_keys(prior, "exact")),
        unique_codes_uniform=_distinct(code_keys(uniform, space.cardinalities)),
        unique_classes_uniform=_distinct(space.class_keys(uniform, "exact")),
        novel=_novel(space, prior, known),
        dvae_valid=_share_valid(model, dvae),
        dvae_unique=_distinct(code_keys(dvae, space.cardinalities)),
        dvae_novel=_novel(space, dvae, known),
        arch2vec_valid=_share_valid(model, arch2vec),
        arch2vec_unique=_distinct(code_keys(arch2vec, space.cardinalities)),
        spearman=spearman,
        kendall=kendall,
    )


def draw_latents(model: LatentModel, codes: Codes) -> Callable[[int, torch.Generator], Tensor]:
    """Draws float64 posterior samples of codes, for :func:`crlso.latent.convexity.check_convexity`."""
    with torch.no_grad():
        mean, log_variance = _posterior(model, codes)
    mean, deviation = mean.double(), torch.exp(0.5 * log_variance).double()

    def sample(n: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(mean), (n,), generator=generator)
        noise = torch.randn(n, mean.shape[1], generator=generator, dtype=torch.float64)
        return mean[index] + deviation[index] * noise

    return sample


def _posterior(model: LatentModel, codes: Codes) -> tuple[Tensor, Tensor]:
    chunk = graphs_at_once(model.space)
    parts = [model.posterior(codes[i : i + chunk]) for i in range(0, len(codes), chunk)]
    return torch.cat([mean for mean, _ in parts]), torch.cat([log_variance for _, log_variance in parts])


def _share_valid(model: LatentModel, codes: Codes) -> float:
    return float(model.space.is_valid(codes).mean())


def _distinct(keys: Keys) -> float:
    return len(np.unique(keys)) / len(keys)


def _novel(space: SearchSpace, codes: Codes, known: Keys) -> float:
    return float(1.0 - np.isin(code_keys(codes, space.cardinalities), known).mean())
