"""Where tables lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import folders
from crlso.errors import RunError


def test_the_environment_decides_and_the_system_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable, folder in (
        (folders.CACHE_VARIABLE, folders.cache_folder),
        (folders.DATA_VARIABLE, folders.data_folder),
    ):
        monkeypatch.setenv(variable, str(tmp_path / "stated"))
        assert folder() == tmp_path / "stated"
        monkeypatch.setenv(variable, "~/stated")
        assert folder() == Path.home() / "stated"
        monkeypatch.delenv(variable)
        assert folder().is_absolute()
        assert folder().name == "crlso"
    assert folders.cache_folder() != folders.data_folder()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a place where no folder can be made")
def test_where_no_folder_can_be_made() -> None:
    with pytest.raises(RunError, match="/proc/crlso/cache"):
        folders.make_folder(Path("/proc/crlso/cache"))
