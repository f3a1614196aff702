"""NAS-Bench-101's files: import, against a real file's published figures and other libraries' readers."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import TableEvaluator, available, load
from benchmarks.catalog import user_path
from benchmarks.folders import data_folder
from benchmarks.importers import import_official, nasbench101, recognise
from benchmarks.importers.nasbench101_columns import HASHES
from benchmarks.store import read_fields, read_header, verify_table
from crlso.errors import TableError, UserError
from crlso.spaces import NASBench101Space
from crlso.spaces.nasbench101 import from_record, to_record
from tests.benchmarks.samples_tfrecord import (
    distinct_cells,
    framed,
    message,
    payload,
    trainings,
    write_records,
)
from tests.spaces.data import data_file

POINTS = [[0.0, 0.1, 0.1, 0.1], [5.0, 0.5, 0.25, 0.2], [10.0, 0.75, 0.5, 0.4]]
CELL = ("010001000", "input,conv3x3-bn-relu,output")
MODULE = NASBench101Space().hashes(from_record(*CELL)[None])[0]
SPACE = NASBench101Space()


def one(message_bytes: bytes = message(108, 1000, POINTS), **changed: object) -> bytes:
    """A record, with some of its parts replaced."""
    parts = {"module": MODULE, "epochs": 108, "adjacency": CELL[0], "operations": CELL[1]} | changed
    return payload(**parts, message=message_bytes)  # type: ignore[arg-type]


def imported(path: Path, records: list[bytes], **options: object) -> TableEvaluator:
    return import_official(write_records(path, records), **options)  # type: ignore[arg-type]


def test_the_real_file_gives_its_published_figures() -> None:
    path = data_file("nasbench101/energy_4V9E.tfrecord")
    with data_file("nasbench101/ecnas_4v_all_epochs_3runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = import_official(path)
    assert (table.name, len(table), len(rows)) == ("energy_4V9E", 91, 91 * 4 * 3)
    codes = np.array([from_record(row["adjacency"], row["ops"]) for row in rows])
    assert [row["module_hash"] for row in rows] == SPACE.hashes(codes)
    fields = read_fields(user_path(table.name))
    runs: dict[tuple[str, str], int] = {}
    place = table.rows(codes)
    assert len(set(place)) == 91
    for row, i in zip(rows, place, strict=True):
        key = row["module_hash"], row["epochs"]
        run = runs[key] = runs.get(key, -1) + 1
        end = f"@{row['epochs']}/run{run}"
        for quantity, column in (
            ("train_time", "train_time"),
            ("train_accuracy", "train_acc"),
            ("valid_accuracy", "val_acc"),
            ("test_accuracy", "test_acc"),
        ):
            assert table.column(f"cifar10/{quantity}{end}")[i] == float(row[column])
        assert table.column("trainable_parameters")[i] == int(row["params"])
        # Energy and CO2 are no fields of NAS-Bench-101; the CSV has them rounded.
        for number, column in ((6, "eval_field6_energy_kwh_unverified"), (7, "eval_field7_co2_unverified")):
            assert fields[f"final_field{number}{end}"][i] == pytest.approx(float(row[column]), abs=1e-6)
        words = "".join(f"{int(fields[name][i]):08x}" for name in HASHES)
        assert words == row["module_hash"]
    assert set(runs.values()) == {2}
    for epochs in (4, 12, 36, 108):
        for quantity in ("train_time", "train_accuracy", "valid_accuracy", "test_accuracy"):
            name = f"cifar10/{quantity}@{epochs}"
            three = np.stack([table.column(f"{name}/run{run}") for run in range(3)])
            np.testing.assert_allclose(table.column(name), three.mean(axis=0), rtol=1e-15)
    header = verify_table(user_path(table.name))
    assert header.verified == "CRC32C of every record; module hash of every cell computed anew"
    assert header.source["file sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    # What the official API calls halfway is the first epoch in this file.
    assert header.details["halfway_epoch"] == {epochs: [1, 1] for epochs in ("4", "12", "36", "108")}
    assert header.details["final_epoch"] == {e: [int(e), int(e)] for e in ("4", "12", "36", "108")}


@pytest.mark.parametrize("order", ["by cell", "shuffled"])
def test_records_in_any_order(tmp_path: Path, order: str) -> None:
    rng = np.random.default_rng(0)
    codes = distinct_cells(40, rng)
    records = list(trainings(codes, (4, 36, 108), rng, runs=2))
    if order == "shuffled":
        random.Random(0).shuffle(records)
    table = imported(tmp_path / "f.tfrecord", records)
    # The official reader's way, with the library's own JSON and base64: nothing of ours but the message.
    stated: dict[tuple[str, int], list[list[float]]] = {}
    first: dict[str, tuple[str, str]] = {}
    for record in records:
        module, epochs, adjacency, operations, packed = json.loads(record)
        from tests.benchmarks.samples_tfrecord import model_metrics

        evaluations = model_metrics().FromString(base64.b64decode(packed)).evaluation_data
        last = evaluations[2]
        stated.setdefault((module, epochs), []).append(
            [last.training_time, last.train_accuracy, last.validation_accuracy, last.test_accuracy]
        )
        first.setdefault(module, (adjacency, operations))
    assert [to_record(code) for code in table.codes] == list(first.values())
    for row, module in enumerate(first):
        for epochs in (4, 36, 108):
            for column, quantity in enumerate(("train_time", "train_accuracy", "valid_accuracy", "test_accuracy")):
                name = f"cifar10/{quantity}@{epochs}"
                runs = [run[column] for run in stated[module, epochs]]
                assert [table.column(f"{name}/run{run}")[row] for run in range(2)] == runs
                assert np.isnan(table.column(f"{name}/run2")[row])  # there is none
                assert table.column(name)[row] == sum(runs) / 2
    header = read_header(user_path("f"))
    assert header.verified.endswith("; 120 of the cells' trainings are not in the file")
    assert [metric.unit for metric in header.metrics if "accuracy" in metric.name] == ["fraction"] * 36


def test_published_files_are_known_by_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_records(tmp_path / "nasbench_only108.tfrecord", [one()] * 3)
    assert import_official(path).name == "nasbench101_only108"
    checks = "CRC32C of every record; module hash of every cell computed anew"
    other = "; NOT the published file of this name (another SHA-256)"
    assert read_header(user_path("nasbench101_only108")).verified == checks + other
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(nasbench101, "PUBLISHED", {path.name: ("nasbench101_only108", digest)})
    import_official(path, force=True)
    expected = checks + "; SHA-256 of the published file"
    assert read_header(user_path("nasbench101_only108")).verified == expected


def test_recognised_by_name_and_first_bytes(tmp_path: Path) -> None:
    found = recognise(write_records(tmp_path / "a.tfrecord", [one()]))
    assert found is nasbench101.FORMAT
    assert recognise(write_records(tmp_path / "a.bin", [one()])) is None
    assert recognise(write_records(tmp_path / "b.tfrecord", [b"\x0a\x04cifar"])) is None
    (tmp_path / "c.tfrecord").mkdir()
    assert recognise(tmp_path / "c.tfrecord") is None
    assert nasbench101.table_name(Path("x/nasbench_full.tfrecord")) == "nasbench101"
    assert nasbench101.table_name(Path("x/my cells (2).tfrecord")) == "my_cells_2_"


def test_the_same_network_in_another_drawing(tmp_path: Path) -> None:
    """The first matrix stays, as with the official reader; an unused vertex is a part of it."""
    cell = ("0110000100010000", "input,conv1x1-bn-relu,conv3x3-bn-relu,output")
    twin = ("0110000100010000", "input,conv3x3-bn-relu,conv1x1-bn-relu,output")
    code = from_record(*cell)
    module = SPACE.hashes(code[None])[0]
    assert SPACE.hashes(from_record(*twin)[None]) == [module]
    table = imported(
        tmp_path / "f.tfrecord",
        [one(module=module, adjacency=texts[0], operations=texts[1]) for texts in (cell, twin, cell)],
    )
    assert len(table) == 1
    np.testing.assert_array_equal(table.codes[0], code)


EVALUATION = b"".join(bytes([8 * n + 1]) + b"\0" * 8 for n in range(1, 6))
TIMES = EVALUATION[:9] + b"\x11" + np.array(-1.0).tobytes() + EVALUATION[18:]
PARAMETERS = b"\x10\x05"


def evaluations(*parts: bytes) -> bytes:
    return b"".join(b"\x0a" + bytes([len(part)]) + part for part in parts)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([], "holds no record"),
        ([b'["'], r"record 1 \(byte 0\): not JSON"),
        ([b'["' + b"\xff"], "not JSON"),
        ([b'["a"' + b",[" * 100_000], "not JSON"),
        ([b'["a", 1, "", ""]'], "not a list of module hash, epochs"),
        ([b'["a", ' + b"9" * 5000 + b"]"], "not JSON"),
        ([one(module=MODULE.upper())], "module hash: expected 32 hexadecimal digits"),
        ([one(module=7)], "module hash: expected 32 hexadecimal digits"),
        ([one(epochs=0)], "epochs: expected a number from 1"),
        ([one(epochs=108.0)], "epochs: expected a number from 1"),
        ([one(epochs=True)], "epochs: expected a number from 1"),
        ([one(adjacency=[0, 1])], "expected three texts"),
        ([one(adjacency="0100001000")], "adjacency: must be 9 digits"),
        ([one(adjacency="010002000")], "adjacency: must be 9 digits"),
        ([one(adjacency="010001001")], "must be 0 .upper triangle only"),
        ([one(adjacency="010000000")], "no path leads from input to output"),
        ([one(operations="input,conv5x5-bn-relu,output")], "expected conv3x3-bn-relu or"),
        ([one(operations="input,output")], "adjacency: must be 4 digits"),
        ([one(), one(operations="input,maxpool3x3,output")], rf"record 2 \(byte \d+\): it states .* {MODULE}"),
        ([one(module="0" * 32)], f"it states module hash {'0' * 32}, its cell has {MODULE}"),
        ([one().replace(b'"Cg', b'"C-')], "metrics: not base64"),
        ([one().replace(b'"Cg', b'" Cg')], "metrics: not base64"),
        ([one()[:-6] + b'"]'], "metrics: not base64|protobuf message"),
        ([one(b"\x0a\x05")], "protobuf message, byte 2: 5 bytes announced, 0 left"),
        ([one(b"")], "trainable parameters: None"),
        ([one(b"\x10" + b"\xff" * 9 + b"\x01")], "trainable parameters: -1"),
        ([one(evaluations(EVALUATION, EVALUATION) + PARAMETERS)], "2 evaluations, not 3"),
        ([one(evaluations(*[EVALUATION] * 4) + PARAMETERS)], "4 evaluations, not 3"),
        ([one(evaluations(b"", b"", EVALUATION) + PARAMETERS)], "an evaluation lacks field 2"),
        ([one(evaluations(b"", EVALUATION, TIMES) + PARAMETERS)], "a training time of -1.0 s"),
        ([one(message(108, 1, [*POINTS[:2], [1, 2.0, 0, 0]]))], r"an accuracy outside \[0, 1\]: \[2\.0"),
        ([one(message(108, 1, [*POINTS[:2], [float("inf"), 0, 0, 0]]))], "a training time of inf s"),
        ([one()] * 4, "record 4 .*: module .* has more than 3 runs of 108 epochs"),
        ([one(), one(message(108, 1001, POINTS))], "has 1,001 trainable parameters, in its first record 1,000"),
        ([one(epochs=e) for e in range(1, 10)], "more than 8 different numbers of epochs"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, records: list[bytes], problem: str) -> None:
    path = write_records(tmp_path / "f.tfrecord", records)
    with pytest.raises(TableError, match=problem) as caught:
        import_official(path, format_name="nasbench101")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert available() == ("nasbench201",)
    assert list(data_folder().iterdir()) == []


def test_a_failed_measurement_stays_missing(tmp_path: Path) -> None:
    points = [*POINTS[:2], [10.0, float("nan"), 0.5, 0.5]]
    table = imported(tmp_path / "f.tfrecord", [one(), one(message(108, 1000, points))])
    train = [table.column(f"cifar10/train_accuracy@108{end}")[0] for end in ("/run0", "/run1", "")]
    assert train[0] == 0.75
    assert np.isnan(train[1:]).all()
    assert table.column("cifar10/valid_accuracy@108")[0] == 0.5


def damaged(data: bytes, ends: set[int], rng: random.Random) -> bytes:
    """A file with some bits or bytes changed; never cut just between two records."""
    while True:
        changed = bytearray(data)
        place, length = rng.randrange(len(data)), rng.randint(1, 40)
        match rng.randrange(6):
            case 0:
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                del changed[place:]
            case 2:
                changed[place:place] = rng.randbytes(length)
            case 3:
                del changed[place : place + length]
            case 4:
                changed[place:place] = changed[place : place + length]
            case 5:
                changed[place : place + length] = rng.randbytes(len(changed[place : place + length]))
        if bytes(changed) != data and not (data.startswith(changed) and len(changed) in ends):
            return bytes(changed)


def test_500_damaged_files_are_refused_and_leave_no_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    records = list(trainings(distinct_cells(5, rng), (4, 108), rng))
    data = b"".join(map(framed, records))
    ends = set(np.cumsum([len(framed(record)) for record in records]).tolist())
    path = tmp_path / "f.tfrecord"
    chance = random.Random(2)
    for _ in range(500):
        path.write_bytes(damaged(data, ends, chance))
        with pytest.raises(TableError, match=r"^.*f\.tfrecord(, record \d+ \(byte \d+\): | holds no record).+$"):
            import_official(path, format_name="nasbench101")
        assert list(data_folder().iterdir()) == []
    path.write_bytes(data)
    assert len(import_official(path)) == 5


def test_500_damaged_records_with_right_checksums_never_crash(tmp_path: Path) -> None:
    """What a checksum does not tell: the import ends with a table of what is stated, or with one line."""
    chance = random.Random(3)
    path = tmp_path / "f.tfrecord"
    outcomes = {True: 0, False: 0}
    whole = one()
    for _ in range(500):
        packed = bytearray(base64.b64decode(json.loads(whole)[4]))
        if chance.random() < 0.5:
            packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
            record = one(bytes(packed))
        else:
            record = damaged(whole, set(), chance)
        write_records(path, [record])
        try:
            table = import_official(path, format_name="nasbench101", force=True)
        except UserError as error:
            assert "\n" not in str(error)
            outcomes[False] += 1
        else:
            assert len(table) == 1
            assert 0 <= table.column("cifar10/test_accuracy@108/run0")[0] <= 1 or record != whole
            outcomes[True] += 1
    assert min(outcomes.values()) > 50


LOOP = """
import sys
from pathlib import Path
from benchmarks.importers import import_official
print("ready", flush=True)
while True:
    import_official(Path(sys.argv[1]), force=True)
"""


def test_a_killed_import_leaves_no_table_or_a_whole_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    path = write_records(tmp_path / "f.tfrecord", trainings(distinct_cells(150, rng), (4, 108), rng))
    chance = random.Random(5)
    whole = 0
    for _ in range(6):
        user_path("f").unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", LOOP, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.0, 0.3))
            process.kill()
            assert process.wait() == -signal.SIGKILL
        if "f" in available():
            assert verify_table(user_path("f")).rows == 150
            whole += 1
        else:
            assert not user_path("f").exists()
    assert len(import_official(path, force=True)) == 150
    assert len(load("f")) == 150
    del whole


def test_memory_is_bounded_by_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches and blocks give the same file as large ones."""
    from benchmarks.importers import nasbench101_table

    rng = np.random.default_rng(6)
    path = write_records(tmp_path / "f.tfrecord", trainings(distinct_cells(30, rng), (4, 108), rng))
    build: Callable[[str], TableEvaluator] = lambda name: import_official(path, name=name)  # noqa: E731
    large = build("large")
    monkeypatch.setattr(nasbench101, "_BATCH", 7)
    monkeypatch.setattr(nasbench101_table, "_BLOCK_ROWS", 4)
    small = build("small")
    np.testing.assert_array_equal(large.codes, small.codes)
    for metric in large.metrics:
        np.testing.assert_array_equal(large.column(metric), small.column(metric))
    stored, other = (read_fields(user_path(name)) for name in ("large", "small"))
    assert list(stored) == list(other)
    for name in stored:
        np.testing.assert_array_equal(stored[name], other[name])
