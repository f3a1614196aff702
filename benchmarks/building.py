"""Tables of one's own: architectures trained one by one, by a trainer that is handed in.

What is trained is kept in a journal beside the table to be (``NAME.building/``), so that a build goes on
where it was killed. The table has its rows in the space's order and none of its numbers depends on the order
in which trainings ended: an interrupted build gives the same table as any other, but for measured times.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.builder import TableBuilder
from benchmarks.catalog import new_path
from benchmarks.choosing import Chosen, Unique, sample, whole_space
from benchmarks.store import Header, read_header
from benchmarks.table import Curve
from crlso.errors import RunError, TableError, UnknownNameError, UserError
from crlso.protocols import FloatArray, Metric, TrainedRecord, Trainer
from crlso.runs.trainings import Engine, Journal, Training, train_all
from crlso.spaces import space_to_dict

IMPORTER = "crlso.build/1"
FOLDER_SUFFIX = ".building"
JOURNAL = "trainings.jsonl"
MOST_TRAININGS = 10_000_000


@dataclass(frozen=True)
class BuildSettings:
    """What goes into a table, beside what its trainer says.

    Attributes:
        seeds: Every architecture is trained once with each.
        sample: So many architectures; ``None``: all.
        sample_seed: Which ones.
        unique: ``exact``: identical networks are trained once and share the results; ``code``: every
            architecture is trained for itself.
    """

    seeds: tuple[int, ...] = (0,)
    sample: int | None = None
    sample_seed: int = 0
    unique: Unique = "exact"

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise UserError(f"seeds must be different numbers from 0 on, at least one; got {self.seeds}")
        if self.sample_seed < 0:
            raise UserError(f"the seed of the sample must be 0 or more, got {self.sample_seed}")
        if self.unique not in ("exact", "code"):
            raise UnknownNameError("rule of sameness", self.unique, ("exact", "code"))


@dataclass(frozen=True)
class Built:
    """What came of a build.

    Attributes:
        path: The table file.
        header: What it says about itself.
        trainings: Number of trainings that it holds.
        done_now: How many of them were done in this session.
        failed: How many diverged; their values are missing.
    """

    path: Path
    header: Header
    trainings: int
    done_now: int
    failed: int


def build_table(
    trainer: Trainer,
    *,
    name: str,
    settings: BuildSettings,
    engine: Engine,
    force: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Built:
    """Train architectures and store what came of it as a table; go on with a build that was interrupted.

    Args:
        trainer: What trains; its fidelities are those of the table.
        name: Name of the table, which then lies in the user's data folder.
        settings: Which architectures, which seeds.
        engine: What does the trainings, one after the other or in parallel.
        force: Replace a table of this name, and drop an unfinished one of other settings.
        progress: Whether to show a progress bar (on a terminal only).
        say: Gets one line before the work starts.

    Raises:
        TableError: A table of this name exists.
        RunError: An unfinished build of other settings, another process at work on it, or disk trouble.
        UserError: A space that no table can have, too many trainings, or what the engine reports.
    """
    # Here, not above: a run's folder brings torch with it.
    from crlso.runs.directory import locked

    path = new_path(name, force=True)  # a table of this name may be of this very build
    config = _config(trainer, settings)
    folder = path.with_name(f"{name}{FOLDER_SUFFIX}")
    finished = _finished(path, config, force)
    if finished is not None and not folder.exists():
        return finished
    plan = _Plan(trainer, settings, _choose(trainer, settings))
    if plan.count > MOST_TRAININGS:
        raise UserError(
            f"{plan.count:,} trainings are too many for a table, up to {MOST_TRAININGS:,};"
            " take fewer seeds or a sample"
        )
    with locked(folder):
        # By the process that had the lock before, or by one that was killed before it could tidy up.
        if (finished := _finished(path, config, force)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            return finished
        _claim(folder, config, force)
        with Journal(folder / JOURNAL) as journal:
            wanted = list(plan.trainings())
            left = [each for each in wanted if each not in journal.records]
            say(
                f"{name}: {len(plan.chosen.codes):,} architectures, {plan.networks:,} of them to be trained,"
                f" {len(wanted):,} trainings; {len(left):,} left to do (kept in {folder})"
            )
            train_all(left, trainer, journal, engine, done=len(wanted) - len(left), progress=progress)
            failed = [each for each in wanted if journal.records[each].failed]
            details = {
                "build": config,
                "trainings": len(wanted),
                "failed": [[each.arch, each.epochs, each.seed] for each in failed],
            }
            _write(path, plan, replace(plan.header(name), details=details), journal.records)
        shutil.rmtree(folder, ignore_errors=True)
    return Built(path, read_header(path), len(wanted), len(left), len(failed))


def _choose(trainer: Trainer, settings: BuildSettings) -> Chosen:
    if settings.sample is None:
        return whole_space(trainer.space, settings.unique)
    return sample(trainer.space, settings.sample, seed=settings.sample_seed, unique=settings.unique)


def _config(trainer: Trainer, settings: BuildSettings) -> dict[str, Any]:
    """All that the table's numbers depend on, as plain data."""
    which = "all" if settings.sample is None else f"{settings.sample} drawn with seed {settings.sample_seed}"
    return {
        "build": IMPORTER,
        "space": dict(space_to_dict(trainer.space)),
        "architectures": which,
        "unique": settings.unique,
        "epochs": list(trainer.fidelities),
        "seeds": list(settings.seeds),
        "trainer": dict(trainer.fingerprint),
    }


def _finished(path: Path, config: Mapping[str, Any], force: bool) -> Built | None:
    """The table of this very build, if it is there.

    Raises:
        TableError: Another table has the name.
    """
    if force or not path.exists():
        return None
    header = read_header(path)
    if header.details.get("build") == config:
        failed = len(header.details["failed"])
        return Built(path, header, int(header.details["trainings"]), 0, failed)
    raise TableError(
        f"table {path.stem!r} exists already ({path}); --force replaces it, --name takes another name"
    )


def _claim(folder: Path, config: Mapping[str, Any], force: bool) -> None:
    """The folder holds this build from now on.

    Raises:
        RunError: It holds another one, of which something is trained already.
    """
    from crlso.runs.config import FILE_NAME, holds_same, write_config

    try:
        if holds_same(folder, config):
            return
    except RunError as error:
        if not force and not _nothing_trained(folder):
            raise RunError(f"{error}; --force drops what is there, --name takes another name") from error
        # The settings go last: without them a killed process would leave a journal that is nobody's.
        for file in (JOURNAL, FILE_NAME):
            (folder / file).unlink(missing_ok=True)
    write_config(folder, config)


def _nothing_trained(folder: Path) -> bool:
    """Whether it is a build's folder that holds no training: of a build that failed at its first one."""
    from crlso.runs.config import FILE_NAME

    if not (folder / FILE_NAME).is_file():
        return False
    with Journal(folder / JOURNAL) as journal:
        return not journal.records


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is trained, and what the table says of it."""

    trainer: Trainer
    settings: BuildSettings
    chosen: Chosen

    @property
    def networks(self) -> int:
        """Number of architectures that are trained."""
        return len(np.unique(self.chosen.trained))

    @property
    def count(self) -> int:
        """Number of trainings."""
        return self.networks * len(self.trainer.fidelities) * len(self.settings.seeds)

    def trainings(self) -> Iterator[Training]:
        """All that the table needs; whole architectures one after the other, short trainings first."""
        for row in np.unique(self.chosen.trained):
            for epochs in self.trainer.fidelities:
                yield from self.of(int(row), epochs)

    def of(self, row: int, epochs: int) -> list[Training]:
        """The trainings whose results a row has."""
        arch = self.trainer.space.format(self.chosen.codes[self.chosen.trained[row]])
        return [Training(arch, epochs, seed) for seed in self.settings.seeds]

    def header(self, name: str) -> Header:
        """The table's header, but for its curves and details."""
        trainer, seeds = self.trainer, self.settings.seeds
        metrics = list(trainer.constants.values())
        for epochs in trainer.fidelities:
            for metric in trainer.metrics(epochs).values():
                words = f"{metric.description}; mean over the seeds {', '.join(map(str, seeds))}"
                metrics.append(replace(metric, description=words))
                metrics += [_single(metric, seed) for seed in seeds]
        which = "all architectures" if self.settings.sample is None else "a sample of the architectures"
        how = f"trained by {trainer.name} with {len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
        shared = ", identical networks once" if self.settings.unique == "exact" else ""
        return Header(
            name=name,
            space=space_to_dict(trainer.space),
            metrics=tuple(metrics),
            rows=len(self.chosen.codes),
            source=dict(trainer.fingerprint),
            importer=IMPORTER,
            description=f"{which} of {trainer.space.name} {how}{shared}",
            verified="trained by this program; the fingerprint says on which data and how",
        )


def _single(metric: Metric, seed: int) -> Metric:
    """The same metric of one training."""
    words = f"{metric.description}; the training with seed {seed}"
    return replace(metric, name=f"{metric.name}/seed{seed}", description=words)


def _write(path: Path, plan: _Plan, header: Header, records: Mapping[Training, TrainedRecord]) -> None:
    trainer = plan.trainer
    constants = trainer.count(plan.chosen.codes)
    with TableBuilder(path, trainer.space) as builder:
        for row, code in enumerate(plan.chosen.codes):
            metrics = {name: float(values[row]) for name, values in constants.items()}
            curves: dict[str, FloatArray] = {}
            for epochs in trainer.fidelities:
                own = [records[training] for training in plan.of(row, epochs)]
                for name in trainer.metrics(epochs):
                    metrics[name] = float(np.mean([record.values[name] for record in own]))
                for record in own:
                    metrics |= {f"{name}/seed{record.seed}": value for name, value in record.values.items()}
                    curves |= {f"{name}/seed{record.seed}": curve for name, curve in record.curves.items()}
            builder.add(code, metrics=metrics, curves=curves)
        described = {metric.name: metric for metric in header.metrics}
        listed = tuple(
            Curve(name, length, described[name].unit, f"after each epoch: {described[name].description}")
            for name, length in builder.curves.items()
        )
        builder.finish(replace(header, curves=listed))
