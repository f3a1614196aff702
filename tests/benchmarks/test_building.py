"""Tables of one's own, with a trainer that works out its results instead of training."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmarks
from benchmarks.building import BuildSettings, Built, build_table
from benchmarks.choosing import sample, whole_space
from benchmarks.folders import DATA_VARIABLE
from benchmarks.store import verify_table
from benchmarks.testing import EvaluatorContract
from crlso.errors import RunError, TableError, UnknownNameError, UserError
from crlso.protocols import Code, Codes, FloatArray, Metric, SearchSpace, TrainedRecord, Trainer
from crlso.runs.trainings import Journal, Training
from crlso.runs.workers import Task, run_tasks
from crlso.spaces import EdgeCellSpace, get_space

SPACE = EdgeCellSpace("tiny", nodes=3, operations=["none", "skip_connect", "conv"])
DIVERGING = "|conv~0|+|conv~0|conv~1|"
ENGINE = functools.partial(run_tasks, jobs=1)


@dataclass(frozen=True)
class Fake:
    """Accuracy from the code, epochs and seed; one architecture diverges with seed 1."""

    version: str = "1"
    fidelities: tuple[int, ...] = (1, 3)
    space: SearchSpace = SPACE
    name: str = "fake"

    @property
    def fingerprint(self) -> Mapping[str, str]:
        return {"trainer": f"fake/{self.version}"}

    @property
    def constants(self) -> Mapping[str, Metric]:
        return {"params": Metric("params", "min", "", "number of convolutions")}

    def metrics(self, epochs: int) -> Mapping[str, Metric]:
        name = f"accuracy@{epochs}"
        return {name: Metric(name, "max", "%", "made up")}

    def count(self, codes: Codes) -> Mapping[str, FloatArray]:
        return {"params": (codes == 2).sum(axis=1).astype(np.float64)}

    def train(self, code: Code, *, epochs: int, seed: int) -> TrainedRecord:
        failed = self.space.format(code) == DIVERGING and seed == 1
        curve = np.sqrt(np.arange(1, epochs + 1) * (1 + code @ 3 ** np.arange(len(code))) + seed / 3)
        if failed:
            curve[-1] = math.nan
        name = f"accuracy@{epochs}"
        return TrainedRecord(epochs, seed, {name: float(curve[-1])}, {name: curve}, failed)


@pytest.fixture(autouse=True)
def own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    return tmp_path


def build(name: str = "t", trainer: Trainer | None = None, *, force: bool = False, **settings: Any) -> Built:
    options = BuildSettings(**{"seeds": (0, 1), **settings})
    return build_table(trainer or Fake(), name=name, settings=options, engine=ENGINE, force=force)


def backwards(tasks: Sequence[Task], shared: Any) -> Iterator[tuple[int, Any]]:
    """An engine whose tasks end in another order."""
    for index in reversed(range(len(tasks))):
        yield index, tasks[index](shared)


def stopping(after: int) -> Any:
    """An engine that dies after some trainings."""

    def engine(tasks: Sequence[Task], shared: Any) -> Iterator[tuple[int, Any]]:
        yield from itertools.islice(backwards(tasks, shared), after)
        raise KeyboardInterrupt

    return engine


class TestBuilt(EvaluatorContract):
    @pytest.fixture
    def evaluator(self) -> benchmarks.TableEvaluator:
        build()
        return benchmarks.load("t")


def test_the_fake_is_a_trainer() -> None:
    assert isinstance(Fake(), Trainer)


def test_every_number_is_the_trainers() -> None:
    built = build(unique="code")
    assert (built.trainings, built.done_now, built.failed) == (27 * 2 * 2, 27 * 2 * 2, 2)
    table = benchmarks.load("t")
    assert table.support is None
    assert table.space.name == "tiny"
    for row, code in enumerate(table.codes):
        for epochs in (1, 3):
            name = f"accuracy@{epochs}"
            records = [Fake().train(code, epochs=epochs, seed=seed) for seed in (0, 1)]
            values = [record.values[name] for record in records]
            np.testing.assert_array_equal(table.column(name)[row], np.mean(values))
            for seed in (0, 1):
                np.testing.assert_array_equal(table.column(f"{name}/seed{seed}")[row], values[seed])
                curve = table.curve(f"{name}/seed{seed}", code[None])[0]
                np.testing.assert_array_equal(curve, records[seed].curves[name])
    np.testing.assert_array_equal(table.column("params"), (table.codes == 2).sum(axis=1))
    header = verify_table(built.path)
    assert header.details["failed"] == [[DIVERGING, 1, 1], [DIVERGING, 3, 1]]
    assert header.source == {"trainer": "fake/1"}
    assert np.isnan(table.column("accuracy@3")).sum() == 1
    assert "t" in benchmarks.available()


def network(code: Code) -> tuple[int, ...]:
    """What a cell of three nodes computes, given sums of paths: the convolutions on each of its paths."""
    first, direct, second = code.tolist()
    paths = [route for route in ([direct], [first, second]) if all(route)]
    return tuple(sorted(route.count(2) for route in paths))


def test_identical_networks_are_trained_once_and_share_the_result() -> None:
    """With three nodes a network is what its two paths do: brute force over them."""
    built = build()
    table = benchmarks.load("t")
    classes = {network(code) for code in table.codes}
    assert built.trainings == len(classes) * 2 * 2
    by_class: dict[Any, set[float]] = {}
    for code, value in zip(table.codes, table.column("accuracy@3/seed0"), strict=True):
        by_class.setdefault(network(code), set()).add(float(value))
    assert all(len(values) == 1 for values in by_class.values())
    # What is known without training stays each architecture's own.
    np.testing.assert_array_equal(table.column("params"), (table.codes == 2).sum(axis=1))


def test_an_interrupted_build_goes_on_and_gives_the_same_file(own_data_folder: Path) -> None:
    whole = build().path.read_bytes()
    settings = BuildSettings(seeds=(0, 1))
    (own_data_folder / "t.parquet").unlink()
    for after in (1, 0, 7):
        with pytest.raises(KeyboardInterrupt):
            build_table(Fake(), name="t", settings=settings, engine=stopping(after))
    assert not (own_data_folder / "t.parquet").exists()
    said: list[str] = []
    built = build_table(Fake(), name="t", settings=settings, engine=backwards, say=said.append)
    assert built.done_now == built.trainings - 8
    assert f"{built.done_now} left to do" in said[0]
    assert built.path.read_bytes() == whole
    assert [path.name for path in own_data_folder.iterdir()] == ["t.parquet"]
    (own_data_folder / "t.building").mkdir()  # as if killed between the table and the tidying up
    assert build().done_now == 0  # the same command again
    assert [path.name for path in own_data_folder.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize("keep", [0, 1, 17, 100, 101, 500, -1, -2, -30])
def test_a_torn_or_damaged_journal_costs_trainings_only(own_data_folder: Path, keep: int) -> None:
    whole = build().path.read_bytes()
    (own_data_folder / "t.parquet").unlink()
    with pytest.raises(KeyboardInterrupt):
        build_table(Fake(), name="t", settings=BuildSettings(seeds=(0, 1)), engine=stopping(9))
    journal = own_data_folder / "t.building" / "trainings.jsonl"
    data = bytearray(journal.read_bytes())
    journal.write_bytes(data[:keep])
    with pytest.raises(KeyboardInterrupt):  # what is written after the tear is kept
        build_table(Fake(), name="t", settings=BuildSettings(seeds=(0, 1)), engine=stopping(2))
    with Journal(journal) as opened:
        assert len(opened.records) == bytes(data[:keep]).count(b"\n") + 2 + (keep == -1)
    data = bytearray(journal.read_bytes())
    data[20] ^= 1
    journal.write_bytes(data)
    assert build().path.read_bytes() == whole


def test_a_journal_keeps_every_bit(tmp_path: Path) -> None:
    curve = np.array([math.pi, 1e-320, math.nan, -0.0])
    record = TrainedRecord(4, 2, {"a": 0.1 + 0.2, "b": math.nan}, {"a": curve}, True)
    with Journal(tmp_path / "j") as journal:
        journal.append(Training("x", 4, 2), record)
    with Journal(tmp_path / "j") as journal:
        (found,) = journal.records.values()
    assert found.values["a"] == 0.1 + 0.2
    assert math.isnan(found.values["b"])
    assert found.curves["a"].tobytes() == curve.tobytes()
    assert (found.epochs, found.seed, found.failed) == (4, 2, True)


def test_unfinished_work_of_other_settings_is_not_mixed_in(own_data_folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_table(Fake(), name="t", settings=BuildSettings(seeds=(0, 1)), engine=stopping(3))
    with pytest.raises(RunError, match=r"trainer.trainer is fake/1 there, fake/2 was asked for.*--force"):
        build(trainer=Fake("2"))
    with pytest.raises(RunError, match="seeds is"):
        build(seeds=(0,))
    forced = build(trainer=Fake("2"), force=True)
    assert forced.done_now == forced.trainings
    with pytest.raises(TableError, match="table 't' exists already"):
        build()
    assert build(force=True).header.source == {"trainer": "fake/1"}


def test_a_build_that_failed_at_its_first_training_does_not_keep_the_name(own_data_folder: Path) -> None:
    def failing(tasks: Sequence[Task], shared: Any) -> Iterator[tuple[int, Any]]:
        raise UserError("no memory")

    with pytest.raises(UserError, match="no memory"):
        build_table(Fake(), name="t", settings=BuildSettings(seeds=(0, 1)), engine=failing)
    assert (own_data_folder / "t.building" / "config.yaml").exists()
    built = build(trainer=Fake("2"), seeds=(0,))
    assert built.done_now == built.trainings
    assert built.header.source == {"trainer": "fake/2"}


def test_a_folder_that_no_build_made_is_left_alone(own_data_folder: Path) -> None:
    (own_data_folder / "t.building").mkdir()
    (own_data_folder / "t.building" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="is no run directory"):
        build()
    assert (own_data_folder / "t.building" / "letter.txt").read_text() == "dear"


def test_only_one_process_builds_a_table(own_data_folder: Path) -> None:
    def nested(tasks: Sequence[Task], shared: Any) -> Iterator[tuple[int, Any]]:
        with pytest.raises(RunError, match="another process is at work"):
            build()
        yield from ENGINE(tasks, shared)

    build_table(Fake(), name="t", settings=BuildSettings(seeds=(0, 1)), engine=nested)


def test_a_sample_has_different_networks_and_is_drawn_evenly() -> None:
    everything = whole_space(SPACE, "exact")
    members = everything.codes[np.unique(everything.trained)]
    counts = np.zeros(len(members))
    for seed in range(400):
        chosen = sample(SPACE, 4, seed=seed, unique="exact")
        assert len(np.unique(SPACE.class_keys(chosen.codes))) == 4
        np.testing.assert_array_equal(chosen.trained, range(4))
        counts += [(chosen.codes == member).all(axis=1).any() for member in members]
    share = 4 / len(members)
    spread = math.sqrt(400 * share * (1 - share))
    np.testing.assert_allclose(counts, 400 * share, atol=4 * spread)
    assert build(sample=5).header.rows == 5
    assert benchmarks.load("t").support is not None


def test_a_sample_of_a_large_space() -> None:
    space = EdgeCellSpace("large", nodes=6, operations=["none", "skip_connect", "a", "b"])
    one, two = (sample(space, 50, seed=1, unique="exact") for _ in range(2))
    np.testing.assert_array_equal(one.codes, two.codes)
    assert len(np.unique(space.class_keys(one.codes))) == 50
    assert one.codes.tolist() == sorted(one.codes.tolist())
    with pytest.raises(UserError, match="too many for a table of all"):
        whole_space(space, "exact")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": ()}, "at least one"),
        ({"seeds": (1, 1)}, "different"),
        ({"seeds": (-1,)}, "from 0 on"),
        ({"sample_seed": -1}, "seed of the sample must be 0 or more"),
        ({"sample": 0}, "1 architecture or more"),
        ({"sample": 28}, "more than the [0-9]+ different architectures"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**settings)
    with pytest.raises(UnknownNameError, match="rule of sameness"):
        build(unique="official")


def test_more_trainings_than_a_table_takes_are_refused(
    monkeypatch: pytest.MonkeyPatch, own_data_folder: Path
) -> None:
    most = build(name="counted").trainings
    monkeypatch.setattr("benchmarks.building.MOST_TRAININGS", most - 1)
    with pytest.raises(UserError, match=f"{most:,} trainings are too many"):
        build()
    assert not (own_data_folder / "t.building").exists()


def test_built_in_names_are_refused() -> None:
    with pytest.raises(TableError, match="built-in"):
        build("nasbench201")


def test_built_in_spaces_stay_built_in() -> None:
    header = build(trainer=Fake(space=get_space("nasbench201")), sample=2).header
    assert header.space == {"space": "nasbench201"}
