"""`crlso bench fit-surrogate`, and what the other commands of `crlso bench` print of a surrogate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.cli.bench_tables import BETTER, UNVERIFIED, number, print_table
from crlso.cli.common import ForceOption, JsonOption, print_json, user_errors
from crlso.errors import UserError

if TYPE_CHECKING:
    from benchmarks import SurrogateEvaluator
    from benchmarks.store import Header
    from benchmarks.surrogate.fitting import Check


def fit_surrogate(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Name or path of a table.")],
    *,
    metric: Annotated[str, typer.Option("--metric", help="Metric of the table to predict.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the surrogate; by default surrogate-TABLE.")
    ] = None,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Architectures to measure on; below 1 a share of the table.")
    ] = 0.1,
    train: Annotated[
        int | None,
        typer.Option("--train", help="Architectures to fit on at most; by default 10,000 (1 GB of memory)."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides what is held out.")] = 0,
    splits: Annotated[
        int, typer.Option("--splits", help="Split, fit and measure so often; the first surrogate is kept.")
    ] = 1,
    check: Annotated[
        list[str] | None,
        typer.Option(
            "--check", metavar="TABLE:METRIC", help="Rank these values by the prediction, too (repeat)."
        ),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines/--no-baselines", help="Measure ridge and kernel regression beside it."),
    ] = True,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Fit a surrogate to a table, so that its whole space can be searched, and measure how good it is.

    It predicts any architecture of the space. What is held out is never fitted to.
    """
    with user_errors("interrupted; no surrogate was written"):
        from pathlib import Path

        from benchmarks import load_table
        from benchmarks.catalog import claimed_path
        from benchmarks.surrogate.fitting import MOST_ROWS, FitOptions
        from benchmarks.surrogate.fitting import fit_surrogate as fit
        from benchmarks.surrogate.storage import SUFFIX

        options = FitOptions(held_out, MOST_ROWS if train is None else train, seed, splits, baselines)
        source = load_table(table)
        chosen = f"surrogate-{Path(table).stem}" if name is None else name
        with claimed_path(chosen, SUFFIX, force=force) as path:
            fitted = fit(
                source,
                metric,
                path,
                name=path.stem,
                options=options,
                checks=[_check(text) for text in check or ()],
                on_step=lambda step: None if json else typer.echo(step, err=True),
            )
        if json:
            print_json({"name": path.stem, "path": str(path), **_facts(fitted.header)})
            return
        typer.echo(f"{path.stem}: {fitted.header.description}")
        _print_quality(fitted.header.details["quality"])
        main = next(iter(fitted.evaluator.metrics))
        typer.echo(f"use it as: --bench {path.stem} --metric {main}   (stored in {path})")


def print_surrogate(surrogate: SurrogateEvaluator, header: Header, *, json: bool) -> None:
    """What `crlso bench info` says of a surrogate."""
    if json:
        print_json(
            {
                "name": surrogate.name,
                "space": surrogate.space.name,
                "architectures": None,
                "whole_space": True,
                "verified": header.verified or None,
                "metrics": [
                    {"name": m.name, "direction": m.direction, "unit": m.unit, "description": m.description}
                    for m in surrogate.metrics.values()
                ],
                **_facts(header),
                "fingerprint": dict(surrogate.fingerprint),
            }
        )
        return
    typer.echo(f"{surrogate.name}: {header.description}")
    typer.echo(
        f"it computes an answer for each of the {surrogate.space.size:,} codes of {surrogate.space.name}"
    )
    if header.verified or "quality" not in header.details:
        typer.echo(f"verified: {header.verified}" if header.verified else UNVERIFIED)
    rows = [[m.name, BETTER[m.direction], m.unit] for m in surrogate.metrics.values()]
    print_table(["metric", "better", "unit"], rows)
    for metric in surrogate.metrics.values():
        typer.echo(f"{metric.name}: {metric.description}")
    typer.echo("")
    if "quality" in header.details:
        _print_quality(header.details["quality"])
    for key, value in surrogate.fingerprint.items():
        typer.echo(f"{key}: {value}")


def print_predictions(surrogate: SurrogateEvaluator, arch: str, *, json: bool) -> None:
    """What `crlso bench query` says of one architecture."""
    code = surrogate.space.parse(arch)
    names = list(surrogate.metrics)
    values = surrogate.evaluate(code[None], metrics=names).iloc[0].tolist()
    text = surrogate.space.format(code)
    if json:
        metrics = {
            name: {"value": value, "unit": surrogate.metrics[name].unit, "description": metric.description}
            for (name, metric), value in zip(surrogate.metrics.items(), values, strict=True)
        }
        facts = {"table": surrogate.name, "space": surrogate.space.name, "arch": text, "code": code.tolist()}
        print_json({**facts, "metrics": metrics})
        return
    typer.echo(f"{text}\ncode {code.tolist()} of {surrogate.space.name}; predicted, not measured")
    rows = [
        [name, number(value), surrogate.metrics[name].unit] for name, value in zip(names, values, strict=True)
    ]
    print_table(["metric", "predicted", "unit"], rows, right=(1,))


def _check(text: str) -> Check:
    from benchmarks import load_table
    from benchmarks.surrogate.fitting import Check

    table, colon, metric = text.partition(":")
    if not (table and colon and metric):
        raise UserError(f"--check {text!r}; write TABLE:METRIC")
    return Check(load_table(table), metric)


def _facts(header: Header) -> dict[str, Any]:
    details = header.details
    return {key: details[key] for key in ("metric", "train", "options", "quality") if key in details}


def _print_quality(quality: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        [
            str(each["measured_on"]),
            f"{each['n']:,}",
            str(each["model"]),
            *(_figure(each[key]) for key in ("spearman", "r2", "rmse")),
        ]
        for each in quality
    ]
    print_table(["measured on", "n", "model", "Spearman", "R2", "RMSE"], rows, right=(1,))
    if len(quality[0]["spearman"]) > 1:
        typer.echo(f"mean and standard error over {len(quality[0]['spearman'])} splits; the first is kept")


def _figure(values: Sequence[float]) -> str:
    from benchmarks.surrogate.fitting import mean_and_error

    if not values:
        return ""
    mean, error = mean_and_error(values)
    return f"{mean:.4f}" if error is None else f"{mean:.4f} +- {error:.4f}"
