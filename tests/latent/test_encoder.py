"""The encoder against a dense-matrix computation, finite differences, and the symmetries of graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.func import functional_call
from torch_geometric.data import Batch, Data

from crlso.latent import LatentModel, ModelSettings
from crlso.latent.encoder import DirectedGraphConv, GraphEncoder
from crlso.protocols import Codes
from crlso.spaces import EdgeCellSpace, get_space
from tests.latent.small import SMALL, all_codes, small_model, thin_spaces

SPACES = thin_spaces()


def encoder(space_name: str, *, seed: int = 0, direct: bool = False) -> GraphEncoder:
    sizes = replace(SMALL, direct=direct)
    return LatentModel(SPACES[space_name], sizes, seed=seed).encoder.double()


def reverse(codes: Codes) -> Codes:
    """NAS-Bench-201 cells run backwards: the edge i -> j becomes 3 - j -> 3 - i."""
    edges = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    return codes[:, [edges.index((3 - j, 3 - i)) for i, j in edges]]


def dense_encoder(module: GraphEncoder, graph: Data) -> tuple[Tensor, Tensor]:
    """What the encoder's docstring says for one graph, with adjacency matrices."""

    def silu(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    weights = dict(module.named_parameters())
    nodes = len(graph.x)
    into = torch.zeros(nodes, nodes, dtype=torch.float64)
    for source, target in graph.edge_index.T.tolist():
        into[target, source] += 1
    embedded = weights["operation.weight"][graph.x] + weights["position.weight"][graph.position]
    h = silu(embedded @ weights["enter.weight"].T + weights["enter.bias"])
    for layer in range(len(module.convs)):
        own, received, returned = (
            h @ weights[f"convs.{layer}.{name}.weight"].T
            for name in ("self_weight", "in_weight", "out_weight")
        )
        bias = weights[f"convs.{layer}.self_weight.bias"]
        h = h + silu(own + bias + into @ received + into.T @ returned)
    total = silu(h @ weights["readout.weight"].T + weights["readout.bias"]).sum(0)
    mean = weights["mean.weight"] @ total + weights["mean.bias"]
    if "direct.weight" in weights:
        vectors = weights["direct.weight"].view(len(weights["position.weight"]), -1, len(mean))
        mean = mean + sum(vectors[p, x] for p, x in zip(graph.position, graph.x, strict=True))
    log_variance = weights["log_variance.weight"] @ total + weights["log_variance.bias"]
    return mean, log_variance.clamp(-10, 2)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_equals_a_dense_computation(name: str, direct: bool) -> None:
    module = encoder(name, direct=direct)
    codes = SPACES[name].sample(6, np.random.default_rng(0))
    graphs = SPACES[name].graphs(codes)
    mean, log_variance = module(graphs)
    for i, graph in enumerate(graphs.to_data_list()):
        expected_mean, expected_log_variance = dense_encoder(module, graph)
        torch.testing.assert_close(mean[i], expected_mean, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(log_variance[i], expected_log_variance, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", SPACES)
def test_a_batch_equals_its_graphs_one_by_one(name: str) -> None:
    module = encoder(name)
    space = SPACES[name]
    codes = space.sample(9, np.random.default_rng(1))
    together = module(space.graphs(codes))
    singles = [module(space.graphs(code[None])) for code in codes]
    collated = module(Batch.from_data_list(space.graphs(codes).to_data_list()))
    for part in (0, 1):
        one_by_one = torch.cat([single[part] for single in singles])
        torch.testing.assert_close(together[part], one_by_one, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(together[part], collated[part], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", SPACES)
def test_the_order_of_nodes_does_not_matter(name: str) -> None:
    module = encoder(name)
    generator = torch.Generator().manual_seed(0)
    graphs = SPACES[name].graphs(SPACES[name].sample(8, np.random.default_rng(2)))
    shuffled = []
    for graph in graphs.to_data_list():
        order = torch.randperm(len(graph.x), generator=generator)
        wires = torch.argsort(order)[graph.edge_index]
        wires = wires[:, torch.randperm(wires.shape[1], generator=generator)]
        shuffled.append(Data(x=graph.x[order], position=graph.position[order], edge_index=wires))
    for before, after in zip(module(graphs), module(Batch.from_data_list(shuffled)), strict=True):
        torch.testing.assert_close(before, after, atol=1e-6, rtol=0)


def test_sees_the_direction_of_edges() -> None:
    space = SPACES["nasbench201"]
    module = encoder("nasbench201")
    graphs = space.graphs(space.sample(20, np.random.default_rng(3)))
    flipped = graphs.clone()
    flipped.edge_index = graphs.edge_index.flip(0)
    mean, other = module(graphs)[0], module(flipped)[0]
    assert (mean - other).norm(dim=1).min() > 1e-3
    # The same encoder with equal weights both ways is the release's symmetrised one: blind to direction.
    with torch.no_grad():
        for conv in module.convs:
            conv.out_weight.weight.copy_(conv.in_weight.weight)
    torch.testing.assert_close(module(graphs)[0], module(flipped)[0], atol=1e-10, rtol=0)


def test_a_cell_and_its_reverse_differ() -> None:
    space = SPACES["nasbench201"]
    codes = all_codes(space)
    backwards = reverse(codes)
    np.testing.assert_array_equal(reverse(backwards), codes)
    asymmetric = (codes != backwards).any(axis=1)
    codes, backwards = codes[asymmetric][::10], backwards[asymmetric][::10]
    model = small_model(space)
    assert (model.encode(codes) - model.encode(backwards)).norm(dim=1).min() > 1e-4


@pytest.mark.parametrize("seed", [0, 1])
def test_all_cells_have_their_own_latent(seed: int) -> None:
    space = get_space("nasbench201")
    model = LatentModel(space, ModelSettings(latent_dim=24, width=32, layers=2), seed=seed)
    latents = model.encode(all_codes(space)).double().numpy()
    assert len(np.unique(latents, axis=0)) == 15_625
    nearest = cKDTree(latents).query(latents, k=2)[0][:, 1]
    # Far above what float32 rounds away.
    assert nearest.min() > 1e-4 * latents.std()


def test_gradients_of_the_messages() -> None:
    torch.manual_seed(0)
    conv = DirectedGraphConv(3).double()
    edge_index = torch.tensor([[0, 0, 1, 2], [1, 2, 3, 3]])
    states = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in conv.named_parameters()]

    def apply(states: Tensor, *parameters: Tensor) -> Tensor:
        result: Tensor = functional_call(
            conv, dict(zip(names, parameters, strict=True)), (states, edge_index)
        )
        return result

    assert torch.autograd.gradcheck(apply, (states, *conv.parameters()))


def test_gradients_of_the_encoder() -> None:
    space = EdgeCellSpace("three", nodes=3, operations=["none", "conv"])
    settings = ModelSettings(latent_dim=2, width=3, layers=2, heads=1, head_width=2)
    module = LatentModel(space, settings, seed=0).encoder.double()
    graphs = space.graphs(np.array([[0, 1, 1], [1, 0, 1]]))
    names = [name for name, _ in module.named_parameters()]

    def apply(*parameters: Tensor) -> tuple[Tensor, Tensor]:
        answer: tuple[Tensor, Tensor] = functional_call(
            module, dict(zip(names, parameters, strict=True)), (graphs,)
        )
        return answer

    assert torch.autograd.gradcheck(apply, tuple(module.parameters()))


def test_the_variance_is_bounded() -> None:
    space = SPACES["toy64"]
    model = small_model(space)
    with torch.no_grad():
        model.encoder.log_variance.bias.copy_(torch.tensor([1e6, -1e6] * 3))
    _, log_variance = model.posterior(space.sample(4, np.random.default_rng(0)))
    assert log_variance.unique().tolist() == [-10, 2]
