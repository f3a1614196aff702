"""What tests of supernets share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.supernet.two_processes import together


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what two processes computed, see :mod:`tests.supernet.two_processes`."""
    folder = tmp_path_factory.mktemp("processes")
    together(folder, "darts_1st")
    return folder
