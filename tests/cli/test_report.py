"""`crlso report` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.folders import data_folder
from crlso.cli.main import app
from crlso.spaces import get_space
from tests.report.rundirs import write_compare, write_search
from tests.report.supernet_dirs import write_supernet

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
        "After 10 evaluations",
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


def test_supernet_beside_a_search(tmp_path: Path) -> None:
    folders = [write_supernet(tmp_path / "s", derived=(95.0,), epochs=2), write_search(tmp_path / "a")]
    status, out, _ = run(*folders)
    assert status == 0
    assert "crlso searched nasbench201" in out
    assert "darts_1st searched the space darts with shared weights on digits" in out
    assert "It is not better than the mean of 5 random networks trained alike" in out
    assert "can not be loaded" not in out
    status, out, _ = run(*folders, "--json")
    assert status == 0
    (supernet,) = json.loads(out)["supernets"]
    assert supernet["plots"][0] == "supernet-1-loss"
    assert len(supernet["cells"]) == 1


def test_a_damaged_supernet_run_is_one_line(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "s", epochs=2)
    (folder / "seeds" / "0" / "architecture.npz").write_bytes(b"PK")
    status, out, err = run(folder)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {folder / 'seeds' / '0' / 'architecture.npz'}: damaged")
    assert err.count("\n") == 1


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


def test_a_users_own_space_and_table(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        "space: edge_cell\nname: tiny\nnodes: 3\noperations: [none, skip_connect, conv_3x3, conv_5x5]\n"
    )
    space = get_space(tmp_path / "tiny.yaml")
    codes = next(space.enumerate())
    table = [f"{space.format(code)},{1.0 + code.sum()}" for code in codes[::2]]
    (tmp_path / "tiny.csv").write_text("\n".join(["arch,latency", *table]) + "\n")
    options = ("--minimize", "latency", "--unit", "latency=ms")
    steps = (
        (
            "bench",
            "import",
            tmp_path / "tiny.csv",
            "--space",
            tmp_path / "tiny.yaml",
            "--name",
            "report-tiny",
        ),
        ("search", "--bench", "report-tiny", "--metric", "latency", "--method", "random", "--budget", "6"),
    )
    for step, more in zip(steps, (options, ("--out", tmp_path / "run")), strict=True):
        result = runner.invoke(app, [*map(str, step), *map(str, more)])
        assert result.exit_code == 0, result.stderr
    # A latent space with points outside the table: their true values are not known.
    np.savez(tmp_path / "run" / "diagnostics.npz", space_codes=codes, space_latent=codes[:, :2].astype(float))
    status, out, _ = run(tmp_path / "run")
    assert status == 0
    assert "random searched report-tiny for the architecture with the smallest latency" in out
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "not by true values" in html
    assert html.count('<svg class="cell"') == 1
    assert "ms" in out

    user_table = tmp_path / "elsewhere.parquet"
    (data_folder() / "report-tiny.parquet").rename(user_table)
    assert "can not be loaded" in run(tmp_path / "run")[1]
    assert "can not be loaded" not in run(tmp_path / "run", "--bench", user_table)[1]
