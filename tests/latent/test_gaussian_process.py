"""Gaussian processes against scikit-learn's, improvement against sampling, kernels against networkx."""

from __future__ import annotations

from collections import Counter

import networkx as nx
import numpy as np
import pytest
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from crlso.latent.gaussian_process import expected_improvement, fit
from crlso.protocols import Codes, SearchSpace
from crlso.spaces import get_space
from crlso.spaces.codes import differing
from crlso.spaces.neighbourhoods import WeisfeilerLehman


def squared(one: np.ndarray, other: np.ndarray, length: float) -> np.ndarray:
    return np.exp(-0.5 * np.square(one[:, None] - other[None]).sum(-1) / length**2)


def test_it_is_the_gaussian_process_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(20, 2)), rng.normal(size=(7, 2))
    targets = np.sin(x).sum(1) + 0.1 * rng.normal(size=20)
    lengths, noises = (0.3, 1.0, 3.0), (1e-3, 1e-2, 1e-1)
    found = fit(((length, squared(x, x, length)) for length in lengths), targets, noises)
    likelihoods = {}
    for length in lengths:
        for noise in noises:
            # At the scale that is best for these two.
            inverse = np.linalg.inv(squared(x, x, length) + noise * np.eye(20))
            scale = targets @ inverse @ targets / 20
            kernel = ConstantKernel(scale, "fixed") * RBF(length, "fixed") + WhiteKernel(
                scale * noise, "fixed"
            )
            other = GaussianProcessRegressor(kernel, alpha=0, optimizer=None).fit(x, targets)
            likelihoods[length, noise] = other.log_marginal_likelihood_value_
            if (length, noise) == (found.choice, found.noise):
                mean, deviation = other.predict(new, return_std=True)
                assert found.scale == pytest.approx(scale)
    assert found.likelihood == pytest.approx(max(likelihoods.values()))
    assert max(likelihoods, key=likelihoods.__getitem__) == (found.choice, found.noise)
    own_mean, own_deviation = found.predict(squared(x, new, found.choice))
    np.testing.assert_allclose(own_mean, mean, rtol=1e-6)
    # Theirs is of a noisy observation.
    np.testing.assert_allclose(own_deviation**2 + found.scale * found.noise, deviation**2, rtol=1e-6)


def test_improvement_is_that_of_samples() -> None:
    mean, deviation = np.array([-1.0, 0.0, 0.5, 2.0]), np.array([0.5, 1.0, 0.1, 2.0])
    drawn = stats.norm.rvs(mean, deviation, size=(400_000, 4), random_state=0)
    expected = np.maximum(drawn - 0.3, 0).mean(0)
    np.testing.assert_allclose(expected_improvement(mean, deviation, 0.3), expected, atol=5e-3)
    certain = expected_improvement(np.array([0.0, 1.0]), np.zeros(2), 0.3)
    np.testing.assert_allclose(certain, [0.0, 0.7])


def test_differing_counts_entries() -> None:
    codes = get_space("nasbench201").sample(9, np.random.default_rng(0))
    expected = [[sum(a != b for a, b in zip(one, other, strict=True)) for other in codes] for one in codes]
    np.testing.assert_array_equal(differing(codes, codes), expected)


def labels(space: SearchSpace, code: Codes, rounds: int) -> Counter[str]:
    """Nested texts as labels: what the refinement is by its definition."""
    graph = space.graphs(code[None])
    edges = graph.edge_index.numpy().T
    graph_labels = [str(int(x)) for x in graph.x.reshape(-1)]
    found = Counter(graph_labels)
    network = nx.DiGraph()
    network.add_nodes_from(range(len(graph_labels)))
    network.add_edges_from(edges.tolist())
    for _ in range(rounds):
        graph_labels = [
            f"{graph_labels[node]}<{sorted(graph_labels[p] for p in network.predecessors(node))}"
            f">{sorted(graph_labels[s] for s in network.successors(node))}"
            for node in range(len(graph_labels))
        ]
        found.update(graph_labels)
    return found


@pytest.mark.parametrize("name", ["nasbench201", "nasbench101", "darts"])
@pytest.mark.parametrize("rounds", [0, 2])
def test_neighbourhoods_are_counted(name: str, rounds: int) -> None:
    space = get_space(name)
    codes = space.sample(12, np.random.default_rng(1))
    counted = [labels(space, code, rounds) for code in codes]
    for one, row in zip(
        counted[:5], WeisfeilerLehman(space, rounds).similarity(codes[:5], codes), strict=True
    ):
        for other, found in zip(counted, row, strict=True):
            dot = sum(count * other[label] for label, count in one.items())
            lengths = np.prod([sum(n * n for n in each.values()) ** 0.5 for each in (one, other)])
            assert found == pytest.approx(dot / lengths)
