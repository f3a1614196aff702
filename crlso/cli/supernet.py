"""`crlso supernet`: search with shared weights, train what was found."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.cli.common import JsonOption, key_values, print_json, quoted, say, user_errors, whole_number
from crlso.cli.search import parse_seeds
from crlso.cli.supernet_options import (
    CellsOption,
    ChannelsOption,
    DeviceOption,
    JobsOption,
    LimitOption,
    OutOption,
    SpaceOption,
    StagesOption,
    percent,
    processors,
    space_of,
    spread,
)
from crlso.cli.supernet_time import time as time_command
from crlso.cli.supernet_train import train as train_command
from crlso.errors import UserError

if TYPE_CHECKING:
    from crlso.protocols import Evaluator
    from supernet.search.plan import SearchPlan

app = typer.Typer(help="Search with shared weights, train what was found.", no_args_is_help=True)

DataOption = Annotated[
    str, typer.Option("--data", help="Images: a name (digits, cifar10, ...) or the path of their files.")
]
ShrinkOption = Annotated[
    int, typer.Option("--shrink", help="Average blocks of so many pixels each way into one.")
]


@app.command(
    epilog="Example: crlso supernet search --recipe darts_1st --data digits --out runs/darts",
)
def search(
    *,
    out: OutOption,
    recipe: Annotated[
        str, typer.Option("--recipe", help="Method: a name (see `crlso supernet recipes`) or a YAML file.")
    ] = "darts_1st",
    space: SpaceOption = None,
    data: DataOption = "digits",
    limit: LimitOption = None,
    shrink: ShrinkOption = 1,
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            help="small: minutes on a CPU; published: the numbers of the literature. Networks trained "
            "afterwards have the size of the supernet.",
        ),
    ] = "small",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A number of the method: epochs=30, update.mixing=0.5, training.epochs=50. Repeat.",
        ),
    ] = None,
    channels: ChannelsOption = None,
    cells: CellsOption = None,
    stages: StagesOption = None,
    seeds: Annotated[
        str, typer.Option("--seeds", help="Searches: how many (3: 0 to 2), a range or a list (3,5,8).")
    ] = "1",
    random: Annotated[
        str,
        typer.Option(
            "--random",
            help="Random architectures per search, trained like the derived one: a number, or same-cost: as "
            "many as the search's multiply-accumulates would pay for, at least 5. Beside a set there is one "
            "for each member that is trained.",
        ),
    ] = "5",
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train the derived and the random architectures.")
    ] = True,
    table: Annotated[
        str | None,
        typer.Option(
            "--table", help="Benchmark table to look the derived cell up in; nasbench201's by default there."
        ),
    ] = None,
    device: DeviceOption = "cpu",
    jobs: JobsOption = None,
    json: JsonOption = False,
) -> None:
    """Search with a supernet, derive an architecture, train it beside random ones.

    Killed or interrupted, the same command goes on where it stopped, bit for bit. Several devices:
    `torchrun --nproc-per-node 2 -m crlso.cli.main supernet search ...`.
    """
    with user_errors("interrupted; the same command again goes on"):
        plan = _plan(
            recipe,
            space=space,
            data=data,
            limit=limit,
            shrink=shrink,
            preset=preset,
            changes=key_values(set_ or ()),
            sizes={"channels": channels, "cells": cells, "stages": stages},
        )
        looked_up = _table(table, plan.space.name)
        from crlso.runs.workers import run_tasks
        from supernet.processes import Processes
        from supernet.search.run import RunSettings, run_search

        settings = RunSettings(seeds=tuple(parse_seeds(seeds)), random=_random(random), train=train)
        summary = run_search(
            plan,
            settings,
            out=out,
            processes=Processes(device, plan.recipe.search.precision),
            engine=functools.partial(run_tasks, jobs=processors(jobs)),
            device=device,
            table=looked_up,
            progress=not json,
            say=(lambda text: None) if json else say,
        )
        if not summary:  # a helping process of several
            return
        if any(entry["set"] is not None for entry in summary["searches"]):
            from crlso.report.supernet_sets import write_pictures

            write_pictures(out)
        if json:
            print_json(summary)
        else:
            typer.echo("\n".join(_lines(summary, out)))


app.command(
    name="train",
    epilog="Example: crlso supernet train --from runs/darts --preset published --all-data --out runs/trained",
)(train_command)
app.command(name="time", epilog="Example: crlso supernet time --device cuda")(time_command)


@app.command()
def recipes(json: JsonOption = False) -> None:
    """List the methods."""
    with user_errors():
        from supernet.recipe import load_recipe, recipe_names

        known = [load_recipe(name) for name in recipe_names()]
        if json:
            print_json([recipe.to_dict() for recipe in known])
            return
        width = max(len(recipe.name) for recipe in known) + 2
        for recipe in known:
            typer.echo(f"{recipe.name:{width}}{recipe.summary}  [{recipe.source}]")


def _plan(
    recipe: str,
    *,
    space: str | None,
    data: str,
    limit: str | None,
    shrink: int,
    preset: str,
    changes: Mapping[str, str],
    sizes: Mapping[str, int | str | None],
) -> SearchPlan:
    # What is wrong with names and files is said before torch is loaded.
    from crlso.cli.bench_build import parse_limits
    from supernet.recipe import load_recipe

    own = {key: value for key, value in changes.items() if not key.startswith("training.")}
    method = load_recipe(recipe, preset=preset, changes=own)
    cells = sizes["cells"]
    found = space_of(space, method, preset=preset, cells=cells if isinstance(cells, int) else None)
    from supernet.data import SplitSettings
    from supernet.search.plan import (
        SEARCH_FRACTIONS,
        SearchPlan,
        data_plan,
        sizes_of,
        training_of,
    )

    return SearchPlan(
        found,
        data_plan(data, SplitSettings(fractions=SEARCH_FRACTIONS, limits=parse_limits(limit), shrink=shrink)),
        sizes_of(found, preset, sizes),
        method,
        training_of(
            found, preset, {k.removeprefix("training."): v for k, v in changes.items() if k not in own}
        ),
    )


def _table(name: str | None, space: str) -> Evaluator | None:
    if name is None and space != "nasbench201":
        return None
    import benchmarks

    table = benchmarks.load(name or "nasbench201")
    if table.space.name != space:
        raise UserError(f"--table {name} is of the space {table.space.name!r}, the search is in {space!r}")
    return table


def _random(text: str) -> int | None:
    if text == "same-cost":
        return None
    number = whole_number(text)
    if number is None:
        raise UserError(f"--random {quoted(text)}; write a number, or same-cost")
    return number


def _lines(summary: Mapping[str, Any], out: Path) -> list[str]:
    """What a person wants to know."""
    lines = []
    for entry in summary["searches"]:
        lines += _search_lines(entry, summary["metric"])
    if len(summary["searches"]) > 1:
        over = summary["over_searches"]
        lines.append(
            f"over {len(summary['searches'])} searches, mean +- standard deviation of {summary['metric']}:"
        )
        lines += _over_lines(over)
    return [*lines, f"files           {out}", f"report          crlso report {out}"]


def _search_lines(entry: Mapping[str, Any], metric: str) -> list[str]:
    if entry["set"] is not None:
        return _set_lines(entry, metric)
    lines = [
        f"seed {entry['seed']}: {entry['architecture']}",
        f"search          {entry['search_cpu_seconds']:.0f} CPU s; {entry['params']:.3f} M weights,"
        f" {entry['flops']:.1f} M multiply-accumulates",
    ]
    trained, random = entry["trained"], entry["random"]
    if trained is not None:
        lines.append(f"derived         {metric} {percent(trained['test_accuracy'])}")
    if trained is not None and random is not None:
        lines.append(
            f"{random['n']} random        mean {percent(random['mean'])}, standard deviation"
            f" {percent(random['std'])}, median {percent(random['median'])}; best by validation"
            f" {percent(random['best_by_valid']['test_accuracy'])}: a random search at"
            f" {entry['random_cost']:.2f} of the search's cost"
        )
        lines.append(f"                {_verdict(trained['test_accuracy'], random)}")
    if entry["table"] is not None:
        for name, value in entry["table"]["values"].items():
            best = entry["table"]["best"][name]
            lines.append(f"real table      {name} {percent(value)} (best of the table {percent(best)})")
    return lines


def _over_lines(over: Mapping[str, Any]) -> list[str]:
    if over["set"] is None:
        labels = {"derived": "derived", "mean of random": "random_mean", "random search": "random_search"}
        return [f"  {label:16}{spread(over[key])}" for label, key in labels.items()]
    lines = []
    for size, figures in over["set"].items():
        if size != "non_dominated" and figures["member"]["n"]:
            lines.append(f"  {size:16}{spread(figures['member'])}; random {spread(figures['random'])}")
    return lines


def _set_lines(entry: Mapping[str, Any], metric: str) -> list[str]:
    """Of a search that gives a set of architectures."""
    found = entry["set"]
    lines = [
        f"seed {entry['seed']}: {found['members']} architectures, {found['non_dominated']} of them"
        f" non-dominated (pareto.csv)",
        f"search          {entry['search_cpu_seconds']:.0f} CPU s, {found['steps']} steps",
    ]
    if found["operators"] is not None:
        operators, seconds = found["operators"], found["step_cpu_seconds"]
        lines.append(
            f"operators       from {operators[0]:.0f} to {operators[1]:.0f}; a step from {seconds[0]:.3f} to"
            f" {seconds[1]:.3f} CPU s"
        )
    for pair in found["trained"]:
        random = pair["random"]
        lines.append(
            f"{pair['size']:16}{pair['operators']} operators, {pair['params']:.3f} M weights: {metric}"
            f" {percent(pair['test_accuracy'])}; random of {random['params']:.3f} M:"
            f" {percent(random['test_accuracy'])}"
        )
    return lines


def _verdict(derived: float | None, random: Mapping[str, Any]) -> str:
    if derived is None:
        return "the derived network's training diverged"
    word = "is better than" if derived > random["mean"] else "is NOT better than"
    return f"the derived network {word} the mean of {random['n']} random ones trained alike"
