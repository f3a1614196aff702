"""`crlso bench import`: official benchmark files, CSV and Parquet become tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from crlso.cli.bench_surrogate import print_surrogate
from crlso.cli.bench_tables import BETTER, UNVERIFIED, metric_groups, missing, print_table
from crlso.cli.common import ForceOption, JsonOption, print_json, user_errors
from crlso.errors import UserError


def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Official benchmark file or folder; or CSV or Parquet, an architecture per row.",
        ),
    ],
    *,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", help="Of a CSV or Parquet: name of its space, or a YAML file that declares it."
        ),
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="Of an official file, where it is not recognised.")
    ] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Accept a file whose digest is not the published one.")
    ] = False,
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
    """Make a table of a foreign file once, to be used as `--bench NAME` from then on.

    Official files are recognised: NAS-Bench-201 (.pth), NATS-Bench (folder or .pickle.pbz2), NAS-Bench-101
    (.tfrecord), NAS-Bench-301 (folder such as xgb_v1.0), HW-NAS-Bench (.pickle). They are
    read as data, and one architecture at a time.
    """
    with user_errors("interrupted; no table was written"):
        from benchmarks.importers import recognise

        official = recognise(file) is not None
        if format_name is not None or (space is None and official):
            _refuse_options(
                "an official file says itself what it holds",
                {
                    "--space": space,
                    "--arch-column": arch_column,
                    "--metric": metric,
                    "--ignore": ignore,
                    "--maximize": maximize,
                    "--minimize": minimize,
                    "--unit": unit,
                    "--allow-missing": allow_missing,
                },
            )
            _import_official(
                file, name=name, format_name=format_name, unverified=unverified, force=force, json=json
            )
            return
        if space is None:
            raise UserError(
                f"{file} is no official benchmark file that is known; a CSV or Parquet needs --space"
            )
        if official:
            raise UserError(f"{file} is an official file, which says its space itself; leave --space away")
        _refuse_options("a CSV or Parquet has no published digest", {"--unverified": unverified})
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
                f"{BETTER[value.direction]} is better",
                imported.reasons[key],
                value.unit,
                str(missing(table, key) or ""),
            ]
            for key, value in table.metrics.items()
        ]
        print_table(["metric", "direction", "why", "unit", "missing"], rows, right=(4,))
        if imported.left_out:
            typer.echo(f"left out: {', '.join(imported.left_out)}")
        if any(reason != "stated" for reason in imported.reasons.values()):
            typer.echo("a direction is wrong? import again with --maximize or --minimize METRIC and --force")
        typer.echo(f"use it as: --bench {table.name}   (stored in {imported.path})")


def _refuse_options(why: str, options: Mapping[str, object]) -> None:
    """Options that would be without effect."""
    if given := [name for name, value in options.items() if value]:
        raise UserError(f"{given[0]} does not go with this file: {why}; leave it away")


def _import_official(
    file: Path, *, name: str | None, format_name: str | None, unverified: bool, force: bool, json: bool
) -> None:
    from benchmarks import SurrogateEvaluator
    from benchmarks.catalog import stored_path, table_header
    from benchmarks.importers import import_official

    table = import_official(
        file, name=name, format_name=format_name, unverified=unverified, force=force, progress=not json
    )
    path = stored_path(table.name)
    header = table_header(table.name)
    if isinstance(table, SurrogateEvaluator):
        print_surrogate(table, header, json=json)
        return
    if json:
        print_json(
            {
                "name": table.name,
                "path": str(path),
                "space": table.space.name,
                "architectures": len(table),
                "whole_space": table.support is None,
                "metrics": list(table.metrics),
                "curves": list(table.curves),
                "verified": header.verified or None,
            }
        )
        return
    groups = metric_groups(table.metrics)
    typer.echo(f"{table.name}: {header.description}")
    singles = f" ({len(table.metrics)} with single trainings)" if len(table.metrics) > len(groups) else ""
    typer.echo(f"{len(groups)} metrics{singles}, {len(table.curves)} curves")
    typer.echo(f"verified: {header.verified}" if header.verified else UNVERIFIED)
    typer.echo(f"what it holds: crlso bench info {table.name}   (stored in {path})")


def _units(stated: Sequence[str]) -> dict[str, str]:
    """``METRIC=UNIT`` options as a mapping."""
    units = {}
    for text in stated:
        metric, mark, unit = text.rpartition("=")
        if not mark or not metric:
            raise UserError(f"--unit takes METRIC=UNIT, for example latency=ms; got {text!r}")
        units[metric] = unit
    return units
