"""Trainings from scratch in the report: what is read, what is said, what is drawn."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from crlso.errors import RunError
from crlso.report import build
from crlso.report.build import make_page, read_all
from crlso.report.page import as_plain
from crlso.report.training_page import training_pages
from crlso.report.training_reading import is_training_directory, read_training
from crlso.spaces import get_space
from tests.report.browser import Browser
from tests.report.supernet_dirs import write_supernet
from tests.report.test_page import HOSTILE, read

METRIC = "digits/test_accuracy@4"
DRAWN = """Array.from(document.querySelectorAll('.plot')).filter(
    (plot) => plot.querySelector('.main-svg .scatterlayer .trace path')).length"""


def write_training(
    folder: Path,
    test: list[list[float | None]],
    *,
    epochs: int = 4,
    all_data: bool = False,
    finished: bool = True,
) -> Path:
    """A directory of `crlso supernet train` by hand: test accuracies by architecture and seed."""
    space = get_space("nasbench201")
    texts = [space.format(code) for code in space.sample(len(test), np.random.default_rng(0))]
    seeds = list(range(len(test[0])))
    folder.mkdir(parents=True)
    config: dict[str, Any] = {"kind": "supernet train", "space": {"space": "nasbench201"}}
    config |= {"data": {"name": "digits", "path": None}, "all_data": all_data, "seeds": seeds}
    config |= {"network": {"channels": 8}, "training": {"epochs": epochs}, "architectures": texts}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    entries = []
    for number, (text, values) in enumerate(zip(texts, test, strict=True)):
        entries.append({"number": number, "architecture": text, "params": 0.25 + number, "flops": 3.5})
        for seed, value in zip(seeds, values, strict=True):
            home = folder / "trainings" / str(number) / str(seed)
            home.mkdir(parents=True)
            done = epochs if value is not None else 2
            (home / "epochs.jsonl").write_text(
                "".join(json.dumps(epoch(place, seed, all_data)) + "\n" for place in range(1, done + 1)),
                encoding="utf-8",
            )
            result = {"failed": value is None, "test_accuracy": value, "seconds": 2.0 + seed}
            result["valid_accuracy"] = None if all_data or value is None else value - 1.0
            if finished or seed == 0:
                (home / "result.json").write_text(json.dumps(result), encoding="utf-8")
    summary = {"format": 1, "kind": "supernet train", "architectures": entries, "metric": METRIC}
    summary |= {"data": "digits: 9 training images", "network": "channels 8"}
    if finished:
        (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def epoch(number: int, seed: int, all_data: bool) -> dict[str, Any]:
    valid = None if all_data else 2.0 / number + seed
    return {
        "epoch": number,
        "train_loss": 1.0 / number + seed,
        "train_accuracy": 90.0 + number,
        "valid_loss": valid,
        "valid_accuracy": None if all_data else 80.0 + number,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training(
        tmp_path_factory.mktemp("runs") / "trained", [[97.0, 98.5, 96.0], [95.0, None, 96.0]]
    )


def test_a_run_is_read(folder: Path) -> None:
    assert is_training_directory(folder)
    run = read_training(folder)
    first, second = run.architectures
    assert [each.test_accuracy for each in first.trainings] == [97.0, 98.5, 96.0]
    assert (second.params, second.flops) == (1.25, 3.5)
    assert [each.failed for each in second.trainings] == [False, True, False]
    np.testing.assert_allclose(first.trainings[1].curves["train_loss"], [2, 1.5, 1 + 1 / 3, 1.25])
    assert [len(each.curves["train_loss"]) for each in second.trainings] == [4, 2, 4]
    assert (run.epochs, run.seeds, run.finished) == (4, (0, 1, 2), True)


def test_other_directories_are_none(tmp_path: Path) -> None:
    assert not is_training_directory(tmp_path)
    assert not is_training_directory(tmp_path / "nothing")
    assert not is_training_directory(write_supernet(tmp_path / "a", epochs=1))


def test_the_table_is_over_seeds(folder: Path) -> None:
    (page,) = training_pages([read_training(folder)])
    (table,) = page.tables
    deviation = statistics.stdev([97.0, 98.5, 96.0])
    first, second, both = table.rows
    assert first.cells[0].text == f"97.17 ± {deviation:.2f}"
    assert first.cells[0].detail == "median 97.00, 3 seeds"
    assert second.cells[0].text == f"95.50 ± {statistics.stdev([95.0, 96.0]):.2f}"
    means = [statistics.mean([97.0, 98.5, 96.0]), 95.5]
    assert both.cells[0].text == f"{statistics.mean(means):.2f} ± {statistics.stdev(means):.2f}"
    assert page.notes == ("1 training diverged and is in no mean.",)
    assert page.facts[0].detail == f"{METRIC}, over architectures"


def test_curves_are_means_over_seeds_as_far_as_all_have_come(folder: Path) -> None:
    (page,) = training_pages([read_training(folder)])
    loss = next(figure for figure in page.curves if figure.title == "train loss")
    whole, shorter = loss.data
    assert whole["x"] == [1, 2, 3, 4]
    np.testing.assert_allclose(whole["y"], [2, 1.5, 1 + 1 / 3, 1.25], rtol=1e-5)
    assert shorter["x"] == [1, 2]


def test_one_architecture_has_a_line_per_seed(tmp_path: Path) -> None:
    (page,) = training_pages([read_training(write_training(tmp_path / "a", [[97.0, 98.0]], all_data=True))])
    assert [figure.title for figure in page.curves] == ["train loss", "train accuracy"]
    assert [trace["name"] for trace in page.curves[0].data] == ["seed 0", "seed 1"]
    assert "validation part was trained on too" in " ".join(page.summary)


def test_an_unfinished_run_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    run = read_training(write_training(tmp_path / "a", [[97.0, 98.0]], finished=False))
    (page,) = training_pages([run])
    assert page.notes[0].startswith("The run is unfinished: 1 of 2 trainings came to the end.")
    assert page.tables[0].rows[0].cells[0].text == "97.00"
    for file in (tmp_path / "a/trainings").rglob("*.json*"):
        file.unlink()
    (page,) = training_pages([read_training(tmp_path / "a")])
    assert page.curves == ()
    html = build([tmp_path / "a"], tmp_path / "a.html").read_text(encoding="utf-8")
    assert "there is no curve to draw" in html


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.yaml", "kind: supernet train\n", "is missing|space"),
        ("summary.json", "{", "not JSON"),
        ("summary.json", '{"format": 9}', "format 9 is not known"),
        ("summary.json", '{"format": 1, "architectures": [{}]}', "a list of 2"),
        ("trainings/0/0/result.json", "[]", "no JSON object"),
        ("trainings/0/0/result.json", '{"test_accuracy": "x"}', "test_accuracy"),
        ("trainings/0/0/epochs.jsonl", "x\n", "line 1 is no JSON"),
        ("trainings/0/0/epochs.jsonl", '{"epoch": 2}\n', "line 1 is of epoch 2"),
    ],
)
def test_damaged_files_are_one_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    run = write_training(tmp_path / "a", [[97.0], [96.0]])
    (run / name).write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=said) as caught:
        read_training(run)
    assert name.rsplit("/", maxsplit=1)[-1] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_stand_in_one_page(folder: Path, search_dir: Path, tmp_path: Path) -> None:
    supernet = write_supernet(tmp_path / "supernet", epochs=1)
    page = make_page(read_all([folder, search_dir, supernet]))
    assert page.title == "3 studies on nasbench201 and darts"
    assert page.sections[-1].title == "Trainings from scratch: nasbench201 on digits"
    plain = as_plain(page)
    assert [len(plain[key]) for key in ("studies", "supernets", "trainings")] == [1, 1, 1]
    assert len(plain["trainings"][0]["cells"]) == 2
    json.dumps(plain, allow_nan=False)
    assert "trainings" not in as_plain(make_page(read_all([search_dir])))


def test_texts_from_files_are_escaped(tmp_path: Path) -> None:
    run = write_training(tmp_path / "a", [[97.0]])
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["data"]["name"] = HOSTILE
    config["architectures"] = [HOSTILE]
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    file = build([run], tmp_path / "a.html")
    assert "<script>alert" not in file.read_text(encoding="utf-8")
    page = read(file)
    assert not any(tag == "img" for tag, _ in page.tags)
    assert "The texts are no architectures of the space, so the cells are not drawn." in page.text


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_offline(browser: Browser, folder: Path, tmp_path: Path, width: int) -> None:
    visit = browser.visit(build([folder], tmp_path / "a.html"), width)
    assert visit.requests == []
    assert visit.complaints == []
    assert browser.evaluate(DRAWN) == 4
    assert browser.evaluate("document.querySelectorAll('svg.cell').length") == 2
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
