"""Distillation: the loss against its formula, its gradients, a teacher that never changes, whole searches."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crlso.errors import RunError, UserError
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.spaces import FreeTopologySpace, get_space
from supernet.distillation import Distilled
from supernet.networks import DARTSSizes, ImageTask, family_of
from supernet.processes import Processes
from supernet.recipe import load_recipe
from supernet.relaxation import Softmax
from supernet.search import Search
from supernet.teachers import Teacher
from supernet.train.loading import Blueprint, load_network, write_blueprint, write_network
from supernet.update_rules import Problem
from tests.supernet.dispatch import NoWaiting
from tests.supernet.search.small import splits
from tests.supernet.search.test_loop import _file, everything, finish, same
from tests.supernet.toys import SmoothSupernet, batch, smooth

TASK = ImageTask(2, (5, 5), 5)
STAGES = (0.3, 0.7)


class Other(nn.Module):
    """A network of one's own, with running averages; its second feature map is smaller than the toy's."""

    def __init__(self, channels: int = 2, stride: int = 2) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, 3, 3, padding=1), nn.BatchNorm2d(3), nn.SiLU())
        self.second = nn.Sequential(nn.Conv2d(3, 6, 3, stride, 1), nn.BatchNorm2d(6), nn.SiLU())
        self.classifier = nn.Linear(6, 5)
        self.unused = nn.Linear(1, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.second(self.first(images)).mean((2, 3)))
        return logits


def other(stride: int = 2) -> Other:
    torch.manual_seed(7)
    network = Other(stride=stride).double()
    network.train()
    network(torch.randn(64, 2, 5, 5, dtype=torch.float64))  # its averages are not those of a new one
    return network


@dataclass
class Case:
    distilled: Distilled
    supernet: SmoothSupernet
    alpha: Tensor
    teacher: Other


def case(ratio: float = 2.0) -> Case:
    supernet, alpha = smooth()
    network = other()
    made = Distilled(
        supernet,
        Teacher(network, ("first", "second")),
        TASK,
        stages=STAGES,
        ratio=ratio,
        generator=torch.Generator().manual_seed(3),
    ).double()
    return Case(made, supernet, alpha, network)


def formula(found: Case, images: Tensor, mixing: Tensor) -> Tensor:
    """The loss in plain torch; the supernet's maps have 5x5 pixels, the teacher's 5x5 and 3x3."""
    _, (first, second) = found.supernet.outputs(images, mixing)
    network = copy.deepcopy(found.teacher).eval()
    wanted_first = network.first(images).detach()
    wanted_second = network.second(wanted_first).detach()
    windows = ((0, 2), (1, 4), (3, 5))  # of adaptive pooling from 5 to 3: floor(i 5/3) to ceil((i + 1) 5/3)
    rows = [torch.stack([second[:, :, a:b, c:d].mean((2, 3)) for c, d in windows], -1) for a, b in windows]
    pooled = torch.stack(rows, -2)

    def normalised(x: Tensor) -> Tensor:
        centred = x - x.mean((0, 2, 3), keepdim=True)
        return centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()

    loss = torch.zeros((), dtype=torch.float64)
    pairs = ((first, wanted_first), (pooled, wanted_second))
    for weight, projection, (x, target) in zip(STAGES, found.distilled.projections, pairs, strict=True):
        matrix = projection.weight[:, :, 0, 0]
        difference = normalised(torch.einsum("oc,nchw->nohw", matrix, x)) - normalised(target)
        loss = loss + 2.0 * weight * difference.square().sum() / difference.numel()
    return loss


def test_the_loss_and_its_gradients_are_those_of_the_formula() -> None:
    found = case()
    images = batch(0).images
    mixing = found.alpha.detach().softmax(-1).requires_grad_()
    logits, loss = found.distilled(images, mixing)
    assert torch.equal(logits, found.supernet(images, mixing))
    expected = formula(found, images, mixing)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    inputs = [mixing, *found.distilled.parameters()]
    slopes = [torch.autograd.grad(x, inputs, allow_unused=True) for x in (loss, expected)]
    for one, two, value in zip(*slopes, inputs, strict=True):
        assert (one is None) == (two is None)
        if one is not None and two is not None:
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
            assert value is not mixing or float(one.abs().max()) > 1e-4


def test_equal_features_have_no_loss() -> None:
    supernet, alpha = smooth()
    mixing = alpha.detach().softmax(-1)

    class Itself(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Identity(), nn.Identity()

        def forward(self, images: Tensor) -> None:
            first, second = supernet.outputs(images, mixing)[1]
            self.first(first), self.second(second)

    teacher = Teacher(Itself(), ("first", "second"))
    supernet.float()
    mixing = mixing.float()
    generator = torch.Generator().manual_seed(0)
    found = Distilled(supernet, teacher, TASK, stages=STAGES, ratio=1.0, generator=generator)
    for projection in found.projections:
        projection.weight.data = torch.eye(4)[:, :, None, None]
    images = batch(0).images.float()
    assert float(found(images, mixing)[1].detach()) == 0
    found.projections[1].weight.data.mul_(-1)
    assert float(found(images, mixing)[1].detach()) == pytest.approx(0.7 * 4, rel=1e-3)


def test_the_teacher_never_changes_and_is_no_part_of_what_learns() -> None:
    found = case()
    before = copy.deepcopy(found.teacher.state_dict())
    names = [name for name, _ in found.distilled.named_parameters()]
    own = ["supernet." + name for name, _ in found.supernet.named_parameters()]
    assert names == [*own, "projections.0.weight", "projections.1.weight"]
    assert list(found.distilled.state_dict()) == names
    found.distilled.train()
    logits, loss = found.distilled(batch(0).images, found.alpha.softmax(-1))
    (logits.sum() + loss).backward()
    assert all(value.grad is None for value in found.teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in found.teacher.state_dict().items())
    assert not any(module.training for module in found.teacher.modules())


def test_second_derivatives_are_those_of_the_formula() -> None:
    found = case()
    problem = Problem(found.distilled, found.alpha, Softmax(), distilled=True)
    data = batch(1)
    torch.manual_seed(5)
    direction = tuple(torch.randn_like(value) for value in problem.parameters)
    product = problem.mixed_derivative(data, direction)

    def slope() -> Tensor:
        mixing = found.alpha.softmax(-1)
        task = F.cross_entropy(found.supernet(data.images, mixing), data.labels)
        loss = task + formula(found, data.images, mixing)
        slopes = torch.autograd.grad(loss, problem.parameters, create_graph=True)
        return sum(((a * b).sum() for a, b in zip(slopes, direction, strict=True)), torch.zeros(()))

    (expected,) = torch.autograd.grad(slope(), found.alpha)
    torch.testing.assert_close(product, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_nothing_waits_for_the_device(device: str) -> None:
    found = case()
    teacher = Teacher(other(), ("first", "second")).seeing(TASK, (100.0, 90.0), (30.0, 20.0))
    teacher.to(device=device, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    supernet = found.supernet.float()
    if device == "cpu":
        made = Distilled(supernet, teacher, TASK, stages=STAGES, ratio=1.0, generator=generator)
    else:
        made = found.distilled.float()
        made._teacher = teacher
    made.to(device)
    alpha = nn.Parameter(found.alpha.detach().float().to(device))
    problem = Problem(made, alpha, Softmax(), distilled=True)
    data = batch(0)
    images, labels = data.images.float().to(device), data.labels.to(device)
    with NoWaiting(device if device == "meta" else None):
        seen = problem.gradient(type(data)(images, labels), "both")
        product = problem.mixed_derivative(type(data)(images, labels), problem.parameters)
    assert seen.alpha is not None
    assert seen.alpha.shape == product.shape == alpha.shape


def test_in_mixed_precision_the_loss_stays_precise() -> None:
    found = case()
    made = found.distilled.float()
    found.teacher.float()
    images, mixing = batch(0).images.float(), found.alpha.detach().float().softmax(-1)
    exact = made(images, mixing)[1]
    with torch.autocast("cpu", torch.bfloat16):
        logits, loss = made(images, mixing)
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.05)
    assert not torch.equal(loss, exact)


def test_images_are_normalised_for_the_teacher() -> None:
    pixels = torch.randint(256, (4, 2, 5, 5), generator=torch.Generator().manual_seed(0)).double()
    here, there = ((100.0, 90.0), (30.0, 20.0)), ((120.0, 60.0), (50.0, 64.0))

    def normalised(numbers: tuple[tuple[float, ...], ...]) -> Tensor:
        mean, deviation = (torch.tensor(column, dtype=torch.float64).view(1, 2, 1, 1) for column in numbers)
        return (pixels - mean) / deviation

    network = other()
    teacher = Teacher(network, ("first",), mean=there[0], deviation=there[1]).seeing(TASK, *here)
    (found,) = teacher(normalised(here))
    torch.testing.assert_close(found, network.first(normalised(there)), rtol=1e-12, atol=1e-12)
    (as_they_are,) = Teacher(network, ("first",)).seeing(TASK, *here)(normalised(here))
    torch.testing.assert_close(as_they_are, network.first(normalised(here)), rtol=0, atol=0)


def numbers_of_stages(features: tuple[str, ...], stages: tuple[float, ...]) -> Callable[[], object]:
    supernet, _ = smooth()
    teacher = Teacher(other(), features)
    generator = torch.Generator()
    return lambda: Distilled(supernet, teacher, TASK, stages=stages, ratio=1.0, generator=generator)


def test_numbers_of_stages_must_agree() -> None:
    for features, stages in ((("first",), STAGES), (("first", "second"), (1.0,))):
        with pytest.raises(UserError, match=r"the supernet has 2 stages, the teacher . features") as caught:
            numbers_of_stages(features, stages)()
        assert "\n" not in str(caught.value)


SPACE = FreeTopologySpace("tiny", cells=3, nodes=4, operations=["skip_connect", "sep_conv_3x3"])


def taught(folder: Path, **changes: Any) -> Search:
    """A search by the recipe DNAD in which operators go soon, after every second step also physically."""
    data = splits()
    task = ImageTask.of(data)
    family = family_of(SPACE, task, DARTSSizes(channels=2, cells=3))
    values = {
        "epochs": 2,
        "warmup_epochs": 0,
        "batch": 8,
        "augmentation": "shift",
        "architecture_learning_rate": 20.0,
        "shrinking.threshold": 0.09,
        "shrinking.every": 2,
        "shrinking.stop_sparsity": 0.0,
        "distillation.teacher": str(folder),
        **changes,
    }
    found = load_recipe("dnad", preset="small", changes=values)
    return Search(family, data, found, seed=0, processes=Processes("cpu", found.search.precision))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a network with random weights, as a training leaves it."""
    folder = tmp_path_factory.mktemp("teacher")
    data = splits()
    space = get_space("darts")
    sizes = DARTSSizes(channels=4, cells=3)
    code = space.sample(1, np.random.default_rng(0))[0]
    blueprint = Blueprint.of(space, space.format(code), sizes, data)
    torch.manual_seed(0)
    write_network(folder, blueprint.build())
    write_blueprint(folder, blueprint)
    return folder


def test_a_whole_search_runs_and_goes_on_bit_for_bit_also_after_removals(trained: Path) -> None:
    first = taught(trained)
    computed = [int(first.shrinking.operators.sum())]  # type: ignore[union-attr]
    while not first.finished:
        first.run_step()
        computed.append(int(first.shrinking.operators.sum()))  # type: ignore[union-attr]
        if first.step == first.steps:
            first.end_epoch()
    assert computed[0] == len(SPACE.cardinalities)
    assert computed[2] < computed[0]
    whole = everything(first)
    assert any(name.startswith("projections.") for name in first.state_dict()["weights"])
    for stop in (1, 4):
        before = taught(trained)
        for _ in range(stop):
            before.run_step()
            if before.step == before.steps:
                before.end_epoch()
        state = parse_state(_file(dump_state(before.state_dict())))
        after = taught(trained)
        after.load_state_dict(state)
        assert same(everything(finish(after)), whole)


def test_a_teacher_changes_the_search_and_its_weight_does_too(trained: Path) -> None:
    losses = [taught(trained, **{"distillation.ratio": ratio}).run_epoch().train_loss for ratio in (1.0, 0.1)]
    alone = taught(Path(), **{"distillation.teacher": "", "distillation.needed": False}).run_epoch()
    assert losses[0] > losses[1] > alone.train_loss


def test_a_search_does_not_go_on_with_another_teacher(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "teacher"
    shutil.copytree(trained, folder)
    state = taught(folder).state_dict()
    network = load_network(folder).network
    with torch.no_grad():
        next(network.parameters()).add_(1)
    write_network(folder, network)
    with pytest.raises(RunError, match=r"that of another search \(teacher is \w{16} there, \w{16} here\)"):
        taught(folder).load_state_dict(state)


def test_a_teacher_of_other_images_is_refused(trained: Path) -> None:
    text = (trained / "network.json").read_text()
    (folder := trained / "other").mkdir()
    (folder / "network.json").write_text(text.replace('"classes": 3', '"classes": 4'))
    network = load_network(trained).network
    network.classifier = nn.Linear(network.classifier.in_features, 4)  # type: ignore[union-attr,arg-type]
    write_network(folder, network)
    with pytest.raises(
        UserError, match="is for images of 1 channels, 6x6 pixels, 4 classes, but the data has"
    ):
        taught(folder)


def test_a_shrunk_model_has_the_same_losses_and_projections(trained: Path) -> None:
    found = taught(trained, precision="64-true")
    found.run_step()
    left = np.ones(len(SPACE.cardinalities), dtype=np.int16).reshape(3, 14, 2)
    left[0, 5:, 1] = left[1, :4, 0] = left[2, 3:, 1] = 0
    mixing = found.shares * torch.from_numpy(left)
    images = torch.randn(6, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    large = found._model
    small = large.shrunk(left.reshape(-1))
    for one, two in zip(
        small.problem.network(images, mixing), large.problem.network(images, mixing), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
    projections = [name for name in small.named() if name.startswith("projections.")]
    assert len(projections) == 3
    for name in projections:
        old, new = large.named()[name], small.named()[name]
        assert torch.equal(new, old)
        for key, value in large.optimizer.state[old].items():
            assert torch.equal(small.optimizer.state[new][key], value)
