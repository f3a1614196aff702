"""Real benchmark files, where the machine has them."""

import os
from pathlib import Path

import pytest


def data_file(relative: str) -> Path:
    """The file under ``$CRLSO_DATA``; the test is skipped where it is missing."""
    folder = os.environ.get("CRLSO_DATA")
    if not folder:
        pytest.skip("CRLSO_DATA does not name a folder with benchmark data")
    path = Path(folder) / relative
    if not path.exists():
        pytest.skip(f"no {relative} under CRLSO_DATA")
    return path
