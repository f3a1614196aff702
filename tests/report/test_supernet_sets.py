"""Sets of shrinking searches in the report."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlso.errors import RunError
from crlso.report import build
from crlso.report.supernet_page import supernet_as_plain, supernet_page
from crlso.report.supernet_reading import read_supernet
from crlso.report.supernet_sets import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, set_views, ticks
from crlso.runs.pareto import Member, write_members
from tests.report.supernet_dirs import write_supernet

NAMES = {"svg": "http://www.w3.org/2000/svg"}
MEMBERS = (
    Member("a", 300, 8, 0.4, 9.0, 90.0, 97.25, non_dominated=True),
    Member("b", 400, 6, 0.3, 8.0, 89.0, 91.0),
    Member("c", 500, 4, 0.2, 5.0, 88.0, 95.5, non_dominated=True),
    Member("d", 600, 3, 0.1, 2.0, math.nan, math.nan),
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Two searches, of which the second has left no set."""
    path = write_supernet(tmp_path / "run", derived=(97.5, 98.25))
    write_members(path / "seeds/0/pareto.csv", MEMBERS)
    return path


def circles(picture: str) -> dict[str, ElementTree.Element]:
    """By member; of a picture that is well-formed."""
    root = ElementTree.fromstring(picture)
    return {next(iter(circle)).text or "": circle for circle in root.iter("circle")}


def test_the_picture_carries_the_numbers(run_dir: Path) -> None:
    (view,) = set_views(read_supernet(run_dir))
    assert view.title == "Seed 0: 4 members, 2 non-dominated"
    assert view.note == "1 member not verified, and so not in the picture."
    assert view.svg is not None
    found = circles(view.svg)
    assert [re.sub(r"\s", " ", name) for name in found] == [
        "member 1: 0.3 M weights, 91.00 %",
        "member 2: 0.2 M weights, 95.50 %",
        "member 0: 0.4 M weights, 97.25 %",
    ]
    # From 0 to 0.4 M to the right, from 90 to 98 % upwards.
    for circle, (params, accuracy) in zip(
        found.values(), ((0.3, 91.0), (0.2, 95.5), (0.4, 97.25)), strict=True
    ):
        x = LEFT + params / 0.4 * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (accuracy - 90) / 8 * (HEIGHT - TOP - BOTTOM)
        assert float(circle.attrib["cx"]) == pytest.approx(x, abs=0.06)
        assert float(circle.attrib["cy"]) == pytest.approx(y, abs=0.06)
    assert [circle.attrib["fill"] == "#ffffff" for circle in found.values()] == [True, False, False]


def test_the_table_has_all_members(run_dir: Path) -> None:
    (view,) = set_views(read_supernet(run_dir))
    rows = {row.label: [cell.text for cell in row.cells] for row in view.table.rows}
    assert list(rows) == ["member 0", "member 1", "member 2", "member 3"]
    assert rows["member 0"] == ["300", "8", "0.4", "9", "90.00", "97.25"]
    assert rows["member 3"] == ["600", "3", "0.1", "2", "–", "–"]
    assert [row.cells[0].strong for row in view.table.rows] == [True, False, True, False]


def test_the_page(run_dir: Path, tmp_path: Path) -> None:
    html = build([run_dir], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h3>The sets</h3>" in html
    assert len(re.findall(r"<title>member \d: ", html)) == 3
    assert "97.25" in html
    page = supernet_page(read_supernet(run_dir), "key", "heading")
    assert supernet_as_plain(page)["sets"] == ["Seed 0: 4 members, 2 non-dominated"]


def test_pages_without_sets(tmp_path: Path) -> None:
    path = write_supernet(tmp_path / "run", derived=(97.5,))
    assert "The sets" not in build([path], tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_is_verified(tmp_path: Path) -> None:
    path = write_supernet(tmp_path / "run", derived=(97.5,))
    write_members(path / "seeds/0/pareto.csv", MEMBERS[3:])
    (view,) = set_views(read_supernet(path))
    assert view.svg is None
    html = build([path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No member is verified yet" in html


def test_one_member(tmp_path: Path) -> None:
    path = write_supernet(tmp_path / "run", derived=(97.5,))
    write_members(path / "seeds/0/pareto.csv", MEMBERS[:1])
    (view,) = set_views(read_supernet(path))
    assert view.svg is not None
    (circle,) = circles(view.svg).values()
    assert LEFT <= float(circle.attrib["cx"]) <= WIDTH - RIGHT
    assert TOP <= float(circle.attrib["cy"]) <= HEIGHT - BOTTOM


def test_a_damaged_set_is_one_line(run_dir: Path) -> None:
    file = run_dir / "seeds/0/pareto.csv"
    file.write_text(file.read_text(encoding="utf-8").replace(",true", ",yes"), encoding="utf-8")
    with pytest.raises(
        RunError, match=r"pareto\.csv is damaged: line 2: non_dominated must be true or false"
    ):
        read_supernet(run_dir)


@given(st.floats(0, 100), st.floats(0, 100))
def test_ticks_enclose_the_range(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    found = ticks(low, high)
    slack = 1e-6 * max(high, 1.0)
    assert 2 <= len(found) <= 7
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    steps = np.diff(found)
    assert (steps > 0).all()
    assert np.allclose(steps, steps[0], rtol=1e-6)
    digits = f"{steps[0]:.6e}"
    assert digits[0] in "125"
    assert all(a != b for a, b in itertools.pairwise(found))


def test_known_ticks() -> None:
    assert ticks(0.0, 0.4) == (0.0, 0.1, 0.2, 0.3, 0.4)
    assert ticks(91.0, 97.25) == (90.0, 92.0, 94.0, 96.0, 98.0)
