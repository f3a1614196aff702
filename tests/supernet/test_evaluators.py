"""Training as an evaluator: the public contract, and the table that is built of the same trainer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks.building import BuildSettings, build_table
from benchmarks.folders import DATA_VARIABLE
from benchmarks.testing import EvaluatorContract
from crlso.errors import UserError
from crlso.protocols import Codes, TrainedRecord
from crlso.runs.workers import run_tasks
from crlso.spaces import EdgeCellSpace
from supernet.data import SplitSettings, load, split
from supernet.evaluators import TrainFromScratch
from supernet.networks import ImageTask, Skeleton, family_of
from supernet.scratch import ScratchTrainer
from supernet.training import TrainSettings

SPACE = EdgeCellSpace("two", nodes=2, operations=["none", "skip_connect", "nor_conv_3x3"])
CODES = np.arange(3, dtype=np.int16)[:, None]


def trainer(learning_rate: float = 0.1) -> ScratchTrainer:
    splits = split(load("digits"), SplitSettings(limits=(130, 60, 60)))
    networks = family_of(SPACE, ImageTask.of(splits), Skeleton(4, 1, 1))
    return ScratchTrainer(networks, splits, TrainSettings(learning_rate=learning_rate), fidelities=(1, 2))


EVALUATORS = {  # kept, so that not every test of the contract trains anew
    "trained": TrainFromScratch(trainer(), seeds=(0, 3)),
    "diverging": TrainFromScratch(trainer(1e30)),
}


class TestTrainFromScratch(EvaluatorContract):
    @pytest.fixture(params=EVALUATORS)
    def evaluator(self, request: pytest.FixtureRequest) -> TrainFromScratch:
        return EVALUATORS[request.param]


def test_answers_are_those_of_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    settings = BuildSettings(seeds=(1, 2), unique="code")
    build_table(
        trainer(), name="t", settings=settings, engine=lambda tasks, shared: run_tasks(tasks, shared, jobs=1)
    )
    table, evaluator = benchmarks.load("t"), TrainFromScratch(trainer(), seeds=(1, 2))
    assert list(table.metrics) == list(evaluator.metrics)
    assert all(table.metrics[name] == metric for name, metric in evaluator.metrics.items())
    names = [name for name in table.metrics if "time" not in name]
    np.testing.assert_array_equal(
        evaluator.evaluate(CODES, metrics=names), table.evaluate(CODES, metrics=names)
    )


def test_trains_what_is_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, int, int]] = []
    train = ScratchTrainer.train

    def counted(self: ScratchTrainer, code: Codes, *, epochs: int, seed: int) -> TrainedRecord:
        done.append((int(code[0]), epochs, seed))
        return train(self, code, epochs=epochs, seed=seed)

    monkeypatch.setattr(ScratchTrainer, "train", counted)
    evaluator = TrainFromScratch(trainer(), seeds=(0, 1))
    evaluator.evaluate(CODES, metrics=["digits/params", "digits/flops"])
    assert done == []
    evaluator.evaluate(CODES[[2, 2]], metrics=["digits/test_loss@1/seed1"])
    assert done == [(2, 1, 1)]
    evaluator.evaluate(CODES[1:], metrics=["digits/test_loss@1", "digits/test_accuracy@1"])
    assert sorted(done) == [(1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1)]
    assert evaluator.optimum("digits/test_loss@1") is None


def test_divergence_is_nan_and_constants_stay() -> None:
    answer = TrainFromScratch(trainer(1e30)).evaluate(
        CODES, metrics=["digits/valid_accuracy@2", "digits/params"]
    )
    assert math.isnan(answer["digits/valid_accuracy@2"][2])
    assert answer["digits/params"][2] == pytest.approx(254e-6)


def test_the_fingerprint_has_the_seeds() -> None:
    one, two = (TrainFromScratch(trainer(), seeds=seeds).fingerprint for seeds in ((0,), (0, 1)))
    assert one != two
    assert trainer().fingerprint.items() <= one.items()


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_seeds_must_be_different_numbers(seeds: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="different numbers from 0 on"):
        TrainFromScratch(trainer(), seeds=seeds)
