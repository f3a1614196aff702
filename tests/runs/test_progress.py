"""A bar on a terminal, silence elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from crlso.runs import search
from crlso.runs.progress import progress_bar
from tests.runs.fakes import Line, LineBench, distance_to_seven


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # Not a fixture: between fixtures and test pytest puts its own stderr in place.
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_terminal_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    search(LineBench(Line(20), distance_to_seven), method="random", metric="score", budget=20, progress=True)
    text = stream.getvalue()
    assert "random" in text
    assert "20/20" in text
    assert "best 0" in text


def test_off_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with progress_bar("title", 2, enabled=False) as advance:
        advance(1, "note")
    assert stream.getvalue() == ""


def test_a_file_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("title", 2) as advance:
        advance(1, "note")
    assert capsys.readouterr().err == ""
