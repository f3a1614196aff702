"""``crlso search`` and ``crlso compare``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from crlso.cli.common import JsonOption, key_values, print_json, quoted, user_errors, whole_number
from crlso.errors import UserError
from crlso.protocols import Rule
from crlso.search import METHODS, WARM_LIST

if TYPE_CHECKING:
    from crlso.runs import SearchResult

MOST_SEEDS = 100_000

METHOD_LIST = "; ".join(f"{name}: {entry.summary}" for name, entry in METHODS.items())

BenchOption = Annotated[
    str,
    typer.Option(
        "--bench",
        help="Benchmark table: a name (see `crlso bench list`) or a path; or a trained supernet, shared:DIR.",
    ),
]
MetricOption = Annotated[
    list[str],
    typer.Option(
        "--metric",
        help="Metric that drives the search (see `crlso bench info TABLE`). Repeat for several objectives: "
        "the first picks the best architecture, all make the front.",
    ),
]
SubjectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--subject-to",
        metavar="NAME<NUMBER",
        help="Constraint on a metric, with <, <=, > or >=; only what meets it counts as found. Repeat.",
    ),
]
ReferenceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reference",
        metavar="METRIC=NUMBER",
        help="Of several objectives: where the hypervolume begins; by default at the worst values of the "
        "table. Repeat.",
    ),
]
ReportOption = Annotated[
    list[str] | None,
    typer.Option(
        "--report", help="Metric to state for the best architecture; the search never sees it. Repeat."
    ),
]
WarmStartOption = Annotated[
    Path | None,
    typer.Option(
        "--warm-start",
        metavar="RUN_DIR",
        help="Run directory of an earlier search in the same space, of any method, metric and table (of a "
        f"comparison: DIR/METHOD/SEED), to begin with. Methods that can: {WARM_LIST}; in a comparison all "
        "others begin without.",
    ),
]
BudgetOption = Annotated[int, typer.Option("--budget", help="Number of evaluations in a run.")]
UniqueOption = Annotated[
    str,
    typer.Option(
        "--unique",
        help="What counts as the same architecture: exact (identical networks), official (the benchmark's "
        "own rule), code.",
    ),
]


def search(
    *,
    bench: BenchOption,
    metric: MetricOption,
    method: Annotated[
        str, typer.Option("--method", help=f"NAME or NAME:key=value:key=value. {METHOD_LIST}.")
    ] = "crlso",
    subject_to: SubjectOption = None,
    reference: ReferenceOption = None,
    report: ReportOption = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Setting of the method. Repeat.")
    ] = None,
    budget: BudgetOption = 150,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same run.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run directory; one that holds a part of this very run is resumed."),
    ] = None,
    unique: UniqueOption = "exact",
    warm_start: WarmStartOption = None,
    json: JsonOption = False,
) -> None:
    """Search for the architecture with the best METRIC, or for the front of several.

    Example: crlso search --bench nasbench201 --metric cifar10/valid_accuracy@200 --method local
    --out runs/local
    """
    # One thread, as in the workers of `compare`: sums in the same order, so the same run there and here.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with user_errors(_interrupted(out)):
        from crlso import runs
        from crlso.cli.evaluators import load_evaluator

        result = runs.search(
            load_evaluator(bench),
            metric=metric,
            method=method,
            subject_to=subject_to or (),
            reference=_reference(reference or ()),
            report=report or (),
            settings=key_values(set_ or ()),
            budget=budget,
            seed=seed,
            out=out,
            unique=cast(Rule, unique),
            warm_start=warm_start,
            progress=not json,
        )
        if json:
            print_json(result.summary())
        else:
            typer.echo("\n".join(_search_lines(result)))


def compare(
    *,
    bench: BenchOption,
    metric: MetricOption,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Names with commas between, each as for --method; the others are compared with the first.",
        ),
    ] = "crlso,local,evolution,random",
    subject_to: SubjectOption = None,
    reference: ReferenceOption = None,
    report: ReportOption = None,
    budget: BudgetOption = 150,
    seeds: Annotated[
        str, typer.Option("--seeds", help="How many (30: 0 to 29), a range (1000-1019) or a list (3,5,8).")
    ] = "30",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Directory of the comparison; what it holds of this very comparison is not done again.",
        ),
    ] = None,
    unique: UniqueOption = "exact",
    warm_start: WarmStartOption = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", help="Parallel processes, one thread each; default: one per processor."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare search methods over seeds, in parallel processes.

    Example: crlso compare --bench nasbench201 --metric cifar10/valid_accuracy@200 --methods local,random
    --seeds 30 --out runs/compare
    """
    with user_errors(_interrupted(out)):
        from crlso import runs
        from crlso.cli.evaluators import load_evaluator

        result = runs.compare(
            load_evaluator(bench),
            methods=_methods(methods),
            metric=metric,
            subject_to=subject_to or (),
            reference=_reference(reference or ()),
            report=report or (),
            budget=budget,
            seeds=parse_seeds(seeds),
            out=out,
            unique=cast(Rule, unique),
            warm_start=warm_start,
            jobs=jobs,
            progress=not json,
        )
        if json:
            print_json(result.summary)
        else:
            typer.echo("\n".join(_compare_lines(result.summary, result.directory)))


def parse_seeds(text: str) -> list[int]:
    """Seeds from ``30`` (0 to 29), ``1000-1019`` or ``3,5,8``.

    Raises:
        UserError: It is none of these, or there are more than :data:`MOST_SEEDS`.

    Example:
        >>> parse_seeds("3"), parse_seeds("7-9"), parse_seeds("3,5,8")
        ([0, 1, 2], [7, 8, 9], [3, 5, 8])
    """
    mistake = f"--seeds {quoted(text)}; write a number (30), a range (1000-1019) or a list (3,5,8)"
    numbers: list[list[int]] = []
    for part in text.split(","):
        numbers.append([])
        for word in part.split("-"):
            number = whole_number(word)
            if number is None:
                raise UserError(mistake)
            numbers[-1].append(number)
    seeds: Sequence[int]
    match numbers:
        case [[count]] if count > 0:
            seeds = range(count)
        case [[first, last]] if first <= last:
            seeds = range(first, last + 1)
        case [[_], *_] if len(numbers) > 1 and all(len(part) == 1 for part in numbers):
            seeds = [part[0] for part in numbers]
        case _:
            raise UserError(mistake)
    if len(seeds) > MOST_SEEDS:
        raise UserError(f"--seeds {quoted(text)} are {len(seeds):,} seeds; at most {MOST_SEEDS:,}")
    return list(seeds)


def _methods(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UserError(f"--methods {text!r}; write names with commas between, such as local,random")
    return names


def _reference(items: Sequence[str]) -> dict[str, float]:
    """What ``--reference METRIC=NUMBER`` said, repeated."""
    point: dict[str, float] = {}
    for item in items:
        name, equals, text = item.rpartition("=")
        value = math.nan
        with suppress(ValueError):
            value = float(text)
        if not (name and equals and math.isfinite(value)):
            raise UserError(f"--reference {quoted(item)}; write METRIC=NUMBER")
        if name in point:
            raise UserError(f"--reference {name} is given twice")
        point[name] = value
    return point


def _interrupted(out: Path | None) -> str:
    if out is None:
        return "interrupted; nothing is kept without --out"
    return f"interrupted; what was done is kept in {out}, the same command again goes on from there"


def _search_lines(result: SearchResult) -> list[str]:
    """What a person wants to know of a finished run."""
    facts: list[tuple[str, str]] = []
    constraints = " and ".join(each.text for each in result.objectives.constraints)
    if constraints:
        facts.append(("subject to", constraints))
    if result.warm_start is not None:
        facts.append(("warm start", _source(result.warm_start)))
    if result.best is None and constraints and any(not math.isnan(trial.value) for trial in result.trials):
        facts.append(("best", f"none: none of {len(result.trials)} evaluations meets the constraints"))
    elif result.best is None:
        facts.append(("best", f"none: all {len(result.trials)} evaluations failed"))
    else:
        facts += [("best", result.best.arch), (result.metric, f"{result.best.value:.6g}")]
        if result.regret is not None:
            facts.append(("regret", f"{result.regret:.4g} to the optimum {result.optimum:.6g}"))
        facts += [(name, f"{value:.6g}") for name, value in result.best.report.items()]
    if result.objectives.several:
        facts += _front_facts(result)
    spent = f"{len(result.trials)} of {result.budget} evaluations, {result.cpu_seconds:.1f} CPU s"
    early = "; no unseen architecture is left" if result.exhausted else ""
    return _table([*facts, ("spent", spent + early), *_files(result.directory)])


def _front_facts(result: SearchResult) -> list[tuple[str, str]]:
    """Hypervolume and front, a line for each member."""
    facts = []
    curve, point = result.hypervolume_curve, result.landmarks.reference
    names = [metric.name for metric in result.objectives.metrics]
    if curve and point is not None:
        share = " of the true front's" if result.landmarks.volume is not None else ""
        shown = ", ".join(f"{name}={value:.6g}" for name, value in zip(names, point, strict=True))
        facts.append(("hypervolume", f"{curve[-1]:.6g}{share}, from {shown}"))
    else:
        facts.append(("hypervolume", "not known; state --reference METRIC=NUMBER for each metric"))
    members = result.front
    facts.append(("front", f"{len(members)} architectures: {', '.join(names)}"))
    for trial in members:
        values = trial.values(result.metric)
        facts.append(("", "  ".join([*(f"{values[name]:<10.6g}" for name in names), trial.arch])))
    return facts


def _compare_lines(summary: Mapping[str, Any], directory: Path | None) -> list[str]:
    """Mean regret per method; without an optimum the mean of the best values."""
    methods = summary["methods"]
    last = [*_warm_methods(summary), *_files(directory)]
    if summary.get("hypervolume"):
        share = "share of the true front's hypervolume" if summary["hypervolume"]["share"] else "hypervolume"
        names = " and ".join(metric["name"] for metric in summary["metrics"])
        head = f"mean {share} and its standard error, {names}"
        return _figures(
            f"{head}{_subject(summary)}, {len(summary['seeds'])} seeds", "hypervolume", methods, last
        )
    runs = f"{summary['metric']}{_subject(summary)}, {len(summary['seeds'])} seeds"
    if summary["optimum"] is None:
        head = f"mean of the best {runs}, after {summary['budget']} evaluations"
        rows = [(name, _mean_best(entry["best"])) for name, entry in methods.items()]
        return [head, *_table([*rows, *last])]
    head = f"mean regret and its standard error, {runs}, optimum {summary['optimum']:.6g}"
    optimum = {name: _to_optimum(entry["to_optimum"]) for name, entry in methods.items()}
    return [
        *_figures(head, "regret", methods, [], {"median until the optimum": optimum}),
        *_differences(summary["paired"]),
        *_table(last),
    ]


def _figures(
    head: str,
    quantity: str,
    methods: Mapping[str, Mapping[str, Any]],
    last: Sequence[tuple[str, str]],
    more: Mapping[str, Mapping[str, str]] | None = None,
) -> list[str]:
    """Mean and standard error per method at the checkpoints, ``more`` columns, then the last rows."""
    more = more or {}
    steps = list(next(iter(methods.values()))[quantity])
    rows = [("evaluations", "".join(f"{step:<18}" for step in [*steps, *more]))]
    for name, entry in methods.items():
        figures = [_figure(entry[quantity][step]["mean"], entry[quantity][step]["sem"]) for step in steps]
        figures += [column[name] for column in more.values()]
        rows.append((name, "".join(f"{figure:<18}" for figure in figures)))
    return [head, *_table([*rows, *last])]


def _to_optimum(figures: Mapping[str, Any]) -> str:
    return "-" if figures["median"] is None else f"{figures['median']:g}"


def _differences(paired: Mapping[str, Any]) -> list[str]:
    """How much worse than the first method, with its interval, at the checkpoints."""
    others: Mapping[str, Mapping[str, Any]] = paired["differences"]
    rows = [
        (name, "".join(f"{_interval(figures):<26}" for figures in steps.values()))
        for name, steps in others.items()
    ]
    if not rows:
        return []
    steps = list(next(iter(others.values())))
    head = f"mean difference to {paired['reference']}, seed by seed, and its 95 % interval"
    return [head, *_table([("evaluations", "".join(f"{step:<26}" for step in steps)), *rows])]


def _interval(figures: Mapping[str, float | None]) -> str:
    mean, low, high = figures["mean"], figures["low"], figures["high"]
    if mean is None:
        return "-"
    return f"{mean:+.3f}" if low is None or high is None else f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _warm_methods(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which methods of a comparison began with what, if any did."""
    start = summary.get("warm_start")
    return [("warm start", f"{', '.join(start['methods'])} from {_source(start)}")] if start else []


def _source(start: Mapping[str, Any]) -> str:
    return "{trials} evaluations of {bench}, {metric}".format(**start)


def _subject(summary: Mapping[str, Any]) -> str:
    constraints = summary.get("subject_to")
    return f" subject to {' and '.join(constraints)}" if constraints else ""


def _mean_best(best: Sequence[Mapping[str, Any] | None]) -> str:
    found = [entry["value"] for entry in best if entry is not None]
    if not found:
        return "none"
    short = f" ({len(found)} of {len(best)} seeds)" if len(found) < len(best) else ""
    return f"{sum(found) / len(found):.6g}{short}"


def _figure(mean: float | None, sem: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.3f}" if sem is None else f"{mean:.3f} +- {sem:.3f}"


def _files(directory: Path | None) -> list[tuple[str, str]]:
    if directory is None:
        return [("files", "none; give --out DIR to keep them")]
    return [("files", str(directory)), ("report", f"crlso report {directory}")]


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(label) for label, _ in rows) + 2
    return [f"{label:{width}}{text}".rstrip() for label, text in rows]
