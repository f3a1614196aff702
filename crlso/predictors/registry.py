"""Predictors by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from crlso.predictors.closed_form import GaussianProcess, Ridge
from crlso.predictors.latent_space import GraphNetwork, JointHeads, LatentPosterior, PretrainedSpace
from crlso.predictors.protocol import Predictor
from crlso.protocols import SearchSpace
from crlso.search.crlso_settings import CRLSOSettings
from crlso.search.ridge import RidgeSettings

PREDICTORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "latent-quadratic": "crlso: posterior mean of linear and quadratic functions of latent points",
        "latent-linear": "the same, linear functions alone",
        "ridge-entries": "ridge regression on one-hot entries",
        "ridge-pairs": "ridge regression on one-hot entries and pairs of them",
        "gp-codes": "Gaussian process, Hamming kernel",
        "gp-graphs": "Gaussian process, Weisfeiler-Lehman kernel",
        "gp-both": "Gaussian process, weighted mean of both kernels",
        "joint-convex": "input-convex heads, trained with the latent space",
        "joint-free": "the same networks without the constraint",
        "graph-network": "graph network and perceptron, labels alone",
    }
)
"""All predictors, each with one line on what it is."""


def make_predictors(space: SearchSpace, *, seed: int) -> dict[str, Predictor]:
    """All predictors by name; those on the latent space share one, trained when one of them is fitted.

    Args:
        space: The space of the codes.
        seed: Of everything that is drawn.
    """
    latents = PretrainedSpace(space, seed=seed, settings=CRLSOSettings(anchored=False))
    return {
        "latent-quadratic": LatentPosterior(latents, head="quadratic"),
        "latent-linear": LatentPosterior(latents, head="linear"),
        "ridge-entries": Ridge(space, shares=(0.0,)),
        "ridge-pairs": Ridge(space, shares=RidgeSettings().pairs),
        "gp-codes": GaussianProcess(space, kernel="codes"),
        "gp-graphs": GaussianProcess(space, kernel="graphs"),
        "gp-both": GaussianProcess(space, kernel="both"),
        "joint-convex": JointHeads(latents, convex=True),
        "joint-free": JointHeads(latents, convex=False),
        "graph-network": GraphNetwork(space, seed=seed),
    }
