"""`crlso embed predict`: predictors of the performance beside each other."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crlso.cli.common import JsonOption, print_json, quoted, user_errors, whole_number
from crlso.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crlso.predictors.comparison import Comparison
    from crlso.predictors.protocol import Predictor
    from crlso.protocols import SearchSpace

FIGURES: Final = (("spearman", "Spearman"), ("kendall", "Kendall tau"), ("top", "top-5 % overlap"))


def predict(
    *,
    bench: Annotated[str, typer.Option("--bench", help="Table that the values come from.")],
    metric: Annotated[str, typer.Option("--metric", help="Metric that is predicted.")],
    labels: Annotated[
        str, typer.Option("--labels", help="Numbers of labelled architectures, separated by commas.")
    ] = "25,50,100,200,300",
    splits: Annotated[int, typer.Option("--splits", help="Random divisions into labels and held out.")] = 10,
    held_out: Annotated[
        int, typer.Option("--held-out", help="Classes of equal networks that are predicted, at most.")
    ] = 5000,
    predictors: Annotated[
        str | None,
        typer.Option("--predictors", help="Names separated by commas; all by default (the table has them)."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the first split.")] = 0,
    json: JsonOption = False,
) -> None:
    """Fit predictors of the performance to a few labels and measure them on networks that none of them saw.

    Mean and standard error over the splits of Spearman's and Kendall's rank correlation, and of the share
    of the predicted best 5 % that are among the true best 5 %.
    """
    with user_errors():
        from crlso.cli.evaluators import load_evaluator
        from crlso.predictors.comparison import ComparisonSettings, compare_predictors
        from crlso.runs.progress import progress_bar

        names = _names(predictors)
        settings = ComparisonSettings(
            labels=tuple(_count(part) for part in labels.split(",")),
            splits=splits,
            held_out=held_out,
            seed=seed,
        )
        evaluator = load_evaluator(bench)
        if metric not in evaluator.metrics:
            raise UnknownNameError("metric", metric, evaluator.metrics)
        with progress_bar("predicting", splits * len(names)) as advance:
            found = compare_predictors(
                evaluator, metric, partial(_chosen, names), settings=settings, advance=advance
            )
        if json:
            print_json({"bench": bench, "metric": metric, **asdict(settings), **_plain(found)})
        else:
            _show(found, settings.splits)


def _names(text: str | None) -> Sequence[str]:
    from crlso.predictors.registry import PREDICTORS

    if text is None:
        return tuple(PREDICTORS)
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in PREDICTORS:
            raise UnknownNameError("predictor", name, PREDICTORS)
    return names


def _chosen(names: Sequence[str], space: SearchSpace, seed: int) -> dict[str, Predictor]:
    from crlso.predictors.registry import make_predictors

    known = make_predictors(space, seed=seed)
    return {name: known[name] for name in names}


def _count(text: str) -> int:
    number = whole_number(text.strip())
    if number is None:
        raise UserError(f"--labels {quoted(text)}; write whole numbers separated by commas: 25,50,100")
    return number


def _plain(found: Comparison) -> dict[str, Any]:
    """What was measured, as JSON has it."""
    rows = []
    for row in found.rows:
        figures = {}
        for figure, _ in FIGURES:
            mean, error = row.mean(figure)
            figures[figure] = {"mean": mean, "standard_error": error}
        rows.append(
            {
                "predictor": row.predictor,
                "labels": row.labels,
                **figures,
                "cpu_seconds": row.cpu_seconds,
                "splits": [asdict(split) for split in row.splits],
            }
        )
    return {"held_out": found.held_out, "rows": rows}


def _show(found: Comparison, splits: int) -> None:
    from crlso.cli.bench_tables import print_table
    from crlso.predictors.registry import PREDICTORS

    counts = sorted({row.labels for row in found.rows})
    names = list(dict.fromkeys(row.predictor for row in found.rows))
    for figure, title in FIGURES:
        cells = {(row.predictor, row.labels): _cell(*row.mean(figure)) for row in found.rows}
        typer.echo(title)
        print_table(
            ["predictor", *(f"{count} labels" for count in counts)],
            [[name, *(cells[name, count] for count in counts)] for name in names],
            right=range(1, len(counts) + 1),
        )
    print_table(["predictor", "what it is"], [[name, PREDICTORS[name]] for name in names])
    what = f"mean ± standard error over {splits} splits" if splits > 1 else "one split"
    typer.echo(f"{what}; {found.held_out:,} held-out classes of equal networks in each")


def _cell(mean: float, error: float | None) -> str:
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"
