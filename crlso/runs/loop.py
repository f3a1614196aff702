"""The run loop: ask, evaluate, log, tell, until the budget is spent."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from crlso.errors import RunError
from crlso.protocols import Code, Evaluator, Rule, SearchMethod, SearchSpace, WarmStarting
from crlso.runs.directory import MemoryStore, RunStore, finished_search, open_directory
from crlso.runs.plan import SearchPlan, resolve
from crlso.runs.progress import Advance, progress_bar
from crlso.runs.proposals import STREAM_EVALUATE, STREAM_REPORT, Proposals, trial_rng
from crlso.runs.result import Best, SearchResult, counted_values, trial_columns
from crlso.runs.trials import Trial
from crlso.runs.warm_start import read_warm_start


def search(
    evaluator: Evaluator,
    *,
    metric: str | Sequence[str],
    method: str = "crlso",
    subject_to: Sequence[str] = (),
    report: Sequence[str] = (),
    budget: int = 150,
    seed: int = 0,
    out: Path | str | None = None,
    unique: Rule = "exact",
    settings: Mapping[str, Any] | None = None,
    reference: Mapping[str, float] | None = None,
    warm_start: Path | str | None = None,
    progress: bool = False,
) -> SearchResult:
    """Searches for the architecture with the best ``metric``, or for the front of several.

    Args:
        evaluator: Answers what an architecture is worth.
        metric: The metric that drives the search, one of ``evaluator.metrics``; or several, of which the
            first picks the best architecture and all make the front.
        method: ``name`` or ``name:key=value``, see :data:`crlso.search.METHODS`.
        subject_to: Constraints such as ``latency<5``; only what meets them all can be the best, or in the
            front.
        report: Metrics stated for the best architecture; the search never sees them.
        budget: Number of evaluations.
        seed: Of everything that is drawn; the same seed gives the same run.
        out: Run directory. One that holds a part of this very run is resumed, a finished one is read;
            ``None`` keeps everything in memory.
        unique: What counts as the same architecture, which is evaluated once at most.
        settings: Settings of the method.
        reference: Values of the reference point of hypervolumes, by metric; by default the worst of the
            table.
        warm_start: Run directory of an earlier search in the same space, of any method, metric and table: the
            method begins with what was found there (see :data:`crlso.search.METHODS` for which can).
        progress: Show a progress bar, if stderr is a terminal.

    Raises:
        UnknownNameError: Unknown method, setting, metric or rule.
        RunError: The directory holds something else, is in use, or can not be written; or there is nothing to
            start from.
        UserError: Any other mistake in the arguments.

    Example:
        >>> import benchmarks
        >>> table = benchmarks.load("nasbench201")
        >>> result = search(table, method="random", metric="cifar10/valid_accuracy@200", budget=10)
        >>> len(result.trials)
        10
    """
    plan = resolve(
        evaluator,
        method=method,
        metric=metric,
        subject_to=subject_to,
        report=report,
        budget=budget,
        seed=seed,
        unique=unique,
        settings=settings,
        reference=reference,
        warm_start=None if warm_start is None else read_warm_start(Path(warm_start), evaluator),
    )
    return run_plan(plan, None if out is None else Path(out), progress=progress)


def run_plan(
    plan: SearchPlan, out: Path | None, *, progress: bool = False, wait: float = 0.0
) -> SearchResult:
    """Runs a resolved search, see :func:`search`.

    Args:
        plan: The search.
        out: Run directory.
        progress: Show a progress bar, if stderr is a terminal.
        wait: Seconds to wait for a directory that another process has locked.
    """
    if out is not None:
        finished = finished_search(out, plan.config(), plan.objectives, plan.landmarks)
        if finished is not None:
            return finished
    # Before the directory is made: what can not be built leaves nothing behind.
    space = plan.space()
    built = _Built(space, plan.build_method(space))
    with progress_bar(plan.label, plan.budget, enabled=progress) as advance:
        if out is None:
            return _run(plan, built, MemoryStore(), None, advance)
        with open_directory(out, plan.config(), plan.metric.name, plan.others, wait=wait) as store:
            return _run(plan, built, store, out, advance)


@dataclass(frozen=True, eq=False)
class _Built:
    """A method, and the space that it was made for."""

    space: SearchSpace
    method: SearchMethod


def _run(
    plan: SearchPlan, built: _Built, store: RunStore, directory: Path | None, advance: Advance
) -> SearchResult:
    space, method = built.space, built.method
    if plan.warm_start is not None:
        # The plan is one of a method whose registry entry says that it can.
        cast(WarmStarting, method).warm_start(plan.warm_start.codes, plan.warm_start.values)
    proposals = Proposals(method, space, plan.unique, plan.seed)
    trials = store.trials()[: plan.budget]
    logged = len(trials)
    told = store.restore(method, logged)
    if told:
        proposals.remember(np.stack([space.parse(trial.arch) for trial in trials[:told]]))
    spent = trials[-1].seconds["cpu"] if trials else 0.0
    cpu_start = time.process_time()
    exhausted = False
    counted = plan.metric.sign * counted_values(plan.objectives, trials[:told])
    top = float(np.nanmax(counted, initial=-math.inf))
    for n in range(told + 1, plan.budget + 1):
        if n == logged + 1:
            # Playing again what is logged is no work of the run.
            cpu_start = time.process_time()
        start = time.perf_counter()
        code = proposals.next(n)
        if code is None:
            exhausted = True
            break
        if n <= logged:
            trial = _same(trials[n - 1], space.format(code), directory)
        else:
            asked = time.perf_counter()
            value, *others = _evaluate(plan, code, n)
            seconds = {
                "ask": asked - start,
                "evaluate": time.perf_counter() - asked,
                "cpu": spent + time.process_time() - cpu_start,
            }
            trial = Trial(n, space.format(code), value, seconds, dict(zip(plan.others, others, strict=True)))
            store.append(trial)
            trials.append(trial)
        columns = trial_columns(plan.objectives, [trial])
        method.tell(code[None], columns if plan.told_several else plan.objectives.penalised(columns))
        store.told(method, n)
        if plan.objectives.feasible(columns)[0]:
            top = max(top, float(columns[0, 0]))
        advance(n, "" if math.isinf(top) else f"best {plan.metric.sign * top + 0.0:.6g}")
    result = SearchResult(
        method=plan.label,
        bench=plan.evaluator.name,
        objectives=plan.objectives,
        budget=plan.budget,
        seed=plan.seed,
        unique=plan.unique,
        optimum=plan.landmarks.optimum,
        best=_best(plan, space, trials),
        trials=tuple(trials),
        exhausted=exhausted,
        cpu_seconds=spent + time.process_time() - cpu_start,
        directory=directory,
        landmarks=plan.landmarks,
        warm_start=None if plan.warm_start is None else plan.warm_start.config(),
    )
    store.finish(method, result)
    return result


def _evaluate(plan: SearchPlan, code: Code, n: int) -> list[float]:
    """All metrics of one architecture; NaN where the evaluation failed or gave no finite number."""
    rng = trial_rng(plan.seed, n, STREAM_EVALUATE)
    answer = plan.evaluator.evaluate(code[None], metrics=plan.objectives.names, rng=rng)
    values = [float(answer[name].iloc[0]) for name in plan.objectives.names]
    return [value if math.isfinite(value) else math.nan for value in values]


def _same(trial: Trial, arch: str, directory: Path | None) -> Trial:
    """The logged trial, if the run that is played again proposes the same."""
    if trial.arch != arch:
        raise RunError(
            f"{directory}: trial {trial.n} is {trial.arch} in the log, but {arch} is proposed now: "
            "the code or its libraries have changed since (see config.yaml); start in another directory"
        )
    return trial


def _best(plan: SearchPlan, space: SearchSpace, trials: Sequence[Trial]) -> Best | None:
    """The first trial with the best value that meets the constraints, and its reported metrics."""
    counted = plan.metric.sign * counted_values(plan.objectives, trials)
    if np.isnan(counted).all():
        return None
    best = trials[int(np.nanargmax(counted))]
    report: dict[str, float] = {}
    if plan.report:
        codes = space.parse(best.arch)[None]
        rng = trial_rng(plan.seed, 0, STREAM_REPORT)
        answer = plan.evaluator.evaluate(codes, metrics=plan.report, rng=rng)
        report = {name: float(answer[name].iloc[0]) for name in plan.report}
    return Best(best.arch, best.value, report)
