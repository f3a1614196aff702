"""Names of tables: who may take one, and when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.catalog import claimed_path, load, new_path
from benchmarks.exporting import export_table
from benchmarks.importing import import_table
from crlso.errors import RunError, TableError, UnknownNameError
from crlso.spaces import get_space
from tests.source import ROOT

EXAMPLE = ROOT / "examples" / "three_node.csv"
SPACE = get_space(str(ROOT / "examples" / "three_node.yaml"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRLSO_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("name", ["a.parquet", "a.safetensors", "", "..", "a/b", "a b", "nasbench201"])
def test_names_that_no_table_can_have(name: str, home: Path) -> None:
    with pytest.raises(TableError):
        new_path(name)
    assert not home.exists()


def test_one_process_at_a_time_makes_a_table_of_one_name(home: Path) -> None:
    script = (
        "from benchmarks.catalog import claimed_path\n"
        "with claimed_path('t'): print('claimed', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        for force in (False, True):
            with pytest.raises(TableError, match="another process is making a table 't'"):
                import_table(EXAMPLE, SPACE, name="t", force=force)
        import_table(EXAMPLE, SPACE, name="other")
        process.kill()
    import_table(EXAMPLE, SPACE, name="t")  # what was killed claims nothing
    assert {path.name for path in home.iterdir()} == {"t.parquet", "other.parquet"}


def test_a_table_that_came_meanwhile_is_not_replaced(home: Path) -> None:
    import_table(EXAMPLE, SPACE, name="t")
    with pytest.raises(TableError, match="exists already"), claimed_path("t"):
        raise AssertionError
    with claimed_path("t", force=True) as path:
        assert path == home / "t.parquet"


def test_an_export_does_not_replace_a_table(home: Path) -> None:
    import_table(EXAMPLE, SPACE, name="t")
    with pytest.raises(TableError, match="choose another file"):
        export_table(load("t"), home / "t.parquet", force=True)
    load("t")
    plain = home / "plain.parquet"
    export_table(load("t"), plain)
    export_table(load("t"), plain, force=True)


def test_a_data_folder_that_is_a_file(home: Path) -> None:
    home.write_text("")
    with pytest.raises(RunError, match="can not make the folder"):
        import_table(EXAMPLE, SPACE, name="t")


def test_a_name_that_is_nearly_right_is_offered(home: Path) -> None:
    del home
    with pytest.raises(
        UnknownNameError, match=r"unknown benchmark table 'nasbench210'; known: .*nasbench201"
    ):
        load("nasbench210")
    with pytest.raises(UnknownNameError, match=r"did you mean 'cifar10/valid_accuracy@200'\?"):
        load("nasbench201").column("cifar10/valid_accuracy")
