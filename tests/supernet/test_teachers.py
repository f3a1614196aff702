"""Teachers from the disk: a network of one's own, one that was trained here, and all that can be wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from crlso.errors import UserError
from crlso.spaces import get_space
from supernet.networks import DARTSSizes, ImageTask, family_of
from supernet.teachers import load_teacher
from supernet.train.loading import Blueprint, load_network, write_blueprint, write_network
from tests.supernet.train.small import plan, run

TASK = ImageTask(2, (5, 5), 5)
MODULE = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, channels, width=3):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2), nn.BatchNorm2d(2 * width))
        self.classifier = nn.Linear(2 * width, 5)
        self.never = nn.Linear(1, 1)
        self.pair = Pair()

    def forward(self, images):
        return self.classifier(self.pair(self.second(self.first(images)))[0].mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def small(channels=2, width=3):
    return Small(channels, width)


def nothing():
    return None


def refusing():
    raise ValueError("not today\\nnor tomorrow")


number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has a module and weights of one's own; importable."""
    (tmp_path / "teaching_of_ones_own.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def declared(folder: Path, **changes: Any) -> str:
    values = {
        "factory": "teaching_of_ones_own:small",
        "arguments": {"width": 4},
        "features": ["first", "second.0"],
        **changes,
    }
    file = folder / "teacher.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return str(file)


def made(folder: Path, width: int = 4) -> nn.Module:
    import importlib

    torch.manual_seed(0)
    network: nn.Module = importlib.import_module("teaching_of_ones_own").small(width=width)
    network(torch.randn(32, 2, 7, 7))  # gives it running averages
    torch.save(network.state_dict(), folder / "weights.pt")
    return network.eval()


def message(path: str) -> str:
    with pytest.raises(UserError) as caught:
        load_teacher(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_any_module_is_a_teacher(folder: Path) -> None:
    network = made(folder)
    images = torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(1))
    teacher = load_teacher(declared(folder, weights="weights.pt"))
    assert teacher.channels(ImageTask(2, (7, 7), 5)) == (4, 8)
    first, second = teacher(images)
    assert torch.equal(first, network.first(images))  # type: ignore[operator]
    assert torch.equal(second, network.second[0](first))  # type: ignore[index,operator]

    pixels = (0.5, 0.25), (0.2, 0.1)
    with_mean = load_teacher(declared(folder, weights="weights.pt", mean=[0.5, 0.25], std=[0.2, 0.1]))
    mean, deviation = (255 * torch.tensor(column).view(1, 2, 1, 1) for column in pixels)
    here_mean, here_deviation = (torch.tensor(v).view(1, 2, 1, 1) for v in ((100.0, 90.0), (30.0, 20.0)))
    with_mean.seeing(ImageTask(2, (7, 7), 5), (100.0, 90.0), (30.0, 20.0))
    expected = network.first((images * here_deviation + here_mean - mean) / deviation)  # type: ignore[operator]
    torch.testing.assert_close(with_mean(images)[0], expected, rtol=1e-5, atol=1e-5)


def test_a_network_that_was_trained_here_is_a_teacher(tmp_path: Path) -> None:
    made_plan = plan(epochs=1)
    run(made_plan, tmp_path / "out")
    folder = next((tmp_path / "out").glob("**/weights.pt")).parent
    teacher = load_teacher(str(folder))
    loaded = load_network(folder)
    splits = made_plan.load()
    pixels = torch.from_numpy(splits.test.images[:8].copy())
    mean, deviation = (torch.tensor(v).float().view(1, -1, 1, 1) for v in (splits.mean, splits.deviation))
    seen: list[Tensor] = []
    body = loaded.network.body
    assert isinstance(body, nn.Sequential)
    sizes = loaded.blueprint.sizes
    for end in sizes.stage_ends:
        body[end].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    loaded(pixels)
    task = ImageTask.of(splits)
    teacher.seeing(task, splits.mean, splits.deviation)
    found = teacher((pixels - mean) / deviation)
    assert teacher.channels(task) == tuple(output.shape[1] for output in seen)
    assert len(found) == len(seen) == 2
    for one, two in zip(found, seen, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)

    for other in (ImageTask(3, task.size, 10), ImageTask(1, (9, 9), 10), ImageTask(1, task.size, 7)):
        with pytest.raises(UserError, match=r"is for images of 1 channels, 8x8 pixels, 10 classes, but the"):
            load_teacher(str(folder)).seeing(other, splits.mean, splits.deviation)
    assert "no trained network (there is no network.json); choose " + str(folder) in message(
        str(tmp_path / "out")
    )


def written(folder: Path, space_name: str, code: Any) -> Path:
    """A network with weights that mean nothing, as a training leaves it."""
    space = get_space(space_name)
    cells = 8 if space_name == "fxdarts" else 5
    sizes = DARTSSizes(channels=2, cells=cells)
    network = family_of(space, TASK, sizes).network(code)
    write_network(folder, network)
    write_blueprint(
        folder, Blueprint(space, space.format(code), sizes, TASK, (100.0, 90.0), (30.0, 20.0), "none")
    )
    json.loads((folder / "network.json").read_text())
    return folder


def test_feature_points_are_known_by_class(tmp_path: Path) -> None:
    import numpy as np

    darts = get_space("darts")
    code = np.zeros(len(darts.cardinalities), dtype=np.int64)
    assert load_teacher(str(written(tmp_path, "darts", code))).features == ("cells.0", "cells.2", "cells.4")

    free = get_space("fxdarts")
    full = np.ones(len(free.cardinalities), dtype=np.int8)
    assert load_teacher(str(written(tmp_path, "fxdarts", full))).features == ("cells.1", "cells.4", "cells.7")
    # Nothing uses cell 4 where cell 5 takes no previous and cell 6 no older one.
    dead = full.reshape(8, 14, -1).copy()
    dead[5, [edge for edge, (source, _) in enumerate(free.edges) if source == 1]] = 0  # type: ignore[attr-defined]
    dead[6, [edge for edge, (source, _) in enumerate(free.edges) if source == 0]] = 0  # type: ignore[attr-defined]
    assert load_teacher(str(written(tmp_path, "fxdarts", dead.reshape(-1)))).features == (
        "cells.1",
        "cells.3",
        "cells.7",
    )


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"feature": 3}, "unknown key of teacher .*'feature'.*did you mean 'features'"),
        ({"features": "first"}, "features must be a list of names of sub-modules, got 'first'"),
        ({"features": None}, "features must be a list"),
        ({"features": []}, "has no features"),
        ({"features": ["first", "secnd"]}, "no sub-module 'secnd'; near: second"),
        ({"features": ["x" * 9]}, "no sub-module 'x+'; it has first, second, classifier, never, pair"),
        ({"factory": "small"}, "factory must be PACKAGE.MODULE:FUNCTION, got 'small'"),
        ({"factory": None}, "factory must be PACKAGE.MODULE:FUNCTION, got None"),
        ({"factory": "there_is_none:small"}, "can not import 'there_is_none'.*PYTHONPATH"),
        ({"factory": "teaching_of_ones_own:smal"}, "has no 'smal'; near: small"),
        ({"factory": "teaching_of_ones_own:number"}, "is no function"),
        ({"factory": "teaching_of_ones_own:nothing", "arguments": None}, "must return a torch.nn.Module"),
        (
            {"factory": "teaching_of_ones_own:refusing", "arguments": None},
            "fails with these arguments: not today",
        ),
        ({"arguments": {"widths": 4}}, "fails with these arguments: .*'widths'"),
        ({"arguments": [4]}, "arguments must be a mapping by name"),
        ({"weights": "none.pt"}, "there is no file of weights .*none.pt"),
        ({"weights": "teacher.yaml"}, "is no file of tensors"),
        ({"weights": "pickled.pt"}, "is no file of tensors"),
        ({"weights": "list.pt"}, "holds no tensors by name"),
        ({"weights": "weights.pt", "arguments": {"width": 5}}, "has the weights of another network: .*size"),
        ({"mean": [0.5, 0.5]}, "mean and deviation .std. go together"),
        (
            {"mean": [127, 127], "std": [0.2, 0.2]},
            "mean must be a list of numbers, one for each channel, for",
        ),
        ({"mean": [0.5, 0.5], "std": [0.2, 0.0]}, "std must be more than 0"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_a_line(
    folder: Path, changes: dict[str, Any], wanted: str
) -> None:
    made(folder)
    torch.save(nn.Linear(1, 1), folder / "pickled.pt")
    torch.save([torch.zeros(1)], folder / "list.pt")
    text = message(declared(folder, **changes))
    assert re.search(wanted, text), text


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "there is no such file" in message(str(tmp_path / "none.yaml"))
    assert "there is no such directory" in message(str(tmp_path / "none"))
    assert "holds no trained network" in message(str(tmp_path))
    for name, text, wanted in (
        ("a.yaml", "{", "is no YAML"),
        ("b.yml", "- 1", "must be a mapping"),
        ("c.pt", "", "choose the directory"),
    ):
        (tmp_path / name).write_text(text)
        assert wanted in message(str(tmp_path / name))


@pytest.mark.parametrize(
    ("features", "task", "wanted"),
    [
        (["first"], ImageTask(3, (7, 7), 5), "does not take images of 3 channels, 7x7 pixels"),
        (["first"], ImageTask(2, (2, 2), 5), "does not take images of 2 channels, 2x2 pixels"),
        (["never"], TASK, "sub-module 'never' is not called"),
        (["classifier"], TASK, r"sub-module 'classifier' gives \[1, 5\], and no feature map"),
        (["pair"], TASK, "sub-module 'pair' gives a tuple, and no feature map"),
    ],
)
def test_a_teacher_that_can_not_look_at_the_images(
    folder: Path, features: list[str], task: ImageTask, wanted: str
) -> None:
    teacher = load_teacher(declared(folder, features=features))
    with pytest.raises(UserError, match=wanted) as caught:
        teacher.channels(task)
    assert "\n" not in str(caught.value)


def test_means_of_another_number_of_channels(folder: Path) -> None:
    teacher = load_teacher(declared(folder, mean=[0.5] * 3, std=[0.2] * 3))
    with pytest.raises(UserError, match="mean and std of 3 and 3 channels, but the data has images of 2"):
        teacher.seeing(TASK, (100.0, 90.0), (30.0, 20.0))
