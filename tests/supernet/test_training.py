"""One training on several processes, in several precisions, translated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from torch import nn

from crlso.errors import UserError
from crlso.spaces import get_space
from supernet.data import Splits, SplitSettings, load, split
from supernet.networks import Classifier, DARTSSizes, ImageTask, Skeleton, family_of
from supernet.processes import Processes
from supernet.scratch import ScratchTrainer
from supernet.training import Training, TrainSettings
from tests.source import ROOT
from tests.spaces.test_darts import DARTS_V2
from tests.supernet.train.small import CONVOLUTIONS

SPACE = get_space("nasbench201")


def small() -> Splits:
    return split(load("digits"), SplitSettings(limits=(130, 60, 60)))


@final
class Linear(Classifier):
    """No normalisation: several processes compute what one does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1))


def linear_curves(processes: Processes) -> dict[str, list[float]]:
    """Batches of 43 and 44 images, which can not be shared out evenly."""
    torch.manual_seed(0)
    settings = TrainSettings(
        epochs=3, batch=50, augmentation="shift", clip=0.5, label_smoothing=0.1, precision="64-true"
    )
    training = Training(
        Linear(),
        small(),
        settings,
        device=processes.device,
        generator=torch.Generator().manual_seed(2),
        processes=processes,
    )
    while not training.finished:
        training.run_epoch()
    return {name: curve.tolist() for name, curve in training.curves.items() if name != "seconds"}


def cells_agree(processes: Processes) -> dict[str, Any]:
    """A network with normalisations: whether all processes have the same one, also when they go on."""
    splits = small()
    space = get_space("darts")
    family = family_of(space, ImageTask.of(splits), DARTSSizes(2, 2))
    trainer = ScratchTrainer(family, splits, TrainSettings(epochs=3, batch=32, drop_path=0.5, clip=5.0))
    code = space.parse(DARTS_V2)
    whole, first, second = (trainer.begin(code, epochs=3, seed=1, processes=processes) for _ in range(3))
    for _ in range(3):
        whole.run_epoch()
    first.run_epoch()
    states = [first.state_dict()]
    torch.distributed.broadcast_object_list(states)  # the first process' state is the one that is kept
    second.load_state_dict(states[0])
    second.run_epoch()
    second.run_epoch()
    tensors = [value.double().flatten() for value in whole.network.state_dict().values()]
    own = torch.cat(tensors)
    every = [torch.zeros_like(own) for _ in range(processes.count)]
    torch.distributed.all_gather(every, own)
    again = torch.cat([value.double().flatten() for value in second.network.state_dict().values()])
    return {
        "equal": all(torch.equal(own, other) for other in every),
        "resumed": torch.equal(own, again),
        "finite": bool(torch.isfinite(own).all()),
    }


SCRIPT = """
import json, sys, torch
torch.set_num_threads(1)
from supernet.processes import Processes
from tests.supernet.test_training import cells_agree, linear_curves
processes = Processes()
found = {"curves": linear_curves(processes), "count": processes.count, **cells_agree(processes)}
if processes.rank == 0:
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
torch.distributed.destroy_process_group()
"""


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Without normalisations to 1e-10 in float64; with them the processes have one network, and go on."""
    script, answer = tmp_path / "train.py", tmp_path / "answer.json"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, str(script), str(answer)], check=True, capture_output=True, cwd=ROOT, env=environment
    )
    together = json.loads(answer.read_text(encoding="utf-8"))
    assert together["count"] == 2
    for name, curve in linear_curves(Processes()).items():
        np.testing.assert_allclose(together["curves"][name], curve, rtol=0, atol=1e-10, err_msg=name)
    assert (together["equal"], together["resumed"], together["finite"]) == (True, True, True)


def trained(**settings: Any) -> dict[str, float]:
    splits = small()
    family = family_of(SPACE, ImageTask.of(splits), Skeleton(4, 1, 2))
    recipe = TrainSettings(**{"epochs": 3, "batch": 16, **settings})
    record = ScratchTrainer(family, splits, recipe).train(SPACE.parse(CONVOLUTIONS), epochs=3, seed=0)
    assert not record.failed
    return {name: value for name, value in record.values.items() if "time" not in name}


def test_precisions() -> None:
    """float64 differs from float32 by rounding, which training makes larger; bfloat16 by more."""
    usual, double, mixed = (trained(precision=name) for name in ("32-true", "64-true", "bf16-mixed"))
    loss = "digits/train_loss@3"
    assert 0 < abs(double[loss] - usual[loss]) < 1e-3
    assert 1e-4 < abs(mixed[loss] - usual[loss]) < 0.1


def test_mixed_precision_keeps_weights_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    forward = Linear.forward

    def watched(network: Linear, images: torch.Tensor) -> torch.Tensor:
        logits = forward(network, images)
        seen.add((images.dtype, network.linear.weight.dtype, logits.dtype))
        return logits

    monkeypatch.setattr(Linear, "forward", watched)
    training = Training(
        Linear(),
        small(),
        TrainSettings(epochs=1, precision="bf16-mixed"),
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(0),
    )
    training.run_epoch()
    assert seen == {(torch.float32, torch.float32, torch.bfloat16)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_translated_training_is_the_same() -> None:
    """Up to rounding; with drop-path, whose probability changes from epoch to epoch, too."""
    splits = small()
    space = get_space("darts")
    family = family_of(space, ImageTask.of(splits), DARTSSizes(2, 2, auxiliary=True))
    plain, translated = (
        ScratchTrainer(
            family,
            splits,
            TrainSettings(epochs=2, batch=32, learning_rate=0.01, drop_path=0.4, compile=compiled),
        ).train(space.parse(DARTS_V2), epochs=2, seed=0)
        for compiled in (False, True)
    )
    name = "digits/train_loss@2"
    np.testing.assert_allclose(translated.curves[name], plain.curves[name], rtol=1e-3)


def test_batches_too_small_for_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes()
    monkeypatch.setattr(processes, "count", 30)
    with pytest.raises(UserError, match="a batch of 43 images is too small for 30 processes"):
        Training(
            Linear(),
            small(),
            TrainSettings(epochs=1, batch=50),
            device=torch.device("cpu"),
            generator=torch.Generator(),
            processes=processes,
        )
