"""The ``crlso`` command. Commands import what they need when they run, so that ``--help`` is quick."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated, Any

import typer

import crlso
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


def _part(module: str, name: str) -> Callable[..., Any] | typer.Typer | None:
    try:
        found: Callable[..., Any] | typer.Typer = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return None
    return found


app.command()(search)
app.command()(compare)
for _name in ("demo", "report"):
    _command = _part(f"crlso.cli.{_name}", _name)
    if _command is not None:
        app.command(_name)(_command)
for _name in ("bench", "embed"):
    _sub = _part(f"crlso.cli.{_name}", "app")
    if isinstance(_sub, typer.Typer):
        app.add_typer(_sub, name=_name)


if __name__ == "__main__":
    main()
