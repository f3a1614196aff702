"""HW-NAS-Bench: values of files in its schema, real values where they are at hand, bad and hostile files."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.importers import hw_nas_bench, import_official, recognise
from benchmarks.importers.registry import Source
from benchmarks.store import read_table, verify_table
from crlso.errors import RunError, TableError
from crlso.protocols import Codes
from crlso.spaces import get_space
from tests.benchmarks import samples_hw
from tests.benchmarks.samples_hw import DATASETS, METRICS, content, shuffled_cells, write
from tests.spaces.data import data_file

FEW = 25
Reading = Callable[[list[float]], object]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Codes:
    """A benchmark of 25 cells, for what needs no full one."""
    monkeypatch.setattr(hw_nas_bench, "CELLS", FEW)
    return shuffled_cells(cells=FEW)


def convert(path: Path, *, unverified: bool = False) -> Path:
    target = path.parent / "imported" / "hw.parquet"
    hw_nas_bench.FORMAT.convert(Source(path, target, "hw", unverified=unverified))
    return target


def refused(path: Path) -> str:
    """The one line that the file is refused with; nothing is left of the import."""
    with pytest.raises(TableError) as caught:
        convert(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not list(path.parent.glob("imported/*"))
    return str(caught.value)


def official_answer(data: Any, index: int, dataset: str) -> dict[str, float]:
    """The rule by which the benchmark's interface answers: a number at a place of a list, as a float."""
    return {name: float(data["nasbench201"][dataset][name][index]) for name in METRICS}


# --- what it reads ---


def test_all_numbers_of_a_full_file(tmp_path: Path) -> None:
    codes = shuffled_cells()
    data = content(codes)
    path = write(tmp_path / "costs.pickle", data)
    target = convert(path)
    header = verify_table(target)
    table = read_table(target)[0]
    np.testing.assert_array_equal(table.codes, codes)
    assert table.support is None
    assert header.verified == ""
    assert header.source["file sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(table.metrics) == [f"{name}/{m}" for name, _ in DATASETS.values() for m in METRICS]
    for dataset, (name, _) in DATASETS.items():
        found = table.evaluate(codes, metrics=[f"{name}/{metric}" for metric in METRICS]).to_numpy()
        expected = np.array([list(official_answer(data, i, dataset).values()) for i in range(len(codes))])
        missing = expected[:, METRICS.index("edgetpu_latency")] == -1
        assert missing.sum() == len(codes) // 3
        expected[missing, METRICS.index("edgetpu_latency")] = np.nan
        np.testing.assert_array_equal(found, expected)


def test_real_values(tmp_path: Path) -> None:
    """The benchmark's own numbers, put into its schema from the table at hand, and cell 0 of its README."""
    known = pd.read_parquet(data_file("nasbench201/nasbench201_hw.parquet"))
    codes = np.array([get_space("nasbench201").parse(text) for text in known["arch_str"]])
    data = content(codes)
    for dataset, (name, _) in DATASETS.items():
        for metric in METRICS:
            data["nasbench201"][dataset][metric] = known[f"hwnas_{name}_{metric}"].tolist()
    table = read_table(convert(write(tmp_path / "real.pickle", data)))[0]
    for name, _ in DATASETS.values():
        for metric in METRICS:
            expected = known[f"hwnas_{name}_{metric}"].to_numpy(copy=True)
            expected[expected == -1] = np.nan
            np.testing.assert_array_equal(table.column(f"{name}/{metric}"), expected)
        assert np.isnan(table.column(f"{name}/edgetpu_latency")).sum() == 4_699
        # The description of the metric says so.
        np.testing.assert_allclose(
            table.column(f"{name}/fpga_energy"), 7 * table.column(f"{name}/fpga_latency"), rtol=1e-9
        )
    first = get_space("nasbench201").parse(
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    names = ["cifar10/edgegpu_latency", "cifar10/raspi4_latency", "cifar10/eyeriss_energy"]
    values = table.evaluate(first[None], metrics=names).iloc[0].tolist()
    assert values == [5.807418537139893, 10.481976820010459, 0.6872827644999999]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "kind",
    [list, tuple, np.array, lambda v: [np.float64(x) for x in v], lambda v: dict(enumerate(v))],
    ids=["list", "tuple", "array", "numpy numbers", "dict by index"],
)
def test_forms_of_lists(tmp_path: Path, few: Codes, kind: Reading, protocol: int) -> None:
    data = content(few)
    expected = {metric: data["nasbench201"]["cifar100"][metric] for metric in METRICS}
    for part in data["nasbench201"].values():
        for metric in METRICS:
            part[metric] = kind(part[metric])
    table = read_table(convert(write(tmp_path / "few.pickle", data, protocol)))[0]
    for metric, values in expected.items():
        found = table.column(f"cifar100/{metric}")
        np.testing.assert_array_equal(np.nan_to_num(found, nan=-1.0), values)


def test_is_recognised_by_its_name(tmp_path: Path, few: Codes) -> None:
    path = write(tmp_path / "HW-NAS-Bench-v1_0.pickle", content(few))
    found = recognise(path)
    assert found is not None
    assert found.name == "hw_nas_bench"
    assert recognise(write(tmp_path / "other.pickle", content(few))) is None


# --- the published file ---


def test_another_file_of_the_published_name_needs_the_users_word(tmp_path: Path, few: Codes) -> None:
    path = write(tmp_path / "HW-NAS-Bench-v1_0.pickle", content(few))
    assert "is not the published file of this name" in refused(path)
    assert read_table(convert(path, unverified=True))[1].verified == ""


def test_the_published_file_is_known_by_its_git_blob(
    tmp_path: Path, few: Codes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "HW-NAS-Bench-v1_0.pickle", content(few))
    data = path.read_bytes()
    # As `git hash-object` computes it.
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(hw_nas_bench, "GIT_BLOB", blob)
    target = convert(path)
    assert blob in read_table(target)[1].verified
    target.unlink()
    path.write_bytes(data[:-1])
    refused(path)


def test_import_by_name(tmp_path: Path, few: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRLSO_DATA_HOME", str(tmp_path / "home"))
    path = write(tmp_path / "HW-NAS-Bench-v1_0.pickle", content(few))
    assert import_official(path, unverified=True).name == "hw_nas_bench"
    with pytest.raises(TableError, match="exists already"):
        import_official(path, unverified=True)


# --- what it refuses ---


class Hostile:
    """A pickle of it calls something that makes a file."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("place", ["top", "number", "config", "fbnet", "key"])
@pytest.mark.parametrize("name", ["system", "eval", "unnamed"])
def test_a_hostile_file_is_refused_and_runs_nothing(
    tmp_path: Path, few: Codes, name: str, place: str, protocol: int
) -> None:
    ran = tmp_path / "ran"
    bad = {
        "system": Hostile(os.system, f"touch {ran}"),
        "eval": Hostile(eval, f"open({str(ran)!r}, 'w')"),
        "unnamed": Hostile(os.mkdir, str(ran)),
    }[name]
    data: Any = content(few)
    match place:
        case "top":
            data = bad
        case "number":
            data["nasbench201"]["cifar10"]["raspi4_latency"][3] = bad
        case "config":
            data["nasbench201"]["cifar10"]["config"][3]["arch_str"] = bad
        case "fbnet":
            data["fbnet"]["raspi4_latency"] = bad
        case "key":
            data["nasbench201"]["cifar10"][bad] = 1
    path = write(tmp_path / "hostile.pickle", data, protocol)
    message = refused(path)
    assert ("which is not data; refused, nothing was run" in message) == (protocol >= 2)
    assert not ran.exists()
    if name == "unnamed" and place != "key":
        pickle.loads(path.read_bytes())  # the same bytes do harm elsewhere
        assert ran.exists()


def drop(data: Any) -> None:
    del data["nasbench201"]["cifar100"]["fpga_energy"]


def short(data: Any) -> None:
    data["nasbench201"]["cifar100"]["fpga_energy"].pop()


def word(data: Any) -> None:
    data["nasbench201"]["cifar10"]["raspi4_latency"][7] = "fast"


def negative(data: Any) -> None:
    data["nasbench201"]["cifar10"]["raspi4_latency"][7] = -1.0


def not_a_number(data: Any) -> None:
    data["nasbench201"]["cifar10"]["edgetpu_latency"][7] = float("nan")


def huge(data: Any) -> None:
    data["nasbench201"]["cifar10"]["raspi4_latency"][7] = 10**5000


def truth(data: Any) -> None:
    data["nasbench201"]["cifar10"]["raspi4_latency"][7] = True


def twice(data: Any) -> None:
    for part in data["nasbench201"].values():
        part["config"][1] = part["config"][2]


def foreign(data: Any) -> None:
    for part in data["nasbench201"].values():
        part["config"][1] = {"arch_str": "|conv~0|"}


def unlike(data: Any) -> None:
    configs = data["nasbench201"]["cifar100"]["config"]
    configs[0], configs[1] = configs[1], configs[0]


def square(data: Any) -> None:
    data["nasbench201"]["cifar10"]["raspi4_latency"] = np.ones((FEW, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.clear(), "no dict 'nasbench201'"),
        (lambda data: data["nasbench201"].pop("cifar10"), "no data set 'cifar10'"),
        (drop, "no list 'fpga_energy'; it holds 'config', 'edgegpu_energy'"),
        (short, f"'fpga_energy' has 24 values, not one for each of {FEW} cells"),
        (word, "'raspi4_latency' of architecture 7 is 'fast', not a positive number"),
        (negative, "of architecture 7 is -1.0, not a positive number"),
        (not_a_number, "of architecture 7 is nan, not a positive number"),
        (huge, "of architecture 7 is of type int, not a positive number"),
        (truth, "of architecture 7 is of type bool, not a positive number"),
        (twice, "holds an architecture twice"),
        (foreign, "conv"),
        (unlike, "the architectures of 'cifar100' are not those of the other data sets"),
        (square, "no list 'raspi4_latency'"),
    ],
)
def test_a_wrong_schema_is_one_line(
    tmp_path: Path, few: Codes, change: Callable[[Any], object], message: str
) -> None:
    data = content(few)
    change(data)
    assert message in refused(write(tmp_path / "wrong.pickle", data))


@pytest.mark.parametrize(
    "other", [b"", b"\x80\x04.", b"PK\x03\x04 not a pickle", b"BZh91AY&SY", b"arch,latency\n"]
)
def test_files_of_another_kind(tmp_path: Path, other: bytes) -> None:
    path = tmp_path / "other.pickle"
    path.write_bytes(other)
    refused(path)


@pytest.mark.parametrize("data", [[1, 2], {"arch2infos": {}}, {"nasbench201": [1]}, None, 7, "text"])
def test_pickles_of_another_benchmark(tmp_path: Path, data: object) -> None:
    assert "no dict 'nasbench201'" in refused(write(tmp_path / "other.pickle", data))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, few: Codes, share: float) -> None:
    path = write(tmp_path / "cut.pickle", content(few))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path)


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    assert not hw_nas_bench.FORMAT.recognises(tmp_path)
    with pytest.raises(RunError, match="this is a folder, not a file"):
        convert(tmp_path)
    for call in (convert, import_official):
        with pytest.raises(TableError, match="there is no file"):
            call(tmp_path / "HW-NAS-Bench-v1_0.pickle")
    with pytest.raises(TableError, match="there is no file"):
        import_official(tmp_path / "HW-NAS-Bench-v1_0.pickle", format_name="hw_nas_bench")


def test_500_mutated_files(tmp_path: Path, few: Codes) -> None:
    """Refused with one line, or a whole table that is marked as not verified: nothing else happens."""
    path = write(tmp_path / "mutated.pickle", content(few))
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    rng = np.random.default_rng(0)
    taken = 0
    for _ in range(500):
        data = whole.copy()
        start = int(rng.integers(len(data)))
        match int(rng.integers(4)):
            case 0:  # one bit
                data[start] ^= 1 << int(rng.integers(8))
            case 1:  # a few bytes
                places = rng.integers(len(data), size=8)
                data[places] = rng.integers(256, size=8)
            case 2:  # a block is lost
                data = np.delete(data, slice(start, start + int(rng.integers(1, 200))))
            case _:  # a block comes twice
                data = np.concatenate([data[:start], data[max(0, start - 100) :]])
        path.write_bytes(data.tobytes())
        try:
            target = convert(path)
        except TableError as error:
            assert "\n" not in str(error)
            assert not list(tmp_path.glob("imported/*"))
        else:
            header = verify_table(target)
            assert header.verified == ""
            assert header.rows == FEW
            target.unlink()
            taken += 1
    assert 0 < taken < 500


def test_samples_are_in_the_official_schema() -> None:
    """As the benchmark's README prints a config of it."""
    config = content(shuffled_cells(cells=3))["nasbench201"]["ImageNet16-120"]["config"][0]
    assert list(config) == ["name", "C", "N", "arch_str", "num_classes"]
    assert samples_hw.CELLS == 15_625
