"""NAS-Bench-101's files: import, against a real file's published figures and other libraries' readers."""

from __future__ import annotations

import base64
import bz2
import csv
import hashlib
import io
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import TableEvaluator, available
from benchmarks.catalog import BUILT_IN, user_path
from benchmarks.folders import data_folder
from benchmarks.importers import import_official, nasbench101, nasbench101_table, recognise
from benchmarks.importers.nasbench101_columns import HASHES
from benchmarks.store import read_fields, read_header, verify_table
from crlso.errors import TableError, UserError
from crlso.runs.files import process_mark
from crlso.spaces import NASBench101Space
from crlso.spaces.nasbench101 import from_record, to_record
from tests.benchmarks.samples_tfrecord import (
    distinct_cells,
    framed,
    message,
    model_metrics,
    payload,
    trainings,
    write_records,
)
from tests.spaces.data import data_file

POINTS = [[0.0, 0.1, 0.1, 0.1], [5.0, 0.5, 0.25, 0.2], [10.0, 0.75, 0.5, 0.4]]
CELL = ("010001000", "input,conv3x3-bn-relu,output")
MODULE = NASBench101Space().hashes(from_record(*CELL)[None])[0]
SPACE = NASBench101Space()
CHECKS = "CRC32C of every record; module hash of every cell computed anew"
QUANTITIES = ("train_time", "train_accuracy", "valid_accuracy", "test_accuracy")


def timed(seconds: float, parameters: int = 1000) -> bytes:
    """A message of a training that took so long."""
    return message(108, parameters, [*POINTS[:2], [seconds, *POINTS[2][1:]]])


def one(message_bytes: bytes = timed(10.0), **changed: object) -> bytes:
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
    assert header.verified == f"{CHECKS}; NOT one of the published files (SHA-256)"
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
        evaluations = model_metrics().FromString(base64.b64decode(packed)).evaluation_data
        last = evaluations[2]
        stated.setdefault((module, epochs), []).append(
            [last.training_time, last.train_accuracy, last.validation_accuracy, last.test_accuracy]
        )
        first.setdefault(module, (adjacency, operations))
    assert [to_record(code) for code in table.codes] == list(first.values())
    for row, module in enumerate(first):
        for epochs in (4, 36, 108):
            for column, quantity in enumerate(
                ("train_time", "train_accuracy", "valid_accuracy", "test_accuracy")
            ):
                name = f"cifar10/{quantity}@{epochs}"
                runs = [run[column] for run in stated[module, epochs]]
                assert [table.column(f"{name}/run{run}")[row] for run in range(2)] == runs
                assert np.isnan(table.column(f"{name}/run2")[row])  # there is none
                assert table.column(name)[row] == sum(runs) / 2
    header = read_header(user_path("f"))
    assert header.verified.endswith("(SHA-256); 120 of the cells' trainings are not in the file")
    assert [metric.unit for metric in header.metrics if "accuracy" in metric.name] == ["fraction"] * 36


def test_published_files_are_known_by_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Three times the same training: what the publisher states is taken as it is.
    path = write_records(tmp_path / "nasbench_only108.tfrecord", [one()] * 3)
    with pytest.raises(TableError, match=r"not the published file of this name: .* --unverified$"):
        import_official(path)
    with pytest.raises(TableError, match="records 1 and 2 are the same training"):
        import_official(path, unverified=True)
    assert list(data_folder().iterdir()) == []
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(nasbench101, "PUBLISHED", {path.name: ("nasbench101_only108", digest)})
    assert import_official(path).name == "nasbench101_only108"
    header = read_header(user_path("nasbench101_only108"))
    assert header.verified == f"{CHECKS}; SHA-256 of the published file"
    renamed = path.rename(tmp_path / "renamed.tfrecord")
    import_official(renamed)
    assert read_header(user_path("renamed")).verified == header.verified
    write_records(path, [one()])
    import_official(path, force=True, unverified=True)
    assert read_header(user_path("nasbench101_only108")).verified == (
        f"{CHECKS}; NOT one of the published files (SHA-256); 2 of the cells' trainings are not in the file"
    )


def test_the_published_files_are_these() -> None:
    """The digests that the benchmark's README states."""
    assert {name: digest for name, (_, digest) in nasbench101.PUBLISHED.items()} == {
        "nasbench_full.tfrecord": "3d64db8180fb1b0207212f9032205064312b6907a3bbc81eabea10db2f5c7e9c",
        "nasbench_only108.tfrecord": "4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
    }


def test_recognised_by_its_name(tmp_path: Path) -> None:
    assert recognise(write_records(tmp_path / "a.tfrecord", [one()])) is nasbench101.FORMAT
    assert recognise(write_records(tmp_path / "a.bin", [one()])) is None
    (tmp_path / "c.tfrecord").mkdir()
    assert recognise(tmp_path / "c.tfrecord") is None
    assert nasbench101.table_name(Path("x/nasbench_full.tfrecord")) == "nasbench101"
    assert nasbench101.table_name(Path("x/my cells (2).tfrecord")) == "my_cells_2_"


def zip_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.tfrecord", framed(one()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"arch,accuracy\n" + b"010001000,0.5\n" * 50,
        zip_bytes(),
        pickle.dumps({"module_hash": MODULE, "epochs": 108}),
        bz2.compress(framed(one())),
        b"PAR1" + bytes(40) + b"PAR1",
        b"\0" * 64,
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "f.tfrecord"
    path.write_bytes(data)
    with pytest.raises(TableError, match=r"record 1 \(byte 0\): .* damaged or no TFRecord file") as caught:
        import_official(path)
    assert "\n" not in str(caught.value)
    assert list(data_folder().iterdir()) == []


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        import_official(tmp_path / "f.tfrecord", format_name="nasbench101")
    (tmp_path / "g.tfrecord").mkdir()
    with pytest.raises(UserError, match=r"g\.tfrecord"):
        import_official(tmp_path / "g.tfrecord", format_name="nasbench101")


def test_the_same_network_in_another_drawing(tmp_path: Path) -> None:
    """The first matrix stays, as with the official reader; an unused vertex is a part of it."""
    cell = ("0110000100010000", "input,conv1x1-bn-relu,conv3x3-bn-relu,output")
    twin = ("0110000100010000", "input,conv3x3-bn-relu,conv1x1-bn-relu,output")
    code = from_record(*cell)
    module = SPACE.hashes(code[None])[0]
    assert SPACE.hashes(from_record(*twin)[None]) == [module]
    table = imported(
        tmp_path / "f.tfrecord",
        [
            one(timed(seconds), module=module, adjacency=texts[0], operations=texts[1])
            for seconds, texts in enumerate((cell, twin, cell))
        ],
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
        ([b'["a"' + b",[" * 30_000], "not JSON"),
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
        (
            [one(), one(operations="input,maxpool3x3,output")],
            rf"record 2 \(byte \d+\): it states .* {MODULE}",
        ),
        ([one(module="0" * 32)], f"it states module hash {'0' * 32}, its cell has {MODULE}"),
        ([one().replace(b'"Ci', b'"C-')], "metrics: not base64"),
        ([one().replace(b'"Ci', b'" Ci')], "metrics: not base64"),
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
        ([one(), one(timed(10.0, 1001))], "has 1,001 trainable parameters, in its first record 1,000"),
        ([one(), one(timed(11.0)), one()], "records 1 and 3 are the same training"),
        ([one(operations="input,a\nb,output")], r"expected conv3x3-bn-relu or .*, got 'a\\nb'"),
        ([one(operations="input," + "x" * 50_000 + ",output")], "expected conv3x3-bn-relu or"),
        ([b'["' + b"a" * 70_000 + b'"]'], "70,004 bytes long; at most 65,536 are read"),
        ([b"[NaN, NaN, NaN, NaN, NaN]"], "module hash: expected 32 hexadecimal digits, got nan"),
        ([one().replace(b", 108,", b", NaN,")], "epochs: expected a number from 1 to 100,000, got nan"),
        ([pickle.dumps([MODULE, 108])], "not JSON"),
        ([one(epochs=e) for e in range(1, 10)], "more than 8 different numbers of epochs"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, records: list[bytes], problem: str) -> None:
    path = write_records(tmp_path / "f.tfrecord", records)
    with pytest.raises(TableError, match=problem) as caught:
        import_official(path, format_name="nasbench101")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))
    assert set(available()) == set(BUILT_IN)
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
        with pytest.raises(
            TableError, match=r"^.*f\.tfrecord(, record \d+ \(byte \d+\): | holds no record).+$"
        ):
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
            assert verify_table(user_path("f")).rows == len(table) == 1
            epochs = read_header(user_path("f")).details["epochs"][0]
            values = [table.column(f"cifar10/{quantity}@{epochs}/run0")[0] for quantity in QUANTITIES]
            assert all(np.isnan(value) or 0 <= value < np.inf for value in values)
            assert all(np.isnan(value) or value <= 1 for value in values[1:])
            outcomes[True] += 1
    assert min(outcomes.values()) > 50


def test_whole_records_lost_doubled_or_moved_leave_only_right_numbers(tmp_path: Path) -> None:
    """Checksums do not tell of these. A doubled record would pass for another run, and is refused."""
    rng = np.random.default_rng(7)
    records = list(trainings(distinct_cells(4, rng), (4, 108), rng))
    path = tmp_path / "f.tfrecord"

    def measured(table: TableEvaluator) -> list[tuple[bytes, int, tuple[float, ...]]]:
        return [
            (code.tobytes(), epochs, values)
            for row, code in enumerate(table.codes)
            for epochs in read_header(user_path("f")).details["epochs"]
            for run in range(3)
            if not np.isnan(
                values := tuple(table.column(f"cifar10/{q}@{epochs}/run{run}")[row] for q in QUANTITIES)
            ).any()
        ]

    right = set(measured(imported(path, records)))
    assert len(right) == len(records) == 24
    chance = random.Random(8)
    refused = 0
    for _ in range(100):
        changed = list(records)
        start = chance.randrange(len(changed))
        block = changed[start : start + chance.randint(1, 6)]
        if lost := chance.random() < 0.6:
            del changed[start : start + len(block)]
        if doubled := chance.random() < 0.5:
            at = chance.randrange(len(changed) + 1)
            changed[at:at] = block if not lost and chance.random() < 0.5 else changed[-2:]
        write_records(path, changed)
        try:
            found = measured(import_official(path, force=True))
        except TableError as error:
            assert doubled
            assert re.search(r"more than 3 runs|are the same training", str(error))
            refused += 1
        else:
            assert not doubled
            assert set(found) <= right
            assert len(set(found)) == len(found) == len(changed)
            told = f"{read_header(user_path('f')).verified}; "
            cells = len({cell for cell, _, _ in found})
            if absent := 6 * cells - len(found):
                assert f"; {absent} of the cells' trainings are not in the file; " in told
    assert 30 < refused < 70


LOOP = """
import sys
from pathlib import Path
from benchmarks.importers import import_official
print("ready", flush=True)
while True:
    import_official(Path(sys.argv[1]), force=True)
"""


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_a_killed_import_leaves_no_table_or_a_whole_one(tmp_path: Path, kills: int) -> None:
    rng = np.random.default_rng(4)
    path = write_records(tmp_path / "f.tfrecord", trainings(distinct_cells(150, rng), (4, 108), rng))
    chance = random.Random(5)
    table = user_path("f")
    for _ in range(kills):
        table.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", LOOP, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.0, 0.3))
            process.kill()
            assert process.wait() == -signal.SIGKILL
        if "f" in available():
            assert verify_table(table).rows == 150
    name = process_mark().replace(f"-{os.getpid()}@", f"-{process.pid}@")
    (data_folder() / f".aside-f.parquet{name}").touch()  # the last one's, half written
    assert len(import_official(path, force=True)) == 150
    assert list(data_folder().iterdir()) == [table]


def test_memory_is_bounded_by_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches and blocks give the same file as large ones."""
    rng = np.random.default_rng(6)
    path = write_records(tmp_path / "f.tfrecord", trainings(distinct_cells(30, rng), (4, 108), rng))
    large = import_official(path, name="large")
    monkeypatch.setattr(nasbench101, "_BATCH", 7)
    monkeypatch.setattr(nasbench101_table, "_BLOCK_ROWS", 4)
    small = import_official(path, name="small")
    np.testing.assert_array_equal(large.codes, small.codes)
    for metric in large.metrics:
        np.testing.assert_array_equal(large.column(metric), small.column(metric))
    stored, other = (read_fields(user_path(name)) for name in ("large", "small"))
    assert list(stored) == list(other)
    for name in stored:
        np.testing.assert_array_equal(stored[name], other[name])
