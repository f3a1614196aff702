"""The cache that all tests share, and a data folder of each test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import TableEvaluator
from benchmarks.folders import CACHE_VARIABLE, DATA_VARIABLE


@pytest.fixture
def cache(nasbench201: TableEvaluator) -> Path:
    """The cache folder, with the built-in table in it."""
    return Path(os.environ[CACHE_VARIABLE])


@pytest.fixture(autouse=True)
def own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data-home"))
