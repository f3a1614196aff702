"""`crlso embed`: the latent space on its own: train, encode, decode, check; predictors beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.cli.common import JsonOption, print_json, user_errors
from crlso.cli.embed_predict import predict as predict_command
from crlso.errors import RunError, UserError
from crlso.runs.files import disk_errors
from crlso.settings import check_seed

if TYPE_CHECKING:
    from crlso.protocols import Evaluator

app = typer.Typer(
    help="The latent space on its own: train, encode, decode, check; predictors on it and beside it.",
    no_args_is_help=True,
)

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="Directory that `embed train` wrote.")]


@app.command(
    epilog="Example: crlso embed train --bench nasbench201 --metric cifar10/valid_accuracy@200 "
    "--out runs/latent"
)
def train(
    *,
    out: Annotated[
        Path, typer.Option("--out", help="Directory for the model; one that is there is replaced.")
    ],
    bench: Annotated[str | None, typer.Option("--bench", help="Table that the labels come from.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="Metric that the heads predict.")] = None,
    space: Annotated[
        str | None, typer.Option("--space", help="Space to train on without labels: a name or a YAML file.")
    ] = None,
    labels: Annotated[int, typer.Option("--labels", help="Random architectures that are labelled.")] = 1000,
    target: Annotated[
        str, typer.Option("--target", help="What the heads predict: rank, raw (1 - accuracy) or logit.")
    ] = "rank",
    steps: Annotated[int, typer.Option("--steps", help="Optimiser steps.")] = 2000,
    beta: Annotated[float, typer.Option("--beta", help="Weight of the KL divergence.")] = 0.002,
    dim: Annotated[
        int | None,
        typer.Option("--dim", help="Dimension of the latent space; by default what the space's codes need."),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", help="Random architectures of a space that has more than these.")
    ] = 50_000,
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the classes held out.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train a latent space on most of a space's classes of equal networks and measure it on the others."""
    with user_errors():
        from crlso.latent.model import sizes_for
        from crlso.latent.study import StudySettings, save_study, train_latent
        from crlso.latent.training import TrainingSettings
        from crlso.runs.progress import progress_bar
        from crlso.targets import check_target

        evaluator, chosen = _data(bench, metric, space)
        if not (math.isfinite(beta) and beta >= 0):
            raise UserError(f"--beta must be a number of 0 or more, got {beta}")
        training = TrainingSettings(steps=steps, beta=beta)
        settings = StudySettings(
            labels=labels, target=check_target(target), held_out=held_out, sample=sample, seed=seed
        )
        sizes = sizes_for(chosen)
        if dim is not None:
            sizes = replace(sizes, latent_dim=dim)
        _make_folder(out)  # before the training, so that no minute of it is lost
        with progress_bar("training", steps) as advance:
            study = train_latent(
                chosen,
                evaluator=evaluator,
                metric=metric,
                settings=settings,
                model=sizes,
                training=training,
                advance=advance,
            )
        facts = {
            "bench": bench,
            "metric": metric,
            "study": asdict(settings),
            "training": asdict(training),
        }
        save_study(study, out, facts=facts)
        figures = {
            "labels": study.labels,
            "cpu_seconds": study.cpu_seconds,
            "quality": asdict(study.quality),
            "convexity": asdict(study.convexity),
        }
        _show(figures, out, json=json)


@app.command(
    epilog='Example: crlso embed encode runs/latent "|none~0|+|skip_connect~0|none~1|+|none~0|none~1|none~2|"'
)
def encode(
    model: ModelArgument,
    archs: Annotated[
        list[str], typer.Argument(metavar="ARCH...", help="Architectures in the space's text form.")
    ],
    json: JsonOption = False,
) -> None:
    """Print the latent point of each architecture (mean of its posterior) and the heads' prediction.

    The predicted loss is smaller for better architectures: a normal score of the rank, or 1 - accuracy.
    """
    with user_errors():
        import numpy as np

        from crlso.latent.storage import load

        network, facts = load(model)
        codes = np.stack([network.space.parse(arch) for arch in archs])
        latents = network.encode(codes)
        # Heads that never saw a label predict nothing.
        losses = network.predict(codes).mean(0).tolist() if facts.get("labels") else [None] * len(codes)
        rows = [
            {"arch": arch, "z": z, "predicted_loss": loss}
            for arch, z, loss in zip(archs, latents.tolist(), losses, strict=True)
        ]
        if json:
            print_json(rows)
            return
        for row in rows:
            loss = row["predicted_loss"]
            typer.echo(row["arch"] if loss is None else f"{row['arch']}  predicted loss {loss:.4f}")
            typer.echo("  " + " ".join(f"{value:.4f}" for value in row["z"]))


@app.command(epilog="Example: crlso embed decode runs/latent --sample 5")
def decode(
    model: ModelArgument,
    z: Annotated[
        list[str] | None,
        typer.Option("--z", help="A latent point: numbers separated by spaces or commas. Repeat."),
    ] = None,
    sample: Annotated[int, typer.Option("--sample", help="Decode this many draws from the prior.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    json: JsonOption = False,
) -> None:
    """Print the most likely architecture of latent points that are given, or drawn from the prior."""
    with user_errors():
        import torch

        from crlso.latent.storage import load

        if sample < 0:
            raise UserError(f"--sample must be 0 or more, got {sample}")
        check_seed(seed)
        network, _ = load(model)
        dim = network.settings.latent_dim
        points = [_point(text, dim) for text in z or ()]
        drawn = torch.randn(sample, dim, generator=torch.Generator().manual_seed(seed)).tolist()
        if not points and not drawn:
            raise UserError("nothing to decode: give latent points with --z, or a number with --sample")
        codes = network.decode(torch.tensor(points + drawn))
        archs = [network.space.format(code) for code in codes]
        if json:
            print_json([{"z": at, "arch": arch} for at, arch in zip(points + drawn, archs, strict=True)])
            return
        for arch in archs:
            typer.echo(arch)


@app.command(epilog="Example: crlso embed check runs/latent")
def check(
    model: ModelArgument,
    pairs: Annotated[int, typer.Option("--pairs", help="Pairs of points at each distance.")] = 100_000,
    json: JsonOption = False,
) -> None:
    """Check a model again: convexity in float64 on random pairs, and what was measured when it was trained.

    Exit status 1 if the heads are not convex, or flat.
    """
    with user_errors():
        import numpy as np

        from crlso.latent.storage import load
        from crlso.latent.study import architectures, model_convexity

        if pairs < 2:
            raise UserError(f"--pairs must be 2 or more, got {pairs}")
        network, facts = load(model)
        codes = architectures(network.space, limit=20_000, rng=np.random.default_rng(0))
        report = model_convexity(network, codes, pairs=pairs)
        figures = {**facts, "convexity": asdict(report), "passed": report.passed}
        _show(figures, model, json=json)
        if not json:
            curved = "curved" if report.is_curved else "FLAT"
            convex = "convex" if report.is_convex else "NOT CONVEX"
            verdict = "passed: all heads are" if report.passed else "failed: a head is"
            typer.echo(f"{verdict} {convex} and {curved}")
        if not report.passed:
            raise typer.Exit(1)


app.command(
    name="predict",
    epilog="Example: crlso embed predict --bench nasbench201 --metric cifar10/valid_accuracy@200 "
    "--labels 25,50,100 --splits 10",
)(predict_command)


def _data(bench: str | None, metric: str | None, space: str | None) -> tuple[Evaluator | None, Any]:
    from crlso.cli.evaluators import load_evaluator
    from crlso.errors import UnknownNameError
    from crlso.spaces import get_space

    if (bench is None) == (space is None):
        raise UserError("give either --bench TABLE with --metric NAME, or --space SPACE alone")
    if space is not None:
        if metric is not None:
            raise UserError("--metric needs --bench: a space alone has no labels")
        return None, get_space(space)
    if metric is None:
        raise UserError(f"--bench {bench} needs --metric (see `crlso bench info {bench}`)")
    evaluator = load_evaluator(str(bench))
    if metric not in evaluator.metrics:
        raise UnknownNameError("metric", metric, evaluator.metrics)
    return evaluator, evaluator.space


def _make_folder(folder: Path) -> None:
    with disk_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise RunError(f"--out {folder} is a file, not a folder; choose another path") from error
        except FileNotFoundError as error:  # a place where nothing can be made, such as /proc
            raise RunError(f"can not make the folder {folder}; choose another path") from error


def _point(text: str, dim: int) -> list[float]:
    parts = text.replace(",", " ").split()
    try:
        values = [float(part) for part in parts]
    except ValueError as error:
        raise UserError(f"--z {text!r} is no list of numbers") from error
    if len(values) != dim:
        raise UserError(f"--z has {len(values)} numbers; this model's latent space has {dim} dimensions")
    # The largest finite float32 is 3.4e38: beyond it the network computes with infinities.
    if not all(abs(value) < 1e38 for value in values):
        raise UserError(f"--z {text!r}: every number must be finite")
    return values


def _show(figures: Mapping[str, Any], directory: Path, *, json: bool) -> None:
    if json:
        print_json({"model": str(directory), **figures})
        return
    quality, convexity = figures["quality"], figures["convexity"]
    typer.echo(
        f"trained in {figures['cpu_seconds']:.1f} CPU s with {figures['labels']} labels; reconstruction and "
        f"performance head measured on {quality['held_out']} held-out architectures"
    )
    typer.echo(
        f"reconstruction        {quality['reconstruction_mean']:.2%} from the mean, "
        f"{quality['reconstruction_dvae']:.2%} by D-VAE's protocol "
        f"(KL weight {quality['beta']}, {quality['kl_nats']:.1f} nats)"
    )
    if "reconstruction_entries" in quality:  # models of earlier versions were not asked
        typer.echo(
            f"                      {quality['reconstruction_entries']:.2%} of their entries; "
            f"{quality['reconstruction_train']:.2%} of training architectures, from the mean"
        )
    typer.echo(
        f"validity              {quality['valid']:.2%} of prior samples, "
        f"{quality['valid_before_repair']:.2%} before repair"
    )
    typer.echo(
        f"uniqueness            {quality['unique_codes']:.1%} as codes, {quality['unique_classes']:.1%} as "
        f"exact classes, of 1,000 prior samples (uniform draws: {quality['unique_codes_uniform']:.1%}, "
        f"{quality['unique_classes_uniform']:.1%})"
    )
    typer.echo(
        f"novelty               {quality['novel']:.2%} of prior samples are not training architectures"
    )
    typer.echo(
        f"D-VAE protocol        valid {quality['dvae_valid']:.2%}, unique {quality['dvae_unique']:.2%}, "
        f"novel {quality['dvae_novel']:.2%}"
    )
    typer.echo(
        f"arch2vec protocol     valid {quality['arch2vec_valid']:.2%}, "
        f"unique {quality['arch2vec_unique']:.2%}"
    )
    if quality["spearman"] is not None:
        typer.echo(
            f"performance head      Spearman {quality['spearman']:.3f}, Kendall {quality['kendall']:.3f}"
        )
    typer.echo(
        f"convexity             worst violation {convexity['worst_violation']:.1e} "
        f"(rounding allows {convexity['tolerance']:.1e}), mean gap "
        f"{convexity['mean_gap'] / max(convexity['deviation'], 1e-300):.1%} of the standard deviation"
        + ("" if figures["labels"] else " (heads without labels are untrained)")
    )
    typer.echo(f"model: {directory}")
