"""Supernets of free topologies: merged is one at a time, removed is masked, discrete is 0 and 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import FreeTopologySpace, fxdarts_costs, get_space
from supernet.networks import DARTSSizes, ImageTask
from supernet.networks.free_family import FreeTopologyFamily
from supernet.networks.relaxed import FreeFast, FreeSupernet, divide, initialise_supernet, merge
from tests.supernet.counting import weights, work
from tests.supernet.relaxed.test_fast import assert_same, gradients
from tests.supernet.relaxed.ways import WAYS, merged

SNPS = ("sep_conv_3x3", "skip_connect", "dil_conv_5x5")
ALL = tuple(get_space("fxdarts").operations)
TASK = ImageTask(3, (8, 8), 5)


def family(
    operations: tuple[str, ...] = ALL, cells: int = 3, channels: int = 4, task: ImageTask = TASK
) -> FreeTopologyFamily:
    space = FreeTopologySpace("tiny", cells=cells, nodes=4, operations=operations)
    return FreeTopologyFamily(space, DARTSSizes(channels, cells), task)


def some(space: FreeTopologySpace, share: float, seed: int = 0) -> NDArray[np.int16]:
    """A code with about so many of all operators."""
    rng = np.random.default_rng(seed)
    bits = (rng.random((1, len(space.cardinalities))) < share).astype(np.int16)
    return space.repair(bits)[0]


def with_a_dead_cell(space: FreeTopologySpace) -> NDArray[np.int16]:
    """The last cell does not take the output of the previous one, which is dead then."""
    bits = np.ones((space.cells, len(space.edges), len(space.operations)), dtype=np.int16)
    for edge, (source, _) in enumerate(space.edges):
        if source == 1:
            bits[-1, edge] = 0
    return bits.reshape(-1)


def made(net: FreeSupernet, seed: int = 0) -> FreeSupernet:
    net.double()
    initialise_supernet(net, torch.Generator().manual_seed(seed))
    return net


def shares_of(chosen: FreeTopologyFamily, code: NDArray[np.int16]) -> Tensor:
    torch.manual_seed(3)
    return torch.rand(chosen.mixing(code[None])[0].shape, dtype=torch.float64) * chosen.mixing(code[None])[0]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    with merged(request.param):
        yield request.param


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("operations", [ALL, SNPS], ids=["all", "snps"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_the_fast_path_equals_the_reference(operations: tuple[str, ...], share: float) -> None:
    chosen = family(operations)
    code = some(chosen.space, share)
    fast = chosen.shrunk(code)
    assert isinstance(fast, FreeFast)
    made(fast)
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    mixing = shares_of(chosen, code)
    got, wanted = gradients(fast, images, mixing), gradients(fast.to_reference(), images, mixing)
    names = [name for name, _ in fast.named_parameters()]
    own = divide(fast.layout(), {name: got.pop(name) for name in names})
    assert_same({**got, **own}, wanted)


@pytest.mark.parametrize("path", ["fast", "reference"])
@pytest.mark.parametrize("kind", ["half", "few", "dead"])
def test_removed_operators_are_operators_whose_share_is_0(path: str, kind: str) -> None:
    chosen = family(cells=5)
    space = chosen.space
    code = with_a_dead_cell(space) if kind == "dead" else some(space, {"half": 0.5, "few": 0.1}[kind])
    dense = made(chosen.supernet(path=path), seed=1)  # type: ignore[arg-type]
    small = made(chosen.shrunk(code, path=path))  # type: ignore[arg-type]
    small.load_state_dict(merge(small.layout(), divide(dense.layout(), dense.state_dict())))
    if kind == "dead":
        assert "3" not in small.cells
        assert weights(small) < weights(dense)
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    mixing = shares_of(chosen, code)
    whole, left = gradients(dense, images, mixing), gradients(small, images, mixing)
    held = chosen.mixing(code[None])[0].double()
    whole["mixing"], left["mixing"] = whole["mixing"] * held, left["mixing"] * held
    names = [name for name, _ in small.named_parameters()]
    of_dense = divide(dense.layout(), {n: whole.pop(n) for n, _ in dense.named_parameters()})
    of_small = divide(small.layout(), {n: left.pop(n) for n in names})
    for name, gradient in of_dense.items():
        if name not in of_small:
            assert not gradient.any(), name
    assert_same({**left, **of_small}, {**whole, **{name: of_dense[name] for name in of_small}})


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_inherited_network_is_the_supernet_of_an_architecture(share: float) -> None:
    chosen = family()
    code = some(chosen.space, share)
    dense = made(chosen.supernet())
    network = chosen.inherit(dense, code)
    images = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    mixing = chosen.mixing(code[None])[0].double()
    torch.testing.assert_close(network(images), dense(images, mixing), rtol=1e-10, atol=1e-12)


def test_what_a_supernet_no_longer_has_can_not_be_inherited() -> None:
    chosen = family()
    code = some(chosen.space, 0.3)
    with pytest.raises(
        UserError, match=r"the supernet no longer has \w+ from state \d to state \d of cell \d"
    ):
        chosen.inherit(chosen.shrunk(code), np.ones_like(code))


def test_known_numbers_of_snps() -> None:
    """336 and 588 operators; 999,674 weights with 16 channels and 8 cells (by the released code)."""
    chosen = family(SNPS, cells=8, channels=16, task=ImageTask(3, (32, 32), 10))
    assert len(chosen.space.cardinalities) == 336
    assert len(FreeTopologySpace("large", cells=14, nodes=4, operations=SNPS).cardinalities) == 588
    assert chosen.supernet_parameters() == 999_674
    assert weights(chosen.supernet()) == weights(chosen.supernet(path="reference")) == 999_674


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("share", [1.0, 0.4, 0.08])
def test_costs_by_formula_are_those_counted(stem: str, share: float) -> None:
    task = ImageTask(3, (33, 20), 7)
    space = FreeTopologySpace("tiny", cells=5, nodes=4, operations=ALL)
    chosen = FreeTopologyFamily(space, DARTSSizes(4, 5, stem), task)  # type: ignore[arg-type]
    for seed in range(3):
        code = some(space, share, seed)
        network = chosen.network(code)
        assert chosen.parameters(code[None])[0] == weights(network)
        assert chosen.multiplications(code[None])[0] == work(network, (3, 33, 20))
    dead = with_a_dead_cell(space)
    assert chosen.parameters(dead[None])[0] == weights(chosen.network(dead))
    assert fxdarts_costs.parameters(space, np.empty((0, len(space.cardinalities)), np.int16)).shape == (0,)


def test_feature_maps_at_the_ends_of_the_stages() -> None:
    chosen = family(SNPS, cells=8)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    code = some(chosen.space, 0.1)
    for operators in (np.ones_like(code), code):
        net = made(chosen.shrunk(operators))
        logits, ends = net.outputs(images, chosen.mixing(operators[None])[0].double())
        assert logits.shape == (2, 5)
        assert [tuple(end.shape[1:]) for end in ends] == [(16, 8, 8), (32, 4, 4), (64, 2, 2)]


def test_shares_and_codes() -> None:
    chosen = family(SNPS)
    code = some(chosen.space, 0.3)
    assert np.array_equal(chosen.strongest(0.1 * chosen.mixing(code[None])[0]), code)
    assert chosen.kinds == ("cell 0", "cell 1", "cell 2")
    assert sum(chosen.skips(code)) + sum(chosen.convolutions(code)) == code.sum()
    with pytest.raises(UserError, match="no operator of node 0 of cell 0 has a share above 0"):
        chosen.strongest(torch.zeros(3, 14, 3))


def test_bad_sizes_and_codes() -> None:
    space = FreeTopologySpace("tiny", cells=3, nodes=4, operations=SNPS)
    with pytest.raises(UserError, match="3 cells, as the space has; got sizes of 8"):
        FreeTopologyFamily(space, DARTSSizes(4, 8), TASK)
    with pytest.raises(UserError, match="nodes"):
        FreeTopologyFamily(
            FreeTopologySpace("tiny", cells=3, nodes=2, operations=SNPS), DARTSSizes(4, 3), TASK
        )
    with pytest.raises(ArchitectureError):
        family(SNPS).shrunk(np.zeros(3 * 42, dtype=np.int16))
