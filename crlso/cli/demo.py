"""`crlso demo`: the main job on embedded data, from nothing to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crlso.cli.common import JsonOption, print_json, user_errors

BENCH = "nasbench201"
METRIC = "cifar10/valid_accuracy@200"
# The first one is what is demonstrated, the others are its controls.
METHODS = ("crlso", "local", "evolution", "random")
SEEDS = (100, 101, 102, 103)
BUDGET = 150


def demo(
    *,
    out: Annotated[Path, typer.Option("--out", help="Directory of the runs and the report.")] = Path(
        "runs/demo"
    ),
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Parallel processes; default: one per processor.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Search the real NAS-Bench-201 table with crlso and three simple controls, and write a report.

    Example: crlso demo --out runs/demo
    """
    with user_errors(f"interrupted; the same command goes on in {out}"):
        import benchmarks
        from crlso import runs
        from crlso.report import build

        table = benchmarks.load_table(BENCH)
        if not json:
            typer.echo(
                f"{BENCH}: {len(table):,} real architectures, metric {METRIC}; {', '.join(METHODS)}, "
                f"{BUDGET} evaluations each, {len(SEEDS)} seeds"
            )
        result = runs.compare(
            table,
            methods=METHODS,
            metric=METRIC,
            budget=BUDGET,
            seeds=SEEDS,
            out=out,
            jobs=jobs,
            progress=not json,
        )
        file = build([out], out / "report.html", evaluator=table, space=table.space)
        figures = result.summary["methods"]
        best = max(figures[METHODS[0]]["best"], key=lambda found: found["value"])
        optimum = float(result.summary["optimum"])
        if json:
            print_json(
                {"best": best, "regret": optimum - best["value"], "report": str(file), **result.summary}
            )
            return
        typer.echo("mean validation regret (percentage points below the table's optimum) over the seeds")
        for name in METHODS:
            regret = figures[name]["regret"]
            row = "  ".join(f"{at:>4}: {regret[at]['mean']:6.3f}" for at in regret)
            typer.echo(
                f"  {name:10s} {row}   {sum(figures[name]['cpu_seconds']) / len(SEEDS):6.1f} CPU s a run"
            )
        typer.echo(f"best cell  {best['arch']}")
        typer.echo(f"accuracy   {best['value']:.3f} % on CIFAR-10 validation, found by {METHODS[0]}")
        typer.echo(f"regret     {optimum - best['value']:.3f} to the table's optimum, {optimum:.3f} %")
        typer.echo(f"report     {file}")
