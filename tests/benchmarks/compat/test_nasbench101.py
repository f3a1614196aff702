"""The view of NAS-Bench-101's API: the real file's figures under the official names, and the official rules.

The official package needs TensorFlow 1; what it answers is computed here from the file with Google's protobuf
library and TensorBoard's record reader, by the few lines of ``nasbench/api.py`` that choose and count.
"""

from __future__ import annotations

import base64
import csv
import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from benchmarks import TableEvaluator
from benchmarks.catalog import user_path
from benchmarks.compat import MisleadingAnswerWarning
from benchmarks.compat import nasbench101 as api
from benchmarks.importers import import_official
from crlso.errors import TableError, UnknownNameError, UserError
from crlso.spaces.nasbench101 import OPERATIONS
from tests.benchmarks.samples_tfrecord import distinct_cells, model_metrics, trainings, write_records
from tests.spaces.data import data_file

NAMES = ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
FIXED = ("module_adjacency", "module_operations", "trainable_parameters")
INCEPTION = (
    [
        [0, 1, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    ["input", OPERATIONS[1], OPERATIONS[0], OPERATIONS[0], OPERATIONS[0], OPERATIONS[2], "output"],
)  # of the official README


@pytest.fixture
def path() -> Path:
    return data_file("nasbench101/energy_4V9E.tfrecord")


@pytest.fixture
def table(path: Path) -> TableEvaluator:
    return import_official(path)


@pytest.fixture
def nasbench(table: TableEvaluator) -> api.NASBench:
    return api.NASBench(table.name)


def quiet(nasbench: api.NASBench, spec: api.ModelSpec, **arguments: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MisleadingAnswerWarning)
        return nasbench.query(spec, **arguments)


def records(path: Path) -> Iterator[list[Any]]:
    reader = PyRecordReader_New(str(path).encode(), 0, b"")
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return
        yield json.loads(reader.record())


def official(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """``fixed_statistics`` and ``computed_statistics`` of the official class."""
    fixed: dict[str, Any] = {}
    computed: dict[str, Any] = {}
    for module, epochs, adjacency, operations, packed in records(path):
        metrics = model_metrics().FromString(base64.b64decode(packed))
        side = int(len(adjacency) ** 0.5)
        matrix = np.array(list(map(int, adjacency)), dtype=np.int8).reshape(side, side)
        fixed.setdefault(
            module,
            dict(zip(FIXED, (matrix, operations.split(","), metrics.trainable_parameters), strict=True)),
        )
        computed.setdefault(module, {}).setdefault(epochs, []).append(
            {
                f"{point}_{name}": getattr(metrics.evaluation_data[place], name)
                for point, place in (("halfway", 1), ("final", 2))
                for name in NAMES
            }
        )
    return fixed, computed


def same_fixed(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(FIXED)
    np.testing.assert_array_equal(found["module_adjacency"], expected["module_adjacency"])
    assert found["module_adjacency"].dtype == np.int8
    assert found["module_operations"] == expected["module_operations"]
    assert found["trainable_parameters"] == expected["trainable_parameters"]
    assert type(found["trainable_parameters"]) is int


def test_every_number_of_the_real_file_is_that_of_the_csv(nasbench: api.NASBench) -> None:
    with data_file("nasbench101/ecnas_4v_all_epochs_3runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    seen: dict[tuple[str, int], int] = {}
    for row in rows:
        module, epochs = row["module_hash"], int(row["epochs"])
        run = seen[module, epochs] = seen.get((module, epochs), -1) + 1
        operations = row["ops"].split(",")
        bits = np.array(list(map(int, row["adjacency"]))).reshape(len(operations), -1)
        fixed, computed = nasbench.get_metrics_from_spec(api.ModelSpec(bits, operations))
        expected = (bits, operations, int(row["params"]))
        same_fixed(fixed, dict(zip(FIXED, expected, strict=True)))
        assert set(computed) == {4, 12, 36, 108}
        found = computed[epochs][run]
        columns = ("train_time", "train_acc", "val_acc", "test_acc")
        assert [found[f"final_{name}"] for name in NAMES] == [float(row[column]) for column in columns]
    assert len(seen) == 91 * 4
    assert set(seen.values()) == {2}


@pytest.mark.parametrize("made", [False, True])
def test_all_statistics(made: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Also on a made file, in which halfway, the matrices' sizes and the order of records vary."""
    if made:
        rng = np.random.default_rng(0)
        listed = list(trainings(distinct_cells(60, rng), (36, 108), rng))
        random.Random(0).shuffle(listed)
        path = write_records(tmp_path / "made.tfrecord", listed)
    else:
        path = request.getfixturevalue("path")
    nasbench = api.NASBench(import_official(path).name)
    fixed, computed = official(path)
    assert list(nasbench.hash_iterator()) == list(fixed)
    assert nasbench.valid_epochs == {epochs for runs in computed.values() for epochs in runs}
    assert dict(nasbench.computed_statistics) == computed
    for module, expected in fixed.items():
        same_fixed(nasbench.fixed_statistics[module], expected)
        stated, measured = nasbench.get_metrics_from_hash(module)
        same_fixed(stated, expected)
        assert measured == computed[module]


@pytest.mark.parametrize("stop_halfway", [False, True])
def test_query_draws_and_counts_as_officially(nasbench: api.NASBench, path: Path, stop_halfway: bool) -> None:
    fixed, computed = official(path)
    drawn = random.Random(11)
    random.seed(11)
    seconds, spent = 0.0, 0
    for module in list(fixed)[::7]:
        spec = api.ModelSpec(fixed[module]["module_adjacency"], fixed[module]["module_operations"])
        for epochs in (4, 12, 36, 108):
            found = quiet(nasbench, spec, epochs=epochs, stop_halfway=stop_halfway)
            run = computed[module][epochs][drawn.randint(0, 2)]
            point = "halfway" if stop_halfway else "final"
            expected = {name: run[f"{point}_{name}"] for name in NAMES}
            same_fixed({name: found.pop(name) for name in FIXED}, fixed[module])
            assert found == expected
            seconds += expected["training_time"]
            spent += epochs // 2 if stop_halfway else epochs
            assert nasbench.get_budget_counters() == (seconds, spent)
    assert nasbench.training_time_spent == seconds > 0
    nasbench.reset_budget_counters()
    assert nasbench.get_budget_counters() == (0.0, 0)


def test_epochs_may_be_a_float(nasbench: api.NASBench, path: Path) -> None:
    """Officially they are looked up in a dictionary, where 108.0 is 108."""
    fixed, computed = official(path)
    module = next(iter(fixed))
    spec = api.ModelSpec(fixed[module]["module_adjacency"], fixed[module]["module_operations"])
    for epochs, stop_halfway in ((108.0, False), (np.float64(36), False), (np.int64(12), True), (4.0, True)):
        random.seed(5)
        found = quiet(nasbench, spec, epochs=epochs, stop_halfway=stop_halfway)
        random.seed(5)
        run = computed[module][epochs][random.randint(0, 2)]
        assert found["test_accuracy"] == run[f"{'halfway' if stop_halfway else 'final'}_test_accuracy"]
    assert nasbench.total_epochs_spent == 108 + 36 + 12 // 2 + 4 // 2
    with pytest.raises(api.OutOfDomainError, match=r"epochs 108\.5"):
        nasbench.query(spec, epochs=108.5)  # type: ignore[arg-type]


def test_the_seed_chooses_the_runs(table: TableEvaluator, path: Path) -> None:
    fixed, computed = official(path)
    module = next(iter(fixed))
    spec = api.ModelSpec(fixed[module]["module_adjacency"], fixed[module]["module_operations"])

    def answers(seed: int) -> list[float]:
        nasbench = api.NASBench(table, seed=seed)
        return [quiet(nasbench, spec)["test_accuracy"] for _ in range(8)]

    random.seed(3)
    drawn = [computed[module][108][random.randint(0, 2)]["final_test_accuracy"] for _ in range(8)]
    assert answers(3) == drawn == answers(3)
    assert len(set(drawn)) > 1
    state = random.getstate()
    api.NASBench(table)
    assert random.getstate() == state


def test_what_misleads_is_said_once(nasbench: api.NASBench, path: Path) -> None:
    module, _, adjacency, operations, _ = next(records(path))
    side = len(operations.split(","))
    spec = api.ModelSpec(np.array(list(map(int, adjacency))).reshape(side, side), operations.split(","))
    assert spec.hash_spec(OPERATIONS) == module
    with pytest.warns(MisleadingAnswerWarning, match="one of three runs, by chance") as told:
        nasbench.query(spec)
    assert told[0].filename == __file__
    with pytest.warns(
        MisleadingAnswerWarning, match="'halfway' of 108 epochs is epoch 1 in this table, not 54"
    ):
        nasbench.query(spec, stop_halfway=True)
    nasbench.query(spec, stop_halfway=True)  # a second warning would fail


def chain(*operations: str) -> api.ModelSpec:
    return api.ModelSpec(np.eye(len(operations), k=1, dtype=int), list(operations))


FULL = np.triu(np.ones((7, 7), dtype=int), 1)
CONV = OPERATIONS[0]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (api.ModelSpec([[0, 1, 0], [0, 0, 0], [0, 0, 0]], ["input", CONV, "output"]), "no path leads"),
        (chain("input", *[CONV] * 6, "output"), "too many vertices: 8"),
        (api.ModelSpec(FULL, ["input", *[CONV] * 5, "output"]), "too many edges: 21"),
        (api.ModelSpec(2 * np.eye(3, k=1), ["input", CONV, "output"]), "entries other than 0 and 1"),
        (chain(CONV, CONV, "output"), "from 'input' to 'output'"),
        (chain("input", CONV, CONV), "from 'input' to 'output'"),
        (chain("input", "conv5x5-bn-relu", "output"), "unknown operation 'conv5x5-bn-relu'"),
    ],
)
def test_outside_the_space(nasbench: api.NASBench, spec: api.ModelSpec, problem: str) -> None:
    assert not nasbench.is_valid(spec)
    for ask in (nasbench.query, nasbench.get_metrics_from_spec):
        with pytest.raises(api.OutOfDomainError, match=problem):
            ask(spec)
    assert nasbench.get_budget_counters() == (0.0, 0)


def test_what_the_table_lacks(nasbench: api.NASBench) -> None:
    spec = api.ModelSpec(*INCEPTION)
    assert nasbench.is_valid(spec)  # of the space, but this table has cells of 4 vertices only
    for error in (KeyError, api.OutOfDomainError):  # officially the first
        with pytest.raises(error, match=r"table 'energy_4V9E' does not hold module '28cfc787.*91 modules"):
            nasbench.query(spec)
    for module in ("28cfc7874f6d200472e1a9dcd8650aa0", "no hash", "", "zz" * 16):
        with pytest.raises(KeyError):
            nasbench.get_metrics_from_hash(module)
        assert module not in nasbench.fixed_statistics
        assert module not in nasbench.computed_statistics
    with pytest.raises(api.OutOfDomainError, match=r"epochs 50, must be one of \[4, 12, 36, 108\]"):
        nasbench.query(chain("input", CONV, "output"), epochs=50)
    with pytest.raises(UserError, match="evaluate"):
        nasbench.evaluate(spec, "folder")


def test_a_missing_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = write_records(tmp_path / "f.tfrecord", trainings(distinct_cells(3, rng), (108,), rng, runs=2))
    nasbench = api.NASBench(import_official(path))
    fixed, computed = official(path)
    assert dict(nasbench.computed_statistics) == computed
    module = next(iter(fixed))
    spec = api.ModelSpec(fixed[module]["module_adjacency"], fixed[module]["module_operations"])
    random.seed(0)
    with pytest.raises(
        api.OutOfDomainError, match="holds 2 runs of 108 epochs of this cell, and run 2 was drawn"
    ):
        for _ in range(50):
            quiet(nasbench, spec)


def test_tables_are_found(
    table: TableEvaluator, path: Path, tmp_path: Path, nasbench201: TableEvaluator
) -> None:
    for given in (table.name, user_path(table.name), str(user_path(table.name)), table, path, str(path)):
        assert len(list(api.NASBench(given).hash_iterator())) == 91
    # A file of the same name but another length is not the one that was imported.
    other = tmp_path / path.name
    other.write_bytes(b"x")
    for missing in (other, tmp_path / "never.tfrecord"):
        with pytest.raises(TableError, match=rf"crlso bench import {missing}$"):
            api.NASBench(missing)
    with pytest.raises(UnknownNameError, match="unknown benchmark table 'nasbench101'"):
        api.NASBench("nasbench101")
    for wrong in ("nasbench201", nasbench201):
        with pytest.raises(UserError, match="nasbench201"):
            api.NASBench(wrong)


def test_specs_are_pruned_and_hashed() -> None:
    """Hashes by the official function; the first one stands in its README."""
    assert api.ModelSpec(*INCEPTION).hash_spec(OPERATIONS) == "28cfc7874f6d200472e1a9dcd8650aa0"
    floats = api.ModelSpec(np.array(INCEPTION[0], dtype=float), INCEPTION[1])  # officially another hash
    assert floats.hash_spec(OPERATIONS) == "28cfc7874f6d200472e1a9dcd8650aa0"
    loose = np.zeros((5, 5), dtype=int)
    loose[0, 1] = loose[1, 4] = loose[0, 2] = loose[3, 4] = 1  # 2 leads nowhere, 3 comes from nowhere
    spec = api.ModelSpec(loose, ["input", CONV, "a", "b", "output"])
    assert spec.valid_spec
    assert spec.ops == ["input", CONV, "output"]
    assert spec.original_ops == ["input", CONV, "a", "b", "output"]
    np.testing.assert_array_equal(spec.matrix, np.eye(3, k=1))
    assert spec.hash_spec(OPERATIONS) == chain("input", CONV, "output").hash_spec(OPERATIONS)
    empty = api.ModelSpec(np.zeros((3, 3)), ["input", CONV, "output"])
    assert (empty.valid_spec, empty.matrix, empty.ops) == (False, None, None)


@pytest.mark.parametrize(
    ("matrix", "operations", "problem"),
    [
        ([[0, 1]], ["input"], "must be square"),
        ([[0, 1], [0, 0]], ["input"], "2 rows, but there are 1 ops"),
        ([[0, 1], [1, 0]], ["input", "output"], "upper triangular"),
        ([[1, 1], [0, 0]], ["input", "output"], "upper triangular"),
    ],
)
def test_specs_that_are_none(matrix: list[list[int]], operations: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):  # as officially
        api.ModelSpec(matrix, operations)
