"""`crlso bench`: list, inspect, build, join, query, export and verify benchmark tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.cli.bench_build import build
from crlso.cli.bench_import import import_file
from crlso.cli.bench_join import join
from crlso.cli.bench_surrogate import fit_surrogate, print_predictions, print_surrogate
from crlso.cli.bench_tables import BETTER, UNVERIFIED, metric_groups, missing, number, print_table, space_name
from crlso.cli.common import ForceOption, JsonOption, print_json, user_errors

if TYPE_CHECKING:
    from benchmarks import TableEvaluator
    from crlso.protocols import Code

app = typer.Typer(
    help="Benchmark tables: list, inspect, import, build, join, query, export, verify.", no_args_is_help=True
)
app.command(
    "import",
    epilog="Example: crlso bench import NATS-tss-v1_0-3ffb9-simple (or: crlso bench import results.csv "
    "--space my_space.yaml --name mine --minimize latency --unit latency=ms)",
)(import_file)
app.command(
    "fit-surrogate",
    epilog="Example: crlso bench fit-surrogate nasbench201 --metric cifar10/valid_accuracy@200 --name mine",
)(fit_surrogate)
app.command(
    epilog="Example: crlso bench build examples/small_cell.yaml --name mine --all --data digits "
    "--epochs 4,12 --seeds 3"
)(build)
app.command(epilog="Example: crlso bench join nasbench201 hw_nas_bench --name nasbench201_hw")(join)

TableArgument = Annotated[
    str, typer.Argument(metavar="TABLE", help="Name of a table (crlso bench list) or path of a table file.")
]

_SHOWN_TWINS = 10


@app.command("list", epilog="Example: crlso bench list")
def list_tables(json: JsonOption = False) -> None:
    """List the tables at hand: built-in ones, and those that were imported."""
    with user_errors():
        from benchmarks import catalog

        entries = catalog.entries()
        if json:
            print_json(
                [
                    {
                        "name": entry.name,
                        "built_in": entry.built_in,
                        "space": space_name(entry.header.space) if entry.header else None,
                        "architectures": (entry.header.rows or None) if entry.header else None,
                        "metrics": [metric.name for metric in entry.header.metrics] if entry.header else None,
                        "description": entry.header.description if entry.header else None,
                        "problem": entry.problem or None,
                        "needs": entry.needs or None,
                    }
                    for entry in entries
                ]
            )
            return
        rows = [
            [
                entry.name,
                space_name(entry.header.space),
                f"{entry.header.rows:,}" if entry.header.rows else "all, predicted",
                str(len(entry.header.metrics)),
                entry.header.description + (f" (needs: {entry.needs})" if entry.needs else ""),
            ]
            if entry.header
            else [entry.name, "", "", "", entry.problem]
            for entry in entries
        ]
        print_table(["table", "space", "architectures", "metrics", "what"], rows, right=(2, 3))


@app.command(epilog="Example: crlso bench info nasbench201")
def info(
    table: TableArgument,
    every: Annotated[
        bool, typer.Option("--all", help="List single trainings and curves one by one, too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Say what a table holds: its space, its metrics and their optima, and where the numbers come from."""
    with user_errors():
        from benchmarks import SurrogateEvaluator, load
        from benchmarks.catalog import table_header

        loaded = load(table)
        if isinstance(loaded, SurrogateEvaluator):
            print_surrogate(loaded, table_header(table), json=json)
            return
        verified = table_header(table).verified
        metrics = [
            {
                "name": metric.name,
                "direction": metric.direction,
                "unit": metric.unit,
                "optimum": loaded.optimum(metric.name),
                "missing": missing(loaded, metric.name),
                "description": metric.description,
            }
            for metric in loaded.metrics.values()
        ]
        if json:
            print_json(
                {
                    "name": loaded.name,
                    "space": loaded.space.name,
                    "architectures": len(loaded),
                    "whole_space": loaded.support is None,
                    "verified": verified or None,
                    "metrics": metrics,
                    "curves": [
                        {"name": c.name, "length": c.length, "unit": c.unit, "description": c.description}
                        for c in loaded.curves.values()
                    ],
                    "fingerprint": dict(loaded.fingerprint),
                }
            )
            return
        whole = "the whole space" if loaded.support is None else f"a part of up to {loaded.space.size:,}"
        typer.echo(f"{loaded.name}: {len(loaded):,} architectures of {loaded.space.name} ({whole})")
        typer.echo(f"verified: {verified}" if verified else UNVERIFIED)
        single = {group.name: ", ".join(group.singles) for group in metric_groups(loaded.metrics)}
        shown = [metric for metric in metrics if every or metric["name"] in single]
        rows = [
            [
                str(metric["name"]),
                BETTER[str(metric["direction"])],
                number(metric["optimum"]),
                str(metric["unit"]),
                str(metric["missing"] or ""),
                single.get(str(metric["name"]), ""),
            ]
            for metric in shown
        ]
        titles = ["metric", "better", "best", "unit", "missing", "also for one training: /..."]
        print_table(titles, rows, right=(2, 4))
        for metric in shown:
            typer.echo(f"{metric['name']}: {metric['description']}")
        typer.echo("")
        if loaded.curves and not every:
            typer.echo(f"{len(loaded.curves)} learning curves, {next(iter(loaded.curves))} and so on (--all)")
        for curve in loaded.curves.values() if every else ():
            typer.echo(f"curve {curve.name}: {curve.length} x {curve.unit}; {curve.description}")
        for key, value in loaded.fingerprint.items():
            typer.echo(f"{key}: {value}")


@app.command(
    epilog="Example: crlso bench query nasbench201 "
    "'|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|'"
)
def query(
    table: TableArgument,
    arch: Annotated[str, typer.Argument(metavar="ARCH", help="Architecture in its space's text form.")],
    json: JsonOption = False,
) -> None:
    """Tell everything that a table knows of one architecture: values, ranks, and its identical twins.

    Where the table holds the same network in one other form alone, as the benchmark's representative of all
    forms, it tells of that one and says so.
    """
    with user_errors():
        import numpy as np

        from benchmarks import SurrogateEvaluator, load

        loaded = load(table)
        if isinstance(loaded, SurrogateEvaluator):
            print_predictions(loaded, arch, json=json)
            return
        asked = loaded.space.parse(arch)
        code = _held(loaded, asked)
        values = loaded.evaluate(code[None], metrics=list(loaded.metrics)).iloc[0].tolist()
        metrics: dict[str, dict[str, Any]] = {}
        for metric, value in zip(loaded.metrics.values(), values, strict=True):
            known = not np.isnan(value)
            rank, among = loaded.rank(metric.name, value) if known else (None, None)
            metrics[metric.name] = {
                "value": value if known else None,
                "unit": metric.unit,
                "rank": rank,
                "among": among,
                "optimum": loaded.optimum(metric.name),
                "description": metric.description,
            }
        twins = [loaded.space.format(twin) for twin in _twins(loaded, code)]
        if json:
            print_json(
                {
                    "table": loaded.name,
                    "space": loaded.space.name,
                    "asked": loaded.space.format(asked),
                    "arch": loaded.space.format(code),
                    "code": code.tolist(),
                    "metrics": metrics,
                    "identical": twins,
                }
            )
            return
        if (code != asked).any():
            typer.echo(
                f"{loaded.space.format(asked)}\nis the same network as this form, which the table holds:"
            )
        typer.echo(f"{loaded.space.format(code)}\ncode {code.tolist()} of {loaded.space.name}")
        groups = metric_groups(metrics)
        rows = [
            [
                group.name,
                number(metrics[group.name]["value"]),
                metrics[group.name]["unit"],
                _rank(metrics[group.name]),
                number(metrics[group.name]["optimum"]),
                ", ".join(
                    f"{key} {number(metrics[name]['value'])}"
                    for key, name in group.singles.items()
                    if metrics[name]["value"] is not None
                ),
            ]
            for group in groups
            if metrics[group.name]["value"] is not None
        ]
        titles = ["metric", "value", "unit", "rank", "best", "single trainings"]
        if not any(group.singles for group in groups):
            titles, rows = titles[:-1], [row[:-1] for row in rows]
        print_table(titles, rows, right=(1, 3, 4))
        if unknown := [group.name for group in groups if metrics[group.name]["value"] is None]:
            typer.echo(f"no value: {', '.join(unknown)}")
        if not twins:
            typer.echo("no other architecture of the table is the same network")
            return
        typer.echo(f"the same network in {len(twins):,} other forms:")
        for twin in twins[:_SHOWN_TWINS]:
            typer.echo(f"  {twin}")
        if len(twins) > _SHOWN_TWINS:
            typer.echo(f"  ... and {len(twins) - _SHOWN_TWINS:,} more (--json lists all)")


@app.command(epilog="Example: crlso bench verify nasbench201")
def verify(table: TableArgument, json: JsonOption = False) -> None:
    """Read all of a table file and compare every column with its SHA-256, every text with its code."""
    with user_errors():
        from benchmarks.catalog import stored_path, verify_stored

        path = stored_path(table)
        header = verify_stored(path)
        if json:
            print_json(
                {
                    "name": header.name,
                    "path": str(path),
                    "architectures": header.rows,
                    "metrics": len(header.metrics),
                    "curves": len(header.curves),
                    "verified": header.verified or None,
                }
            )
            return
        what = f"{header.rows:,} architectures, {len(header.metrics)} metrics and {len(header.curves)} curves"
        typer.echo(f"{path}: whole; {what if header.rows else header.description}")
        typer.echo(f"source verified: {header.verified}" if header.verified else f"source {UNVERIFIED}")


@app.command(epilog="Example: crlso bench export nasbench201 nasbench201.csv")
def export(
    table: TableArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .csv or .parquet.")],
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a table as CSV or Parquet: a text column `arch`, and one column per metric."""
    with user_errors():
        from benchmarks import load_table
        from benchmarks.exporting import export_table

        loaded = load_table(table)
        export_table(loaded, file, force=force)
        if json:
            print_json({"table": loaded.name, "file": str(file), "architectures": len(loaded)})
            return
        typer.echo(f"{file}: {len(loaded):,} architectures, {len(loaded.metrics)} metrics")


def _rank(entry: dict[str, Any]) -> str:
    return f"{entry['rank']:,} of {entry['among']:,}" if entry["rank"] else ""


def _held(table: TableEvaluator, code: Code) -> Code:
    """The architecture itself, or the only one of the table that is the same network."""
    if table.rows(code[None])[0] >= 0:
        return code
    keys = table.space.class_keys(table.codes)
    (same,) = (keys == table.space.class_keys(code[None])[0]).nonzero()
    return table.codes[same[0]] if len(same) == 1 else code


def _twins(table: TableEvaluator, code: Any) -> Any:
    """``[m, d]`` the other architectures of the table that are the same network."""
    keys = table.space.class_keys(table.codes)
    row = table.rows(code[None])[0]
    same = keys == keys[row]
    same[row] = False
    return table.codes[same]
