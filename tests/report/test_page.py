"""The page: complete, self-contained, escaped, and graceful where something is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from benchmarks import TableEvaluator
from crlso.errors import RunError, UserError
from crlso.report import build
from crlso.report.build import make_page, read_all
from crlso.report.text import count, decimals_for, listing, number, short, whole_numbers, with_unit
from crlso.runs import compare, search
from crlso.spaces import get_space
from tests.report.rundirs import METRIC, write_compare, write_search

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"


class Reader(HTMLParser):
    """Elements, ids and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open != "style":
            self.text += data

    @property
    def figures(self) -> list[dict[str, object]]:
        """Everything handed to plotly."""
        return [json.loads(script) for script in self.scripts if script.startswith('{"data"')]


def read(file: Path) -> Reader:
    return Reader(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compared(
    compare_dir: Path, tmp_path_factory: pytest.TempPathFactory, nasbench201: TableEvaluator
) -> Path:
    return build([compare_dir], tmp_path_factory.mktemp("out") / "report.html", evaluator=nasbench201)


def test_the_page_is_complete(compared: Path) -> None:
    page = read(compared)
    for heading in (
        "Regret",
        "Figures",
        "Best cells",
        "Latent space",
        "Training curves",
        "Settings and versions",
    ):
        assert heading in page.text
    assert "Which method was better?" in page.text
    assert "%" in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) >= 4
    assert len(page.figures) == 4  # curves, one latent space, two training curves
    assert compared.stat().st_size < 6e6


def test_the_page_refers_to_nothing_outside(compared: Path) -> None:
    html = compared.read_text(encoding="utf-8")
    page = Reader(html)
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("#", "data:")), (name, value)
    library = max(page.scripts, key=len)
    assert library.count("plotly.js v") == 1
    ours = html.replace(library, "")
    assert not re.search(r"https?://|@import|url\(", ours)
    assert "default-src 'none'" in html


def test_every_id_is_unique_and_every_label_has_its_target(compared: Path) -> None:
    page = read(compared)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
        if (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in ids


def test_plots_are_valid_plotly_figures(compared: Path) -> None:
    for figure in read(compared).figures:
        assert go.Figure({"data": figure["data"], "layout": figure["layout"]}).data


def test_curves_carry_the_numbers(compared: Path, compare_dir: Path) -> None:
    summary = json.loads((compare_dir / "summary.json").read_text())
    figure = read(compared).figures[0]
    lines = {
        (trace["name"], trace["meta"]["view"]): trace
        for trace in figure["data"]  # type: ignore[attr-defined]
        if "name" in trace
    }
    assert len(lines) == 8
    for method, entry in summary["methods"].items():
        regret = summary["optimum"] - np.array(entry["curves"])
        assert lines[method, "mean"]["y"] == pytest.approx(regret.mean(axis=0), rel=1e-5, abs=1e-9)
        assert lines[method, "median"]["y"] == pytest.approx(np.median(regret, axis=0), rel=1e-5, abs=1e-9)


def test_latent_space_shows_true_values_or_says_that_it_does_not(
    search_dir: Path, tmp_path: Path, nasbench201: TableEvaluator
) -> None:
    true = read(build([search_dir], tmp_path / "a.html", evaluator=nasbench201))
    assert f"coloured by its true {METRIC}" in true.text
    with np.load(search_dir / "diagnostics.npz") as arrays:
        codes = arrays["space_codes"]
    values = nasbench201.evaluate(codes, metrics=[METRIC])[METRIC].to_numpy()
    assert sorted(true.figures[1]["data"][0]["customdata"]) == pytest.approx(sorted(values), rel=1e-5)  # type: ignore[index]
    predicted = read(build([search_dir], tmp_path / "b.html"))
    assert (
        "coloured by the score that the model predicts (higher is better), not by true values"
        in predicted.text
    )


def test_the_path_is_in_order_and_ends_at_the_best(search_dir: Path, tmp_path: Path) -> None:
    figure = read(build([search_dir], tmp_path / "a.html")).figures[1]
    _, path, steps, best = figure["data"]  # type: ignore[misc]
    with np.load(search_dir / "diagnostics.npz") as arrays:
        assert path["x"] == pytest.approx(arrays["trial_latent"][:, 0], rel=1e-4, abs=1e-6)
    values = [
        json.loads(line)["values"][METRIC] for line in (search_dir / "trials.jsonl").read_text().splitlines()
    ]
    assert (best["x"], best["y"]) == (steps["x"][-1:], steps["y"][-1:])
    assert best["x"][0] == path["x"][int(np.argmax(values))]


def test_texts_from_files_are_escaped(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "a", method=HOSTILE, report={HOSTILE: 1.0})
    trials = (folder / "trials.jsonl").read_text().replace('"arch": "', '"arch": "<i>')
    (folder / "trials.jsonl").write_text(trials)
    file = build([folder], tmp_path / "a.html")
    html = file.read_text(encoding="utf-8")
    page = Reader(html)
    assert "<script>alert" not in html
    assert not any(tag in {"img", "i"} for tag, _ in page.tags)
    assert "alert(1)" in page.text
    assert len(page.scripts) == 6  # four plots, the library, the page's own


def test_missing_parts_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "a", optimum=None, diagnostics=False)
    (folder / "trials.jsonl").unlink()
    page = read(build([folder], tmp_path / "a.html"))
    assert "None of these runs left a latent space" in page.text
    assert "how far that is from the best possible is not known" in page.text
    assert "The best value possible is not known here" in page.text
    assert "Best value so far" in page.text
    assert "The search space is not at hand, so the cells are not drawn" in page.text
    assert "Training curves" not in page.text


def test_cells_are_drawn_with_a_space_alone(search_dir: Path, tmp_path: Path) -> None:
    page = read(build([search_dir], tmp_path / "a.html", space=get_space("nasbench201")))
    assert any(tag == "svg" for tag, _ in page.tags)
    other = read(build([search_dir], tmp_path / "b.html", space=get_space("toy64")))
    assert "so the cells are not drawn" in other.text


def test_directories_may_be_mixed(compare_dir: Path, search_dir: Path, tmp_path: Path) -> None:
    unfinished = write_search(tmp_path / "u", method="evolution", seed=9, finished=False)
    empty = write_search(tmp_path / "e", method="local", seed=5, finished=False, budget=1, diagnostics=False)
    file = build([compare_dir, search_dir, unfinished, empty, search_dir], tmp_path / "new" / "a.html")
    text = read(file).text
    assert (
        "evolution, seed 9, is unfinished (20 of 40 evaluations): the figures show it as far as it is" in text
    )
    assert "local (e), seed 5, is unfinished (0 of 1 evaluation)" in text


def test_only_an_empty_run(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "e", finished=False, budget=1, diagnostics=False)
    text = read(build([folder], tmp_path / "a.html")).text
    assert "No evaluation has worked so far" in text
    assert "there is no curve to draw" in text


def test_studies_stand_apart(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    results = []
    for name in ("cifar10", "cifar100"):
        metric = f"{name}/valid_accuracy@200"
        search(
            nasbench201,
            method="random",
            metric=metric,
            report=[f"{name}/params"],
            budget=5,
            out=tmp_path / name,
        )
        results.append(tmp_path / name)
    page = make_page(read_all(results), evaluator=nasbench201)
    assert page.title == "2 studies on nasbench201"
    assert [study.title for study in page.studies] == [
        "nasbench201: cifar10/valid_accuracy@200",
        "nasbench201: cifar100/valid_accuracy@200",
    ]
    text = read(build(results, tmp_path / "a.html", evaluator=nasbench201)).text
    assert "optimum 73.493\u00a0%" in text
    assert "Its reported metrics, which the search did not see: cifar10/params" in text


def test_a_real_comparison(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    folder = tmp_path / "compare"
    methods = ["random", "evolution:population=5:sample=2"]
    compare(nasbench201, methods=methods, metric=METRIC, budget=12, seeds=[0, 1, 2], out=folder, jobs=1)
    page = read(build([folder], tmp_path / "a.html", evaluator={"nasbench201": nasbench201}))
    assert "random and evolution:population=5:sample=2 searched nasbench201" in page.text
    assert "After 12 evaluations," in page.text
    assert "kind: compare" in page.text


def test_the_same_directories_give_the_same_file(compare_dir: Path, tmp_path: Path) -> None:
    one, two = (build([compare_dir], tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert one == two


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no directory; give directories made by"):
        build([], tmp_path / "a.html")


def test_a_file_in_the_way(search_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file"):
        build([search_dir], tmp_path / "file" / "a.html")


def test_large_comparison_stays_small(tmp_path: Path) -> None:
    folder = write_compare(tmp_path / "c", {f"m{i}": 1.0 for i in range(8)}, seeds=30, budget=150, runs=False)
    assert build([folder], tmp_path / "a.html").stat().st_size < 6e6


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [
        (0.0, 3, "0"),
        (0.0001, 3, "<0.001"),
        (-0.5, 2, "−0.50"),
        (1234.5, 1, "1\u202f234.5"),
        (float("nan"), 3, "–"),
        (None, 3, "–"),
    ],
)
def test_numbers(value: float | None, decimals: int, shown: str) -> None:
    assert number(value, decimals) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1.073466, "1.0735"),
        (153.27, "153.27"),
        (2e9, "2.000e9"),
        (-3e-5, "−3.000e−5"),
        (None, "–"),
    ],
)
def test_short_numbers(value: float | None, shown: str) -> None:
    assert short(value) == shown


def test_words() -> None:
    assert (count(1, "seed"), count(2, "seed")) == ("1 seed", "2 seeds")
    assert [listing(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert whole_numbers([2, 0, 1]) == "0–2"
    assert whole_numbers([0, 2]) == "0, 2"
    assert whole_numbers([1000, 0, 1, 2, 7, 8]) == "0–2, 7, 8, 1000"
    assert whole_numbers(list(range(0, 20, 2))) == "0, 2, 4, 6, 8, 10, …"
    assert with_unit("5", "%") == "5\u00a0%"
    assert [decimals_for(v) for v in (91.6, 0.08, 5000.0, float("nan"), 0.0)] == [3, 5, 1, 3, 3]
