"""`crlso embed`: the latent space on its own: train, encode, decode, check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crlso.cli.common import JsonOption, print_json, user_errors
from crlso.errors import UserError

if TYPE_CHECKING:
    from crlso.protocols import Evaluator

app = typer.Typer(help="The latent space on its own: train, encode, decode, check.", no_args_is_help=True)

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="Directory that `embed train` wrote.")]


@app.command(
    epilog="Example: crlso embed train --bench nasbench201 --metric cifar10/valid_accuracy@200 "
    "--out runs/latent"
)
def train(
    *,
    out: Annotated[Path, typer.Option("--out", help="Directory for the model.")],
    bench: Annotated[str | None, typer.Option("--bench", help="Table that the labels come from.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="Metric that the heads predict.")] = None,
    space: Annotated[
        str | None, typer.Option("--space", help="Space to train on without labels: a name or a YAML file.")
    ] = None,
    labels: Annotated[int, typer.Option("--labels", help="Random architectures that are labelled.")] = 1000,
    target: Annotated[str, typer.Option("--target", help="rank, or raw (1 - accuracy).")] = "rank",
    steps: Annotated[int, typer.Option("--steps", help="Optimiser steps.")] = 2000,
    beta: Annotated[float, typer.Option("--beta", help="Weight of the KL divergence.")] = 0.002,
    dim: Annotated[int, typer.Option("--dim", help="Dimension of the latent space.")] = 24,
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the classes held out.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train a latent space on 90 % of a space's classes and measure it on the others."""
    with user_errors():
        from crlso.latent.model import ModelSettings
        from crlso.latent.study import StudySettings, save_study, train_latent
        from crlso.latent.targets import check_target
        from crlso.latent.training import TrainingSettings
        from crlso.runs.progress import progress_bar

        evaluator, chosen = _data(bench, metric, space)
        training = TrainingSettings(steps=steps, beta=beta, labelled_batch=128)
        settings = StudySettings(labels=labels, target=check_target(target), held_out=held_out, seed=seed)
        with progress_bar("training", steps) as advance:
            study = train_latent(
                chosen,
                evaluator=evaluator,
                metric=metric,
                settings=settings,
                model=ModelSettings(latent_dim=dim),
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
    """Print the latent point of each architecture (mean of its posterior) and the heads' prediction."""
    with user_errors():
        import numpy as np

        from crlso.latent.storage import load

        network, _ = load(model)
        codes = np.stack([network.space.parse(arch) for arch in archs])
        latents = network.encode(codes)
        predicted = network.predict(codes).mean(0)
        rows = [
            {"arch": arch, "z": z, "predicted_loss": loss}
            for arch, z, loss in zip(archs, latents.tolist(), predicted.tolist(), strict=True)
        ]
        if json:
            print_json(rows)
            return
        for row in rows:
            typer.echo(f"{row['arch']}  predicted loss {row['predicted_loss']:.4f}")
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

        network, facts = load(model)
        codes = architectures(network.space, limit=20_000, rng=np.random.default_rng(0))
        report = model_convexity(network, codes, pairs=pairs)
        figures = {**facts, "convexity": asdict(report), "passed": report.passed}
        _show(figures, model, json=json)
        if not report.passed:
            raise typer.Exit(1)


def _data(bench: str | None, metric: str | None, space: str | None) -> tuple[Evaluator | None, Any]:
    import benchmarks
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
    evaluator = benchmarks.load(str(bench))
    if metric not in evaluator.metrics:
        raise UnknownNameError("metric", metric, evaluator.metrics)
    return evaluator, evaluator.space


def _point(text: str, dim: int) -> list[float]:
    parts = text.replace(",", " ").split()
    try:
        values = [float(part) for part in parts]
    except ValueError as error:
        raise UserError(f"--z {text!r} is no list of numbers") from error
    if len(values) != dim:
        raise UserError(f"--z has {len(values)} numbers; this model's latent space has {dim} dimensions")
    return values


def _show(figures: Mapping[str, Any], directory: Path, *, json: bool) -> None:
    if json:
        print_json({"model": str(directory), **figures})
        return
    quality, convexity = figures["quality"], figures["convexity"]
    typer.echo(
        f"trained in {figures['cpu_seconds']:.1f} CPU s with {figures['labels']} labels; "
        f"all figures on {quality['held_out']} held-out architectures"
    )
    typer.echo(
        f"reconstruction        {quality['reconstruction_mean']:.2%} from the mean, "
        f"{quality['reconstruction_dvae']:.2%} by D-VAE's protocol "
        f"(KL weight {quality['beta']}, {quality['kl_nats']:.1f} nats)"
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
    )
    typer.echo(f"model: {directory}")
