"""The page in a real browser: everything is drawn, nothing is asked of the network, nothing goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from crlso.report import build
from crlso.spaces import get_space
from tests.report.browser import Browser
from tests.report.rundirs import write_search

DRAWN = """Array.from(document.querySelectorAll('.plot')).filter(
    (plot) => plot.querySelector('.main-svg .scatterlayer .trace path')).length"""
PLOT = "document.getElementById('study-1-curves')"


@pytest.fixture(scope="module")
def file(compare_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    return build([compare_dir], out, space=get_space("nasbench201"))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_offline(browser: Browser, file: Path, width: int) -> None:
    visit = browser.visit(file, width)
    assert visit.requests == []
    assert visit.complaints == []
    assert browser.evaluate(DRAWN) == 4
    assert browser.evaluate("document.querySelectorAll('svg.cell').length") >= 4
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    cut = """Array.from(document.querySelectorAll('.drawing')).filter(
        (box) => box.scrollWidth > box.clientWidth).length"""
    assert browser.evaluate(cut) == 0


def test_labels_of_drawings_stay_inside_their_boxes(browser: Browser, file: Path) -> None:
    browser.visit(file, 390)
    outside = """Array.from(document.querySelectorAll('svg.cell rect + text')).filter(
        (text) => text.getBBox().width > text.previousElementSibling.getBBox().width - 4).length"""
    assert browser.evaluate(outside) == 0
    assert browser.evaluate("document.querySelectorAll('svg.cell rect + text').length") >= 24


def test_switches(browser: Browser, file: Path) -> None:
    browser.visit(file, 1280)
    shown = f"{PLOT}.data.filter((t) => t.visible).map((t) => t.meta.view)"
    assert set(browser.evaluate(shown)) == {"mean"}
    assert browser.evaluate(f"{PLOT}.layout.yaxis.type") == "log"
    floor = browser.evaluate(f"Math.min(...{PLOT}.data.flatMap((t) => t.y))")
    assert floor > 0
    browser.evaluate("document.querySelector('input[value=median]').click()")
    assert set(browser.evaluate(shown)) == {"median"}
    browser.evaluate("document.querySelector('[data-switch=log]').click()")
    assert browser.evaluate(f"{PLOT}.layout.yaxis.type") == "linear"
    assert browser.evaluate(f"Math.min(...{PLOT}.data.flatMap((t) => t.y))") == 0
    browser.evaluate("document.querySelector('[data-switch=log]').click()")
    assert browser.evaluate(f"Math.min(...{PLOT}.data.flatMap((t) => t.y))") == floor


def test_text_of_files_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    folder = write_search(tmp_path / "a", method="<img src=http://127.0.0.1:9/x onerror=alert(1)>")
    visit = browser.visit(build([folder], tmp_path / "a.html"), 1280)
    assert visit.requests == []
    assert visit.complaints == []
    assert browser.evaluate("document.querySelectorAll('img').length") == 0


def test_an_error_in_the_page_would_be_noticed(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<html data-plots=drawn><script>console.error('x'); nothing.at.all</script>"
        "<img src='http://127.0.0.1:9/x.png'></html>"
    )
    visit = browser.visit(page, 1280)
    browser.wait_for("document.readyState === 'complete'")
    assert visit.complaints
    assert visit.requests == ["http://127.0.0.1:9/x.png"]
