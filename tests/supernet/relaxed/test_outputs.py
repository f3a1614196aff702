"""Feature maps of supernets: which cells they come from, the same on both paths, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from supernet.networks import DARTSSizes, Skeleton
from supernet.networks.relaxed import DARTSFast, FastSupernet, initialise_supernet
from supernet.networks.skeleton import ResidualReduction
from tests.supernet.relaxed.test_fast import build, shapes

STAGE_ENDS = {1: (0,), 2: (0, 1), 3: (0, 1, 2), 4: (0, 1, 3), 8: (1, 4, 7), 14: (3, 8, 13), 20: (5, 12, 19)}


@pytest.mark.parametrize("cells", STAGE_ENDS)
def test_stages_of_darts_end_before_each_reduction_and_with_the_last_cell(cells: int) -> None:
    sizes = DARTSSizes(channels=4, cells=cells)
    assert sizes.stage_ends == STAGE_ENDS[cells]
    before = [index - 1 for index, place in enumerate(sizes.places((32, 32))) if place.cell]
    assert sizes.stage_ends == tuple(sorted({end for end in (*before, cells - 1) if end >= 0}))


@pytest.mark.parametrize("name", ["darts", "imagenet", "nasbench201"])
def test_both_paths_give_the_outputs_of_the_last_cells_of_stages(name: str) -> None:
    torch.manual_seed(0)
    fast = build(name).double()
    initialise_supernet(fast, torch.Generator().manual_seed(1))
    reference = fast.to_reference()
    images = torch.randn(3, 2, 18, 16, dtype=torch.float64)
    mixing = torch.randn(*shapes(name), dtype=torch.float64).softmax(-1)
    modules = list(reference.cells if isinstance(fast, DARTSFast) else reference.body)  # type: ignore[arg-type]
    seen: list[Tensor] = []
    for module in modules:
        if not isinstance(module, ResidualReduction):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    logits, features = reference.outputs(images, mixing)
    # Of three cells each ends a stage; of two stages with two cells each, the second and the fourth do.
    expected = seen if isinstance(fast, DARTSFast) else seen[1::2]
    assert all(found is right for found, right in zip(features, expected, strict=True))
    assert torch.equal(reference(images, mixing), logits)

    def slopes(network: FastSupernet | torch.nn.Module) -> list[Tensor]:
        shares = mixing.clone().requires_grad_()
        own_logits, own_features = network.outputs(images, shares)  # type: ignore[operator]
        loss = sum((feature.square().mean() for feature in own_features), own_logits.square().mean())
        return [own_logits, *own_features, *torch.autograd.grad(loss, shares)]

    for found, right in zip(slopes(fast), slopes(reference), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-11)


def test_stages_of_a_skeleton_end_before_its_reductions() -> None:
    skeleton = Skeleton(channels=4, cells=5, stages=3)
    assert skeleton.stage_ends == (4, 10, 16)  # 17 modules, reductions are number 5 and 11
