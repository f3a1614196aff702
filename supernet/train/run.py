"""Trainings from their plan to their summary: each in a directory of its own, taken up where it was left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crlso.errors import UserError
from crlso.runs.config import holds_same, write_config
from crlso.runs.directory import locked, write_json
from crlso.runs.trainings import Engine
from supernet.processes import Processes
from supernet.scratch import ScratchTrainer
from supernet.train.directory import CHECKPOINT, Identity, TrainingDirectory, read_result
from supernet.train.loading import Blueprint, write_blueprint
from supernet.train.plan import TrainPlan
from supernet.train.summary import summarise
from supernet.train.watching import watching

KIND: Final = "supernet train"
TRAININGS: Final = "trainings"
SUMMARY: Final = "summary.json"


@dataclass(frozen=True)
class TrainRun:
    """One training of a run.

    Attributes:
        number: Of the architecture, from 0.
        architecture: Its text.
        seed: Of the training.
    """

    number: int
    architecture: str
    seed: int

    @property
    def name(self) -> str:
        """What lines call it."""
        return f"architecture {self.number}, seed {self.seed}"

    def path(self, out: Path) -> Path:
        """Its directory."""
        return out / TRAININGS / str(self.number) / str(self.seed)


@dataclass(frozen=True)
class TrainInto:
    """The task of one training; what tasks share is the trainer.

    Attributes:
        run: Which training.
        path: Its directory.
    """

    run: TrainRun
    path: Path

    def __call__(self, shared: ScratchTrainer) -> dict[str, Any]:
        """Trains, and gives the result."""
        return self.train(shared)

    def train(self, trainer: ScratchTrainer, processes: Processes | None = None) -> dict[str, Any]:
        """The same, on several processes."""
        first = processes is None or processes.rank == 0
        identity = Identity(self.run.architecture, self.run.seed, trainer.fingerprint)
        folder = TrainingDirectory(self.path, identity, writes=first)
        with trainer.memory_errors():
            training = trainer.begin(
                trainer.space.parse(self.run.architecture),
                epochs=trainer.settings.epochs,
                seed=self.run.seed,
                processes=processes,
            )
            folder.restore(training)
            if processes is not None:
                processes.wait()  # all have read the checkpoint before the first one writes the next
            for _ in folder.run(training):
                pass
            return folder.finish(training)


def run_training(
    plan: TrainPlan,
    seeds: Sequence[int],
    *,
    out: Path,
    processes: Processes,
    engine: Engine,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Trains every architecture with every seed and sums up; resumes what is there.

    With several processes they train one network after the other together, each its share of every batch.

    Args:
        plan: What to train, on which data, how.
        seeds: One training of each architecture for each.
        out: The directory.
        processes: Device, and the processes at work; the first one writes.
        engine: Shares the trainings out where there is one process.
        progress: Whether to show a progress bar.
        say: Told a line about every epoch, and about trainings that diverged.

    Returns:
        What ``summary.json`` holds; in other processes than the first an empty mapping.

    Raises:
        UserError: Something in the plan does not fit together.
        RunError: Other settings in the directory, a damaged checkpoint, disk trouble.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UserError(f"seeds must be different numbers from 0 on, at least one; got {tuple(seeds)}")
    splits = plan.load()
    family = plan.family(splits)
    trainer = ScratchTrainer(family, splits, plan.training, device=str(processes.device))
    runs = [TrainRun(number, text, seed) for number, text in enumerate(plan.architectures) for seed in seeds]
    if processes.rank > 0:
        processes.wait()  # the first one claims the directory
        for run in _left(runs, out):
            TrainInto(run, run.path(out)).train(trainer, processes)
        return {}
    with locked(out):
        config = {
            "kind": KIND,
            **plan.to_dict(),
            "seeds": list(seeds),
            "data sha256": splits.checksum,
            "processes": processes.count,  # each normalises by its own images: figures depend on it
        }
        if not holds_same(out, config):
            write_config(out, config)
        left = _left(runs, out)
        for run in runs:
            if run not in left:
                TrainingDirectory.tidy(run.path(out))
        for run in left:
            run.path(out).mkdir(parents=True, exist_ok=True)
            write_blueprint(run.path(out), Blueprint.of(plan.space, run.architecture, plan.sizes, splits))
        processes.wait()
        folders = {run.name: run.path(out) for run in left}
        with watching(folders, plan.training.epochs, done=len(runs) - len(left), say=say, progress=progress):
            tasks = [TrainInto(run, run.path(out)) for run in left]
            _train(tasks, trainer, processes, engine, say)
        results = {run: _result(run, out) for run in runs}
        summary = summarise(plan, seeds, splits=splits, family=family, results=results)
        write_json(out / SUMMARY, summary)
    return summary


def _left(runs: Sequence[TrainRun], out: Path) -> list[TrainRun]:
    """The trainings that have not come to their end."""
    return [run for run in runs if read_result(run.path(out)) is None]


def _train(
    tasks: Sequence[TrainInto],
    trainer: ScratchTrainer,
    processes: Processes,
    engine: Engine,
    say: Callable[[str], None],
) -> None:
    if processes.count > 1:
        for task in tasks:
            _tell(task, task.train(trainer, processes), trainer, say)
        return
    for index, result in engine(tasks, trainer):
        _tell(tasks[index], result, trainer, say)


def _tell(
    task: TrainInto, result: Mapping[str, Any], trainer: ScratchTrainer, say: Callable[[str], None]
) -> None:
    if not result["failed"]:
        return
    kept = task.path / CHECKPOINT
    where = f"the last good state is kept in {kept}" if kept.exists() else "no state was kept before it"
    say(
        f"{task.run.name}: diverged in epoch {result['epochs'] + 1} of {trainer.settings.epochs} (a loss is"
        f" no finite number); {where}; lower learning_rate (now {trainer.settings.learning_rate})"
    )


def _result(run: TrainRun, out: Path) -> dict[str, Any]:
    found = read_result(run.path(out))
    assert found is not None  # its training has just come to its end
    return found
