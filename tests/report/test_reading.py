"""Run directories: what is read, and what is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crlso.errors import RunError
from crlso.report.diagnostics import read_diagnostics
from crlso.report.reading import read_directory, read_trials
from tests.report.rundirs import METRIC, OPTIMUM, write_compare, write_search


def edit(file: Path, **changes: object) -> None:
    data = json.loads(file.read_text())
    file.write_text(json.dumps(data | changes))


def test_search_directory(search_dir: Path) -> None:
    (run,) = read_directory(search_dir)
    summary = json.loads((search_dir / "summary.json").read_text())
    assert (run.method, run.seed, run.bench, run.metric) == ("crlso", 0, "nasbench201", METRIC)
    assert run.curve.tolist() == summary["curve"]
    assert run.arch == summary["best"]["arch"]
    assert run.value == summary["best"]["value"]
    assert run.finished
    trials = read_trials(run)
    assert [trial.value for trial in trials] == summary["curve"]


def test_compare_directory_has_a_run_per_method_and_seed(compare_dir: Path) -> None:
    runs = read_directory(compare_dir)
    assert len(runs) == 24
    assert [run.method for run in runs[::6]] == ["crlso", "local", "evolution:population=10", "random"]
    assert runs[12].path == compare_dir / "evolution_population=10" / "0"
    assert all(run.source == compare_dir and run.optimum == OPTIMUM for run in runs)


def test_compare_directory_without_its_runs(tmp_path: Path) -> None:
    runs = read_directory(write_compare(tmp_path / "c", {"random": 1.0}, runs=False))
    assert len(runs) == 6
    assert all(run.arch is not None for run in runs)


def test_unfinished_runs(tmp_path: Path) -> None:
    (run,) = read_directory(write_search(tmp_path / "a", finished=False, budget=40))
    assert not run.finished
    assert (len(run.curve), run.budget) == (20, 40)
    assert run.arch == read_trials(run)[int(np.argmax(run.curve))].arch
    folder = write_compare(tmp_path / "c", {"random": 1.0, "local": 2.0}, seeds=2)
    (folder / "summary.json").unlink()
    (folder / "local" / "1" / "summary.json").unlink()
    runs = read_directory(folder)
    assert [(r.method, r.seed, r.finished) for r in runs] == [
        ("local", 0, True),
        ("local", 1, False),
        ("random", 0, True),
        ("random", 1, True),
    ]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "a", finished=False)
    with (folder / "trials.jsonl").open("a") as file:
        file.write('{"n": 21, "ar')
    (run,) = read_directory(folder)
    assert len(run.curve) == 20


def test_failed_evaluations_are_nan(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "a", budget=3, values=[1.0, 2.0, 3.0])
    edit(folder / "summary.json", curve=[None, 2.0, 3.0])
    (run,) = read_directory(folder)
    assert np.isnan(run.curve[0])
    edit(folder / "summary.json", curve=[None, None, None], best=None)
    (run,) = read_directory(folder)
    assert np.isnan(run.value)
    assert run.arch is None


def test_direction_comes_from_the_file_or_from_the_curve(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "a", budget=2, values=[3.0, 2.0])
    edit(folder / "summary.json", direction="min")
    assert read_directory(folder)[0].direction == "min"
    edit(folder / "summary.json", direction=None, optimum=None)
    assert read_directory(folder)[0].direction == "min"
    edit(folder / "summary.json", direction="up")
    with pytest.raises(RunError, match=r"'direction' should be 'max' or 'min'"):
        read_directory(folder)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("curve", "x", "'curve' should be a list of numbers"),
        ("curve", [1.0, "2"], "'curve' should be a list of numbers"),
        ("seed", 1.5, "'seed' should be a whole number"),
        ("metric", None, "'metric' should be a text"),
        ("optimum", "high", "'optimum' should be a number or null"),
        ("best", [1], "'best' should be an object"),
        ("best", {"arch": "a", "report": {"x": "y"}}, "'best.report.x' should be a number or null"),
        ("format", 2, "format 2 is not known"),
    ],
)
def test_damaged_entries(search_dir: Path, tmp_path: Path, key: str, value: object, said: str) -> None:
    folder = tmp_path / "a"
    shutil.copytree(search_dir, folder)
    edit(folder / "summary.json", **{key: value})
    with pytest.raises(RunError) as caught:
        read_directory(folder)
    assert said in str(caught.value)
    assert str(folder / "summary.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": []}, "'methods' should be an object"),
        ({"seeds": 3}, "'seeds' should be a list of whole numbers"),
        ({"seeds": [0, 1]}, "'methods.crlso.curves' should be a list of 2, one per seed"),
        ({"methods": {"random": 1}}, "'methods.random' should be an object"),
    ],
)
def test_damaged_compare_summaries(
    compare_dir: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    (tmp_path / "summary.json").write_text((compare_dir / "summary.json").read_text())
    edit(tmp_path / "summary.json", **change)
    with pytest.raises(RunError, match=said):
        read_directory(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("summary.json", b"{", "not JSON"),
        ("summary.json", b"[]", "holds no JSON object"),
        ("summary.json", b"\xff\xfe\x00", "can not be read"),
        ("config.yaml", b"a: [", "not YAML"),
        ("config.yaml", b"- 1", "holds no settings"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    folder = write_search(tmp_path / "a")
    (folder / name).write_bytes(content)
    with pytest.raises(RunError, match=said) as caught:
        read_directory(folder)
    assert str(folder / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no such directory; give directories made by"):
        read_directory(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"summary\.json: no such file, and no config\.yaml beside it"):
        read_directory(tmp_path)


def test_diagnostics(search_dir: Path, tmp_path: Path) -> None:
    found = read_diagnostics(search_dir)
    assert found is not None
    assert found.space_codes.shape == (1500, 6)
    assert found.trial_latent.shape == (40, 2)
    assert list(found.curves) == ["loss", "reconstruction_accuracy"]
    assert found.curves["loss"][0][:2].tolist() == [1, 2]
    assert found.curves["reconstruction_accuracy"][0][:2].tolist() == [0, 5]
    assert read_diagnostics(tmp_path) is None


def test_diagnostics_with_other_arrays_only(tmp_path: Path) -> None:
    np.savez(tmp_path / "diagnostics.npz", other=np.arange(3))
    found = read_diagnostics(tmp_path)
    assert found is not None
    assert not found.has_latent
    assert not found.curves


@pytest.mark.parametrize("how", ["torn", "shape", "objects", "count"])
def test_damaged_diagnostics(search_dir: Path, tmp_path: Path, how: str) -> None:
    file = tmp_path / "diagnostics.npz"
    if how == "torn":
        file.write_bytes((search_dir / "diagnostics.npz").read_bytes()[:5000])
    elif how == "shape":
        np.savez(file, space_latent=np.zeros((4, 3)))
    elif how == "objects":
        np.savez(file, trial_latent=np.array([{}], dtype=object))
    else:
        np.savez(file, space_latent=np.zeros((4, 2)), space_codes=np.zeros((3, 6)))
    with pytest.raises(RunError, match=r"diagnostics\.npz: damaged"):
        read_diagnostics(tmp_path)
