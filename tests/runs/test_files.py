"""Files written aside and by lines, also on disks that refuse."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from crlso.errors import RunError
from crlso.runs.files import LineLog, disk_errors, explain_os_error, remove_leftovers, write_aside


def test_write_aside_replaces_the_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old and longer")
    with write_aside(target, "w") as file:
        file.write("nëw")
        assert target.read_text() == "old and longer"
    assert target.read_text(encoding="utf-8") == "nëw"
    assert list(tmp_path.iterdir()) == [target]


def test_write_aside_keeps_the_old_file_on_any_error(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_aside(target) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_write_aside_gives_the_usual_mode(tmp_path: Path) -> None:
    with write_aside(tmp_path / "aside") as file:
        file.write(b"")
    (tmp_path / "usual").write_bytes(b"")
    assert (tmp_path / "aside").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from crlso.runs.files import write_aside\n"
        "with write_aside(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")], check=False)
    assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_importing_files_imports_neither_torch_nor_numpy() -> None:
    script = (
        "import sys, crlso.runs.files; print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


def test_a_full_disk_is_one_line_and_takes_the_torn_line_back(tmp_path: Path) -> None:
    # A limit on the size of files stands in for a full disk: the kernel refuses after a part was written.
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from crlso.runs.files import LineLog\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "log = LineLog(Path(sys.argv[1]))\n"
        "for number in range(5): log.append(str(number) * 30)\n"
    )
    path = tmp_path / "log"
    answer = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert f"RunError: can not read or write {path}: the file size limit is reached" in answer.stderr
    assert path.read_text() == "".join(str(number) * 30 + "\n" for number in range(3))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100


def test_a_device_without_space(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    (tmp_path / "log").symlink_to("/dev/full")
    with (
        pytest.raises(RunError, match=r"can not read or write .*log: the disk is full; free some space"),
        disk_errors(tmp_path / "log"),
        (tmp_path / "log").open("wb", buffering=0) as file,
    ):
        file.write(b"x")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOTDIR])
def test_disk_trouble_is_explained(code: int) -> None:
    explained = explain_os_error(OSError(code, os.strerror(code), "/some/file"))
    assert explained is not None
    assert str(explained).startswith("can not read or write /some/file: ")


def test_other_trouble_is_not_hidden() -> None:
    assert explain_os_error(OSError(errno.ECHILD, "no child")) is None
    with pytest.raises(ChildProcessError), disk_errors():
        raise ChildProcessError(errno.ECHILD, "no child")


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match="a part of the path is a file"),
        write_aside(tmp_path / "file" / "x") as file,
    ):
        file.write(b"")


def test_line_log_appends_whole_lines(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with LineLog(tmp_path / "log") as log:
            log.append(text)
            assert (tmp_path / "log").read_text().endswith(text + "\n")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
