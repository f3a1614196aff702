"""`crlso report` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crlso.cli.main import app
from tests.report.rundirs import write_compare, write_search

runner = CliRunner()


def run(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, ["report", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_report(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "a")
    status, out, _ = run(folder)
    assert status == 0
    assert out.splitlines()[-1] == f"report: {folder / 'report.html'}"
    assert "crlso searched nasbench201" in out
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "true cifar10/valid_accuracy@200 from the benchmark" in html


def test_json(tmp_path: Path) -> None:
    folder = write_compare(tmp_path / "c", {"local": 2.0, "random": 1.0}, budget=30)
    status, out, _ = run(folder, "--out", tmp_path / "x" / "r.html", "--json")
    assert status == 0
    answer = json.loads(out)
    assert answer["report"] == str(tmp_path / "x" / "r.html")
    assert Path(answer["report"]).is_file()
    assert [said.split(",")[0] for said in answer["studies"][0]["verdicts"]] == [
        "After 25 evaluations",
        "After 30 evaluations",
    ]


def test_unknown_bench_is_said_and_goes_on(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "a")
    for name in ("config.yaml", "summary.json"):
        file = folder / name
        file.write_text(file.read_text().replace("nasbench201", "gone"))
    status, out, _ = run(folder)
    assert status == 0
    assert "The table of 'gone' can not be loaded (unknown benchmark table 'gone'" in out


@pytest.mark.parametrize("damage", ["missing", "empty", "torn"])
def test_bad_directories_are_one_line(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "a"
    if damage == "empty":
        folder.mkdir()
    elif damage == "torn":
        (write_search(folder) / "summary.json").write_text('{"method": ')
    status, out, err = run(folder)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert str(folder) in err


def test_bad_table(tmp_path: Path) -> None:
    status, _, err = run(write_search(tmp_path / "a"), "--bench", "nowhere")
    assert status == 2
    assert "unknown benchmark table 'nowhere'" in err


def test_help_shows_an_example() -> None:
    assert "crlso report runs/first" in run("--help")[1]
