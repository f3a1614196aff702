"""`crlso supernet time`: how long a search would take here, and what each setting is worth."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.cli.common import JsonOption, key_values, print_json, quoted, user_errors
from crlso.cli.supernet_options import CellsOption, ChannelsOption, SpaceOption, StagesOption, space_of
from crlso.errors import UserError

if TYPE_CHECKING:
    from supernet.search.timing import StepTime


def time(
    *,
    recipe: Annotated[str, typer.Option("--recipe", help="Method: a name or a YAML file.")] = "darts_1st",
    space: SpaceOption = None,
    preset: Annotated[
        str, typer.Option("--preset", help="published (here the default) or small.")
    ] = "published",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A number of the method: batch=96, epochs=25. Repeat."
        ),
    ] = None,
    channels: ChannelsOption = None,
    cells: CellsOption = None,
    stages: StagesOption = None,
    image: Annotated[str, typer.Option("--image", help="CHANNELSxHEIGHTxWIDTH.")] = "3x32x32",
    classes: Annotated[int, typer.Option("--classes", help="To tell apart.", min=2)] = 10,
    images: Annotated[
        int, typer.Option("--images", help="Images for the weights, and as many for the architecture.", min=2)
    ] = 25_000,
    steps: Annotated[int, typer.Option("--steps", help="Steps to take the median of.", min=1)] = 5,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Ways to compute whose label contains this, and no others. Repeat."),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="With torch.compile too; it takes minutes to start.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:1.")] = "cpu",
    json: JsonOption = False,
) -> None:
    """Time a step of a search with each setting on and off, and project a whole search.

    The images are noise, no data is needed. On a CPU it runs on one thread, so that figures can be compared.
    Of a supernet that shrinks, steps are timed and projected with all operators.
    """
    with user_errors():
        from supernet.recipe import load_recipe

        changes = key_values(set_ or ())
        method = load_recipe(recipe, preset=preset, changes=changes)
        found = space_of(space, method, preset=preset, cells=cells)
        size = _size(image)
        import torch

        from supernet.search.plan import sizes_of
        from supernet.search.timing import REFERENCE, measure_variants, variants

        if fixed := [key for key in changes if key.removeprefix("search.") in REFERENCE]:
            raise UserError(
                f"--set {fixed[0]}: each way to compute has its own; choose some of them with --only"
            )

        chosen = variants(cuda=device.startswith("cuda"), compiled=compiled)
        for word in only or ():
            if not any(word in variant.label for variant in chosen):
                labels = ", ".join(variant.label for variant in chosen)
                raise UserError(f"--only {quoted(word)} is in no label; they are {labels}")
        chosen = tuple(each for each in chosen if not only or any(word in each.label for word in only))
        if device == "cpu":
            torch.set_num_threads(1)
        rows = measure_variants(
            found,
            sizes_of(found, preset, {"channels": channels, "cells": cells, "stages": stages}),
            method,
            chosen,
            device=device,
            size=size,
            classes=classes,
            images=images,
            steps=steps,
        )
        if json:
            print_json({"recipe": method.to_dict(), "steps": [asdict(row) for row in rows]})
            return
        for number, row in enumerate(rows):
            typer.echo(_line(row) if number else f"{_HEAD}\n{_line(row)}")


_HEAD = (
    f"{'':28}{'s/step':>9}{'CPU s':>9}{'GB':>7}{'kernels':>9}{'epoch measured s':>18}{'whole search min':>18}"
)


def _line(row: StepTime) -> str:
    share: Any = "-" if row.kernels is None else f"{100 * row.kernels:.0f} %"
    return (
        f"{row.label:28}{row.seconds:>9.4f}{row.cpu_seconds:>9.4f}{row.memory:>7.2f}{share:>9}"
        f"{row.measuring:>18.1f}{row.projected / 60:>18.1f}"
    )


def _size(text: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if found is None:
        raise UserError(f"--image {quoted(text)}; write CHANNELSxHEIGHTxWIDTH, as in 3x32x32")
    channels, height, width = (int(part) for part in found.groups())
    return channels, height, width
