"""The log of a run, whole, torn and damaged."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlso.errors import RunError
from crlso.runs.trials import Trial, best_so_far, read_trials

SECONDS = {"ask": 0.25, "evaluate": 0.5, "cpu": 1.0}


def write(path: Path, trials: list[Trial]) -> bytes:
    data = "".join(trial.line("m") + "\n" for trial in trials).encode()
    path.write_bytes(data)
    return data


@given(value=st.floats(), arch=st.text())
def test_lines_keep_numbers_and_texts_exactly(
    tmp_path_factory: pytest.TempPathFactory, value: float, arch: str
) -> None:
    path = tmp_path_factory.mktemp("log") / "trials.jsonl"
    write(path, [Trial(1, arch, value, SECONDS)])
    (trial,) = read_trials(path, "m")
    assert trial.arch == arch
    # JSON knows neither NaN nor infinities: these are failed evaluations.
    assert trial.value == value if math.isfinite(value) else math.isnan(trial.value)


def test_public_form() -> None:
    line = Trial(1, "|none~0|", math.nan, SECONDS).line("m")
    assert json.loads(line) == {"n": 1, "arch": "|none~0|", "values": {"m": None}, "seconds": SECONDS}
    assert list(json.loads(line)) == ["n", "arch", "values", "seconds"]


def test_every_torn_end_is_repaired(tmp_path: Path) -> None:
    trials = [Trial(n, f"arch {n}", n / 3, SECONDS) for n in (1, 2, 3)]
    path = tmp_path / "trials.jsonl"
    data = write(path, trials)
    last = len(trials[-1].line("m")) + 1
    for kept in range(len(data) - last, len(data) + 1):
        path.write_bytes(data[:kept])
        # Without its line feed the last line is whole all the same.
        expected = trials if kept >= len(data) - 1 else trials[:2]
        assert read_trials(path, "m") == expected
        assert path.read_bytes() == data[:kept]
        assert read_trials(path, "m", repair=True) == expected
        assert path.read_bytes() == (data if len(expected) == 3 else data[: len(data) - last])


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"",
        b"\x00\x00\x00",
        b'{"n": 5, "arch": "a", "values": {"m": 1.0}, "seconds": {}}',
        b'{"n": 2, "arch": "a", "values": {"other": 1.0}, "seconds": {}}',
        b'{"n": 2, "arch": "a", "values": {"m": "text"}, "seconds": {}}',
        b"[1, 2]",
    ],
)
def test_a_damaged_line_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_bytes(Trial(1, "a", 1.0, SECONDS).line("m").encode() + b"\n" + line + b"\n")
    with pytest.raises(
        RunError, match=r"trials\.jsonl: line 2 is damaged; restore the file or start in another"
    ):
        read_trials(path, "m")


def test_no_log_no_trials(tmp_path: Path) -> None:
    assert read_trials(tmp_path / "trials.jsonl", "m") == []


def test_best_so_far() -> None:
    values = (math.nan, 2.0, 3.0, math.nan, 1.0)
    assert best_so_far(values, 1.0) == [None, 2.0, 3.0, 3.0, 3.0]
    assert best_so_far(values, -1.0) == [None, 2.0, 2.0, 2.0, 1.0]
    assert best_so_far([], 1.0) == []
