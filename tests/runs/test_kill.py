"""Real processes killed at random moments; the same command again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import TableEvaluator
from crlso.cli.main import app
from crlso.runs import compare, search
from crlso.runs.directory import locked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

METRIC = "cifar10/valid_accuracy@200"
CLI = (sys.executable, "-m", "crlso.cli.main")


@pytest.fixture(autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """A background job hands ignored signals on to its children; a signal with a handler it does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def search_command(out: Path, budget: int) -> list[str]:
    options = ["--metric", METRIC, "--method", "evolution", "--seed", "1000", "--budget", str(budget)]
    return [*CLI, "search", "--bench", "nasbench201", *options, "--out", str(out)]


def compare_command(out: Path, budget: int, seeds: str) -> list[str]:
    options = ["--metric", METRIC, "--methods", "local,evolution", "--seeds", seeds, "--budget", str(budget)]
    return [*CLI, "compare", "--bench", "nasbench201", *options, "--out", str(out), "--jobs", "2"]


def logs(out: Path) -> dict[str, list[str]]:
    """All logs below a directory, without times."""
    found = {}
    for path in sorted(out.rglob("trials.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[str(path.relative_to(out))] = [json.dumps({**line, "seconds": None}) for line in lines]
    return found


def lines_written(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in out.rglob("trials.jsonl"))


def children_of(pid: int) -> list[int]:
    """Processes below a process (Linux)."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *children_of(child)]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill_after(
    command: list[str], out: Path, lines: int, delay: float, sent: signal.Signals
) -> tuple[int, str]:
    """Starts a command and ends it when so many lines were logged in this session; status and stderr."""
    before = lines_written(out)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while lines_written(out) < before + lines and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(delay)
        children = children_of(process.pid)
        process.send_signal(sent)
        status = process.wait(20)
        deadline = time.monotonic() + 5
        while any(is_alive(child) for child in children):
            assert time.monotonic() < deadline, "workers outlive their parent"
            time.sleep(0.05)
        assert process.stderr is not None
        return status, process.stderr.read()


def check_kills(command: list[str], out: Path, whole: Path, moments: list[tuple[int, float]]) -> None:
    for lines, delay in moments:
        status, _ = kill_after(command, out, lines, delay, signal.SIGKILL)
        assert status == -signal.SIGKILL, "the run was over before it was killed: give it a larger budget"
    finish(command)
    assert logs(out) == logs(whole)


def finish(command: list[str]) -> None:
    """The same command to its end; a search in this process, which has done its imports."""
    words = command[len(CLI) :]
    if words[0] == "search":
        assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    else:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def search_here(table: TableEvaluator, out: Path, budget: int) -> None:
    """The same run without interruption."""
    search(table, method="evolution", metric=METRIC, seed=1000, budget=budget, out=out)


def compare_here(table: TableEvaluator, out: Path, budget: int, seeds: range) -> None:
    """The same runs without interruption."""
    compare(table, methods=("local", "evolution"), metric=METRIC, seeds=seeds, budget=budget, out=out, jobs=1)


def test_a_killed_search_goes_on_exactly(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    search_here(nasbench201, tmp_path / "whole", 600)
    generator = random.Random()
    moments = [(generator.randint(1, 150), generator.random() / 50) for _ in range(2)]
    check_kills(search_command(tmp_path / "out", 600), tmp_path / "out", tmp_path / "whole", moments)


def test_a_killed_comparison_leaves_no_worker_and_goes_on_exactly(
    tmp_path: Path, nasbench201: TableEvaluator
) -> None:
    compare_here(nasbench201, tmp_path / "whole", 500, range(1000, 1002))
    moments = [(random.Random().randint(1, 700), 0.0)]
    out = tmp_path / "out"
    check_kills(compare_command(out, 500, "1000-1001"), out, tmp_path / "whole", moments)


@pytest.mark.slow
def test_a_search_killed_at_many_moments(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    search_here(nasbench201, tmp_path / "whole", 3000)
    generator = random.Random()
    for attempt in range(3):
        out = tmp_path / str(attempt)
        moments = [(generator.randint(1, 700), generator.random() / 10) for _ in range(3)]
        check_kills(search_command(out, 3000), out, tmp_path / "whole", moments)


@pytest.mark.slow
def test_a_comparison_killed_at_many_moments(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    compare_here(nasbench201, tmp_path / "whole", 500, range(1000, 1006))
    generator = random.Random()
    out = tmp_path / "out"
    moments = [(generator.randint(1, 1500), generator.random() / 10) for _ in range(3)]
    check_kills(compare_command(out, 500, "1000-1005"), out, tmp_path / "whole", moments)


def test_interrupted_runs_say_how_to_go_on(tmp_path: Path) -> None:
    for command in (search_command(tmp_path / "s", 5000), compare_command(tmp_path / "c", 3000, "1000-1001")):
        out = Path(command[command.index("--out") + 1])
        status, message = kill_after(command, out, 20, 0.0, signal.SIGINT)
        assert status == 130
        assert message.strip() == (
            f"interrupted; what was done is kept in {out}, the same command again goes on from there"
        )
        with locked(out):  # nothing holds the directory any more
            pass


def test_ctrl_c_of_a_terminal_reaches_workers_too(tmp_path: Path) -> None:
    """A terminal sends the signal to the whole group: workers leave it to their parent."""
    command = compare_command(tmp_path, 3000, "1000-1001")
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while lines_written(tmp_path) < 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read().strip().count("\n") == 0
