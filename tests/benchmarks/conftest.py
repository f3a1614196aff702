"""One cache of the built-in table for all tests of this folder, and a data folder of each test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import TableEvaluator
from benchmarks import nasbench201 as nb201
from benchmarks.folders import CACHE_VARIABLE, DATA_VARIABLE


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def nasbench201(cache: Path) -> TableEvaluator:
    return nb201.load(cache)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data-home"))
