"""`crlso bench join`: one table with the metrics of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from crlso.cli.bench_tables import UNVERIFIED
from crlso.cli.common import JsonOption, print_json, user_errors
from crlso.errors import UserError


def join(
    tables: Annotated[
        list[str], typer.Argument(metavar="TABLE TABLE...", help="Names or paths of tables of one space.")
    ],
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the joined table.")],
    keep_all: Annotated[
        bool,
        typer.Option(
            "--keep-all",
            help="Keep all architectures of the first table; by default those that all tables hold.",
        ),
    ] = False,
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix", help="TABLE=TEXT: put TEXT/ before the metrics of a table (repeat), if names clash."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there under this name.")] = False,
    json: JsonOption = False,
) -> None:
    """Put the metrics and curves of several tables of one space into one table, say accuracy and latency.

    Architectures are matched by what they are, not by their place in a table. Those that some table lacks are
    left out, unless --keep-all: then all of the first table stay, and what another lacks has no value.
    """
    with user_errors("interrupted; no table was written"):
        from benchmarks.catalog import user_path
        from benchmarks.joining import join_tables
        from benchmarks.store import read_header

        joined = join_tables(
            tables, name=name, keep_all=keep_all, prefixes=_prefixes(prefix or ()), force=force
        )
        path = user_path(name)
        header = read_header(path)
        if json:
            print_json(
                {
                    "name": joined.name,
                    "path": str(path),
                    "space": joined.space.name,
                    "architectures": len(joined),
                    "whole_space": joined.support is None,
                    "metrics": list(joined.metrics),
                    "curves": list(joined.curves),
                    "joined": header.details["joined"],
                    "verified": header.verified or None,
                }
            )
            return
        typer.echo(
            f"{joined.name}: {len(joined):,} architectures of {joined.space.name}, "
            f"{len(joined.metrics)} metrics, {len(joined.curves)} curves"
        )
        for part in header.details["joined"]:
            typer.echo(f"  {part['kept']:,} of {part['architectures']:,} architectures of {part['table']}")
        typer.echo(f"verified: {header.verified}" if header.verified else UNVERIFIED)
        typer.echo(f"use it as: --bench {joined.name}   (stored in {path})")


def _prefixes(stated: Sequence[str]) -> dict[str, str]:
    """``TABLE=TEXT`` options as a mapping."""
    prefixes = {}
    for text in stated:
        table, mark, prefix = text.rpartition("=")
        if not mark or not table or not prefix:
            raise UserError(f"--prefix takes TABLE=TEXT, for example mine=repeated; got {text!r}")
        prefixes[table] = prefix
    return prefixes
