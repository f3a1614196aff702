"""The command as a whole: quick help, version, one line per mistake."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import crlso
from crlso.cli.common import print_json, user_errors
from crlso.cli.main import app
from crlso.errors import UserError
from tests.source import ROOT

runner = CliRunner()


def test_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"crlso {crlso.__version__}"


def test_help_lists_the_commands() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Example: crlso search" in " ".join(result.stdout.split())
    for command in ("search", "compare", "report", "bench"):
        assert command in result.stdout


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; import crlso.cli.main\n"
        "heavy = ('torch', 'pandas', 'pyarrow', 'plotly', 'scipy', 'joblib', 'networkx', 'tensorboard')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


def run_with(error: BaseException | None, message: str = "interrupted") -> tuple[int, str]:
    """Exit status and stderr of a command in which something happens."""
    command = typer.Typer()

    @command.command()
    def body() -> None:
        with user_errors(message):
            if error is not None:
                raise error

    result = runner.invoke(command, [])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


def test_mistakes_are_one_line() -> None:
    assert run_with(None) == (0, "")
    assert run_with(UserError("two\n  lines")) == (2, "error: two lines\n")
    status, text = run_with(OSError(errno.EROFS, "Read-only file system", "/some/file"))
    assert (status, text.count("\n")) == (2, 1)
    assert text.startswith("error: can not read or write /some/file: the file system is read-only")


def test_ctrl_c_says_how_to_go_on() -> None:
    assert run_with(KeyboardInterrupt(), "go on so") == (130, "\ngo on so\n")


@pytest.mark.parametrize("error", [ChildProcessError(errno.ECHILD, "x"), ValueError("a defect")])
def test_defects_are_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)):
        run_with(error)


def test_json_knows_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1, None]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        print_json({"a": float("nan")})


def test_the_installed_command(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "crlso"
    if not script.exists():
        pytest.skip("the package is not installed")
    answer = subprocess.run([script, "--version"], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert answer.stdout.startswith("crlso ")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals here")
def test_lines_stand_above_a_progress_bar() -> None:
    """On a real terminal: the bar is wiped away before a line is written in its place."""
    script = """
from crlso.cli.common import say
from crlso.runs.progress import progress_bar
with progress_bar("work", 2) as advance:
    advance(1, "")
    say("a line")
"""
    terminal, end = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", script], stderr=end, env=environment, cwd=ROOT)
    os.close(end)
    written = b""
    with contextlib.suppress(OSError):  # Linux: the other end is closed
        while chunk := os.read(terminal, 4096):
            written += chunk
    os.close(terminal)
    assert process.wait() == 0
    assert b"\x1b[2Ka line\r\n" in written
