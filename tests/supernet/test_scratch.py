"""Training from scratch: the recipe against torch's own parts, repeatability, divergence."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import TrainedRecord, Trainer
from crlso.spaces import EdgeCellSpace
from supernet.data import Splits, SplitSettings, load, split
from supernet.networks import Skeleton
from supernet.scratch import ScratchTrainer
from supernet.training import TrainSettings, shifted, train

SPACE = EdgeCellSpace("two", nodes=2, operations=["none", "skip_connect", "nor_conv_3x3"])
CONV = SPACE.parse("|nor_conv_3x3~0|")
CPU = torch.device("cpu")


def small() -> Splits:
    return split(load("digits"), SplitSettings(limits=(130, 60, 60)))


def trainer(splits: Splits | None = None, **settings: Any) -> ScratchTrainer:
    recipe = TrainSettings(**{"epochs": 2, **settings})
    return ScratchTrainer(SPACE, splits or small(), recipe, Skeleton(4, 1, 1), fidelities=(1, 2))


def same(a: TrainedRecord, b: TrainedRecord) -> bool:
    timeless = [name for name in a.values if "time" not in name]
    return all(
        np.array_equal(a.values[name], b.values[name], equal_nan=True)
        and np.array_equal(a.curves.get(name, 0), b.curves.get(name, 0), equal_nan=True)
        for name in timeless
    )


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not() -> None:
    one = trainer()
    first = one.train(CONV, epochs=2, seed=3)
    torch.rand(7)  # nothing hangs on torch's own generator
    assert same(first, pickle.loads(pickle.dumps(one)).train(CONV, epochs=2, seed=3))
    assert not same(first, one.train(CONV, epochs=2, seed=4))


def test_a_record_has_what_the_trainer_says() -> None:
    one = trainer()
    assert isinstance(one, Trainer)
    record = one.train(CONV, epochs=2, seed=0)
    assert set(record.values) == set(one.metrics(2))
    assert set(record.curves) == {n for n in record.values if not n.startswith("digits/test")}
    assert all(curve.shape == (2,) for curve in record.curves.values())
    assert all(record.values[name] == curve[-1] for name, curve in record.curves.items())
    assert all(math.isfinite(value) for value in record.values.values())
    assert not record.failed
    counts = one.count(CONV[None])
    assert set(counts) == set(one.constants)
    # stem 9 * 4 + 8, convolution 9 * 16 + 8, last normalisation 8, classifier 50
    assert counts["digits/params"][0] * 1e6 == pytest.approx(44 + 152 + 8 + 50)


def test_training_learns() -> None:
    one = ScratchTrainer(SPACE, split(load("digits")), TrainSettings(epochs=4))
    assert one.train(CONV, epochs=4, seed=0).values["digits/test_accuracy@4"] > 90


def test_divergence_is_a_record() -> None:
    record = trainer(learning_rate=1e30).train(CONV, epochs=2, seed=0)
    assert record.failed
    assert math.isnan(record.values["digits/valid_accuracy@2"])
    assert math.isnan(record.values["digits/test_accuracy@2"])
    assert np.isnan(record.curves["digits/valid_loss@2"][-1])


def test_steps_are_those_of_torchs_sgd_and_cosine() -> None:
    splits = small()
    settings = TrainSettings(epochs=3, batch=50, learning_rate=0.05, label_smoothing=0.1)

    def network() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    ours = network()
    train(ours, splits, settings, device=CPU, generator=torch.Generator().manual_seed(2))

    theirs, generator = network(), torch.Generator().manual_seed(2)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3 * 3)
    pixels = torch.tensor(splits.train.images, dtype=torch.float64)
    images = ((pixels - pixels.mean()) / pixels.std(correction=0)).float()
    labels = torch.tensor(splits.train.labels)
    for _ in range(3):
        for rows in torch.randperm(130, generator=generator).tensor_split(3):
            optimizer.zero_grad()
            nn.CrossEntropyLoss(label_smoothing=0.1)(theirs(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_shifts_move_whole_images() -> None:
    images = torch.randint(1, 255, (40, 2, 5, 6), dtype=torch.uint8)
    moved = shifted(images, 1, torch.Generator().manual_seed(0))
    seen = set()
    for image, result in zip(images, moved, strict=True):
        padded = nn.functional.pad(image, (1, 1, 1, 1))
        found = [
            (r, c) for r in range(3) for c in range(3) if torch.equal(padded[:, r : r + 5, c : c + 6], result)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 9


def test_augmented_trainings_repeat_too() -> None:
    one = trainer(augmentation="shift")
    assert same(one.train(CONV, epochs=1, seed=0), one.train(CONV, epochs=1, seed=0))
    assert not same(one.train(CONV, epochs=1, seed=0), trainer().train(CONV, epochs=1, seed=0))


@pytest.mark.parametrize(
    "changed",
    [
        lambda: trainer(learning_rate=0.2),
        lambda: trainer(split(load("digits"))),
        lambda: ScratchTrainer(SPACE, small(), TrainSettings(epochs=2), Skeleton(5, 1, 1)),
    ],
)
def test_the_fingerprint_tells_trainers_apart(changed: Any) -> None:
    assert changed().fingerprint != trainer().fingerprint
    assert trainer().fingerprint == trainer().fingerprint


def test_as_many_stages_as_the_image_has_halvings() -> None:
    one = ScratchTrainer(SPACE, small(), TrainSettings(epochs=1), Skeleton(1, 1, 4))
    assert not one.train(CONV, epochs=1, seed=0).failed


def test_too_little_memory_is_a_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*arguments: Any, **options: Any) -> None:
        torch.empty(1 << 55)  # torch's own words

    monkeypatch.setattr("supernet.scratch.train", greedy)
    with pytest.raises(UserError, match="not enough memory on cpu to train a network of channels 4, cells 1"):
        trainer().train(CONV, epochs=2, seed=0)

    def wrong(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("supernet.scratch.train", wrong)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        trainer().train(CONV, epochs=2, seed=0)


def test_wrong_questions_are_refused() -> None:
    with pytest.raises(UserError, match="does not train for 3 epochs; it does for 1, 2"):
        trainer().train(CONV, epochs=3, seed=0)
    with pytest.raises(UserError, match="0 or more"):
        trainer().train(CONV, epochs=2, seed=-1)
    with pytest.raises(ArchitectureError):
        trainer().train(np.array([7]), epochs=2, seed=0)
    with pytest.raises(UserError, match="increasing"):
        ScratchTrainer(SPACE, small(), fidelities=(4, 2))
    with pytest.raises(UserError, match="can not compute on device 'tpu'"):
        ScratchTrainer(SPACE, small(), device="tpu")
    with pytest.raises(UserError, match="can not compute on device 'meta'"):
        ScratchTrainer(SPACE, small(), device="meta")
    with pytest.raises(UserError, match="100,000 or fewer"):
        ScratchTrainer(SPACE, small(), fidelities=(4, 10**20))
    with pytest.raises(UserError, match="8x8 can have up to 4 stages"):
        ScratchTrainer(SPACE, small(), skeleton=Skeleton(4, 1, 5))
    with pytest.raises(UserError, match="two images or more"):
        ScratchTrainer(SPACE, split(load("digits"), SplitSettings(limits=(1, 1, 1))))
    for wrong in (
        {"epochs": 0},
        {"epochs": 100_001},
        {"learning_rate": math.nan},
        {"momentum": 1.0},
        {"augmentation": "mix"},
    ):
        with pytest.raises(UserError):
            TrainSettings(**wrong)  # type: ignore[arg-type]
