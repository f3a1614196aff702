"""The reference supernets: published counts, discrete networks as the limit, no state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crlso.spaces import EdgeCellSpace
from supernet.networks import OPERATIONS, EdgeCell, Skeleton
from supernet.networks.normalisation import BatchStatistics, OwnBatch, Style
from supernet.networks.relaxed import DARTS_EDGES, DARTS_OPERATIONS, DARTSReference, EdgeCellReference
from supernet.networks.relaxed.reference import RelaxedEdgeCell

SPACE = EdgeCellSpace("all", nodes=4, operations=list(OPERATIONS))


def test_published_number_of_weights() -> None:
    network = DARTSReference(channels=16, cells=8, inputs=3, classes=10)
    assert sum(p.numel() for p in network.parameters()) == 1_930_618
    assert not list(network.buffers())
    assert (len(DARTS_EDGES), len(DARTS_OPERATIONS)) == (14, 8)


@pytest.mark.parametrize(("stem", "size"), [("cifar", (7, 10)), ("imagenet", (33, 40))])
def test_darts_is_a_pure_function(stem: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = DARTSReference(channels=4, cells=3, stem=stem, inputs=1, classes=5)  # type: ignore[arg-type]
    images, mixing = torch.randn(3, 1, *size), torch.randn(2, 14, 8).softmax(-1)
    logits = network(images, mixing)
    assert logits.shape == (3, 5)
    np.testing.assert_array_equal(logits.detach().numpy(), network.eval()(images, mixing).detach().numpy())
    # Each kind of cell has its shares.
    for kind in (0, 1):
        changed = mixing.clone()
        changed[kind, 3] = changed[kind, 3].roll(1)
        assert not torch.allclose(logits, network(images, changed))


def test_one_hot_shares_make_the_discrete_cell() -> None:
    torch.manual_seed(0)
    style = Style(BatchStatistics)
    relaxed = RelaxedEdgeCell(SPACE.edges, SPACE.operations, 4, style).double()
    images = torch.randn(3, 4, 5, 6).double()
    for code in SPACE.sample(5, np.random.default_rng(0)):
        discrete = EdgeCell(SPACE, code, 4, style=style).double()
        for edge, operation in enumerate(code):
            chosen = relaxed.edges[edge].operations[operation]  # type: ignore[union-attr, index]
            discrete.edges[edge].load_state_dict(chosen.state_dict())
        shares = torch.nn.functional.one_hot(torch.as_tensor(code).long(), len(OPERATIONS)).double()
        torch.testing.assert_close(relaxed(images, shares), discrete(images), rtol=1e-12, atol=1e-12)


def test_edge_cells_in_their_skeleton() -> None:
    torch.manual_seed(0)
    network = EdgeCellReference(SPACE, Skeleton(4, 1, 2), inputs=1, classes=5)
    assert not list(network.buffers())
    logits = network(torch.randn(3, 1, 7, 8), torch.randn(1, 6, len(OPERATIONS)).softmax(-1))
    assert logits.shape == (3, 5)
    assert bool(torch.isfinite(logits).all())


def test_the_scale_of_a_normalisation_may_be_expanded() -> None:
    """What torch's own kernel gets wrong, see ``OwnBatch``."""
    torch.manual_seed(0)
    images, weights = (torch.randn(3, 4, 5, 5).contiguous(memory_format=torch.channels_last) for _ in "ab")
    images.requires_grad_()
    found = [
        torch.autograd.grad((OwnBatch().normalise(images, scale) * weights).sum(), images)[0]
        for scale in (torch.tensor(0.3).expand(4), torch.full((4,), 0.3))
    ]
    torch.testing.assert_close(found[0], found[1])
