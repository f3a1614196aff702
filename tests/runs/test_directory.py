"""Run directories: resumed anywhere, refused for anything else."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from filelock import FileLock
from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]

from crlso.errors import RunError
from crlso.protocols import Codes, Metric
from crlso.runs import SearchResult, directory, search
from crlso.runs.directory import locked
from crlso.runs.events import FILE_NAME, run_scalars, write_events
from tests.runs.fakes import Line, LineBench, distance_to_seven, failing_odd

BUDGET = 12
METHODS = ("random", "evolution:population=4:sample=2", "local")


class Killed(BaseException):
    """Stands for the end of the process."""


class Mortal:
    """A bench that does not survive evaluation number ``last``."""

    name = "line-bench"
    metrics: Mapping[str, Metric] = LineBench.metrics
    support = None

    def __init__(self, last: int) -> None:
        self._bench = LineBench(Line(40, steps=(1, -1, 5, -5)), distance_to_seven)
        self.space, self.fingerprint = self._bench.space, self._bench.fingerprint
        self.asked = self._bench.asked
        self._last = last

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        assert rng is not None
        if len(self.asked) == self._last:
            raise Killed
        answer = self._bench.evaluate(codes, metrics=metrics)
        # Noise of the evaluator's own, so that a resumed run must draw the same.
        return answer + rng.random() if metrics == ["score"] else answer

    def optimum(self, metric: str) -> float | None:
        return None


def run(out: Path, method: str, last: int = 1000, **options: Any) -> SearchResult:
    return search(
        Mortal(last), method=method, metric="score", report=["square"], budget=BUDGET, out=out, **options
    )


def log(out: Path) -> str:
    """The log without times."""
    lines = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    return "\n".join(json.dumps({key: line[key] for key in line if key != "seconds"}) for line in lines)


@pytest.mark.parametrize("checkpoints", ["always", "never"])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_anywhere_goes_on_exactly(
    tmp_path: Path, method: str, checkpoints: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "CHECKPOINT_SECONDS", 0.0 if checkpoints == "always" else 1e9)
    monkeypatch.setattr(directory, "CHECKPOINT_COST", 0)
    expected = run(tmp_path / "whole", method)
    for last in range(BUDGET):
        out = tmp_path / str(last)
        with pytest.raises(Killed):
            run(out, method, last)
        assert len((out / "trials.jsonl").read_text().splitlines()) == last
        assert (out / "checkpoint.pt").exists() == (checkpoints == "always" and last > 0)
        resumed = run(out, method)
        assert log(out) == log(tmp_path / "whole")
        assert {**resumed.summary(), "cpu_seconds": 0} == {**expected.summary(), "cpu_seconds": 0}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_again_and_again_goes_on_exactly(tmp_path: Path, method: str) -> None:
    run(tmp_path / "whole", method)
    for _ in range(BUDGET):
        with pytest.raises(Killed):
            run(tmp_path / "often", method, 1)
    run(tmp_path / "often", method)
    assert log(tmp_path / "often") == log(tmp_path / "whole")


def test_a_log_cut_at_any_byte_of_its_last_line_is_made_whole(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run(whole, "evolution:population=4:sample=2")
    data = (whole / "trials.jsonl").read_bytes()
    start = data.rstrip(b"\n").rindex(b"\n") + 1
    for kept in range(start, len(data)):
        out = tmp_path / "cut"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        (out / "trials.jsonl").write_bytes(data[:kept])
        # With or without the summary that a finished run has.
        if kept % 2:
            (out / "summary.json").unlink()
        run(out, "evolution:population=4:sample=2")
        assert log(out) == log(whole)


def test_a_finished_run_is_read_not_repeated(tmp_path: Path) -> None:
    first = run(tmp_path, "local")
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    evaluator = Mortal(0)
    again = search(evaluator, method="local", metric="score", report=["square"], budget=BUDGET, out=tmp_path)
    assert evaluator.asked == []
    assert again.summary() == first.summary()
    assert [trial.arch for trial in again.trials] == [trial.arch for trial in first.trials]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 1}'])
def test_a_damaged_summary_is_written_again(tmp_path: Path, damage: str) -> None:
    first = run(tmp_path, "local")
    (tmp_path / "summary.json").write_text(damage)
    assert {**run(tmp_path, "local").summary(), "cpu_seconds": 0} == {**first.summary(), "cpu_seconds": 0}
    assert json.loads((tmp_path / "summary.json").read_text())["evaluations"] == BUDGET


@pytest.mark.parametrize("damage", [b"", b"no checkpoint"])
def test_a_damaged_checkpoint_costs_time_only(tmp_path: Path, damage: bytes) -> None:
    run(tmp_path / "whole", "local")
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    (tmp_path / "out" / "summary.json").unlink()
    (tmp_path / "out" / "checkpoint.pt").write_bytes(damage)
    run(tmp_path / "out", "local")
    assert log(tmp_path / "out") == log(tmp_path / "whole")


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run(tmp_path, "evolution:population=4")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = LineBench(Line(40), distance_to_seven)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"budget": 13}, "budget is 12 there, 13 was asked for"),
        ({"seed": 1}, "seed is 0 there, 1 was asked for"),
        ({"metric": "loss"}, "metric is score there, loss was asked for; direction is max there, min"),
        ({"method": "evolution:population=5"}, "settings.population is 4 there, 5 was asked for"),
        ({"unique": "code"}, "unique is exact there, code was asked for"),
        ({"report": []}, r"report is \['square'\] there, \[\] was asked for"),
    ]
    same = {"method": "evolution:population=4", "metric": "score", "report": ["square"], "budget": BUDGET}
    for options, message in cases:
        with pytest.raises(RunError, match=message):
            search(other, **{**same, **options}, out=tmp_path)
    other.fingerprint = {"test": "another file"}
    with pytest.raises(RunError, match=r"data\.test is line there, another file was asked for"):
        search(other, **same, out=tmp_path)  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_config_says_all(tmp_path: Path) -> None:
    run(tmp_path, "evolution:population=4")
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["settings"] == {"population": 4, "sample": 10}
    assert config["method"] == "evolution:population=4"
    assert config["data"] == {"test": "line"}
    assert {"crlso", "python", "numpy", "torch"} <= config["versions"].keys()


def test_other_versions_are_no_other_settings(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, "local", 5)
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("crlso: ", "crlso: 9."))
    run(tmp_path, "local")


def test_a_log_that_is_not_continued_alike_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, "random", 5)
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    entry = json.loads(lines[2])
    lines[2] = json.dumps({**entry, "arch": "39" if entry["arch"] != "39" else "38"})
    (tmp_path / "trials.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match=r"trial 3 is 3\d in the log, but \d+ is proposed now"):
        run(tmp_path, "random")


@pytest.mark.parametrize("text", ["{", "[1, 2]", "\x00"])
def test_a_damaged_config_is_refused(tmp_path: Path, text: str) -> None:
    run(tmp_path, "random")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunError, match=r"config\.yaml is damaged"):
        run(tmp_path, "random")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"is no run directory \(it holds 'thesis.tex'\); choose a new folder"):
        run(tmp_path, "random")
    with pytest.raises(RunError, match=r"thesis\.tex is a file, not a folder|a part of the path is a file"):
        run(tmp_path / "thesis.tex", "random")
    with pytest.raises(RunError, match="a part of the path is a file"):
        run(tmp_path / "thesis.tex" / "run", "random")


def hold(path: Path, ready: Any, done: Any) -> None:
    with locked(path):
        ready.set()
        done.wait(20)


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready, done))
    process.start()
    try:
        assert ready.wait(20)
        with pytest.raises(RunError, match=r"another process is at work in .*; wait for it"):
            run(tmp_path, "random")
    finally:
        done.set()
        process.join()
    run(tmp_path, "random")


def test_a_directory_is_waited_for(tmp_path: Path) -> None:
    holder = FileLock(tmp_path / ".lock", thread_local=False)
    holder.acquire()
    threading.Timer(0.3, holder.release).start()
    with pytest.raises(RunError), locked(tmp_path):
        pass
    with locked(tmp_path, wait=10.0):
        assert not holder.is_locked


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "whole", "local")
    real, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == failing:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    for failing in range(1, BUDGET + 5):
        calls[0] = 0
        out = tmp_path / str(failing)
        with pytest.raises(
            RunError, match=f"can not read or write {out}/.*: the disk is full; free some space"
        ):
            run(out, "local")
        assert not list(out.glob(".aside*"))
        calls[0] = 1000
        run(out, "local")
        assert log(out) == log(tmp_path / "whole")


def test_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".aside-summary.json-1-abc").write_text("half")
    run(tmp_path, "random")
    assert not list(tmp_path.glob(".aside*"))


def test_failures_are_null_in_files_and_stay_failures(tmp_path: Path) -> None:
    bench = LineBench(Line(10), failing_odd)
    options: dict[str, Any] = {"method": "random", "metric": "score", "report": ["score"], "budget": 10}
    first = search(bench, **options, out=tmp_path)
    values = [
        json.loads(line)["values"]["score"] for line in (tmp_path / "trials.jsonl").read_text().splitlines()
    ]
    assert values.count(None) == 5
    again = search(bench, **options, out=tmp_path)
    np.testing.assert_array_equal([t.value for t in first.trials], [t.value for t in again.trials])


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    result = run(tmp_path, "random")
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    scalars = events.Scalars("best/score")
    assert [event.step for event in scalars] == list(range(1, BUDGET + 1))
    np.testing.assert_allclose(
        [event.value for event in scalars], np.array(result.curve, dtype=float), rtol=1e-6
    )


def test_training_curves_in_events(tmp_path: Path) -> None:
    diagnostics = {
        "curve/loss": np.array([3.0, np.nan, 1.0]),
        "curve_x/loss": np.array([0, 10, 20]),
        "curve/kl": np.array([0.5]),
        "space_codes": np.zeros((2, 2)),
    }
    write_events(tmp_path / FILE_NAME, run_scalars("m", [None, 1.0], diagnostics))
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == {
        "best/m": [(2, 1.0)],
        "training/loss": [(0, 3.0), (20, 1.0)],
        "training/kl": [(1, 0.5)],
    }
