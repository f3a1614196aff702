"""Each predictor against formulas worked out anew, and what all of them have in common."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.linear_model import Ridge as Reference

from crlso.latent.gaussian_process import NOISES
from crlso.predictors.agreement import agreement
from crlso.predictors.closed_form import GaussianProcess, Ridge
from crlso.predictors.latent_space import (
    GraphNetwork,
    JointHeads,
    LatentPosterior,
    PretrainedSpace,
)
from crlso.predictors.protocol import Predictor
from crlso.predictors.registry import PREDICTORS, make_predictors
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search.crlso import CRLSOSettings
from crlso.search.kernels import LENGTHS
from crlso.search.observations import OneHot
from crlso.search.ridge import PENALTIES
from crlso.spaces import get_space
from crlso.spaces.neighbourhoods import WeisfeilerLehman
from crlso.targets import rank_loss

SMALL = CRLSOSettings(pretrain_steps=30, latent_dim=16, width=16, layers=2, heads=2, unlabelled=32)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space("nasbench201")


@pytest.fixture(scope="module")
def latents(space: SearchSpace) -> PretrainedSpace:
    return PretrainedSpace(space, seed=0, settings=SMALL)


def value(space: SearchSpace, codes: Codes) -> FloatArray:
    """Something that identical networks agree in, and that operations decide: convolutions of the class."""
    features = OneHot(space)(codes).reshape(len(codes), 6, 5)
    return features.sum(1) @ np.array([-3.0, 0.5, 1.0, 2.0, -0.5])


def data(space: SearchSpace, count: int) -> tuple[Codes, FloatArray, Codes]:
    rng = np.random.default_rng(0)
    codes = space.sample(count, rng)
    return codes, value(space, codes), space.sample(100, rng)


def test_all_names_are_built(space: SearchSpace) -> None:
    assert list(make_predictors(space, seed=0)) == list(PREDICTORS)


def test_ridge_on_entries_is_scikit_learns(space: SearchSpace) -> None:
    codes, values, others = data(space, 40)
    features, new = OneHot(space)(codes) / 6**0.5, OneHot(space)(others) / 6**0.5
    targets = -rank_loss(values)

    def left_out(penalty: float) -> float:
        errors = []
        for i in range(40):
            rest = np.arange(40) != i
            fitted = Reference(alpha=penalty).fit(features[rest], targets[rest])
            errors.append(float(targets[i] - fitted.predict(features[i : i + 1])[0]))
        return float(np.mean(np.square(errors)))

    best = Reference(alpha=min(PENALTIES, key=left_out)).fit(features, targets)
    predicted = Ridge(space, shares=(0.0,)).fit(codes, values)(others)
    np.testing.assert_allclose(predicted, best.predict(new), atol=1e-9)


@pytest.mark.parametrize("kernel", ["codes", "graphs"])
def test_gaussian_process_is_the_likeliest(space: SearchSpace, kernel: str) -> None:
    """Kernels from their definitions, likelihoods by scipy, the mean by solving with the whole matrix."""
    codes, values, others = data(space, 30)
    codes, others = space.canonical(codes), space.canonical(others)
    targets = -rank_loss(values)
    neighbourhoods = WeisfeilerLehman(space)

    def covariance(one: Codes, other: Codes, length: float) -> FloatArray:
        if kernel == "graphs":
            return neighbourhoods.similarity(one, other)
        return np.exp(-(one[:, None] != other).mean(2) / length)

    found = []
    for length, noise in product(LENGTHS, NOISES):
        matrix = covariance(codes, codes, length) + noise * np.eye(30)
        scale = float(targets @ np.linalg.solve(matrix, targets)) / 30
        likelihood = stats.multivariate_normal.logpdf(targets, cov=scale * matrix)
        mean = covariance(others, codes, length) @ np.linalg.solve(matrix, targets)
        found.append((float(likelihood), mean))
    best = max(found, key=lambda pair: pair[0])[1]
    fit = GaussianProcess(space, kernel="codes" if kernel == "codes" else "graphs").fit(codes, values)
    np.testing.assert_allclose(fit(others), best, atol=1e-8)


def test_linear_functions_of_latent_points_are_a_gaussian_process(latents: PretrainedSpace) -> None:
    """scikit-learn's, with the kernel of products; scaled to where the likelihood is highest."""
    space = latents.space
    codes, values, others = data(space, 30)
    points = latents.model.encode(space.canonical(codes)).double().numpy() / 4  # root of 16 dimensions
    new = latents.model.encode(space.canonical(others)).double().numpy() / 4
    targets = -rank_loss(values)
    found = []
    for noise in NOISES:
        matrix = points @ points.T + noise * np.eye(30)
        scale = float(targets @ np.linalg.solve(matrix, targets)) / 30
        reference = GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=noise, optimizer=None)
        mean = reference.fit(points, targets).predict(new)
        found.append((float(stats.multivariate_normal.logpdf(targets, cov=scale * matrix)), mean))
    best = max(found, key=lambda pair: pair[0])[1]
    predicted = LatentPosterior(latents, head="linear").fit(codes, values)(others)
    np.testing.assert_allclose(predicted, best, atol=1e-6)


def everyone(latents: PretrainedSpace) -> dict[str, Predictor]:
    space = latents.space
    return {
        "latent": LatentPosterior(latents, head="quadratic"),
        "ridge": Ridge(space, shares=(0.0, 0.5, 1.0)),
        "gp": GaussianProcess(space, kernel="both"),
        "convex": JointHeads(latents, convex=True, steps=25),
        "free": JointHeads(latents, convex=False, steps=25),
        "network": GraphNetwork(space, seed=0, steps=60),
    }


@pytest.mark.parametrize("name", ["latent", "ridge", "gp", "convex", "free", "network"])
def test_better_ones_have_higher_scores_whatever_was_fitted_before(
    latents: PretrainedSpace, name: str
) -> None:
    space = latents.space
    predictor = everyone(latents)[name]
    codes, values, others = data(space, 60)
    before = latents.model.encode(others)
    predicted = predictor.fit(codes, values)(others)
    assert agreement(predicted, value(space, others)).spearman > 0.6
    assert predictor.fit(codes, -values)(others).shape == (100,)
    np.testing.assert_array_equal(predictor.fit(codes, values)(others), predicted)
    # What one predictor learns must not reach the others through the space that they share.
    assert torch.equal(latents.model.encode(others), before)
    # Identical networks have one prediction.
    np.testing.assert_allclose(predictor.fit(codes, values)(space.canonical(others)), predicted, atol=1e-5)
