"""The ``crlso`` command. Commands import what they need when they run, so that ``--help`` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

import crlso
from crlso.cli import bench, embed, supernet
from crlso.cli.demo import demo
from crlso.cli.report import report
from crlso.cli.search import compare, search

app = typer.Typer(
    name="crlso",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crlso {crlso.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Latent-space search of neural architectures over benchmark tables.

    Example: crlso search --bench nasbench201 --metric cifar10/valid_accuracy@200 --out runs/first
    """
    del version


def main() -> None:
    """Entry point of the installed command."""
    app()


app.command()(search)
app.command()(compare)
app.command()(report)
app.add_typer(bench.app, name="bench")
app.command()(demo)
app.add_typer(embed.app, name="embed")
app.add_typer(supernet.app, name="supernet")


if __name__ == "__main__":
    main()
