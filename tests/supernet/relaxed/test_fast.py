"""The fast path equals the reference path: outputs and all gradients, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from crlso.spaces import EdgeCellSpace, get_space
from supernet.networks import OPERATIONS, Skeleton, edge_cells
from supernet.networks.relaxed import (
    DARTSFast,
    EdgeCellFast,
    FastSupernet,
    divide,
    initialise_supernet,
)
from supernet.networks.supernet import Supernet
from tests.supernet.relaxed.ways import WAYS, merged

TOLERANCE = 1e-10

SPACES = {
    "nasbench201": edge_cells(get_space("nasbench201")),
    "all": EdgeCellSpace("all", nodes=3, operations=list(OPERATIONS)),
    "weights only": EdgeCellSpace("few", nodes=5, operations=["nor_conv_3x3", "dil_conv_3x3"]),
    "no weights": EdgeCellSpace("free", nodes=3, operations=["skip_connect", "none", "max_pool_3x3"]),
    "nothing": EdgeCellSpace("nothing", nodes=3, operations=["none", "nor_conv_1x1"]),
}


def build(name: str) -> FastSupernet:
    if name in SPACES:
        return EdgeCellFast(SPACES[name], Skeleton(4, 2, 2), inputs=2, classes=5)
    stem = "imagenet" if name == "imagenet" else "cifar"
    return DARTSFast(channels=4, cells=3, stem=stem, inputs=2, classes=5)  # type: ignore[arg-type]


def shapes(name: str) -> tuple[int, ...]:
    if name in SPACES:
        return (1, len(SPACES[name].edges), len(SPACES[name].operations))
    return (2, 14, 8)


def mixings(shape: tuple[int, ...]) -> dict[str, Tensor]:
    soft = torch.randn(*shape, dtype=torch.float64).softmax(-1)
    choices = torch.randint(shape[-1], shape[:-1])
    one_hot = torch.nn.functional.one_hot(choices, shape[-1]).double()
    absent = one_hot.clone()
    absent[:, ::2] = 0
    return {"softmax": soft, "one-hot": one_hot, "rows of zeros": absent, "any": torch.randn_like(soft)}


def gradients(network: Supernet, images: Tensor, mixing: Tensor) -> dict[str, Tensor]:
    """Logits, and gradients of a loss by all that it depends on."""
    images, mixing = images.detach().requires_grad_(), mixing.detach().requires_grad_()
    weights = dict(network.named_parameters())
    logits = network(images, mixing)
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[1])
    found = torch.autograd.grad(loss, [images, mixing, *weights.values()], materialize_grads=True)
    return {"logits": logits.detach(), "images": found[0], "mixing": found[1]} | dict(
        zip(weights, found[2:], strict=True)
    )


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        # A gradient that is zero but for rounding has no relative error of its own.
        scale = max(float(value.abs().max()), 1e-4)
        assert float((value - b[name]).abs().max()) <= TOLERANCE * scale, name


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    with merged(request.param):
        yield request.param


@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
@pytest.mark.parametrize("name", ["darts", *SPACES])
@pytest.mark.usefixtures("way")
def test_paths_are_equal(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    fast = build(name).double()
    initialise_supernet(fast, torch.Generator().manual_seed(1))
    reference = fast.to_reference()
    images = torch.randn(3, 2, *size, dtype=torch.float64)
    for mixing in mixings(shapes(name)).values():
        ours, theirs = gradients(fast, images, mixing), gradients(reference, images, mixing)
        heads = {key: ours.pop(key) for key in ("logits", "images", "mixing")}
        assert_same(heads | divide(fast.layout(), ours), theirs)
