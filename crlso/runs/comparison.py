"""Comparison of methods over seeds, in parallel processes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import joblib

from crlso.errors import UserError
from crlso.protocols import Evaluator, Rule
from crlso.runs.config import holds_same, write_config
from crlso.runs.directory import SUMMARY, finished_summary, locked, write_json
from crlso.runs.landmarks import Landmarks
from crlso.runs.loop import run_plan
from crlso.runs.plan import SearchPlan, resolve
from crlso.runs.progress import progress_bar
from crlso.runs.regret import compare_summary
from crlso.runs.warm_start import WarmStart, read_warm_start
from crlso.runs.workers import run_tasks
from crlso.search import WARM_LIST, make_settings, parse_method, takes_warm_start


@dataclass(frozen=True)
class CompareResult:
    """A comparison.

    Attributes:
        summary: ``summary.json`` as plain data.
        directory: The compare directory; ``None`` where nothing was kept.
    """

    summary: Mapping[str, Any]
    directory: Path | None


def compare(
    evaluator: Evaluator,
    *,
    methods: Sequence[str],
    metric: str | Sequence[str],
    subject_to: Sequence[str] = (),
    report: Sequence[str] = (),
    budget: int = 150,
    seeds: Sequence[int] = tuple(range(30)),
    out: Path | str | None = None,
    unique: Rule = "exact",
    jobs: int | None = None,
    reference: Mapping[str, float] | None = None,
    warm_start: Path | str | None = None,
    progress: bool = False,
) -> CompareResult:
    """Runs every method with every seed and sums up.

    Args:
        evaluator: Answers what an architecture is worth; picklable.
        methods: ``name`` or ``name:key=value``; the first one is the reference of the paired differences.
        metric: The metric that drives the searches; or several, see :func:`crlso.runs.search`.
        subject_to: Constraints such as ``latency<5``.
        report: Metrics stated for the best architectures.
        budget: Number of evaluations of each run.
        seeds: Seeds, the same for every method.
        out: Compare directory: an ordinary run directory ``METHOD/SEED`` for each run (``:`` in a method
            written as ``_``), and the summary. What is there of this very comparison is not done again.
        unique: What counts as the same architecture, which is evaluated once at most in a run.
        jobs: Number of parallel processes; ``None``: one per processor.
        reference: Values of the reference point of hypervolumes, by metric; by default the worst of the
            table.
        warm_start: Run directory of an earlier search, see :func:`crlso.runs.search`. The methods that can
            begin with it do, the others begin with nothing; the summary names the former.
        progress: Show a progress bar, if stderr is a terminal.

    Raises:
        UnknownNameError: Unknown method, setting, metric or rule.
        RunError: The directory holds something else, is in use, or can not be written; or there is nothing to
            start from.
        UserError: None of the methods takes a warm start, or any other mistake in the arguments.
    """
    _check(methods, seeds)
    wanted = (metric,) if isinstance(metric, str) else tuple(metric)
    # Read once: a run that is still going on would be another one for each.
    source = None if warm_start is None else read_warm_start(Path(warm_start), evaluator)
    starts = _warm_starts(methods, source)
    asked = _Request(
        methods[0],
        wanted,
        tuple(subject_to),
        tuple(report),
        budget,
        seeds[0],
        unique,
        tuple((reference or {}).items()),
        starts[methods[0]],
    )
    # What the results are measured against is looked up once, for all.
    asked = dataclasses.replace(asked, landmarks=asked.plan(evaluator).landmarks)
    requests = [
        dataclasses.replace(asked, method=label, seed=seed, warm_start=starts[label])
        for seed in seeds
        for label in methods
    ]
    # All is checked here, before anything runs; some methods only say when they are made that they can not.
    plans = [request.plan(evaluator) for request in requests]
    for plan in plans[: len(methods)]:
        plan.build_method(plan.space())
    config = _config(plans, seeds)
    workers = _jobs(jobs)
    if out is None:
        return _run(requests, plans[0], config, None, jobs=workers, progress=progress)
    folder = Path(out)
    stored = finished_summary(folder, config)
    if stored is not None and _complete(stored):
        return CompareResult(stored, folder)
    with locked(folder):
        if not holds_same(folder, config):
            write_config(folder, config)
        return _run(requests, plans[0], config, folder, jobs=workers, progress=progress)


@final
@dataclass(frozen=True)
class _Request:
    """A search without its evaluator, small enough to send to a worker."""

    method: str
    metrics: tuple[str, ...]
    subject_to: tuple[str, ...]
    report: tuple[str, ...]
    budget: int
    seed: int
    unique: Rule
    reference: tuple[tuple[str, float], ...]
    warm_start: WarmStart | None
    landmarks: Landmarks | None = None

    def plan(self, evaluator: Evaluator) -> SearchPlan:
        """The request resolved."""
        return resolve(
            evaluator,
            method=self.method,
            metric=self.metrics,
            subject_to=self.subject_to,
            report=self.report,
            budget=self.budget,
            seed=self.seed,
            unique=self.unique,
            reference=dict(self.reference),
            landmarks=self.landmarks,
            warm_start=self.warm_start,
        )

    def folder(self) -> Path:
        """Where the run lies in a compare directory."""
        return Path(self.method.replace(":", "_")) / str(self.seed)


@final
@dataclass(frozen=True)
class _Run:
    """One run, as a task for a worker; the evaluator comes with what the workers share."""

    request: _Request
    out: Path | None

    def __call__(self, shared: Evaluator) -> dict[str, Any]:
        """Runs the search and returns its summary."""
        # A worker of a comparison that was killed a moment ago may still be about to end.
        return run_plan(self.request.plan(shared), self.out, wait=10.0).summary()


def _run(
    requests: Sequence[_Request],
    plan: SearchPlan,
    config: Mapping[str, Any],
    out: Path | None,
    *,
    jobs: int,
    progress: bool,
) -> CompareResult:
    tasks = [_Run(request, None if out is None else out / request.folder()) for request in requests]
    summaries: dict[int, dict[str, Any]] = {}
    with progress_bar("compare", len(tasks), enabled=progress) as advance:
        for index, summary in run_tasks(tasks, plan.evaluator, jobs=jobs):
            summaries[index] = summary
            advance(len(summaries), f"{requests[index].method}, seed {requests[index].seed} done")
    results: dict[str, list[dict[str, Any]]] = {label: [] for label in config["methods"]}
    for index, request in enumerate(requests):
        results[request.method].append(summaries[index])
    summary = compare_summary(config, plan.landmarks.optimum, plan.metric.sign, results)
    if out is not None:
        write_json(out / SUMMARY, summary)
    return CompareResult(summary, out)


def _complete(summary: Mapping[str, Any]) -> bool:
    """Whether an earlier version did not leave anything out; its runs are there to make another summary."""
    return all("to_optimum" in entry for entry in summary["methods"].values())


def _check(methods: Sequence[str], seeds: Sequence[int]) -> None:
    for what, given in (("methods", methods), ("seeds", seeds)):
        if not given:
            raise UserError(f"no {what} to compare; name one or more")
        if len(set(given)) < len(given):
            raise UserError(f"{what} {', '.join(map(str, given))}: each may come once only")
    for label in methods:
        # The label is a folder's name.
        if not re.fullmatch(r"[A-Za-z0-9_:=.,+-]+", label):
            raise UserError(f"method {label!r}: only letters, digits and _ : = . , + - may stand in it")
    if len({label.replace(":", "_") for label in methods}) < len(methods):
        raise UserError(
            f"methods {', '.join(methods)}: two of them differ only in : and _, and share a folder"
        )


def _warm_starts(methods: Sequence[str], source: WarmStart | None) -> dict[str, WarmStart | None]:
    """What each method begins with.

    Raises:
        UnknownNameError: There is no such method or setting.
        UserError: There is something to begin with, and no method that can.
    """
    named = {label: parse_method(label) for label in methods}
    able = {label for label, (name, own) in named.items() if takes_warm_start(name, make_settings(name, own))}
    if source is not None and not able:
        raise UserError(f"no method of {', '.join(methods)} takes a warm start; methods that do: {WARM_LIST}")
    return {label: source if label in able else None for label in methods}


def _config(plans: Sequence[SearchPlan], seeds: Sequence[int]) -> dict[str, Any]:
    """All that decides the comparison, as plain data for ``config.yaml``."""
    config = plans[0].config()
    for name in ("method", "settings", "seed"):
        del config[name]
    methods = {plan.label: dataclasses.asdict(plan.settings) for plan in plans}
    config |= {"kind": "compare", "methods": methods, "seeds": list(seeds)}
    starts = {plan.label: plan.warm_start for plan in plans if plan.warm_start is not None}
    if starts:
        config["warm_start"] = {**next(iter(starts.values())).config(), "methods": list(starts)}
    return config


def _jobs(jobs: int | None) -> int:
    if jobs is None:
        return int(joblib.cpu_count())
    if jobs < 1:
        raise UserError(f"{jobs} jobs; it must be 1 or more")
    return jobs
