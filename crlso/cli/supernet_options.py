"""What the commands of `crlso supernet` share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.errors import UserError

if TYPE_CHECKING:
    from crlso.protocols import SearchSpace
    from supernet.recipe import Recipe

OutOption = Annotated[
    Path, typer.Option("--out", help="Directory of the run; what it holds of this very run goes on.")
]
LimitOption = Annotated[
    str | None,
    typer.Option("--limit", help="At most so many images: TRAINING,VALIDATION,TEST (2000,1000,1000)."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1; with torchrun: cuda.")]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", help="Parallel trainings, one thread each; default: processors.")
]
ChannelsOption = Annotated[int | None, typer.Option("--channels", help="Of the first cells.")]
CellsOption = Annotated[
    int | None, typer.Option("--cells", help="Number of cells (darts), or cells per stage.")
]
StagesOption = Annotated[int | None, typer.Option("--stages", help="Of networks other than darts'.")]


SpaceOption = Annotated[
    str | None,
    typer.Option(
        "--space",
        help="darts, nasbench201, fxdarts, or a YAML file that declares one; by default the recipe's.",
    ),
]


def space_of(name: str | None, recipe: Recipe, *, preset: str, cells: int | None) -> SearchSpace:
    """The space of that name, or the recipe's with as many cells as asked for, or as the preset has.

    Raises:
        UserError: There is no such space.
    """
    from crlso.spaces import get_space

    if name is not None:
        return get_space(name)
    from supernet.search.plan import preset_cells

    return recipe.space.build(preset_cells(preset) if cells is None else cells)


def processors(jobs: int | None) -> int:
    """Parallel trainings: what was asked for, or as many as there are processors.

    Raises:
        UserError: Fewer than one.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs must be 1 or more, got {jobs}")
    return jobs or os.cpu_count() or 1


def percent(value: float | None) -> str:
    """An accuracy in words."""
    return "-" if value is None else f"{value:.2f} %"


def spread(figures: Mapping[str, Any]) -> str:
    """Mean, standard deviation (of more than one) and median of accuracies in words."""
    if figures["mean"] is None:
        return "-"
    deviation = "" if figures["std"] is None else f" +- {figures['std']:.2f}"
    return f"{figures['mean']:.2f}{deviation} % (median {figures['median']:.2f})"
