"""`crlso report`: one self-contained HTML file from run directories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crlso.cli.common import JsonOption, print_json, user_errors
from crlso.errors import UserError

if TYPE_CHECKING:
    from crlso.protocols import Evaluator

FILE_NAME = "report.html"


def report(
    dirs: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Directories of `crlso search`, `compare`, `supernet search`, `supernet train`.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help=f"The file to write; by default {FILE_NAME} in the first directory."),
    ] = None,
    bench: Annotated[
        list[str] | None,
        typer.Option("--bench", help="Table file of a run whose table is not found by its name (repeat)."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make one HTML file that opens offline: curves, figures, best cells, latent space, settings.

    Example: crlso report runs/first runs/second --out report.html
    """
    with user_errors():
        from crlso.report.build import make_page, read_all, write_page
        from crlso.report.page import as_plain
        from crlso.report.reading import Run

        runs = read_all(dirs)
        names = dict.fromkeys(run.bench for run in runs if isinstance(run, Run))
        evaluators, notes = _evaluators(list(names), bench or [])
        page = make_page(runs, evaluator=evaluators, notes=notes)
        file = write_page(page, out if out is not None else dirs[0] / FILE_NAME)
        if json:
            print_json({"report": str(file), **as_plain(page)})
            return
        for study in page.sections:
            for sentence in (*study.summary, *study.verdicts, *study.notes):
                typer.echo(sentence)
        for note in notes:
            typer.echo(note)
        typer.echo(f"report: {file}")


def _evaluators(names: list[str], tables: list[str]) -> tuple[dict[str, Evaluator], tuple[str, ...]]:
    """The tables that the runs name, as far as they can be loaded, and what to say of the others."""
    import benchmarks

    found: dict[str, Evaluator] = {}
    for table in tables:
        loaded = benchmarks.load(table)
        found[loaded.name] = loaded
    notes = []
    for name in names:
        if name in found:
            continue
        try:
            found[name] = benchmarks.load(name)
        except UserError as error:
            notes.append(
                f"The table of {name!r} can not be loaded ({error}): units and true values in the latent "
                "space are left out."
            )
    return found, tuple(notes)
