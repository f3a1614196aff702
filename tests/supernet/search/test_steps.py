"""A whole step of a search leaves the device alone: nothing read, nothing copied, no tensor of the host."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from supernet.recipe import load_recipe, recipe_names
from supernet.relaxation import Gumbel
from supernet.search import Search
from tests.supernet.dispatch import NoWaiting, WouldWaitError
from tests.supernet.relaxed.ways import WAYS, merged
from tests.supernet.search.small import images, search, split

KINDS = ("single_level", "first_order", "second_order", "second_order_exact", "mixed_level")
# Every recipe with shares per edge (test_shrinking.py has the others), and every part that one can have.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in recipe_names() if not load_recipe(name).relaxation.per_node},
    **{kind: ("darts_1st", {"update.kind": kind, "relaxation.kind": "gumbel"}) for kind in KINDS},
    "hard": ("darts_2nd", {"relaxation.kind": "gdas"}),
    "half": ("darts_2nd", {"precision": "bf16-mixed"}),
    "half, exact": ("darts_2nd_exact", {"precision": "bf16-mixed"}),
    "double": ("darts_1st", {"precision": "64-true", "path": "reference", "channels_last": False}),
    "warm-up": ("darts_1st", {"warmup_epochs": 1}),
}


def cases(*on_darts: str) -> pytest.MarkDecorator:
    """All methods in a small space, some in that of DARTS, whose networks have everything else."""
    pairs = [("edges", method) for method in METHODS] + [("darts", method) for method in on_darts]
    return pytest.mark.parametrize(("space", "method"), pairs)


def made(method: str, **changes: Any) -> Search:
    recipe, own = METHODS[method]
    return search(recipe, **{**own, **changes})


@cases("darts_1st", "darts_2nd_exact", "milenas", "half")
def test_no_step_waits_for_the_device(space: str, method: str) -> None:
    found = made(method, space=space)
    before = [weight.clone() for weight in found.network.parameters()]
    with NoWaiting():
        for _ in range(2):
            found.run_step()
    assert any(not torch.equal(*pair) for pair in zip(before, found.network.parameters(), strict=True))
    assert float(found.sums[0]) > 0
    assert found.sums[2] == 0


@pytest.mark.parametrize("way", [way for way in WAYS if way != "by_kind"])
@pytest.mark.parametrize("method", ["darts_2nd", "half", "half, exact"])
def test_no_step_waits_where_kinds_are_joined(method: str, way: str) -> None:
    """As on a CUDA device."""
    found = made(method, space="darts")
    with merged(way), NoWaiting():
        for _ in range(2):
            found.run_step()
    assert float(found.sums[0]) > 0
    assert found.sums[2] == 0


@pytest.mark.parametrize(
    "augmentation",
    ["none", "shift", "crop_flip+cutout:4", "autoaugment+crop_flip+cutout:2", "resized_crop+color_jitter"],
)
def test_no_augmentation_waits_for_the_device(augmentation: str) -> None:
    found = search(data=split(images(channels=3)), augmentation=augmentation)
    with NoWaiting():
        for _ in range(2):
            found.run_step()


def test_what_comes_after_the_gradients_is_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clipping that looks whether the norm is a number would wait for it."""
    careful = functools.partial(torch.nn.utils.clip_grad_norm_, error_if_nonfinite=True)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", careful)
    found = search()
    with NoWaiting(), pytest.raises(WouldWaitError):
        found.run_step()


class OnMeta:
    """One process whose device computes shapes alone."""

    device, precision, dtype = torch.device("meta"), "32-true", torch.float32
    count, rank = 1, 0
    autocast = staticmethod(contextlib.nullcontext)

    def mean(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors

    def rows(self, batch: int) -> slice:
        return slice(0, batch)


@cases("darts_2nd_exact")
def test_a_step_needs_nothing_of_the_host(monkeypatch: pytest.MonkeyPatch, space: str, method: str) -> None:
    """All of a step on the meta device, where no number exists, but for what torch has no version of there.

    That is: fused optimisers and the norm of all gradients (the tests above have them), generators, and so
    what is drawn (`tests/supernet/test_augmentation.py` has it).
    """
    if method in ("half", "half, exact", "double"):
        pytest.skip("the precision is the stand-in's")
    host = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": host())
    monkeypatch.setattr(Search, "_strengths_now", lambda search: None)
    found = made(method, space=space, processes=OnMeta(), augmentation="none")
    descents: list[Sequence[Tensor]] = []
    monkeypatch.setattr(found._model, "descend", descents.append)
    monkeypatch.setattr(found._architecture, "step", lambda: None)
    problem = found._model.problem
    monkeypatch.setattr(problem, "draw", lambda generator, rule: None)
    if isinstance(found.relaxation, Gumbel):
        problem.noise = torch.empty_like(found.alpha.detach())
    if method == "na_darts":
        problem.rule_noise = found._rule.noise(found.alpha.shape, None, found.alpha.device)
    found._begin_epoch()  # with one copy: its order of the images
    monkeypatch.setattr(found, "_begin_epoch", lambda: None)
    with NoWaiting("meta"):
        found.run_step()
    (descent,) = descents
    assert [weight.shape for weight in descent] == [w.shape for w in found.network.parameters()]
    assert found.alpha.grad is None or found.alpha.grad.device.type == "meta"
