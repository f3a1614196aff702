"""``crlso search`` and ``crlso compare`` as commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import TableEvaluator
from crlso.cli.main import app
from crlso.cli.search import parse_seeds
from crlso.errors import UserError
from crlso.runs import compare, search

METRIC = "cifar10/valid_accuracy@200"
TEST = "cifar100/valid_accuracy@200"
BENCH = ("--bench", "nasbench201", "--metric", METRIC)

runner = CliRunner()


def call(*arguments: str) -> str:
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    """The one line that a mistake gives."""
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_search_prints_what_a_person_wants(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    out = tmp_path / "run"
    options = ("--method", "local", "--seed", "1000", "--budget", "40", "--report", TEST, "--out", str(out))
    text = call("search", *BENCH, *options)
    expected = search(nasbench201, method="local", metric=METRIC, report=[TEST], seed=1000, budget=40)
    assert expected.best is not None
    assert expected.best.arch in text
    assert f"{expected.best.value:.6g}" in text
    assert f"regret{' ' * 23}{expected.regret:.4g} to the optimum 91.6067" in text
    assert f"{TEST}  {expected.best.report[TEST]:.6g}" in text
    assert "40 of 40 evaluations" in text
    assert f"crlso report {out}" in text
    assert {"config.yaml", "trials.jsonl", "checkpoint.pt", "summary.json"} <= {p.name for p in out.iterdir()}
    # The same command again only reads.
    assert call("search", *BENCH, *options) == text


def test_search_json(tmp_path: Path) -> None:
    options = (
        "--method",
        "evolution",
        "--set",
        "population=5",
        "--set",
        "sample=2",
        "--budget",
        "12",
        "--json",
    )
    data = json.loads(call("search", *BENCH, *options, "--out", str(tmp_path / "run")))
    assert data == json.loads((tmp_path / "run" / "summary.json").read_text())
    keys = {"method", "bench", "metric", "budget", "seed", "optimum", "best", "curve", "cpu_seconds"}
    assert keys <= data.keys()
    assert len(data["curve"]) == 12


def test_search_in_memory_says_so() -> None:
    assert "none; give --out DIR to keep them" in call(
        "search", *BENCH, "--method", "random", "--budget", "3"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--bench", "nasbench", "--metric", METRIC),
            "unknown benchmark table 'nasbench'; known: analog_nasbench, nas_bench_graph, nasbench201",
        ),
        (
            ("--bench", "nasbench201", "--metric", "accuracy"),
            "unknown metric of nasbench201 'accuracy'; known: cifar10/",
        ),
        ((*BENCH, "--report", "test"), "unknown metric of nasbench201 'test'"),
        (
            (*BENCH, "--method", "magic"),
            "unknown method 'magic'; known: bananas, bo, crlso, crlso-paper, evolution, local, nsga2, "
            "random, reinforce, ridge, syne-tune, tpe",
        ),
        (
            (*BENCH, "--method", "evolution:size=3"),
            "unknown setting of evolution 'size'; known: population, sample",
        ),
        ((*BENCH, "--method", "random", "--set", "size"), "--set 'size'; write KEY=VALUE"),
        (
            (*BENCH, "--method", "evolution", "--set", "sample=1", "--set", "sample=2"),
            "--set sample is given twice",
        ),
        ((*BENCH, "--method", "evolution", "--set", "sample=few"), "sample=few; it must be a whole number"),
        (
            (*BENCH, "--method", "random", "--unique", "graph"),
            "unknown rule of uniqueness 'graph'; known: code, exact",
        ),
        ((*BENCH, "--method", "random", "--budget", "0"), "budget 0; it must be 1 or more"),
        ((*BENCH, "--method", "random", "--out", "/dev/null/x"), "/dev/null/x"),
    ],
)
def test_search_refuses(arguments: tuple[str, ...], message: str) -> None:
    assert message in refused("search", *arguments)


def test_search_refuses_a_directory_of_other_settings(tmp_path: Path) -> None:
    options = (*BENCH, "--method", "random", "--budget", "3", "--out", str(tmp_path))
    call("search", *options)
    line = refused("search", *options, "--seed", "5")
    assert "seed is 0 there, 5 was asked for; choose another directory or the same settings" in line


def test_compare_prints_a_table(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    options = ("--methods", "local, random", "--seeds", "1000-1002", "--budget", "30", "--jobs", "1")
    text = call("compare", *BENCH, *options, "--out", str(tmp_path / "compare"))
    expected = compare(
        nasbench201, methods=("local", "random"), metric=METRIC, seeds=range(1000, 1003), budget=30, jobs=1
    ).summary
    assert "3 seeds, optimum 91.6067" in text
    for method in ("local", "random"):
        figures = expected["methods"][method]["regret"]["25"]
        assert f"{figures['mean']:.3f} +- {figures['sem']:.3f}" in text
    assert "median until the optimum" in text
    apart = expected["paired"]["differences"]["random"]["25"]
    assert f"{apart['mean']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f})" in text
    assert "mean difference to local, seed by seed, and its 95 % interval" in text
    assert f"crlso report {tmp_path / 'compare'}" in text
    assert (tmp_path / "compare" / "random" / "1002" / "summary.json").exists()


def test_compare_json() -> None:
    text = call(
        "compare", *BENCH, "--methods", "random", "--seeds", "2", "--budget", "5", "--jobs", "1", "--json"
    )
    assert json.loads(text)["seeds"] == [0, 1]


def test_compare_without_optimum_states_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TableEvaluator, "optimum", lambda self, metric: None)
    options = ("--methods", "random,local", "--seeds", "2", "--budget", "5", "--jobs", "1")
    text = call("compare", *BENCH, *options)
    assert f"mean of the best {METRIC}, 2 seeds, after 5 evaluations" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--methods", "local,,random"), "write names with commas between"),
        (("--methods", "local,local"), "each may come once only"),
        (("--methods", "local", "--seeds", "five"), "--seeds 'five'; write a number (30), a range"),
        (("--methods", "local", "--jobs", "0"), "0 jobs; it must be 1 or more"),
    ],
)
def test_compare_refuses(options: tuple[str, ...], message: str) -> None:
    assert message in refused("compare", *BENCH, *options)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1", [0]), ("3", [0, 1, 2]), ("5-5", [5]), ("1000-1002", [1000, 1001, 1002]), ("7,3", [7, 3])],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "3-1", "a", "1,2-3", "1-2-3", "1,,2", "1.5", "\u0663", "9" * 5000]
)
def test_seeds_refused(text: str) -> None:
    with pytest.raises(UserError, match="write a number") as caught:
        parse_seeds(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["99999999999", "100001", "5-100005", "0," * 100_000 + "0"])
def test_more_seeds_than_anybody_runs_are_refused(text: str) -> None:
    assert len(parse_seeds("5-100004")) == 100_000
    with pytest.raises(UserError, match="; at most 100,000"):
        parse_seeds(text)


def test_interrupt_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crlso.runs.loop.search", interrupted)
    result = runner.invoke(app, ["search", *BENCH])
    assert result.exit_code == 130
    assert "nothing is kept without --out" in result.stderr


FLOPS = "cifar10/flops"


def test_search_of_several_metrics(nasbench201: TableEvaluator) -> None:
    options = ("--metric", FLOPS, "--method", "random", "--seed", "1000", "--budget", "30")
    text = call("search", *BENCH, *options)
    expected = search(nasbench201, method="random", metric=[METRIC, FLOPS], seed=1000, budget=30)
    assert expected.hypervolume_curve is not None
    assert f"{expected.hypervolume_curve[-1]:.6g} of the true front's, from {METRIC}=9.712" in text
    assert f"{len(expected.front)} architectures: {METRIC}, {FLOPS}" in text
    for trial in expected.front:
        assert f"{trial.value:<10.6g}  {trial.others[FLOPS]:<10.6g}  {trial.arch}" in text


def test_search_with_constraints(nasbench201: TableEvaluator) -> None:
    options = ("--subject-to", f"{FLOPS}<60", "--method", "local", "--seed", "1000", "--budget", "40")
    text = call("search", *BENCH, *options)
    expected = search(
        nasbench201, method="local", metric=METRIC, subject_to=[f"{FLOPS} < 60"], seed=1000, budget=40
    )
    assert expected.best is not None
    assert f"{FLOPS}<60" in text
    assert expected.best.arch in text
    values = nasbench201.evaluate(nasbench201.space.parse(expected.best.arch)[None], metrics=[FLOPS])
    assert values[FLOPS].iloc[0] < 60
    every = np.concatenate(list(nasbench201.space.enumerate()))
    table = nasbench201.evaluate(every, metrics=[METRIC, FLOPS])
    assert expected.optimum == table[METRIC][table[FLOPS] < 60].max()
    nothing = call("search", *BENCH, "--subject-to", f"{FLOPS}<=7.8", "--method", "random", "--budget", "2")
    assert "none: none of 2 evaluations meets the constraints" in nothing


def test_compare_of_several_metrics(nasbench201: TableEvaluator) -> None:
    options = ("--methods", "random,nsga2", "--seeds", "1000-1001", "--budget", "25", "--jobs", "1")
    text = call("compare", *BENCH, "--metric", FLOPS, "--subject-to", f"{FLOPS}<150", *options)
    assert f"mean share of the true front's hypervolume and its standard error, {METRIC} and {FLOPS}" in text
    assert f"subject to {FLOPS}<150, 2 seeds" in text
    expected = compare(
        nasbench201,
        methods=("random", "nsga2"),
        metric=(METRIC, FLOPS),
        subject_to=[f"{FLOPS}<150"],
        seeds=(1000, 1001),
        budget=25,
        jobs=1,
    ).summary
    figures = expected["methods"]["nsga2"]["hypervolume"]["25"]
    assert f"{figures['mean']:.3f} +- {figures['sem']:.3f}" in text
    reference = ("--reference", f"{METRIC}=80", "--reference", f"{FLOPS}=150")
    assert "nsga2" in call("compare", *BENCH, "--metric", FLOPS, *reference, *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metric", METRIC), f"metric {METRIC!r} is given twice"),
        (("--metric", "size"), "unknown metric of nasbench201 'size'; known: cifar10/"),
        (
            ("--metric", FLOPS, "--method", "local"),
            "takes one metric, 2 are given; methods for several: crlso, nsga2, ran",
        ),
        (("--subject-to", "latency"), "constraint 'latency'; write NAME<NUMBER"),
        (("--subject-to", "latency<5"), "unknown metric of nasbench201 'latency'"),
        (("--subject-to", f"{FLOPS}<1"), f"no architecture of nasbench201 meets {FLOPS}<1"),
        (("--reference", "x"), "--reference 'x'; write METRIC=NUMBER"),
        (("--reference", f"{FLOPS}=1", "--reference", f"{FLOPS}=2"), f"--reference {FLOPS} is given twice"),
        (("--reference", f"{FLOPS}=1"), "a reference point is for hypervolumes"),
    ],
)
def test_search_refuses_objectives(options: tuple[str, ...], message: str) -> None:
    for command in ("search", "compare"):
        words = [word if word != "--method" or command == "search" else "--methods" for word in options]
        if command == "compare" and "--methods" not in words:
            words += ["--methods", "random"]
        assert message in refused(command, *BENCH, *words)


SOURCE_METRIC = "cifar100/valid_accuracy@200"
WARM = "crlso:pretrain_steps=20"


@pytest.fixture(scope="module")
def source(nasbench201: TableEvaluator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a search on another data set."""
    out = tmp_path_factory.mktemp("warm") / "source"
    search(nasbench201, method="random", metric=SOURCE_METRIC, seed=1000, budget=30, out=out)
    return out


def test_search_from_another_run(tmp_path: Path, source: Path, nasbench201: TableEvaluator) -> None:
    options = ("--method", WARM, "--seed", "1000", "--budget", "5", "--warm-start", str(source))
    out = tmp_path / "run"
    text = call("search", *BENCH, *options, "--out", str(out))
    expected = search(nasbench201, method=WARM, metric=METRIC, seed=1000, budget=5, warm_start=source)
    assert expected.best is not None
    assert expected.best.arch in text
    assert re.search(rf"^warm start +30 evaluations of nasbench201, {SOURCE_METRIC}$", text, re.MULTILINE)
    data = json.loads(call("search", *BENCH, *options, "--out", str(out), "--json"))
    assert data["warm_start"] == expected.warm_start
    line = refused("search", *BENCH, *options[:-2], "--out", str(out))
    assert "warm_start is {'bench': 'nasbench201'" in line
    assert "there, None was asked for; choose another directory or the same settings" in line
    assert "warm start" not in call("search", *BENCH, "--method", "random", "--budget", "2")


def test_compare_from_another_run(tmp_path: Path, source: Path, nasbench201: TableEvaluator) -> None:
    options = ("--methods", f"random,{WARM}", "--seeds", "1000-1000", "--budget", "5", "--jobs", "1")
    options += ("--out", str(tmp_path / "out"), "--warm-start", str(source))
    text = call("compare", *BENCH, *options)
    line = rf"^warm start +{WARM} from 30 evaluations of nasbench201, {SOURCE_METRIC}$"
    assert re.search(line, text, re.MULTILINE)
    data = json.loads(call("compare", *BENCH, *options, "--json"))
    expected = search(nasbench201, method=WARM, metric=METRIC, seed=1000, budget=5, warm_start=source)
    cold = search(nasbench201, method="random", metric=METRIC, seed=1000, budget=5)
    assert data["methods"][WARM]["curves"] == [expected.curve]
    assert data["methods"]["random"]["curves"] == [cold.curve]
    assert expected.warm_start is not None
    assert data["warm_start"] == {**expected.warm_start, "methods": [WARM]}


def test_warm_starts_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "empty").mkdir()
    for methods, where, message in (
        (
            "crlso",
            tmp_path / "none",
            f"{tmp_path / 'none'}: no such directory; a warm start is the run direc",
        ),
        ("crlso", tmp_path / "empty", "is no run directory (no config.yaml in it)"),
        ("local,bo", source, "no method of local, bo takes a warm start; methods that do: crlso"),
    ):
        out = tmp_path / "out"
        options = ("--budget", "3", "--warm-start", str(where), "--out", str(out))
        assert message in refused("compare", *BENCH, *options, "--methods", methods)
        if "," not in methods:
            assert message in refused("search", *BENCH, *options, "--method", methods)
        assert not out.exists()
    line = refused("search", *BENCH, *options, "--method", "local")
    assert "method local takes no warm start; methods that do: crlso" in line
    assert not out.exists()
