"""Whole-network graphs in the latent space: equal nodes computed once, nested codes brought back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from crlso.latent import LatentModel, ModelSettings, Trainer, TrainingSettings
from crlso.latent.encoder import LARGE
from crlso.latent.messages import plan, sum_rows
from crlso.latent.model import sizes_for
from crlso.protocols import Codes
from crlso.spaces.fxdarts import FreeTopologySpace, fxdarts
from crlso.threads import threads
from tests.latent.small import SMALL, thin_spaces

SPACES = thin_spaces()
HEADS = ("mean", "log_variance")  # what a sum over nodes does not reach
TINY = FreeTopologySpace(
    "tiny", cells=2, nodes=4, operations=("sep_conv_3x3", "skip_connect", "dil_conv_5x5")
)


def groups(space: FreeTopologySpace) -> Codes:
    """``[d]``: which node each bit belongs to."""
    widths = [(2 + node) * len(space.operations) for node in range(space.nodes)] * space.cells
    return np.repeat(np.arange(len(widths)), widths)


def chain(space: FreeTopologySpace, n: int, *, rng: np.random.Generator) -> Codes:
    """``[n, d]`` nested codes, from all operators to two per node: what a shrinking search passes through."""
    group = groups(space)
    left = np.bincount(group)
    leave = []
    for bit in rng.permutation(len(group)):
        if left[group[bit]] > 2:
            left[group[bit]] -= 1
            leave.append(bit)
    codes = np.ones((n, len(group)), dtype=np.int16)
    for row, part in enumerate(np.array_split(leave, n - 1)):
        codes[row + 1 :, part] = 0
    return codes


def brought_back(space: FreeTopologySpace, codes: Codes, *, steps: int) -> Codes:
    """Decodings of the codes' latent points by a model trained on them, sized as by `crlso embed train`."""
    model = LatentModel(space, sizes_for(space), seed=0)
    settings = TrainingSettings(steps=steps, batch=32)
    trainer = Trainer(model, lambda n, rng: codes[rng.integers(0, len(codes), n)], settings, seed=0)
    with threads():
        trainer.run(steps, None)
        return model.decode(model.encode(codes))


def batches() -> dict[str, Batch]:
    """Batches of every kind of space, the largest with graphs from dense to sparse."""
    rng = np.random.default_rng(0)
    found = {name: space.graphs(space.sample(7, rng)) for name, space in SPACES.items()}
    found["one of fxdarts"] = fxdarts().graphs(fxdarts().sample(1, rng))
    found["a chain"] = fxdarts().graphs(chain(fxdarts(), 7, rng=rng))
    found["copies"] = TINY.graphs(np.repeat(TINY.sample(2, rng), 3, axis=0))
    return found


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", [*SPACES, "one of fxdarts", "a chain", "copies"])
def test_equal_nodes_computed_once_change_nothing(name: str, layers: int) -> None:
    """Values and gradients of all weights, whatever the space and its graphs' size."""
    graphs = batches()[name]
    vocabulary, positions = int(graphs.x.max()) + 1, int(graphs.position.max()) + 1
    sizes = ModelSettings(**{**SMALL.__dict__, "layers": layers})
    space = SPACES.get(name, fxdarts())
    module = LatentModel(space, sizes, seed=0).encoder.double()
    assert vocabulary <= module.operation.num_embeddings
    assert positions <= module.position.num_embeddings
    weight = torch.randn(graphs.num_graphs, sizes.width, dtype=torch.float64)
    parameters = [p for name, p in module.named_parameters() if name.split(".")[0] not in HEADS]
    sums, gradients = [], []
    for path in (module.summed, module.summed_merged):
        sums.append(path(graphs))
        gradients.append(torch.autograd.grad((sums[-1] * weight).sum(), parameters))
    torch.testing.assert_close(sums[1], sums[0], atol=1e-10, rtol=1e-10)
    for merged, plain in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(merged, plain, atol=1e-10, rtol=1e-10)


def test_large_graphs_take_the_merged_path(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LatentModel(fxdarts(), SMALL, seed=0)
    codes = fxdarts().sample(3, np.random.default_rng(0))
    called = []
    merged = model.encoder.summed_merged
    monkeypatch.setattr(model.encoder, "summed_merged", lambda g: called.append(len(g.x)) or merged(g))
    mean = model.encode(codes)
    assert called == [len(fxdarts().graphs(codes).x)]
    assert called[0] > 3 * LARGE
    direct = model.encoder.mean(model.encoder.summed(fxdarts().graphs(codes)))
    torch.testing.assert_close(mean, direct.detach(), atol=1e-3, rtol=1e-4)


def test_after_one_round_an_operator_is_known_by_its_place() -> None:
    """Hundreds of graphs, but no more operator states than there are possible operators."""
    space = fxdarts()
    codes = space.sample(300, np.random.default_rng(0))
    steps = plan(space.graphs(codes), 2)
    outputs = space.cells * (space.nodes + 1) + 1  # of nodes and cells, and the stem
    assert len(steps.x) == outputs + len(space.cardinalities)
    first = len(steps.rounds[0].received.group)
    assert first <= len(space.cardinalities) + 300 * outputs
    assert len(steps.nodes) == codes.sum() + 300 * outputs


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_rows(seed: int) -> None:
    """Values, and gradients against finite differences; rows that no group has, and empty groups."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 4, 6)
    offsets = torch.from_numpy(np.concatenate([[0], lengths.cumsum()]))
    indices = torch.from_numpy(rng.integers(0, 5, lengths.sum()))
    values = torch.from_numpy(rng.normal(size=(7, 3))).requires_grad_()
    summed = sum_rows(values, indices, offsets)
    for i, (start, end) in enumerate(itertools.pairwise(offsets.tolist())):
        expected = sum((values[j] for j in indices[start:end].tolist()), torch.zeros(3, dtype=torch.float64))
        torch.testing.assert_close(summed[i], expected)
    assert torch.autograd.gradcheck(lambda rows: sum_rows(rows, indices, offsets), (values,))


def test_a_chain_is_nested() -> None:
    codes = chain(TINY, 20, rng=np.random.default_rng(0))
    assert TINY.is_valid(codes).all()
    assert (np.diff(codes, axis=0) <= 0).all()
    assert len(np.unique(codes, axis=0)) == 20
    assert codes[-1].sum() == 2 * TINY.cells * TINY.nodes


def test_a_shrinking_chain_comes_back() -> None:
    codes = chain(TINY, 20, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(brought_back(TINY, codes, steps=250), codes)
    untrained = brought_back(TINY, codes, steps=0)
    assert (untrained != codes).any(axis=1).all()


@pytest.mark.slow
def test_a_shrinking_chain_of_full_size_comes_back() -> None:
    """8 cells, 7 operations: 825 nodes at the start of the chain, 105 at its end."""
    space = fxdarts()
    codes = chain(space, 20, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(brought_back(space, codes, steps=200), codes)
