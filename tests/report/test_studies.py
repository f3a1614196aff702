"""Grouping of runs, and what is said of the methods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from crlso.report.reading import Run, read_directory
from crlso.report.studies import Study, differences, group
from crlso.report.summary import facts, notes, summary
from crlso.report.tables import differences_table, report_table, scores_table
from crlso.report.text import DASH
from crlso.report.verdicts import verdict, verdicts
from crlso.runs.regret import paired_differences, regret_figures
from tests.report.rundirs import METRIC, OPTIMUM, write_compare, write_search


def made(method: str, seed: int, curve: list[float], **more: object) -> Run:
    """A run out of nothing."""
    run = Run(
        path=Path("/runs/c") / method / str(seed),
        source=Path("/runs/c"),
        method=method,
        seed=seed,
        bench="toy",
        metric="accuracy",
        direction="max",
        budget=len(curve),
        optimum=10.0,
        curve=np.array(curve, dtype=np.float64),
    )
    return replace(run, **more)  # type: ignore[arg-type]


def study_of(**values: list[float]) -> Study:
    """One study: each method's final values, seed by seed, after one evaluation."""
    runs = [made(method, seed, [v]) for method, finals in values.items() for seed, v in enumerate(finals)]
    (study,) = group(runs, {})
    return study


def test_figures_agree_with_the_summary_of_the_comparison(compare_dir: Path) -> None:
    (study,) = group(read_directory(compare_dir), {})
    curves = [series.runs[0].curve.tolist() for series in study.series]
    assert len(curves) == 4
    first, *others = study.series
    assert study.checkpoints == (10, 25, 50, 60)
    for series in study.series:
        rows = [run.curve.tolist() for run in series.runs]
        expected = regret_figures(rows, optimum=OPTIMUM, sign=1.0, budget=60)
        for place in study.checkpoints:
            values = series.at(place)
            assert values.mean() == pytest.approx(expected[str(place)]["mean"], abs=1e-9)
            assert stats.sem(values) == pytest.approx(expected[str(place)]["sem"], abs=1e-9)
    for series in others:
        rows, reference = ([run.curve.tolist() for run in part.runs] for part in (series, first))
        expected = paired_differences(rows, reference, sign=1.0, budget=60)
        for place in study.checkpoints:
            found = differences(study, series, first, place)
            assert found is not None
            assert float(found.low) == pytest.approx(expected[str(place)]["low"], abs=1e-9)
            assert float(found.high) == pytest.approx(expected[str(place)]["high"], abs=1e-9)


def test_runs_meet_by_benchmark_and_metric(compare_dir: Path, search_dir: Path, tmp_path: Path) -> None:
    runs = [*read_directory(compare_dir), *read_directory(search_dir)]
    (study,) = group(runs, {})
    assert [series.label for series in study.series] == [
        "crlso (compare)",
        "local",
        "evolution:population=10",
        "random",
        "crlso (search)",
    ]
    other = replace(runs[-1], metric="other")
    assert [study.metric for study in group([*runs, other], {})] == [METRIC, "other"]


def test_single_searches_of_the_same_settings_are_seeds_of_one_series(tmp_path: Path) -> None:
    runs = [
        *read_directory(write_search(tmp_path / "a", seed=0)),
        *read_directory(write_search(tmp_path / "b", seed=1)),
        *read_directory(write_search(tmp_path / "c", seed=2, budget=30)),
    ]
    (study,) = group(runs, {})
    assert [series.seeds for series in study.series] == [(0, 1), (2,)]
    assert len({series.label for series in study.series}) == 2


def test_the_same_seed_twice_makes_two_series() -> None:
    (study,) = group([made("a", 0, [1.0]), made("a", 0, [2.0]), made("a", 1, [3.0])], {})
    assert sorted(len(series.runs) for series in study.series) == [1, 2]
    assert len({series.label for series in study.series}) == 2


def test_unfinished_runs_do_not_count_beside_finished_ones() -> None:
    (study,) = group([made("a", 0, [1.0, 2.0]), made("a", 1, [9.0], finished=False, budget=2)], {})
    (series,) = study.series
    assert series.seeds == (0,)
    (note,) = notes(study)
    assert "a, seed 1, is unfinished (1 of 2 evaluations): it is left out" in note


def test_an_early_end_keeps_its_last_value() -> None:
    (study,) = group([made("a", 0, [1.0, 2.0], exhausted=True), made("a", 1, [1.0, 2.0, 3.0])], {})
    assert study.series[0].scores.tolist() == [[9.0, 8.0, 8.0], [9.0, 8.0, 7.0]]
    assert "1 of its 2 runs ended early" in notes(study)[0]


def test_smaller_is_better_for_losses() -> None:
    runs = [
        made(m, s, [v, v / 2], direction="min", optimum=None)
        for m, v in (("a", 1.0), ("b", 4.0))
        for s in range(2)
    ]
    (study,) = group(runs, {})
    assert study.quantity == "best value so far"
    assert "a has the lowest mean best value (0.500)" in verdict(study, 2)
    assert facts(study)[0].value == "0.500"


def test_a_winner_is_named_only_where_the_interval_excludes_zero() -> None:
    clear = study_of(a=[9.0, 9.1, 9.2, 9.0], b=[5.0, 5.2, 5.1, 5.1])
    assert "a has the lowest mean regret" in verdict(clear, 1)
    assert "It is better than b (" in verdict(clear, 1)
    unclear = study_of(a=[9.0, 9.1, 5.0, 9.0], b=[5.0, 9.2, 9.3, 7.1])
    assert "better than b" not in verdict(unclear, 1).replace("not clearly better than b", "")
    assert "It is not clearly better than b (" in verdict(unclear, 1)
    both = study_of(a=[9.0, 9.1, 9.2], b=[5.0, 5.2, 5.1], c=[9.1, 9.0, 9.1])
    assert "It is better than b (3.752 to 4.248), but not clearly better than c" in verdict(both, 1)


@pytest.mark.parametrize("seed", range(20))
def test_verdicts_agree_with_the_paired_t_test(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(5, 1, size=8), rng.normal(5.8, 1, size=8)
    study = study_of(a=a.tolist(), b=b.tolist())
    significant = stats.ttest_rel(a, b).pvalue < 0.05
    assert ("not clearly" in verdict(study, 1)) == (not significant)


def test_equal_methods_share_the_place() -> None:
    same = study_of(a=[10.0, 10.0], b=[10.0, 10.0])
    assert verdict(same, 1) == "After 1 evaluation, all methods have the same mean regret (0), seed by seed."
    two = study_of(a=[10.0, 10.0], b=[10.0, 10.0], c=[1.0, 9.0])
    assert "a and b have the lowest mean regret (0). They are not clearly better than c" in verdict(two, 1)


def test_one_seed_decides_nothing() -> None:
    study = study_of(a=[9.0], b=[5.0])
    assert "nothing can be said against b" in verdict(study, 1)
    assert "There is one seed per method" in notes(study)[-1]
    assert differences_table(study) is None


def test_a_lucky_single_seed_does_not_lead() -> None:
    study = study_of(a=[8.0, 8.1, 8.2], b=[5.0, 5.2, 5.1], lucky=[10.0])
    said = verdict(study, 1)
    assert "a has the lowest mean regret" in said
    assert "Left out, with one seed only: lucky." in said


def test_until_the_optimum() -> None:
    """The median over seeds; a dash where most never got there, and where no optimum is known."""
    there, late, never = [9.0, 10.0, 10.0], [9.0, 9.0, 10.0], [9.0, 9.0, 9.0]
    for curves, expected in (
        ([there], "2"),
        ([there, late], "2.5"),
        ([there, late, never], "3"),
        ([there, never, never], DASH),
    ):
        (study,) = group([made("a", seed, curve) for seed, curve in enumerate(curves)], {})
        scores = scores_table(study)
        assert scores is not None
        assert scores.head[-2] == "median until the optimum"
        assert scores.rows[0].cells[-2].text == expected
    (study,) = group([made("a", 0, there, optimum=None)], {})
    scores = scores_table(study)
    assert scores is not None and "median until the optimum" not in scores.head


def test_one_method_has_no_verdict(search_dir: Path) -> None:
    (study,) = group(read_directory(search_dir), {})
    assert verdicts(study) == ()


def test_tables(compare_dir: Path) -> None:
    (study,) = group(read_directory(compare_dir), {})
    scores, paired, reported = scores_table(study), differences_table(study), report_table(study, {})
    assert scores is not None and paired is not None and reported is not None
    places = ("10", "25", "50", "60")
    assert scores.head == ("method", "seeds", *places, "median until the optimum", "CPU s per run")
    assert all(len(row.cells) == len(scores.head) - 1 for row in scores.rows)
    assert [row.label for row in paired.rows] == [
        "local − crlso",
        "evolution:population=10 − crlso",
        "random − crlso",
    ]
    assert reported.head == ("method", "cifar10/params")


def test_nothing_worked() -> None:
    (study,) = group([made("a", 0, [float("nan")] * 3)], {})
    assert summary(study, {})[-1].startswith("No evaluation has worked")
    assert verdicts(study) == ()


def test_two_comparisons_with_the_same_methods(tmp_path: Path) -> None:
    dirs = [write_compare(tmp_path / name, {"local": 2.0}, seeds=2, budget=5, runs=False) for name in "xy"]
    (study,) = group([run for folder in dirs for run in read_directory(folder)], {})
    assert [series.label for series in study.series] == ["local (x)", "local (y)"]
