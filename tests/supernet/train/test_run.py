"""Trainings in directories: what they leave, going on from any epoch, damage, divergence, loading."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator

import supernet
from crlso.errors import RunError, UserError
from crlso.runs.checkpoint import parse_state
from supernet.train.directory import Identity, TrainingDirectory
from supernet.training import Training
from tests.supernet.train.small import CONVOLUTIONS, SKIPS, plan, run, trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("train") / "run"
    return out, run(plan(CONVOLUTIONS, SKIPS), out, seeds=(0, 3))


def timeless(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def same_weights(one: Path, other: Path) -> bool:
    a, b = (torch.load(folder / "weights.pt", weights_only=True) for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_figures_are_those_of_the_trainer(trained: tuple[Path, dict[str, Any]]) -> None:
    """The summary against trainings without a directory; mean and deviation against torch's."""
    out, summary = trained
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == summary
    one = trainer(plan())
    for entry, text in zip(summary["architectures"], (CONVOLUTIONS, SKIPS), strict=True):
        records = [one.train(one.space.parse(text), epochs=2, seed=seed) for seed in (0, 3)]
        for name in ("test_accuracy", "valid_accuracy"):
            values = torch.tensor(
                [record.values[f"digits/{name}@2"] for record in records], dtype=torch.float64
            )
            assert entry[name]["mean"] == pytest.approx(float(values.mean()))
            assert entry[name]["std"] == pytest.approx(float(values.std()), abs=1e-9)
        assert [each["test_loss"] for each in entry["trainings"]] == [
            record.values["digits/test_loss@2"] for record in records
        ]
        assert entry["params"] == one.count(one.space.parse(text)[None])["digits/params"][0]
    both = summary["over_architectures"]["test_accuracy"]
    means = [entry["test_accuracy"]["mean"] for entry in summary["architectures"]]
    assert (both["n"], both["mean"]) == (2, pytest.approx(sum(means) / 2))


def test_what_a_training_leaves(trained: tuple[Path, dict[str, Any]]) -> None:
    folder = trained[0] / "trainings/1/3"
    assert sorted(file.name for file in folder.iterdir()) == [
        "epochs.jsonl",
        "events.out.tfevents.crlso",
        "network.json",
        "result.json",
        "weights.pt",
    ]
    events = event_accumulator.EventAccumulator(str(folder))
    events.Reload()
    for tag in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "learning_rate"):
        scalars = events.Scalars(f"training/{tag}")
        assert [scalar.step for scalar in scalars] == [1, 2]
        assert [scalar.value for scalar in scalars] == pytest.approx([row[tag] for row in timeless(folder)])


def test_the_network_comes_back(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """From its folder alone, somewhere else: its accuracy on the test part's pixels is the summary's."""
    shutil.copytree(trained[0] / "trainings/0/3", tmp_path / "elsewhere")
    network = supernet.load_network(tmp_path / "elsewhere")
    test = plan().load().test
    with torch.no_grad():
        found = network(torch.tensor(test.images)).argmax(1)
    accuracy = 100.0 * float((found == torch.tensor(test.labels)).double().mean())
    assert accuracy == trained[1]["architectures"][0]["trainings"][1]["test_accuracy"]
    assert network.blueprint.architecture == CONVOLUTIONS


def test_networks_that_are_not_there(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no trained network .*; choose .*trainings/0/0"):
        supernet.load_network(trained[0])
    with pytest.raises(UserError, match="holds no trained network"):
        supernet.load_network(tmp_path / "nothing")
    copy = tmp_path / "copy"
    shutil.copytree(trained[0] / "trainings/0/0", copy)
    (copy / "weights.pt").write_bytes((trained[0] / "trainings/1/0/weights.pt").read_bytes())
    with pytest.raises(RunError, match=r"weights.pt is damaged, or of another network"):
        supernet.load_network(copy)
    (copy / "weights.pt").write_bytes(b"PK")
    with pytest.raises(RunError, match=r"weights.pt is damaged"):
        supernet.load_network(copy)
    for content in ("{", "[]", "{}", json.dumps({"space": {"space": "darts"}, "images": 3})):
        (copy / "network.json").write_text(content, encoding="utf-8")
        with pytest.raises(RunError, match=r"network.json is damaged"):
            supernet.load_network(copy)


def identity(text: str) -> dict[str, Any]:
    return Identity(text, 0, trainer(plan(epochs=3, drop_path=0.1)).fingerprint).to_dict()


def stopped(folder: Path, text: str = CONVOLUTIONS, *, epochs: int = 1) -> None:
    """A training that was left after so many epochs."""
    one = trainer(plan(epochs=3, drop_path=0.1))
    training = one.begin(one.space.parse(text), epochs=3, seed=0)
    directory = TrainingDirectory(folder, Identity(text, 0, one.fingerprint))
    directory.restore(training)
    for done, _ in enumerate(directory.run(training), start=1):
        if done == epochs:
            return


def test_a_training_goes_on_from_any_epoch(tmp_path: Path) -> None:
    made = plan(epochs=3, drop_path=0.1)
    whole = tmp_path / "whole"
    run(made, whole)
    for epochs in (1, 2, 3):
        out = tmp_path / str(epochs)
        stopped(out / "trainings/0/0", epochs=epochs)
        (out / "config.yaml").write_bytes((whole / "config.yaml").read_bytes())
        lines: list[str] = []
        run(made, out, lines=lines)
        assert len(lines) == 3 - epochs
        assert timeless(out / "trainings/0/0") == timeless(whole / "trainings/0/0")
        assert same_weights(out / "trainings/0/0", whole / "trainings/0/0")


def test_checkpoints_that_are_of_no_use(tmp_path: Path) -> None:
    made = plan(epochs=3, drop_path=0.1)
    folder = tmp_path / "trainings/0/0"
    stopped(folder, SKIPS)
    checkpoint = folder / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    run(plan(), tmp_path / "other")
    config = (tmp_path / "other/config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(
        config.replace("epochs: 2", "epochs: 3").replace("drop_path: 0.0", "drop_path: 0.1"), encoding="utf-8"
    )
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(RunError, match=r"checkpoint.pt is of another training; remove it"):
        run(made, tmp_path)
    for content in (b"", b"damaged", whole[: len(whole) // 2], whole[:200] + b"\0" * 100 + whole[300:]):
        checkpoint.write_bytes(content)
        with pytest.raises(RunError, match=r"checkpoint.pt is (damaged|of another)"):
            run(made, tmp_path)
    torch.save(
        {**parse_state(io.BytesIO(whole)), "identity": identity(CONVOLUTIONS), "device": "cuda"}, checkpoint
    )
    with pytest.raises(RunError, match="was begun on cuda, whose random numbers are its own; go on there"):
        run(made, tmp_path)
    own = {"identity": identity(CONVOLUTIONS), "device": "cpu"}
    for state in ({}, {"identity": 3}, {**own, "training": {"format": 1}}, {**own, "training": 7}):
        torch.save(state, checkpoint)
        with pytest.raises(RunError, match=r"checkpoint.pt is (damaged|of another)"):
            run(made, tmp_path)
    checkpoint.unlink()
    run(made, tmp_path)


def test_a_training_that_diverges_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is kept of an epoch in which a loss was no number; the last good state stays."""
    one = trainer(plan())
    spoilt = one.begin(one.space.parse(CONVOLUTIONS), epochs=2, seed=0)._generator.initial_seed()
    run_epoch = Training.run_epoch

    def spoil(training: Training) -> None:
        if training.epoch == 1 and training._generator.initial_seed() == spoilt:
            for parameter in training.network.parameters():
                parameter.data.fill_(torch.nan)
        run_epoch(training)

    monkeypatch.setattr(Training, "run_epoch", spoil)
    lines: list[str] = []
    summary = run(plan(), tmp_path, seeds=(0, 1), lines=lines)
    (entry,) = summary["architectures"]
    assert (entry["diverged"], entry["test_accuracy"]["n"], entry["test_accuracy"]["std"]) == (1, 1, None)
    assert [each["failed"] for each in entry["trainings"]] == [True, False]
    (line,) = [line for line in lines if "diverged" in line]
    assert line.startswith(
        "architecture 0, seed 0: diverged in epoch 2 of 2 (a loss is no finite number); the last"
    )
    assert (tmp_path / "trainings/0/0/checkpoint.pt").is_file()
    assert not (tmp_path / "trainings/0/0/weights.pt").exists()
    assert len(timeless(tmp_path / "trainings/0/0")) == 1
    # What has diverged is not done again.
    lines.clear()
    assert run(plan(), tmp_path, seeds=(0, 1), lines=lines) == summary
    assert lines == []


def test_divergence_from_the_first_step(tmp_path: Path) -> None:
    lines: list[str] = []
    summary = run(plan(learning_rate=1e30), tmp_path, lines=lines)
    assert summary["architectures"][0]["test_accuracy"]["mean"] is None
    (line,) = lines
    assert "no state was kept before it; lower learning_rate (now 1e+30)" in line


def test_all_data_are_trained_on_and_only_the_test_is_measured(tmp_path: Path) -> None:
    summary = run(plan(all_data=True), tmp_path)
    assert summary["data"] == "digits: 144 training, 0 validation, 48 test images of 1x8x8"
    (entry,) = summary["architectures"]
    assert entry["valid_accuracy"]["n"] == 0
    assert entry["test_accuracy"]["n"] == 1
    assert {row["valid_accuracy"] for row in timeless(tmp_path / "trainings/0/0")} == {None}
    with pytest.raises(RunError, match="all_data is True there, False was asked for"):
        run(plan(), tmp_path)


def test_seeds_that_are_none(tmp_path: Path) -> None:
    for seeds in ((), (1, 1), (-1,)):
        with pytest.raises(UserError, match="seeds must be different numbers from 0 on"):
            run(plan(), tmp_path, seeds=seeds)


def test_a_checkpoint_left_by_a_late_kill_goes(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Killed between the result and the removal of the checkpoint, which nothing reads any more."""
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    left = out / "trainings/1/3/checkpoint.pt"
    left.write_bytes(b"anything")
    assert run(plan(CONVOLUTIONS, SKIPS), out, seeds=(0, 3)) == trained[1]
    assert not left.exists()


def test_as_many_processes_as_before(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Each normalises by its own images: with another number the figures would be others."""
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    config = out / "config.yaml"
    text = config.read_text(encoding="utf-8")
    assert "processes: 1\n" in text
    config.write_text(text.replace("processes: 1\n", "processes: 2\n"), encoding="utf-8")
    with pytest.raises(RunError, match="other settings"):
        run(plan(CONVOLUTIONS, SKIPS), out, seeds=(0, 3))
