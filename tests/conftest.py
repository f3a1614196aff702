"""One thread, and folders of the tests' own: no test reads or leaves anything in the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Before torch is first imported, here and in every subprocess.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

from benchmarks import TableEvaluator, load  # noqa: E402 (after the threads are set)


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRLSO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("CRLSO_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def nasbench201(_own_folders: None) -> TableEvaluator:
    """The embedded NAS-Bench-201 table."""
    return load("nasbench201")
