"""Run directories and a browser, made once for all tests of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Browser, find_chromium
from tests.report.rundirs import write_compare, write_search

METHODS = {"crlso": 2.5, "local": 2.2, "evolution:population=10": 0.9, "random": 0.5}


@pytest.fixture(scope="session")
def compare_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four methods, six seeds."""
    return write_compare(tmp_path_factory.mktemp("runs") / "compare", METHODS)


@pytest.fixture(scope="session")
def search_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with a latent space."""
    return write_search(tmp_path_factory.mktemp("runs") / "search")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    started = Browser(executable, tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()
