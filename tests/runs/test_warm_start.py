"""Runs that begin with what an earlier one found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks import TableEvaluator
from crlso.errors import RunError, UserError
from crlso.protocols import Codes, FloatArray, SearchMethod, SearchSpace, WarmStarting
from crlso.runs import SearchResult, compare, directory, search
from crlso.runs.plan import SearchPlan
from crlso.runs.warm_start import read_warm_start
from crlso.search import METHODS, make_method
from tests.runs.fakes import Line, LineBench, distance_to_seven, failing_odd, row

NUMBERS = (3, 9, 8, 1, 12)
WARM = "crlso"
"""A method that can; what stands behind the name is replaced by :class:`Follower`."""


class Follower:
    """Asks for what the other task says is best, one after the other; the order is kept in no state."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.told: list[int] = []
        self._order: list[int] = []

    def warm_start(self, codes: Codes, values: FloatArray) -> None:
        self.calls.append("warm_start")
        self.codes, self.values = codes, values
        known = np.nan_to_num(values, nan=-np.inf)
        self._order = codes[np.argsort(-known, kind="stable"), 0].tolist()

    def ask(self, n: int) -> Codes:
        self.calls.append("ask")
        left = [number for number in [*self._order, *range(20)] if number not in self.told]
        return row(left[0])

    def tell(self, codes: Codes, values: FloatArray) -> None:
        self.told += codes[:, 0].tolist()

    def state_dict(self) -> dict[str, Any]:
        return {"told": list(self.told)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.calls.append("load_state_dict")
        self.told = list(state["told"])

    def diagnostics(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def followers(monkeypatch: pytest.MonkeyPatch) -> list[Follower]:
    """Every method behind the name :data:`WARM` that is built from now on."""
    built: list[Follower] = []
    others = SearchPlan.build_method

    def build(plan: SearchPlan, space: SearchSpace) -> SearchMethod:
        if plan.method != WARM:
            return others(plan, space)
        built.append(Follower())
        return built[-1]

    monkeypatch.setattr("crlso.runs.plan.SearchPlan.build_method", build)
    return built


def bench(script: Sequence[int] = (), n: int = 20, **options: Any) -> LineBench:
    return LineBench(Line(n, script), options.pop("value", distance_to_seven), **options)


def left_run(out: Path, numbers: Sequence[int] = NUMBERS, **options: Any) -> Path:
    """The directory of a random search that evaluated these numbers."""
    asked = {"metric": "score", "method": "random", "budget": len(numbers), **options}
    evaluator = asked.pop("evaluator", None) or bench(numbers)
    assert [trial.arch for trial in search(evaluator, out=out, **asked).trials] == list(map(str, numbers))
    return out


def warm(source: Path | str, evaluator: LineBench | None = None, **options: Any) -> SearchResult:
    asked = {"metric": "square", "method": WARM, "budget": 7, **options}
    return search(evaluator or bench(), warm_start=source, **asked)


def archs(result: SearchResult) -> list[int]:
    return [int(trial.arch) for trial in result.trials]


def config(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    return data


def test_the_method_begins_with_the_other_run(tmp_path: Path, followers: list[Follower]) -> None:
    result = warm(left_run(tmp_path / "source"))
    method = followers[-1]
    assert method.codes.dtype == np.int16
    assert method.values.dtype == np.float64
    np.testing.assert_array_equal(method.codes, row(*NUMBERS))
    np.testing.assert_array_equal(method.values, [-4.0, -2.0, -1.0, -6.0, -5.0])
    assert method.calls[:2] == ["warm_start", "ask"]
    assert method.calls.count("warm_start") == 1
    # They are no evaluations of this run, and may be asked for like any other.
    assert archs(result) == [8, 9, 3, 12, 1, 0, 2]
    assert [trial.value for trial in result.trials][:2] == [64.0, 81.0]


def test_values_are_to_be_maximised_and_failures_are_nan(tmp_path: Path, followers: list[Follower]) -> None:
    evaluator = bench((4, 3, 0, 8), value=failing_odd)
    source = left_run(tmp_path / "source", (4, 3, 0, 8), metric="loss", evaluator=evaluator)
    assert archs(warm(source)) == [8, 4, 0, 3, 1, 2, 5]
    np.testing.assert_array_equal(followers[-1].values, [4.0, np.nan, 0.0, 8.0])
    assert not np.signbit(followers[-1].values[2])
    log = source / "trials.jsonl"
    log.write_text(log.read_text().replace('"loss": -8.0', '"loss": -Infinity'))
    assert archs(warm(source))[:4] == [4, 0, 3, 8]
    np.testing.assert_array_equal(followers[-1].values, [4.0, np.nan, 0.0, np.nan])


def test_of_several_objectives_the_first_counts(tmp_path: Path, followers: list[Follower]) -> None:
    source = left_run(tmp_path / "source", metric=["loss", "square"], subject_to=["square<100"])
    assert archs(warm(source))[:5] == [8, 9, 3, 12, 1]
    assert warm(source).warm_start == {
        "bench": "line-bench",
        "metric": "loss",
        "trials": 5,
        "sha256": checksum(NUMBERS, [-4.0, -2.0, -1.0, -6.0, -5.0]),
    }


def checksum(numbers: Sequence[int], values: Sequence[float]) -> str:
    count = len(numbers)
    return hashlib.sha256(struct.pack(f"<{count}h{count}d", *numbers, *values)).hexdigest()


def test_files_state_its_contents(tmp_path: Path, followers: list[Follower]) -> None:
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    result = warm(source, out=out)
    stated = {
        "bench": "line-bench",
        "metric": "score",
        "trials": 5,
        "sha256": checksum(NUMBERS, [-4.0, -2.0, -1.0, -6.0, -5.0]),
    }
    assert config(out)["warm_start"] == stated
    assert json.loads((out / "summary.json").read_text())["warm_start"] == stated == result.warm_start
    # A cold run says nothing of it.
    search(bench(), metric="square", method=WARM, budget=7, out=tmp_path / "cold")
    assert list(config(out).keys() - config(tmp_path / "cold").keys()) == ["warm_start"]
    cold = json.loads((tmp_path / "cold" / "summary.json").read_text())
    assert list(result.summary().keys() - cold.keys()) == ["warm_start"]
    assert followers[-1].calls[0] == "ask"


def test_equal_contents_have_one_checksum(tmp_path: Path) -> None:
    source = read_warm_start(left_run(tmp_path / "source"), bench())
    values = source.values.copy()
    values[:2] = np.nan, 0.0
    first = dataclasses.replace(source, values=values)
    other = values.copy()
    other[:2] = struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\xff")[0], -0.0
    second = dataclasses.replace(source, values=other)
    assert first.values.tobytes() != second.values.tobytes()
    assert first.config() == second.config() != source.config()


def test_the_source_may_move_but_not_change(tmp_path: Path, followers: list[Follower]) -> None:
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    first = warm(source, out=out)
    moved = source.rename(tmp_path / "moved")
    built = len(followers)
    again = warm(str(moved), out=out)
    assert len(followers) == built, "a finished run is read"
    assert again.summary() == first.summary()
    other = left_run(tmp_path / "other", (3, 9, 8, 1, 13))
    for wrong, message in (
        (other, r"warm_start\.sha256 is [0-9a-f]{57}\.\.\. there, [0-9a-f]{57}\.\.\. was asked for"),
        (left_run(tmp_path / "less", NUMBERS[:4]), r"warm_start\.trials is 5 there, 4 was asked for"),
        (
            left_run(tmp_path / "loss", metric="loss"),
            r"warm_start\.metric is score there, loss was asked for",
        ),
    ):
        with pytest.raises(RunError, match=message):
            warm(wrong, out=out)
    with pytest.raises(RunError, match=r"warm_start is \{.*\.\.\. there, None was asked for"):
        search(bench(), metric="square", method=WARM, budget=7, out=out)
    search(bench(), metric="square", method=WARM, budget=7, out=tmp_path / "cold")
    with pytest.raises(RunError, match=r"warm_start is None there, \{.* was asked for"):
        warm(moved, out=tmp_path / "cold")


@pytest.mark.parametrize("checkpoints", ["always", "never"])
@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_stopped_run_goes_on_exactly(
    tmp_path: Path, followers: list[Follower], monkeypatch: pytest.MonkeyPatch, stop: int, checkpoints: str
) -> None:
    monkeypatch.setattr(directory, "CHECKPOINT_SECONDS", 0.0 if checkpoints == "always" else 1e9)
    monkeypatch.setattr(directory, "CHECKPOINT_COST", 0)
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    whole = warm(source)

    def mortal(number: int) -> float:
        if len(evaluator.asked) > stop:
            raise KeyboardInterrupt
        return distance_to_seven(number)

    evaluator = bench(value=mortal, known=False)
    with pytest.raises(KeyboardInterrupt):
        warm(source, evaluator, out=out, metric="score")
    built = len(followers)
    # Another source is refused here too, before anything is built.
    with pytest.raises(RunError, match="run of other settings: warm_start"):
        warm(left_run(tmp_path / "other", (3, 9)), bench(known=False), out=out, metric="score")
    followers.clear()
    assert archs(warm(source, bench(known=False), out=out, metric="score")) == archs(whole)
    assert built
    expected = ["warm_start", "load_state_dict"] if checkpoints == "always" else ["warm_start", "ask"]
    assert followers[0].calls[:2] == expected


def test_a_run_that_goes_on_is_read_as_it_stands(tmp_path: Path, followers: list[Follower]) -> None:
    source = left_run(tmp_path / "source")
    (source / "summary.json").unlink()
    log = source / "trials.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"n": 6, "arch": "1')
    with directory.locked(source):
        warm(source)
    np.testing.assert_array_equal(followers[-1].codes, row(*NUMBERS))
    assert log.read_bytes() == whole + b'{"n": 6, "arch": "1', "another run's log is not repaired"


def test_of_a_part_of_the_space_only_that_part_is_told(tmp_path: Path, followers: list[Follower]) -> None:
    source = left_run(tmp_path / "source")
    part = bench(support=row(1, 2, 7, 8))
    assert warm(source, part, budget=2).warm_start is not None
    np.testing.assert_array_equal(followers[-1].codes, row(8, 1))
    np.testing.assert_array_equal(followers[-1].values, [-1.0, -6.0])
    with pytest.raises(RunError, match="none of its 5 architectures is in line-bench"):
        warm(source, bench(support=row(2, 7)), budget=2)


def rewrite(folder: Path, **changes: Any) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump({**config(folder), **changes}))


def test_mistakes_are_named_before_anything_runs(tmp_path: Path, followers: list[Follower]) -> None:
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    followers.clear()

    def refused(where: Path, message: str) -> None:
        with pytest.raises(RunError, match=message) as caught:
            warm(where, out=out)
        assert "\n" not in str(caught.value)
        with pytest.raises(RunError, match=message):
            compare(bench(), methods=[WARM], metric="square", budget=3, warm_start=where, out=out)

    def copy(name: str) -> Path:
        shutil.copytree(source, tmp_path / name)
        return tmp_path / name

    refused(tmp_path / "nowhere", "nowhere: no such directory; a warm start is the run directory")
    refused(source / "trials.jsonl", "no such directory")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"empty is no run directory \(no config.yaml in it\)")
    for changes, message in (
        ({"space": "darts"}, "is a run in space darts, line-bench is one of space line"),
        ({"kind": "supernet search"}, "is no run of a search"),
        ({"kind": "compare"}, r"is a comparison; name one of its runs, .*/METHOD/SEED"),
        ({"direction": "up"}, r"config\.yaml is damaged"),
        ({"metric": 5}, r"config\.yaml is damaged"),
        ({"metric": "loss"}, r"trials\.jsonl: line 1 is damaged"),
    ):
        rewrite(source_copy := copy(f"{changes}".replace("/", "_")), **changes)
        refused(source_copy, message)
    (copy("yaml") / "config.yaml").write_text("{")
    refused(tmp_path / "yaml", r"config\.yaml is damaged")
    lines = (source / "trials.jsonl").read_text()
    for number, (text, message) in enumerate(
        (
            ("", "holds no evaluation yet: nothing to start from"),
            (lines.replace('"arch": "9"', '"arch": "99"'), r"jsonl: line 2: '99' is no number below 20"),
            (lines.replace('"arch": "9"', '"arch": 9'), r"trials\.jsonl: line 2 is damaged"),
        )
    ):
        (copy(f"log{number}") / "trials.jsonl").write_text(text)
        refused(tmp_path / f"log{number}", message)
    (copy("no log") / "trials.jsonl").unlink()
    refused(tmp_path / "no log", "holds no evaluation yet")
    failed = left_run(tmp_path / "failed", (1, 3), evaluator=bench((1, 3), value=failing_odd))
    followers.clear()
    refused(failed, "all 2 evaluations failed: nothing to start from")
    assert not out.exists()
    assert not followers


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {WARM}))
def test_methods_that_can_not_are_refused(tmp_path: Path, method: str) -> None:
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    pytest.importorskip(METHODS[method].module, exc_type=ImportError)
    message = f"method {method} takes no warm start; methods that do: {WARM}"
    with pytest.raises(UserError, match=message):
        warm(source, method=method, out=out)
    message = f"no method of {method} takes a warm start; methods that do: {WARM}"
    with pytest.raises(UserError, match=message):
        compare(bench(), methods=[method], metric="square", budget=3, warm_start=source, out=out)
    assert not out.exists()


def test_a_comparison_of_methods_that_can_not_is_refused(tmp_path: Path) -> None:
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    message = f"no method of random, evolution:sample=5 takes a warm start; methods that do: {WARM} "
    message += r"\(not with head=icnn or head=network\)$"
    asked: dict[str, Any] = {"metric": "square", "budget": 3, "warm_start": source, "out": out}
    with pytest.raises(UserError, match=message):
        compare(bench(), methods=["random", "evolution:sample=5"], **asked)
    with pytest.raises(UserError, match="method 'locl'"):
        compare(bench(), methods=["random", "locl"], **asked)
    assert not out.exists()


@pytest.mark.parametrize("head", ["icnn", "network"])
def test_settings_that_can_not_are_refused_before_anything_runs(tmp_path: Path, head: str) -> None:
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    label = f"{WARM}:head={head}:round=5:round_steps=2"
    message = f"method {label} takes no warm start; methods that do: {WARM} "
    with pytest.raises(UserError, match=message + r"\(not with head=icnn or head=network\)$"):
        warm(source, method=label, out=out)
    with pytest.raises(UserError, match=f"no method of {label} takes a warm start"):
        compare(bench(), methods=[label], metric="square", budget=3, warm_start=source, out=out)
    assert not out.exists()


@pytest.mark.parametrize(
    "methods", [(WARM, "random", "evolution"), ("random", f"{WARM}:width=16", "evolution")]
)
def test_a_comparison_warms_the_methods_that_can(
    tmp_path: Path, followers: list[Follower], methods: Sequence[str]
) -> None:
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    followers.clear()
    asked: dict[str, Any] = {"metric": "square", "budget": 6, "seeds": (3, 4), "jobs": 1}
    found = compare(bench(), methods=methods, warm_start=source, out=out, **asked).summary
    (able,) = [label for label in methods if label.startswith(WARM)]
    # Each is built once before anything is written, to see that it can be, and asked nothing.
    asked_ones = [method for method in followers if method.calls]
    assert [method.calls.count("warm_start") for method in asked_ones] == [1, 1]
    stated = read_warm_start(source, bench()).config()
    told = {**stated, "methods": [able]}
    assert found["warm_start"] == config(out)["warm_start"] == told
    assert json.loads((out / "summary.json").read_text())["warm_start"] == told
    for label in methods:
        for seed in (3, 4):
            folder = out / label.replace(":", "_") / str(seed)
            summary = json.loads((folder / "summary.json").read_text())
            assert config(folder).get("warm_start") == (stated if label == able else None)
            assert summary.get("warm_start") == (stated if label == able else None)
    # The others run as they do without.
    cold = [label for label in methods if label != able]
    alone = compare(bench(), methods=cold, **asked).summary
    assert all(found["methods"][label]["curves"] == alone["methods"][label]["curves"] for label in cold)
    with pytest.raises(RunError, match=r"warm_start is \{.*\.\.\. there, None was asked for"):
        compare(bench(), methods=methods, out=out, **asked)


def test_comparisons(tmp_path: Path, followers: list[Follower]) -> None:
    source, out = left_run(tmp_path / "source"), tmp_path / "out"
    labels = [f"{WARM}:width=16", f"{WARM}:width=32"]
    asked: dict[str, Any] = {"methods": labels, "metric": "square", "budget": 6, "seeds": (3, 4), "jobs": 1}
    followers.clear()
    found = compare(bench(), warm_start=source, out=out, **asked).summary
    assert sum(bool(method.calls) for method in followers) == 4
    stated = read_warm_start(source, bench()).config()
    told = {**stated, "methods": labels}
    assert found["warm_start"] == config(out)["warm_start"] == told
    assert json.loads((out / "summary.json").read_text())["warm_start"] == told
    for label in labels:
        for seed in (3, 4):
            folder = out / label.replace(":", "_") / str(seed)
            alone = warm(source, method=label, seed=seed, budget=6)
            assert config(folder)["warm_start"] == stated
            again = warm(source, method=label, seed=seed, budget=6, out=folder)
            assert archs(again) == archs(alone) == [8, 9, 3, 12, 1, 0]
    with pytest.raises(RunError, match=r"warm_start\.trials is 5 there, 2 was asked for"):
        compare(bench(), warm_start=left_run(tmp_path / "other", (3, 9)), out=out, **asked)
    # One run of a comparison is a source like any other.
    np.testing.assert_array_equal(
        read_warm_start(out / "crlso_width=16" / "3", bench()).values, [64.0, 81.0, 9.0, 144.0, 1.0, 0.0]
    )
    # A cold one says nothing of it.
    cold = compare(bench(), out=tmp_path / "cold", **asked).summary
    assert list(found.keys() - cold.keys()) == ["warm_start"]
    assert "warm_start" not in config(tmp_path / "cold")


def as_warm(method: SearchMethod | WarmStarting) -> bool:
    return callable(getattr(method, "warm_start", None))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_registry_knows_which_can(method: str, nasbench201: TableEvaluator) -> None:
    pytest.importorskip(METHODS[method].module, exc_type=ImportError)
    assert as_warm(make_method(method, nasbench201.space, seed=1000)) == METHODS[method].warm


HERE, THERE = "cifar10/valid_accuracy@200", "imagenet16/valid_accuracy@200"
QUICK = "crlso:pretrain_steps=30"


def left_local(out: Path, table: TableEvaluator) -> Path:
    """The directory of a local search on another data set."""
    search(table, metric=HERE, method="local", budget=60, seed=1000, out=out)
    return out


def test_crlso_from_one_data_set_to_another(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    """The real method, resumed exactly."""
    source = left_local(tmp_path / "source", nasbench201)
    asked: dict[str, Any] = {"metric": THERE, "budget": 9, "warm_start": source}
    whole = search(nasbench201, method=QUICK, seed=1000, out=tmp_path / "whole", **asked)
    everything = nasbench201.evaluate(np.concatenate(list(nasbench201.space.enumerate())), metrics=[THERE])
    assert np.median([trial.value for trial in whole.trials[:5]]) > everything[THERE].quantile(0.9)
    # Cut in the middle of a round, without checkpoint.
    out = tmp_path / "out"
    shutil.copytree(tmp_path / "whole", out)
    for name in ("summary.json", "checkpoint.pt"):
        (out / name).unlink()
    log = out / "trials.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:6]))
    resumed = search(nasbench201, method=QUICK, seed=1000, out=out, **asked)
    assert [trial.arch for trial in resumed.trials] == [trial.arch for trial in whole.trials]


@pytest.mark.slow
def test_workers_begin_with_it_too(tmp_path: Path, nasbench201: TableEvaluator) -> None:
    source = left_local(tmp_path / "source", nasbench201)
    asked: dict[str, Any] = {"metric": THERE, "budget": 9, "warm_start": source}
    both = compare(nasbench201, methods=[QUICK], seeds=(1000, 1001), jobs=2, **asked).summary
    alone = [search(nasbench201, method=QUICK, seed=seed, **asked).curve for seed in (1000, 1001)]
    assert both["methods"][QUICK]["curves"] == alone
