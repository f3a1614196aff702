"""`crlso supernet train --pareto`: members of sets, of a run, of one of its searches, of any folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from crlso.cli.main import app
from crlso.runs.config import write_config
from crlso.spaces import get_space
from supernet.data import SplitSettings
from supernet.pareto import Member, write_set
from supernet.recipe import load_recipe
from supernet.search.plan import SearchPlan, data_plan, sizes_of, training_of
from tests.supernet.train.small import CONVOLUTIONS, SKIPS

SPACE = get_space("nasbench201")
POOLS = "|avg_pool_3x3~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
QUICK = ["--jobs", "1", "--json"]


def train(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["supernet", "train", *words])
    return result.exit_code, result.stdout, result.stderr


def member(text: str, params: float, *, kept: bool = True) -> Member:
    return Member(text, 10, 3, params, 1.0, 50.0, 60.0, non_dominated=kept)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of two searches: their settings and their sets, which is all that is asked for."""
    out = tmp_path_factory.mktemp("search") / "run"
    plan = SearchPlan(
        SPACE,
        data_plan("digits", SplitSettings(fractions=(0.4, 0.4, 0.2), limits=(64, 64, 64))),
        sizes_of(SPACE, "small", {"channels": 4}),
        load_recipe("darts_1st", preset="small", changes={}),
        training_of(SPACE, "small", {"epochs": 2, "batch": 32}),
    )
    sets = (
        [member(SKIPS, 0.1), member(CONVOLUTIONS, 0.3), member(POOLS, 0.4, kept=False)],
        [member(CONVOLUTIONS, 0.3), member(POOLS, 0.2)],
    )
    for seed, members in enumerate(sets):
        (out / f"seeds/{seed}").mkdir(parents=True)
        write_set(out / f"seeds/{seed}", SPACE, members)
    write_config(out, {"kind": "supernet search", **plan.to_dict(), "seeds": [0, 1]})
    return out


def trained(searched: Path, out: Path, *words: str) -> dict[str, Any]:
    status, text, said = train("--pareto", str(searched), *words, *QUICK, "--out", str(out))
    assert (status, said) == (0, "")
    summary: dict[str, Any] = json.loads(text)
    return summary


def texts(summary: dict[str, Any]) -> list[str]:
    return [entry["architecture"] for entry in summary["architectures"]]


def test_all_members_as_the_search_trains(searched: Path, tmp_path: Path) -> None:
    """Those that are non-dominated, of both searches, each architecture once; data and sizes of the run."""
    summary = trained(searched, tmp_path / "run")
    assert texts(summary) == [SKIPS, CONVOLUTIONS, POOLS]
    assert summary["epochs"] == 2
    assert summary["network"] == "channels 4, cells 1, stages 2"
    assert summary["data"].startswith("digits: 64 training, 64 validation, 64 test images")


@pytest.mark.parametrize(
    ("folder", "members", "expected"),
    [
        (".", "smallest", [SKIPS, POOLS]),
        ("seeds/1", "all", [CONVOLUTIONS, POOLS]),
        ("seeds/0", "smallest,middle,largest", [SKIPS, CONVOLUTIONS]),
        ("seeds/0", "2,0", [POOLS, SKIPS]),
    ],
)
def test_chosen_members(
    searched: Path, tmp_path: Path, folder: str, members: str, expected: list[str]
) -> None:
    words = ["--members", members, "--set", "epochs=1", "--channels", "2"]
    assert texts(trained(searched / folder, tmp_path / "run", *words)) == expected


def test_what_is_said_of_them(searched: Path, tmp_path: Path) -> None:
    words = ["--set", "epochs=1", "--jobs", "1", "--out", str(tmp_path / "run")]
    status, text, said = train("--pareto", str(searched), "--members", "largest", *words)
    assert status == 0, said
    first = said.splitlines()[0]
    assert first == (
        f"architecture 0: member 1 of {searched / 'seeds/0'} and member 0 of {searched / 'seeds/1'}"
    )
    assert f"architecture 0: {CONVOLUTIONS}" in text


def test_the_same_command_goes_on(searched: Path, tmp_path: Path) -> None:
    words = ["--members", "smallest", "--set", "epochs=1"]
    summary = trained(searched, tmp_path / "run", *words)
    (tmp_path / "run/summary.json").unlink()
    assert trained(searched, tmp_path / "run", *words) == summary


def test_a_folder_of_no_search(tmp_path: Path) -> None:
    """DARTS' cells: its space is the default."""
    darts = get_space("darts")
    found = [darts.format(code) for code in darts.sample(2, np.random.default_rng(0))]
    (tmp_path / "set").mkdir()
    write_set(tmp_path / "set", darts, [member(text, 0.1) for text in found])
    words = ["--limit", "32,32,32", "--channels", "2", "--cells", "2", "--set", "epochs=1"]
    assert texts(trained(tmp_path / "set", tmp_path / "run", *words)) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pareto", "DIR", "--architecture", SKIPS], "one of them"),
        (["--pareto", "DIR", "--from", "DIR"], "one of them"),
        (["--from", "DIR", "--members", "all"], "--members is for --pareto DIR"),
        (["--pareto", "DIR", "--members", "best"], "--members has 'best'; write all, smallest, middle"),
        (["--pareto", "DIR", "--space", "darts"], "--space is for folders of no search"),
        (["--pareto", "DIR", "--members", "1"], "has 2 sets with numbers of their own"),
        (["--pareto", "DIR/seeds/0", "--members", "7"], "has no member 7; it has 0 to 2"),
        (["--pareto", "DIR/nothing"], "no set in"),
        (["--pareto", "COPY"], "line 2: not of the space 'darts'"),
        (["--pareto", "COPY", "--space", "nasbench201", "--members", "3"], "has no member 3; it has 0 to 2"),
        (["--pareto", "COPY", "--space", "nowhere"], "unknown space"),
        (["--pareto", "DAMAGED", "--space", "nasbench201"], "pareto.csv is damaged: line 3: params must be"),
        (["--pareto", "UNFINISHED"], "that search is not finished"),
        (["--pareto", "FIRST"], "seeds/1: that search is not finished"),
        (["--pareto", "BEGUN"], "no pareto.csv there nor in its seeds/K"),
    ],
)
def test_mistakes_are_one_line(searched: Path, tmp_path: Path, words: list[str], said: str) -> None:
    places = {name: tmp_path / name for name in ("COPY", "DAMAGED", "UNFINISHED", "FIRST", "BEGUN")}
    for name in ("COPY", "DAMAGED"):
        shutil.copytree(searched / "seeds/0", places[name])
    file = places["DAMAGED"] / "pareto.csv"
    file.write_text(file.read_text(encoding="utf-8").replace(",0.3,", ",x,"), encoding="utf-8")
    for name in ("UNFINISHED", "FIRST", "BEGUN"):
        shutil.copytree(searched, places[name])
        (places[name] / "seeds/1/pareto.csv").unlink()
    (places["BEGUN"] / "seeds/0/pareto.csv").unlink()
    shutil.rmtree(places["FIRST"] / "seeds/1")
    named = {"DIR": searched, **places}
    for name, place in named.items():
        words = [word.replace(name, str(place)) if word.startswith(name) else word for word in words]
    status, _, text = train("--out", str(tmp_path / "run"), *words)
    assert status == 2, text
    assert said in text
    assert len(text.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
