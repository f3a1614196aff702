"""`crlso supernet train`: networks from architectures, kept with their weights."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.cli.common import JsonOption, key_values, print_json, say, user_errors
from crlso.cli.search import parse_seeds
from crlso.cli.supernet_options import (
    CellsOption,
    ChannelsOption,
    DeviceOption,
    JobsOption,
    LimitOption,
    OutOption,
    StagesOption,
    percent,
    processors,
    spread,
)
from crlso.errors import UserError

if TYPE_CHECKING:
    from supernet.train.plan import TrainPlan


def train(
    *,
    out: OutOption,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="What `crlso supernet search` derived there, on its data, in its sizes, trained as it "
            "trains, but for what other options say.",
        ),
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(
            "--architecture",
            metavar="TEXT|FILE",
            help="An architecture, or a file with one a line (text or JSON; the derived.json of a search). "
            "Repeat.",
        ),
    ] = None,
    pareto: Annotated[
        Path | None,
        typer.Option(
            "--pareto",
            metavar="DIR",
            help="Members of the sets that a search left which shrinks (its directory, or one of its "
            "seeds/K), trained as with --from; or of any folder with a pareto.csv.",
        ),
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            "--members",
            help="With --pareto: all (default; the non-dominated ones), some of smallest,middle,largest, or "
            "numbers (1,4,7).",
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            help="With --architecture, and with --pareto of a folder that is of no search: darts (default), "
            "fxdarts, nasbench201, or a YAML file that declares a space.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Images: a name (digits, the default; cifar10, ...) or the path of their files.",
        ),
    ] = None,
    limit: LimitOption = None,
    shrink: Annotated[
        int | None, typer.Option("--shrink", help="Average blocks of so many pixels each way into one.")
    ] = None,
    all_data: Annotated[
        bool,
        typer.Option(
            "--all-data",
            help="Train on the validation part too, as published; nothing is measured before the end.",
        ),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="small (default): seconds to minutes on a CPU; published: sizes and training of the "
            "literature's final networks.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A number of the training: epochs=50, precision=bf16-mixed, compile=on. Repeat.",
        ),
    ] = None,
    channels: ChannelsOption = None,
    cells: CellsOption = None,
    stages: StagesOption = None,
    seeds: Annotated[
        str,
        typer.Option(
            "--seeds", help="Trainings of each architecture: how many (3: 0 to 2), a range or a list (3,5,8)."
        ),
    ] = "1",
    device: DeviceOption = "cpu",
    jobs: JobsOption = None,
    json: JsonOption = False,
) -> None:
    """Train architectures from scratch into networks, each with every seed; keep weights, curves, figures.

    Killed or interrupted, the same command goes on where it stopped, bit for bit. Several devices work
    together on one network: `torchrun --nproc-per-node 2 -m crlso.cli.main supernet train ...`.
    """
    with user_errors("interrupted; the same command again goes on"):
        chosen, names = _plan(from_, architecture or (), pareto, members, space)
        plan = chosen.changed(
            preset=preset,
            data=data,
            limits=_limits(limit),
            shrink=shrink,
            sizes={"channels": channels, "cells": cells, "stages": stages},
            training=key_values(set_ or ()),
            all_data=all_data,
        )
        from crlso.runs.workers import run_tasks
        from supernet.processes import Processes
        from supernet.train.run import run_training

        if not json:
            for number, name in enumerate(names):
                say(f"architecture {number}: {name}")
        # Several trainings at a time share the processors; a device of another kind has one at a time.
        at_once = processors(jobs) if jobs is not None or device == "cpu" else 1
        summary = run_training(
            plan,
            parse_seeds(seeds),
            out=out,
            processes=Processes(device, plan.training.precision),
            engine=functools.partial(run_tasks, jobs=at_once),
            progress=not json,
            say=(lambda text: None) if json else say,
        )
        if not summary:  # a helping process of several
            return
        if json:
            print_json(summary)
        else:
            typer.echo("\n".join(_lines(summary, out)))


def _plan(
    directory: Path | None,
    architectures: Sequence[str],
    pareto: Path | None,
    members: str | None,
    space: str | None,
) -> tuple[TrainPlan, tuple[str, ...]]:
    """What is to be trained, and what the members of a set are called."""
    if sum((directory is not None, bool(architectures), pareto is not None)) != 1:
        raise UserError(
            "say --from DIR (what a supernet search derived), --pareto DIR (the set that it left) or"
            " --architecture TEXT|FILE, one of them"
        )
    if members is not None and pareto is None:
        raise UserError("--members is for --pareto DIR: it says which members of the set there")
    if directory is not None:
        if space is not None:
            raise UserError(
                f"--space is for --architecture; the space here is that of the search in {directory}"
            )
        from supernet.train.plan import searched_plan

        return searched_plan(directory), ()
    if pareto is not None:
        return _members_plan(pareto, members, space)
    # What is wrong with names and files is said before torch is loaded.
    from crlso.spaces import get_space
    from supernet.train.architectures import read_architectures

    found = get_space(space or "darts")
    texts = read_architectures(found, architectures)
    from supernet.train.plan import small_plan

    return small_plan(found, texts), ()


def _members_plan(
    directory: Path, members: str | None, space: str | None
) -> tuple[TrainPlan, tuple[str, ...]]:
    from supernet.pareto.selection import ALL, parse_members
    from supernet.train.members import find_sets, read_members, set_plan

    words = parse_members(members or ALL)
    sets = find_sets(directory)
    if sets.run is None:
        from crlso.spaces import get_space

        found = get_space(space or "darts")
        names = read_members(sets, found, words)
        from supernet.train.plan import small_plan

        return small_plan(found, tuple(names)), tuple(names.values())
    if space is not None:
        raise UserError(
            f"--space is for folders of no search; the space here is that of the search in {sets.run}"
        )
    plan, names = set_plan(sets, words)
    return plan, tuple(names.values())


def _limits(text: str | None) -> tuple[int | None, int | None, int | None] | None:
    from crlso.cli.bench_build import parse_limits

    return None if text is None else parse_limits(text)


def _lines(summary: Mapping[str, Any], out: Path) -> list[str]:
    """What a person wants to know."""
    lines = []
    for entry in summary["architectures"]:
        lines += [
            f"architecture {entry['number']}: {entry['architecture']}",
            f"  network       {entry['params']:.3f} M weights, {entry['flops']:.1f} M multiply-accumulates;"
            f" {entry['seconds']:.0f} s of training",
            f"  test          {_spread(entry['test_accuracy'], entry['diverged'])}",
        ]
        if not summary["all_data"]:
            lines.append(f"  validation    {_spread(entry['valid_accuracy'], entry['diverged'])}")
    if len(summary["architectures"]) > 1:
        over = _spread(summary["over_architectures"]["test_accuracy"], over="architectures")
        lines += ["over architectures, of each the mean over seeds:", f"  test          {over}"]
    return [
        *lines,
        f"metric          {summary['metric']}",
        f"files           {out}",
        f"report          crlso report {out}",
    ]


def _spread(figures: Mapping[str, Any], diverged: int = 0, *, over: str = "seeds") -> str:
    lost = f"; {diverged} diverged" if diverged else ""
    if figures["mean"] is not None and figures["std"] is None:
        return f"{percent(figures['mean'])}, one {over.removesuffix('s')}{lost}"
    of = f": mean +- standard deviation of {figures['n']} {over}" if figures["mean"] is not None else ""
    return f"{spread(figures)}{of}{lost}"
