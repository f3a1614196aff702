"""`crlso bench build`: a table of one's own, by training."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from crlso.cli.common import ForceOption, JsonOption, print_json, quoted, say, user_errors, whole_number
from crlso.cli.search import parse_seeds
from crlso.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from benchmarks.building import Built
    from crlso.protocols import Trainer
    from crlso.runs.trainings import Engine

ENGINES = ("local", "ray")


def build(
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help="Name of a space, or a YAML file that declares it.")
    ],
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the table.")],
    every: Annotated[bool, typer.Option("--all", help="Train all architectures of the space.")] = False,
    sample: Annotated[
        int | None, typer.Option("--sample", help="Train so many different architectures, drawn uniformly.")
    ] = None,
    sample_seed: Annotated[int, typer.Option("--sample-seed", help="Which ones.")] = 0,
    data: Annotated[
        str, typer.Option("--data", help="Images: a name (digits, cifar10, ...) or the path of their files.")
    ] = "digits",
    data_path: Annotated[
        Path | None,
        typer.Option("--data-path", help="Where the files of the data set that --data names are."),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option("--limit", help="At most so many images: TRAINING,VALIDATION,TEST (2000,1000,1000)."),
    ] = None,
    shrink: Annotated[
        int, typer.Option("--shrink", help="Average blocks of so many pixels each way into one.")
    ] = 1,
    epochs: Annotated[
        str, typer.Option("--epochs", help="Fidelities, increasing: a training of its own for each (4,12).")
    ] = "12",
    seeds: Annotated[
        str, typer.Option("--seeds", help="How many (3: 0 to 2), a range (10-12) or a list (3,5,8).")
    ] = "1",
    channels: Annotated[
        int | None, typer.Option("--channels", help="Of the network's first stage; default: 8.")
    ] = None,
    cells: Annotated[
        int | None, typer.Option("--cells", help="Per stage; for darts in all. Default: 1; for darts 3.")
    ] = None,
    stages: Annotated[
        int | None,
        typer.Option(
            "--stages", help="Each halves the image and doubles channels; default: 2. Not for darts."
        ),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Images a step, at most.")] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Of the first step.")] = 0.1,
    augmentation: Annotated[
        str, typer.Option("--augmentation", help="none, or shift (by up to one pixel).")
    ] = "none",
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")] = "cpu",
    unique: Annotated[
        str,
        typer.Option(
            "--unique", help="exact: identical networks are trained once; code: every architecture is."
        ),
    ] = "exact",
    engine: Annotated[
        str, typer.Option("--engine", help="local: processes of this machine; ray: a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option("--address", help="Of the Ray cluster (auto, HOST:PORT); without it a local Ray."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", help="Parallel processes, one thread each; default: one per processor."),
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Train the architectures of a space on images and keep the results as a table, for `--bench NAME`.

    Killed or interrupted, the same command goes on where it stopped. Networks are those of NAS-Bench-201 for
    spaces with an operation on every edge of a cell, and those of DARTS for the space darts, in sizes of
    one's own.
    """
    with user_errors("interrupted; the finished trainings are kept, the same command again goes on"):
        from benchmarks.building import BuildSettings, build_table

        if every == (sample is not None):
            raise UserError("say --all (train all architectures of the space) or --sample N, one of them")
        settings = BuildSettings(
            seeds=tuple(parse_seeds(seeds)),
            sample=sample,
            sample_seed=sample_seed,
            unique=cast(Any, unique),  # checked there
        )
        chosen_engine = _engine(engine, address, jobs)
        trainer = _trainer(
            space,
            data=data,
            data_path=data_path,
            split={"limits": parse_limits(limit), "shrink": shrink},
            epochs=_numbers("--epochs", epochs),
            sizes={"channels": channels, "cells": cells, "stages": stages},
            recipe={"batch": batch, "learning_rate": learning_rate, "augmentation": augmentation},
            device=device,
        )
        built = build_table(
            trainer,
            name=name,
            settings=settings,
            engine=chosen_engine,
            force=force,
            progress=not json,
            say=(lambda text: None) if json else say,
        )
        _tell(built, trainer, json=json)


def _trainer(
    space: str,
    *,
    data: str,
    data_path: Path | None,
    split: dict[str, Any],
    epochs: tuple[int, ...],
    sizes: dict[str, int | None],
    recipe: dict[str, Any],
    device: str,
) -> Trainer:
    # What is wrong with names and files is said before torch is loaded.
    from crlso.spaces import DARTSSpace, get_space

    found = get_space(space)
    from supernet.data import SOURCES, SplitSettings, load
    from supernet.data import split as divide
    from supernet.data.sources import find

    if data_path is not None and data not in SOURCES:
        raise UserError(
            f"--data {quoted(data)} is no name; --data-path goes with one of {', '.join(SOURCES)}"
        )
    found_images = load(data, data_path) if data in SOURCES else find(data)
    images = divide(found_images, SplitSettings(**split))
    from supernet.networks import ImageTask, family_of
    from supernet.scratch import SMALL, SMALL_DARTS, ScratchTrainer
    from supernet.training import TrainSettings

    said: dict[str, Any] = {name: value for name, value in sizes.items() if value is not None}
    if isinstance(found, DARTSSpace):
        if "stages" in said:
            raise UserError(
                "--stages is for spaces with an operation on every edge; networks of darts have 3"
            )
        family = family_of(found, ImageTask.of(images), replace(SMALL_DARTS, **said))
    else:
        family = family_of(found, ImageTask.of(images), replace(SMALL, **said))
    return ScratchTrainer(
        family,
        images,
        TrainSettings(epochs=epochs[-1], **recipe),
        fidelities=epochs,
        device=device,
    )


def _engine(name: str, address: str | None, jobs: int | None) -> Engine:
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs must be 1 or more, got {jobs}")
    if name == "ray":
        from crlso.runs.ray_tasks import ray_engine

        return ray_engine(address=address, jobs=jobs)
    if address is not None:
        raise UserError("--address is that of a Ray cluster; it needs --engine ray")
    from crlso.runs.workers import run_tasks

    return functools.partial(run_tasks, jobs=jobs or os.cpu_count() or 1)


def _tell(built: Built, trainer: Trainer, *, json: bool) -> None:
    table = built.header
    whole = table.rows >= trainer.space.size
    if json:
        print_json(
            {
                "name": table.name,
                "path": str(built.path),
                "space": trainer.space.name,
                "architectures": table.rows,
                "whole_space": whole,
                "trainings": built.trainings,
                "done_now": built.done_now,
                "failed": built.failed,
                "metrics": [metric.name for metric in table.metrics],
                "curves": [curve.name for curve in table.curves],
            }
        )
        return
    part = "the whole space" if whole else f"a part of up to {trainer.space.size:,}"
    typer.echo(f"{table.name}: {table.rows:,} architectures of {trainer.space.name} ({part})")
    diverged = f", {built.failed:,} of them diverged and are missing" if built.failed else ""
    typer.echo(f"{built.trainings:,} trainings ({built.done_now:,} of them now){diverged}")
    typer.echo(f"use it as: --bench {table.name}   (stored in {built.path})")


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between."""
    numbers: list[int] = []
    for part in text.split(","):
        number = whole_number(part.strip())
        if number is None:
            raise UserError(f"{option} {quoted(text)}; write whole numbers with commas between, such as 4,12")
        numbers.append(number)
    return tuple(numbers)


def parse_limits(text: str | None) -> tuple[int | None, int | None, int | None]:
    """Three numbers of images, or none.

    Raises:
        UserError: Something else.
    """
    if text is None:
        return (None, None, None)
    limits = _numbers("--limit", text)
    if len(limits) != 3:
        raise UserError(f"--limit {quoted(text)}; write three numbers: TRAINING,VALIDATION,TEST images")
    training, validation, test = limits
    return training, validation, test
