"""Supernet runs in the report: what is read, what is said, what is drawn."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import yaml
from scipy import stats

from crlso.errors import RunError
from crlso.report import build
from crlso.report.build import make_page, read_all
from crlso.report.drawing import operation_colors
from crlso.report.page import as_plain
from crlso.report.palette import DEAD
from crlso.report.shares_pictures import GROUND, MOST_POINTS, PICTURES, WIDTH, shares_pictures
from crlso.report.supernet_figures import curve_figures
from crlso.report.supernet_page import supernet_pages
from crlso.report.supernet_reading import SupernetRun, is_supernet_directory, read_supernet
from crlso.report.supernet_summary import facts, notes, summary, verdicts
from crlso.report.supernet_tables import cost_table, real_table, searches_table
from crlso.spaces import get_space
from tests.report.browser import Browser
from tests.report.supernet_dirs import METRIC, OPERATIONS, shares_of, write_supernet
from tests.report.test_page import HOSTILE, Reader, read

TABLE = {"cifar10/valid_accuracy@200": (88.0, 91.607), "cifar10/valid_accuracy@200/seed0": (87.0, 91.5)}
DRAWN = """Array.from(document.querySelectorAll('.plot')).filter(
    (plot) => plot.querySelector('.main-svg .scatterlayer .trace path')).length"""


@pytest.fixture(scope="module")
def darts_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_supernet(
        tmp_path_factory.mktemp("runs") / "darts", derived=(97.5, 98.25, 97.0), eigenvalues=True
    )


@pytest.fixture(scope="module")
def cell_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_supernet(
        tmp_path_factory.mktemp("runs") / "cell", space="nasbench201", derived=(95.0, 96.0), table=TABLE
    )


@pytest.fixture(scope="module")
def file(darts_dir: Path, cell_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build([darts_dir, cell_dir], tmp_path_factory.mktemp("out") / "report.html")


def outcome(derived: list[float], random_mean: list[float], tmp_path: Path) -> SupernetRun:
    """A run whose searches come to these accuracies."""
    run = read_supernet(write_supernet(tmp_path / "run", derived=derived, epochs=1))
    searches = []
    for search, mean in zip(run.searches, random_mean, strict=True):
        assert search.result is not None
        assert search.result.random is not None
        random = replace(search.result.random, mean=mean)
        searches.append(replace(search, result=replace(search.result, random=random)))
    return replace(run, searches=tuple(searches))


# What is read


def test_a_run_is_read(darts_dir: Path) -> None:
    assert is_supernet_directory(darts_dir)
    run = read_supernet(darts_dir)
    assert (run.recipe, run.space.name, run.data, run.metric) == ("darts_1st", "darts", "digits", METRIC)
    assert (run.kinds, len(run.edges), run.operations) == (("normal", "reduce"), 14, OPERATIONS)
    assert [search.seed for search in run.searches] == [0, 1, 2]
    entries = json.loads((darts_dir / "summary.json").read_text())["searches"]
    for search, entry in zip(run.searches, entries, strict=True):
        records = [
            json.loads(line)
            for line in (darts_dir / "seeds" / str(search.seed) / "epochs.jsonl").read_text().splitlines()
        ]
        assert [epoch.valid_accuracy for epoch in search.epochs] == [r["valid_accuracy"] for r in records]
        assert search.result is not None
        assert (search.architecture, search.result.params) == (entry["architecture"], entry["params"])
        assert search.shares is not None
        assert search.shares.shape == (7, 2, 14, 8)


def test_an_unfinished_run_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "u", derived=(1.0, 1.0, 1.0), done=(6, 2, 0), finished=False)
    run = read_supernet(folder)
    assert not run.finished
    assert [len(search.epochs) for search in run.searches] == [6, 2, 0]
    assert [search.derived for search in run.searches] == [True, False, False]
    assert run.searches[1].architecture == run.searches[1].epochs[-1].architecture
    assert run.searches[2].architecture is None
    first, *rest = notes(run)
    assert "3 trainings from scratch are done" in first
    assert rest == [
        "Seed 1 is unfinished (2 of 6 epochs).",
        "Seed 2 has not come to the end of its first epoch.",
    ]
    assert "So far the search has cost 20.0 CPU seconds." in summary(run)
    text = read(build([folder], tmp_path / "a.html")).text
    assert "What the shares of seed 1 stand for after 2 of 6 epochs." in text
    assert "Was the search better than chance?" not in text


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "u", derived=(1.0,), done=(0,), finished=False)
    text = read(build([folder], tmp_path / "a.html")).text
    for said in ("no curve to draw", "No search has left its shares", "no architecture to draw yet"):
        assert said in text


EPOCHS, SHARES = "seeds/0/epochs.jsonl", "seeds/0/architecture.npz"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.yaml", b"kind: [", "not YAML"),
        ("config.yaml", b"kind: supernet search", "'name' is missing|'space'"),
        ("summary.json", b"{", "not JSON"),
        ("summary.json", b'{"format": 2}', "format 2 is not known, only 1"),
        ("summary.json", b"{}", "'searches' is missing"),
        ("summary.json", b'{"searches": [{"seed": "a"}]}', r"'searches\.0\.seed' should be a whole number"),
        (EPOCHS, b'{"epoch": 1}\n{"ep', "line 1: "),
        (EPOCHS, b"{", "line 1 is no JSON"),
        (EPOCHS, b"3", "line 1 holds no JSON object"),
        (EPOCHS, b"\xff\xfe", "can not be read"),
        (SHARES, b"PK", "damaged"),
        ("seeds/0/derived.json", b"{}", "'architecture' is missing"),
        ("trainings.jsonl", b"\xff", "can not be read"),
    ],
)
def test_damaged_files_are_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    folder = write_supernet(tmp_path / "a", epochs=2)
    (folder / name).write_bytes(content)
    with pytest.raises(RunError, match=said) as caught:
        read_all([folder])
    assert str(folder / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("supernet", "kinds", [], "'supernet.kinds' should be a list of texts"),
        ("supernet", "edges", [[0]], "'supernet.edges' should be a list of pairs"),
        ("supernet", "operations", None, "'supernet.operations' should be a list of texts"),
        ("space", "space", "nowhere", "unknown kind of space 'nowhere'"),
        ("recipe", "search", {}, r"'recipe\.search\.epochs' is missing"),
        ("data", "name", 3, r"'data\.name' should be a text"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, part: str, key: str, value: object, said: str) -> None:
    folder = write_supernet(tmp_path / "a", epochs=1)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config[part][key] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunError, match=said) as caught:
        read_all([folder])
    assert str(folder / "config.yaml") in str(caught.value)


@pytest.mark.parametrize("how", ["shape", "values", "name", "objects"])
def test_damaged_shares(tmp_path: Path, how: str) -> None:
    folder = write_supernet(tmp_path / "a", epochs=2)
    shares = shares_of((2, 14, 8), 2, 0)
    if how == "shape":
        np.savez(folder / SHARES, shares=shares[..., 1:])
    elif how == "values":
        np.savez(folder / SHARES, shares=np.where(shares == shares.max(), np.nan, shares))
    elif how == "name":
        np.savez(folder / SHARES, other=shares)
    else:
        np.savez(folder / SHARES, shares=np.array([{}], dtype=object))
    with pytest.raises(RunError, match=r"architecture\.npz: damaged"):
        read_supernet(folder)


def test_epochs_out_of_order(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "a", epochs=2)
    lines = (folder / EPOCHS).read_text().splitlines()
    (folder / EPOCHS).write_text("\n".join(reversed(lines)))
    with pytest.raises(RunError, match="line 1 is of epoch 2, expected 1"):
        read_supernet(folder)


def test_settings_are_gone(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "a", epochs=1)
    (folder / "config.yaml").unlink()
    with pytest.raises(RunError, match=r"config\.yaml: no such file, and without it"):
        read_all([folder])


# What is said


def test_figures_are_over_searches(darts_dir: Path) -> None:
    run = read_supernet(darts_dir)
    derived, random = [97.5, 98.25, 97.0], [96.0, 97.0, 98.0]
    shown = {fact.name: fact.value for fact in facts(run)}
    for name, values in (("Derived networks", derived), ("Random networks, mean", random)):
        assert shown[name] == f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}\u00a0%"
    assert shown["CPU seconds per search"] == "15.0"
    interval = stats.ttest_rel(derived, random).confidence_interval(0.95)
    said = verdicts(run)[1]
    assert said.startswith("They are not clearly better than the mean of 5 random networks trained alike (")
    assert f"0.58 points [{interval.low:.2f} to {interval.high:.2f}]".replace("-", "−") in said


@pytest.mark.parametrize("seed", range(12))
def test_verdicts_agree_with_the_paired_t_test(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    derived, random = rng.normal(95, 1, size=5).tolist(), rng.normal(95 + (seed % 3 - 1), 1, size=5).tolist()
    said = verdicts(outcome(derived, random, tmp_path))[1]
    p, difference = stats.ttest_rel(derived, random).pvalue, np.mean(derived) - np.mean(random)
    if p < 0.05:
        expected = "They are better than" if difference > 0 else "They are worse than"
    else:
        expected = "They are not clearly better than" if difference > 0 else "They are not better than"
    assert said.startswith(expected)


@pytest.mark.parametrize(
    ("derived", "said"),
    [
        (97.5, "It is 1.50 points better than the mean of 5 random networks trained alike (96.00\u00a0%)."),
        (
            96.0,
            "It is not better than the mean of 5 random networks trained alike (96.00\u00a0%): it is equal.",
        ),
        (95.0, "(96.00\u00a0%): it is 1.00 points worse."),
    ],
)
def test_one_search(derived: float, said: str, tmp_path: Path) -> None:
    run = read_supernet(write_supernet(tmp_path / "a", derived=(derived,), epochs=1))
    words = verdicts(run)
    assert words[1].endswith(said)
    assert words[2].startswith("It is not better than a random search, which keeps the best of 5")
    assert words[3] == "Training the random networks costs 0.25 times what a search costs, by formula."
    assert words[-1] == "There is one search only: how much of this is chance can not be said."


def test_what_went_wrong_is_said(tmp_path: Path) -> None:
    run = read_supernet(
        write_supernet(tmp_path / "a", derived=(97.0, None), done=(6, 4), skips=5, random_mean=None)
    )
    collapsed = "warning: 5 skip connections in the normal cell, more than 2: it looks collapsed."
    assert notes(run) == (
        f"Seed 0, {collapsed}",
        "Seed 1 stopped early, after 4 of 6 epochs.",
        f"Seed 1, {collapsed}",
        "Seed 1: the training of the derived network diverged; it counts in no mean.",
    )
    assert facts(run)[0].value == "97.00\u00a0%"
    assert verdicts(run)[-1].startswith("No random networks were trained beside")


def test_warnings_of_the_search_are_repeated(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "a", epochs=2, derived=(97.0,), skips=5)
    file = folder / "seeds" / "0" / "epochs.jsonl"
    file.write_text(file.read_text().replace('"warnings": []', '"warnings": ["sharp <b>", "skips"]'))
    run = read_supernet(folder)
    assert notes(run) == ("Seed 0, warning: sharp <b>.", "Seed 0, warning: skips.")
    assert not any(tag == "b" for tag, _ in read(build([folder], tmp_path / "a.html")).tags)


def test_nothing_was_trained(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "a", epochs=1)
    summary_ = json.loads((folder / "summary.json").read_text())
    for entry in summary_["searches"]:
        entry |= {"trained": None, "random": None}
    (folder / "summary.json").write_text(json.dumps(summary_))
    run = read_supernet(folder)
    assert verdicts(run) == ()
    assert "The derived networks were not trained, so their accuracy is not known." in notes(run)
    assert "no test accuracy" in read(build([folder], tmp_path / "a.html")).text


def test_real_trainings(cell_dir: Path) -> None:
    run = read_supernet(cell_dir)
    assert summary(run)[-1] == (
        "Looked up in the real trainings of nasbench201, the derived cells have cifar10/valid_accuracy@200 "
        "88.50 ± 0.71\u00a0% (best of the table 91.61\u00a0%)."
    )
    table = real_table(run)
    assert table is not None
    assert [row.label for row in table.rows] == list(TABLE)
    assert [cell.text for cell in table.rows[0].cells] == ["88.00", "89.00", "88.50 ± 0.71", "91.61"]


def test_tables(darts_dir: Path) -> None:
    run = read_supernet(darts_dir)
    found, cost = searches_table(run), cost_table(run)
    assert found is not None
    assert cost is not None
    assert real_table(run) is None
    assert [row.label for row in found.rows] == ["seed 0", "seed 1", "seed 2", "mean ± sd"]
    assert all(len(row.cells) == len(table.head) - 1 for table in (found, cost) for row in table.rows)
    assert found.rows[1].cells[0].text == "98.25"
    assert found.rows[0].cells[2].detail == "± 0.75 over 5"
    assert [cell.text for cell in cost.rows[0].cells] == ["6", "15.0", "16.5", "2.50", "2.75"]


# What is drawn


def test_curves_carry_the_numbers(darts_dir: Path) -> None:
    run = read_supernet(darts_dir)
    figures = {figure.title: figure for figure in curve_figures(run, "k")}
    assert list(figures) == [
        "Loss (nats)",
        "Accuracy (%)",
        "Entropy of the shares (nats)",
        "Skip connections",
        "Convolutions",
        "Dominant eigenvalue",
    ]
    values = np.array([[epoch.valid_accuracy for epoch in search.epochs] for search in run.searches])
    traces = [t for t in figures["Accuracy (%)"].data if t["name"] == "validation part"]
    for trace, row in zip(traces, [*values, values.mean(axis=0)], strict=True):
        assert trace["x"] == list(range(1, 7))
        assert trace["y"] == pytest.approx(row, rel=1e-5)
    assert figures["Dominant eigenvalue"].data[0]["x"] == [2, 4, 6]
    for figure in figures.values():
        assert go.Figure({"data": figure.data, "layout": figure.layout}).data


def test_means_stop_where_a_search_stops(tmp_path: Path) -> None:
    run = read_supernet(write_supernet(tmp_path / "a", done=(6, 4)))
    figures = curve_figures(run, "k")
    assert [figure.title for figure in figures][-1] == "Convolutions"  # no eigenvalue was measured
    assert [len(trace["x"]) for trace in figures[0].data] == [6, 4, 4] * 2


def areas(svg: str) -> list[tuple[str, list[tuple[int, int]]]]:
    """Colour and upper boundary of each area of a panel, in the order of drawing."""
    found = []
    for path, color in re.findall(r'<path d="([^"]+)" fill="([^"]+)"', svg):
        y = int(re.findall(r"V(-?\d+)", path)[0])
        points = [(0, y)]
        for dx, dy in re.findall(r"l(-?\d+) (-?\d+)", path):
            points.append((points[-1][0] + int(dx), points[-1][1] + int(dy)))
        found.append((color, points))
    return found


def test_pictures_show_the_shares(darts_dir: Path) -> None:
    run = read_supernet(darts_dir)
    picture = shares_pictures(run)[1]
    assert picture.title == "Seed 1"
    assert [kind.kind for kind in picture.kinds] == ["Normal cell", "Reduce cell"]
    with np.load(darts_dir / "seeds" / "1" / "architecture.npz") as arrays:
        shares = arrays["shares"]
    colors = operation_colors(get_space("darts").operations)
    for kind, panels in enumerate(picture.kinds):
        assert [panel.label for panel in panels.panels[:5]] == ["0 → 2", "1 → 2", "0 → 3", "1 → 3", "2 → 3"]
        for edge, panel in enumerate(panels.panels):
            drawn = areas(panel.svg)
            # The same colours as in the drawings of cells; the last operation is drawn first.
            assert [color for color, _ in drawn] == [colors[name] for name in reversed(OPERATIONS)]
            heights = np.array([[y for _, y in points] for _, points in drawn])[::-1]
            expected = GROUND * (1 - np.cumsum(shares[:, kind, edge], axis=1)).T
            assert np.abs(heights - expected).max() <= 0.51
            assert drawn[0][1][-1][0] == WIDTH
            best = 1 + int(shares[-1, kind, edge, 1:].argmax())
            assert panel.strongest == f"{OPERATIONS[best]} {shares[-1, kind, edge, best]:.2f}"
            assert panel.color == colors[OPERATIONS[best]] != DEAD


def test_long_searches_are_thinned_and_further_ones_left_out(tmp_path: Path) -> None:
    folder = write_supernet(
        tmp_path / "a", space="nasbench201", derived=(95.0,) * (PICTURES + 2), epochs=3 * MOST_POINTS
    )
    (page,) = supernet_pages([read_supernet(folder)])
    assert len(page.pictures) == PICTURES
    assert f"The first {PICTURES} of {PICTURES + 2} searches are shown." in page.pictures_caption
    points = areas(page.pictures[0].kinds[0].panels[0].svg)[0][1]
    assert (len(points), points[-1][0]) == (MOST_POINTS, WIDTH)


def test_a_picture_before_the_first_epoch(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "a", epochs=2)
    np.savez(folder / SHARES, shares=shares_of((2, 14, 8), 0, 0))
    panel = shares_pictures(read_supernet(folder))[0].kinds[0].panels[0]
    assert [x for x, _ in areas(panel.svg)[0][1]] == [0, WIDTH]


# The page


def test_the_page_is_complete(file: Path) -> None:
    page = read(file)
    assert page.text.count("Architecture weights over time") == 2
    for said in ("Derived cells", "Cost of the searches", "What the searches found", "arXiv 1806.09055"):
        assert said in page.text
    assert "States 0 and 1 are the cell's inputs." in page.text
    assert "State 0 is the cell's input." in page.text
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "svg"]
    assert classes.count("cell") == 3 + 2
    assert classes.count("shares") == 3 * 2 * 14 + 2 * 6
    assert len(page.figures) == 6 + 5
    assert file.stat().st_size < 6e6


class Titles(HTMLParser):
    """Texts of all SVG titles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._inside = tag == "title"
        if self._inside:
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


def test_pictures_have_words_for_those_who_do_not_see_them(file: Path) -> None:
    titles = [title for title in Titles(file.read_text(encoding="utf-8")).found if "shares after" in title]
    assert len(titles) == len(set(titles)) == 3 * 2 * 14 + 2 * 6
    assert all(
        re.match(r"(normal cell|reduce cell|cell), edge \d → \d: shares after 6 epochs: \w", t)
        for t in titles
    )


def test_ids_are_unique_and_nothing_is_asked_from_outside(file: Path) -> None:
    page = read(file)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith("data:") or value[1:] in ids


def test_all_kinds_of_directories_stand_in_one_page(
    darts_dir: Path, search_dir: Path, compare_dir: Path, tmp_path: Path
) -> None:
    again = write_supernet(tmp_path / "again", epochs=1)
    page = make_page(read_all([darts_dir, search_dir, compare_dir, again]))
    assert page.title == "3 studies on nasbench201 and darts"
    assert [section.title for section in page.sections[1:]] == [
        "darts_1st in darts on digits (darts)",
        "darts_1st in darts on digits (again)",
    ]
    plain = as_plain(page)
    assert [len(plain[key]) for key in ("studies", "supernets")] == [1, 2]
    assert plain["supernets"][0]["pictures"] == ["Seed 0", "Seed 1", "Seed 2"]
    json.dumps(plain, allow_nan=False)


def test_pages_without_supernets_carry_nothing_of_them(search_dir: Path, tmp_path: Path) -> None:
    html = build([search_dir], tmp_path / "a.html").read_text(encoding="utf-8")
    assert "svg.shares" not in html
    assert "supernets" not in as_plain(make_page(read_all([search_dir])))


def test_texts_from_files_are_escaped(tmp_path: Path) -> None:
    recipe = {"name": HOSTILE, "summary": HOSTILE, "source": HOSTILE}
    folder = write_supernet(
        tmp_path / "a", space="nasbench201", epochs=2, table={HOSTILE: (1.0, 2.0)}, recipe=recipe
    )
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["supernet"] |= {"kinds": [HOSTILE], "operations": [HOSTILE, "b", "c", "d", "e"]}
    config["data"]["name"] = HOSTILE
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("summary.json", "seeds/1/epochs.jsonl"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace('"architecture": "', '"architecture": "<i>'))
    html = build([folder], tmp_path / "a.html").read_text(encoding="utf-8")
    page = Reader(html)
    assert "<script>alert" not in html
    assert not any(tag in {"img", "i"} for tag, _ in page.tags)
    assert "alert(1)" in page.text
    assert "The texts are no architectures of the space, so the cells are not drawn." in page.text
    assert len(page.scripts) == 5 + 2  # plots, the library, the page's own


def test_a_declared_space(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "a", space="nasbench201", epochs=2, derived=(90.0,))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    operations = ["nothing", *config["supernet"]["operations"][1:]]
    config["space"] = {"space": "edge_cell", "name": "mine", "nodes": 4, "operations": operations}
    config["supernet"]["operations"] = operations
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert "darts_1st in mine on digits" in read(build([folder], tmp_path / "a.html")).text


def test_many_searches_stay_small(tmp_path: Path) -> None:
    folder = write_supernet(tmp_path / "a", derived=(97.0,) * 6, epochs=50)
    assert build([folder], tmp_path / "a.html").stat().st_size < 6e6


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_offline(browser: Browser, file: Path, width: int) -> None:
    visit = browser.visit(file, width)
    assert visit.requests == []
    assert visit.complaints == []
    assert browser.evaluate(DRAWN) == 11
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    narrowest = """Math.min(...Array.from(document.querySelectorAll('details[open] svg.shares')).map(
        (svg) => svg.getBoundingClientRect().width))"""
    assert browser.evaluate(narrowest) >= 150
