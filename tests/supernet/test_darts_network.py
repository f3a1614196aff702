"""The discrete networks of DARTS against an independent one, published counts, and their own definition."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import get_space
from crlso.spaces.darts_costs import places
from crlso.spaces.genotype import cells_from_code
from supernet.networks import DARTSNetwork, DARTSSizes, initialise
from supernet.networks.darts import AuxiliaryHead, DARTSCell, DropPath
from supernet.networks.normalisation import AffineBatchStatistics, shared
from supernet.networks.operations import FactorizedReduce
from tests.spaces import darts_network
from tests.spaces.test_darts import DARTS_V2
from tests.supernet.counting import weights

SPACE = get_space("darts")
V2 = SPACE.parse(DARTS_V2)


def sampled(n: int, seed: int = 0) -> list[Any]:
    return list(SPACE.sample(n, np.random.default_rng(seed)))


class ImageNetNetwork(nn.Module):
    """The released network for large images, of the independent one's cells."""

    def __init__(self, normal: Any, reduce: Any, channels: int, layers: int, classes: int) -> None:
        super().__init__()

        def convolution(given: int, made: int) -> list[nn.Module]:
            return [nn.Conv2d(given, made, 3, 2, 1, bias=False), nn.BatchNorm2d(made)]

        c = channels
        self.stem0 = nn.Sequential(*convolution(3, c // 2), nn.ReLU(), *convolution(c // 2, c))
        self.stem1 = nn.Sequential(nn.ReLU(), *convolution(c, c))
        self.cells = nn.ModuleList()
        older, previous, after = c, c, True
        for layer in range(layers):
            reduction = layer in (layers // 3, 2 * layers // 3)
            c = 2 * c if reduction else c
            pairs = reduce if reduction else normal
            self.cells.append(darts_network.Cell(pairs, older, previous, c, reduction, after))
            older, previous, after = previous, 4 * c, reduction
        self.classifier = nn.Linear(previous, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        older = self.stem0(x)
        previous = self.stem1(older)
        for cell in self.cells:
            older, previous = previous, cell(older, previous)
        logits: torch.Tensor = self.classifier(previous.mean(dim=(2, 3)))
        return logits


@torch.no_grad()
def scatter(network: nn.Module) -> None:
    """Weights, shifts and running averages that are no defaults."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(torch.randn(value.shape, generator=generator, dtype=value.dtype) * 0.3)
        if "running_var" in name:
            value.abs_().add_(0.5)


def copied(ours: nn.Module, theirs: nn.Module) -> None:
    """Weights and buffers in the order of the modules; shapes must be the same."""
    mine, yours = list(ours.state_dict().values()), list(theirs.state_dict().values())
    assert [value.shape for value in mine] == [value.shape for value in yours]
    for source, target in zip(mine, yours, strict=True):
        target.copy_(source)


def outputs_of(modules: Iterable[nn.Module]) -> list[torch.Tensor]:
    """What they give out, once they have run."""
    seen: list[torch.Tensor] = []
    for module in modules:
        module.register_forward_hook(lambda _, given, out: seen.append(out))
    return seen


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_of_an_independent_network(layers: int, training: bool) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for code in sampled(3, seed=layers):
        ours = DARTSNetwork(code, DARTSSizes(4, layers, auxiliary=True), inputs=3, classes=7).double()
        scatter(ours)
        theirs = darts_network.Network(*cells_from_code(code), channels=4, layers=layers, classes=7).double()
        assert ours.auxiliary is not None
        for part in ("stem", "cells", "classifier", "auxiliary"):
            copied(ours.get_submodule(part), theirs.get_submodule(part))
        seen = outputs_of([theirs.cells[2 * layers // 3]])
        expected = theirs.train(training)(images)
        again = copy.deepcopy(ours)
        torch.testing.assert_close(ours.train(training)(images), expected, rtol=1e-12, atol=1e-12)
        logits, second = again.train(training).training_logits(images)
        torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
        if seen[0].shape[2] == 8:  # what the released head is for
            first, norm, conv, last, linear = theirs.auxiliary
            pooled = F.avg_pool2d(F.relu(seen[0]), 5, stride=3)
            by_hand = linear(F.relu(last(conv(F.relu(norm(first(pooled)))))).flatten(1))
            torch.testing.assert_close(second, by_hand, rtol=1e-12, atol=1e-12)


def test_the_released_auxiliary_heads_pool_the_same() -> None:
    """8x8 pixels on CIFAR-10, 7x7 on ImageNet; all other sizes give 2x2 too."""
    for side, stride, last in ((8, 3, True), (7, 2, False)):
        head = AuxiliaryHead(5, 3, last_normalisation=last).eval()
        x = torch.randn(2, 5, side, side)
        expected = head.classifier(head.body(F.avg_pool2d(F.relu(x), 5, stride=stride)).flatten(1))
        torch.testing.assert_close(head(x), expected)
        assert len([m for m in head.modules() if isinstance(m, nn.BatchNorm2d)]) == 1 + last
        for size in ((1, 1), (1, 4), (2, 3), (5, 6), (14, 14), (33, 20)):
            assert head(torch.randn(2, 5, *size)).isfinite().all()


def test_published_counts() -> None:
    """DARTS_V2: 3,349,342 on CIFAR-10, and 4.7 M on ImageNet by the paper's table 3."""
    with torch.device("meta"):
        small = DARTSNetwork(V2, DARTSSizes(36, 20), inputs=3, classes=10)
        large = DARTSNetwork(V2, DARTSSizes(48, 14, stem="imagenet"), inputs=3, classes=1000)
    assert weights(small) == 3_349_342
    assert round(weights(large) / 1e6, 1) == 4.7


def test_large_images() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    for code in sampled(2):
        ours = DARTSNetwork(code, DARTSSizes(4, 4, stem="imagenet"), inputs=3, classes=5).double()
        scatter(ours)
        theirs = ImageNetNetwork(*cells_from_code(code), channels=4, layers=4, classes=5).double()
        copied(ours, theirs)
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-12, atol=1e-12)
    sizes = [place.output_size for place in DARTSSizes(48, 14, stem="imagenet").places((224, 224))]
    assert sizes == [(28, 28)] * 4 + [(14, 14)] * 5 + [(7, 7)] * 5


def test_odd_images_are_rounded_up() -> None:
    """As an even one with a row and a column of zeros more; all cells say what size they make."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 7)
    reduce = FactorizedReduce(3, 4).eval()
    theirs = darts_network.FactorizedReduce(3, 4).eval()
    copied(reduce, theirs)
    torch.testing.assert_close(reduce(x), theirs(F.pad(x, (0, 1, 0, 1))))
    for sizes, size in ((DARTSSizes(2, 4), (9, 1)), (DARTSSizes(2, 2, "imagenet"), (33, 17))):
        network = DARTSNetwork(sampled(1)[0], sizes, inputs=1, classes=2).eval()
        seen = outputs_of(network.cells)
        assert network(torch.randn(1, 1, *size)).isfinite().all()
        assert [tuple(out.shape[2:]) for out in seen] == [place.output_size for place in sizes.places(size)]


def test_drop_path_drops_images_and_keeps_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    dropped = DropPath(0.3, generator)(torch.ones(20_000, 2, 1, 3))
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1) / 0.7)}
    assert (dropped == dropped[:, :1, :, :1]).all()  # whole images
    # Standard error of the share of zeros: sqrt(0.3 * 0.7 / 20,000) = 0.0032.
    assert float((dropped[:, 0, 0, 0] == 0).float().mean()) == pytest.approx(0.3, abs=4 * 0.0033)
    with pytest.raises(UserError, match=r"\[0, 1\), got 1"):
        DropPath(1.0)


def test_everything_but_identities_is_dropped() -> None:
    pairs = [("skip_connect", source) for source in (0, 1)] * 3 + [("max_pool_3x3", 0), ("sep_conv_3x3", 1)]
    calls: list[torch.Tensor] = []

    def recorded(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return torch.zeros_like(x)

    normal, reduce, *_ = places(4, 3)
    for place, expected in ((normal, 2), (reduce, 8)):  # with stride 2, a skip connection has weights
        calls.clear()
        out = DARTSCell(pairs, place).eval()(
            torch.randn(2, place.older, 8, 8), torch.randn(2, place.previous, 8, 8), recorded
        )
        assert len(calls) == expected
        assert not out[:, -place.channels :].any()
        assert out[:, : place.channels].any() == (place is normal)


def test_dropping_takes_its_numbers_from_the_generator_alone() -> None:
    network = DARTSNetwork(V2, DARTSSizes(4, 3), inputs=1, classes=5)
    images = torch.randn(6, 1, 8, 8)

    def logits(seed: int, drop_path: float = 0.4) -> torch.Tensor:
        torch.rand(3)
        return network.training_logits(images, drop_path, torch.Generator().manual_seed(seed))[0]

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))
    assert torch.equal(logits(1, 0.0), network(images))


def test_networks_with_shared_weights_are_pure_functions() -> None:
    style = shared(pools=True)
    network = DARTSNetwork(V2, DARTSSizes(4, 3), inputs=1, classes=5, style=style)
    initialise(network, torch.Generator().manual_seed(0))
    assert not list(network.buffers())
    images = torch.randn(6, 1, 8, 8)
    assert torch.equal(network.train()(images), network.eval()(images))
    # 4 weights a channel of the stem; all others belong to convolutions and to the classifier
    normalisations = weights(network) - sum(
        weights(m) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    )
    assert normalisations == 2 * 12


def test_learned_batch_statistics_are_torchs() -> None:
    ours, theirs = AffineBatchStatistics(3), nn.BatchNorm2d(3)
    with torch.no_grad():
        for mine, yours in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            mine.copy_(torch.randn(3))
            yours.copy_(mine)
    x = torch.randn(4, 3, 5, 6)
    torch.testing.assert_close(ours(x), theirs(x))
    initialise(nn.Sequential(ours), torch.Generator())
    assert ours.weight.tolist() == [1] * 3
    assert ours.bias.tolist() == [0] * 3


def test_wrong_sizes_and_codes_are_refused() -> None:
    for wrong, message in (
        ({"channels": 5}, "must be even .* got 5"),
        ({"channels": 0}, "must be 1 or more, got 0 and 8"),
        ({"cells": 101}, "100 or fewer, got 101"),
        ({"channels": 1026}, "these up to 1024; got 1026"),
        ({"stem": "mnist"}, "unknown stem 'mnist'"),
    ):
        with pytest.raises(UserError, match=message):
            DARTSSizes(**wrong)  # type: ignore[arg-type]
    for sizes, least in ((DARTSSizes(4, 1), 2), (DARTSSizes(4, 8), 3), (DARTSSizes(4, 8, "imagenet"), 17)):
        sizes.check_image((1, least))
        with pytest.raises(
            UserError, match=f"needs {least} pixels or more in height or width; got {least - 1}x"
        ):
            sizes.check_image((least - 1, 1))
    with pytest.raises(ArchitectureError):
        DARTSNetwork(V2[:5], DARTSSizes(4, 3), inputs=1, classes=5)
