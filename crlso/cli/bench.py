"""`crlso bench`: list, inspect, import, query and export benchmark tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.cli.common import JsonOption, print_json, user_errors
from crlso.errors import UserError

if TYPE_CHECKING:
    from benchmarks import TableEvaluator

app = typer.Typer(help="Benchmark tables: list, inspect, import, query, export.", no_args_is_help=True)

TableArgument = Annotated[
    str, typer.Argument(metavar="TABLE", help="Name of a table (crlso bench list) or path of a table file.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there under this name.")]

_SHOWN_TWINS = 10
_BETTER = {"max": "larger", "min": "smaller"}


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
                        "space": _space_name(entry.header.space) if entry.header else None,
                        "architectures": entry.header.rows if entry.header else None,
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
                _space_name(entry.header.space),
                f"{entry.header.rows:,}",
                str(len(entry.header.metrics)),
                entry.header.description + (f" (needs: {entry.needs})" if entry.needs else ""),
            ]
            if entry.header
            else [entry.name, "", "", "", entry.problem]
            for entry in entries
        ]
        _print_table(["table", "space", "architectures", "metrics", "what"], rows, right=(2, 3))


@app.command(epilog="Example: crlso bench info nasbench201")
def info(table: TableArgument, json: JsonOption = False) -> None:
    """Say what a table holds: its space, its metrics and their optima, and where the numbers come from."""
    with user_errors():
        from benchmarks import load

        loaded = load(table)
        metrics = [
            {
                "name": metric.name,
                "direction": metric.direction,
                "unit": metric.unit,
                "optimum": loaded.optimum(metric.name),
                "missing": _missing(loaded, metric.name),
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
                    "metrics": metrics,
                    "fingerprint": dict(loaded.fingerprint),
                }
            )
            return
        whole = "the whole space" if loaded.support is None else f"a part of up to {loaded.space.size:,}"
        typer.echo(f"{loaded.name}: {len(loaded):,} architectures of {loaded.space.name} ({whole})")
        rows = [
            [
                str(metric["name"]),
                _BETTER[str(metric["direction"])],
                _number(metric["optimum"]),
                str(metric["unit"]),
                str(metric["missing"] or ""),
            ]
            for metric in metrics
        ]
        _print_table(["metric", "better", "best", "unit", "missing"], rows, right=(2, 4))
        for metric in metrics:
            typer.echo(f"{metric['name']}: {metric['description']}")
        typer.echo("")
        for key, value in loaded.fingerprint.items():
            typer.echo(f"{key}: {value}")


@app.command(
    "import",
    epilog="Example: crlso bench import results.csv --space my_space.yaml --name mine "
    "--minimize latency --unit latency=ms",
)
def import_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or Parquet with one architecture per row.")
    ],
    *,
    space: Annotated[
        str, typer.Option("--space", help="Name of the space, or a YAML file that declares it.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the table; by default the file's name.")
    ] = None,
    arch_column: Annotated[
        str | None, typer.Option("--arch-column", help="Architecture column; by default arch, genotype, ...")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Metric column (repeat); by default all other columns."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="Column to leave out (repeat).")
    ] = None,
    maximize: Annotated[
        list[str] | None, typer.Option("--maximize", help="Metric of which more is better (repeat).")
    ] = None,
    minimize: Annotated[
        list[str] | None, typer.Option("--minimize", help="Metric of which less is better (repeat).")
    ] = None,
    unit: Annotated[list[str] | None, typer.Option("--unit", help="METRIC=UNIT (repeat).")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Accept rows without a value in some metric.")
    ] = False,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Make a table of a CSV or Parquet file, to be used as `--bench NAME` from then on."""
    with user_errors():
        from benchmarks.importing import ImportOptions, import_table
        from crlso.spaces import get_space

        options = ImportOptions(
            arch_column=arch_column,
            metrics=metric or (),
            ignore=ignore or (),
            maximize=maximize or (),
            minimize=minimize or (),
            units=_units(unit or ()),
            allow_missing=allow_missing,
        )
        imported = import_table(file, get_space(space), name=name, options=options, force=force)
        table = imported.table
        if json:
            print_json(
                {
                    "name": table.name,
                    "path": str(imported.path),
                    "space": table.space.name,
                    "architectures": len(table),
                    "whole_space": table.support is None,
                    "arch_column": imported.arch_column,
                    "metrics": {
                        key: {"direction": value.direction, "why": imported.reasons[key], "unit": value.unit}
                        for key, value in table.metrics.items()
                    },
                    "left_out": list(imported.left_out),
                }
            )
            return
        whole = "the whole space" if table.support is None else f"of up to {table.space.size:,}"
        typer.echo(f"{table.name}: {len(table):,} architectures of {table.space.name} ({whole})")
        rows = [
            [
                key,
                f"{_BETTER[value.direction]} is better",
                imported.reasons[key],
                value.unit,
                str(_missing(table, key) or ""),
            ]
            for key, value in table.metrics.items()
        ]
        _print_table(["metric", "direction", "why", "unit", "missing"], rows, right=(4,))
        if imported.left_out:
            typer.echo(f"left out: {', '.join(imported.left_out)}")
        if any(reason != "stated" for reason in imported.reasons.values()):
            typer.echo("a direction is wrong? import again with --maximize or --minimize METRIC and --force")
        typer.echo(f"use it as: --bench {table.name}   (stored in {imported.path})")


@app.command(
    epilog="Example: crlso bench query nasbench201 "
    "'|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|'"
)
def query(
    table: TableArgument,
    arch: Annotated[str, typer.Argument(metavar="ARCH", help="Architecture in its space's text form.")],
    json: JsonOption = False,
) -> None:
    """Tell everything that a table knows of one architecture: values, ranks, and its identical twins."""
    with user_errors():
        import numpy as np

        from benchmarks import load

        loaded = load(table)
        code = loaded.space.parse(arch)
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
                    "arch": loaded.space.format(code),
                    "code": code.tolist(),
                    "metrics": metrics,
                    "identical": twins,
                }
            )
            return
        typer.echo(f"{loaded.space.format(code)}\ncode {code.tolist()} of {loaded.space.name}")
        rows = [
            [
                key,
                _number(entry["value"]),
                entry["unit"],
                f"{entry['rank']:,} of {entry['among']:,}" if entry["rank"] else "",
                _number(entry["optimum"]),
            ]
            for key, entry in metrics.items()
        ]
        _print_table(["metric", "value", "unit", "rank", "best"], rows, right=(1, 3, 4))
        if not twins:
            typer.echo("no other architecture of the table is the same network")
            return
        typer.echo(f"the same network in {len(twins):,} other forms:")
        for twin in twins[:_SHOWN_TWINS]:
            typer.echo(f"  {twin}")
        if len(twins) > _SHOWN_TWINS:
            typer.echo(f"  ... and {len(twins) - _SHOWN_TWINS:,} more (--json lists all)")


@app.command(epilog="Example: crlso bench export nasbench201 nasbench201.csv")
def export(
    table: TableArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .csv or .parquet.")],
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a table as CSV or Parquet: a text column `arch`, and one column per metric."""
    with user_errors():
        from benchmarks import load
        from benchmarks.exporting import export_table

        loaded = load(table)
        export_table(loaded, file, force=force)
        if json:
            print_json({"table": loaded.name, "file": str(file), "architectures": len(loaded)})
            return
        typer.echo(f"{file}: {len(loaded):,} architectures, {len(loaded.metrics)} metrics")


def _twins(table: TableEvaluator, code: Any) -> Any:
    """``[m, d]`` the other architectures of the table that are the same network."""
    keys = table.space.class_keys(table.codes)
    row = table.rows(code[None])[0]
    same = keys == keys[row]
    same[row] = False
    return table.codes[same]


def _missing(table: TableEvaluator, metric: str) -> int:
    import numpy as np

    return int(np.isnan(table.column(metric)).sum())


def _units(stated: Sequence[str]) -> dict[str, str]:
    """``METRIC=UNIT`` options as a mapping."""
    units = {}
    for text in stated:
        metric, mark, unit = text.rpartition("=")
        if not mark or not metric:
            raise UserError(f"--unit takes METRIC=UNIT, for example latency=ms; got {text!r}")
        units[metric] = unit
    return units


def _space_name(declaration: Any) -> str:
    """Name of a declared or built-in space."""
    return str(declaration.get("name", declaration["space"]))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.6g}"


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table on stdout; as wide as it needs to be where stdout is no terminal, so that nothing is cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1000)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, title in enumerate(titles):
        table.add_column(title, justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: names may hold square brackets
    console.print(table)
