"""A supernet search from its plan to its summary: searches, their architectures, the random baseline."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from crlso.errors import RunError, UserError
from crlso.protocols import Codes, Evaluator
from crlso.runs.config import FILE_NAME as CONFIG
from crlso.runs.config import holds_same, write_config
from crlso.runs.directory import locked, write_json
from crlso.runs.files import disk_errors
from crlso.runs.progress import progress_bar
from crlso.runs.trainings import Engine, Journal, Training, train_all
from crlso.threads import threads
from supernet.data.splits import Splits
from supernet.networks import NetworkFamily
from supernet.pareto import Member, write_set
from supernet.processes import Processes
from supernet.scratch import ScratchTrainer
from supernet.search import streams
from supernet.search.cost import search_cost, training_cost
from supernet.search.derive import derive
from supernet.search.directory import CHECKPOINT, SeedDirectory, read_checkpoint
from supernet.search.loop import Search
from supernet.search.plan import SearchPlan
from supernet.search.record import EpochRecord
from supernet.search.sets import Pair, members_of, pairs_of, to_verify
from supernet.search.shrinking import Noted
from supernet.search.summary import summarise

KIND: Final = "supernet search"
SEEDS: Final = "seeds"
TRAININGS: Final = "trainings.jsonl"
SUMMARY: Final = "summary.json"
DERIVED: Final = "derived.json"
FEWEST_RANDOM: Final = 5
NO_RANDOM: Final[tuple[tuple[str, ...], float]] = ((), 0.0)
MOST_RANDOM: Final = 1000


@dataclass(frozen=True)
class RunSettings:
    """What is done beside the search itself.

    Attributes:
        seeds: One search each.
        random: Random architectures per search, trained like the derived one; ``None``: as many as can be
            trained for the cost of the search, at least 5; 0: none.
        train: Whether anything is trained at all.
    """

    seeds: tuple[int, ...] = (0,)
    random: int | None = None
    train: bool = True

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise UserError(f"seeds must be different numbers from 0 on, at least one; got {self.seeds}")
        if self.random is not None and not 0 <= self.random <= MOST_RANDOM:
            raise UserError(f"between 0 and {MOST_RANDOM} random architectures, got {self.random}")


@dataclass(frozen=True)
class Found:
    """What one search came to.

    Attributes:
        seed: Of the search.
        architecture: Its text.
        random: Texts of the random architectures that it is compared with.
        random_cost: What training these costs, as a share of what the search does (multiply-accumulates).
        records: Its epochs.
        members: Of the set that a shrinking supernet passed; empty for others.
        pairs: Members that are trained, each with a random architecture of as many weights.
        trace: What every step of a shrinking supernet did.
    """

    seed: int
    architecture: str
    random: tuple[str, ...]
    random_cost: float
    records: tuple[EpochRecord, ...]
    members: tuple[Member, ...] = ()
    pairs: tuple[Pair, ...] = ()
    trace: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def run_search(
    plan: SearchPlan,
    settings: RunSettings,
    *,
    out: Path,
    processes: Processes,
    engine: Engine,
    device: str = "cpu",
    table: Evaluator | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Searches, trains what was found and random architectures alike, and sums up; resumes what is there.

    Args:
        plan: What to search in, on which data, how.
        settings: Seeds and baseline.
        out: The directory.
        processes: Of the search; the first one writes, and trains afterwards.
        engine: Shares the trainings out.
        device: Of the trainings.
        table: Knows the space's architectures from real trainings; looked at when all is done.
        progress: Whether to show progress bars.
        say: Told one line about every epoch and warning.

    Returns:
        What ``summary.json`` holds; in other processes than the first an empty mapping.

    Raises:
        UserError: Something in the plan does not fit together.
        RunError: Other settings in the directory, a loss that is no number, disk trouble.
    """
    splits = plan.data.load()
    family = plan.family(splits)
    work = _Work(plan, family, splits, out, processes, progress, say)
    # Said before the directory is claimed for settings that come to nothing.
    Search(family, splits, plan.recipe, seed=settings.seeds[0], processes=processes)
    trainer = _trainer(plan, family, splits, device) if settings.train else None
    if processes.rank > 0:
        processes.wait()  # the first one claims the directory
        for seed in settings.seeds:
            work.search(seed)
        return {}
    with locked(out):
        config = _config(plan, settings, family, splits)
        config["processes"] = processes.count  # each normalises by its own images: figures depend on it
        if not holds_same(out, config):
            write_config(out, config)
        processes.wait()
        searched = {seed: work.search(seed) for seed in settings.seeds}
        with Journal(out / TRAININGS) as journal:

            def train(wanted: Sequence[Training]) -> None:
                if trainer:
                    _train(wanted, trainer, journal, engine, progress)

            verify = plan.recipe.shrinking.verify_epochs if trainer else 0
            train(
                [
                    each
                    for seed, one in searched.items()
                    for each in to_verify(one.noted, epochs=verify, seed=seed)
                ]
            )
            found = []
            for seed, one in searched.items():
                members = members_of(
                    one.noted,
                    family,
                    journal.records,
                    metric=f"{splits.name}/valid_accuracy@{verify}",
                    epochs=verify,
                    seed=seed,
                )
                if members:
                    write_set(seed_path(out, seed), family.space, members)
                    random, share = NO_RANDOM
                else:
                    random, share = _random(plan, settings, family, splits, seed=seed)
                pairs = pairs_of(members, family, seed=seed) if trainer else ()
                found.append(
                    Found(seed, one.architecture, random, share, one.records, members, pairs, one.trace)
                )
            train(_wanted(found, plan.training.epochs))
            summary = summarise(
                plan,
                splits=splits,
                family=family,
                found=found,
                records=journal.records if trainer else {},
                table=table,
            )
        write_json(out / SUMMARY, summary)
    return summary


def _trainer(plan: SearchPlan, family: NetworkFamily, splits: Splits, device: str) -> ScratchTrainer:
    """Trains as long as all is trained at last, and as long as a set is verified."""
    shrinking = plan.recipe.shrinking
    verified = {shrinking.verify_epochs} if shrinking.kind != "none" and shrinking.verify_epochs else set()
    fidelities = tuple(sorted({plan.training.epochs} | verified))
    return ScratchTrainer(family, splits, plan.training, fidelities=fidelities, device=device)


def _config(plan: SearchPlan, settings: RunSettings, family: NetworkFamily, splits: Splits) -> dict[str, Any]:
    return {
        "kind": KIND,
        **plan.to_dict(),
        # For readers that do not know the networks.
        "supernet": {
            "kinds": list(family.kinds),
            "edges": [list(edge) for edge in family.edges],
            "operations": list(family.operations),
        },
        "data sha256": splits.checksum,
        "seeds": list(settings.seeds),
        "random": settings.random,
        "train": settings.train,
    }


def seed_path(out: Path, seed: int) -> Path:
    """The directory of one search."""
    return out / SEEDS / str(seed)


@dataclass(frozen=True)
class _Searched:
    """What one search leaves."""

    architecture: str
    records: tuple[EpochRecord, ...]
    noted: tuple[Noted, ...]
    trace: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _Work:
    """What all searches of a run have in common."""

    plan: SearchPlan
    family: NetworkFamily
    splits: Splits
    out: Path
    processes: Processes
    progress: bool
    say: Callable[[str], None]

    def search(self, seed: int) -> _Searched:
        """One search, taken up where it was left."""
        with threads(self.plan.recipe.search.threads):
            return self._search(seed)

    def _search(self, seed: int) -> _Searched:
        first = self.processes.rank == 0
        folder = SeedDirectory(seed_path(self.out, seed), writes=first)
        search = Search(self.family, self.splits, self.plan.recipe, seed=seed, processes=self.processes)
        folder.restore(search)
        self.processes.wait()
        total = search.steps * search.settings.epochs
        with progress_bar(f"search, seed {seed}", total, enabled=self.progress and first) as advance:
            note = ""
            for record in folder.run(search):
                if record is not None and first:
                    note = f"epoch {record.epoch}: valid {record.valid_accuracy:.1f} %"
                    self.say(_epoch_line(seed, search.settings.epochs, record))
                    self._warn(seed, search)
                advance(search.epoch * search.steps + search.step, note)
        stored = folder.path / DERIVED
        text = derived_architecture(self.out, seed)
        if text is None:
            text = self.family.space.format(derive(search))
            if first:
                write_json(stored, {"architecture": text, "rule": self.plan.recipe.derivation.kind})
        shrinking = search.shrinking
        return _Searched(
            text,
            tuple(search.records),
            () if shrinking is None else tuple(shrinking.noted),
            {} if shrinking is None else dict(shrinking.trace),
        )

    def _warn(self, seed: int, search: Search) -> None:
        """Says that a search collapses when it begins to, not in every epoch in which it goes on."""
        *earlier, last = search.records
        if last.warnings and not (earlier and earlier[-1].warnings):
            for warning in last.warnings:
                self.say(f"seed {seed}: warning: {warning}")
        if search.stopped:
            self.say(f"seed {seed}: stopped after epoch {last.epoch}")


def _epoch_line(seed: int, epochs: int, record: EpochRecord) -> str:
    return (
        f"seed {seed}, epoch {record.epoch}/{epochs}: train loss {record.train_loss:.3f},"
        f" valid loss {record.valid_loss:.3f}, valid accuracy {record.valid_accuracy:.2f} %"
    )


def derived_architecture(out: Path, seed: int) -> str | None:
    """Text of the architecture that a search found; ``None`` where it has not come so far.

    Raises:
        RunError: A damaged file.
    """
    path = seed_path(out, seed) / DERIVED
    if not path.exists():
        return None
    with disk_errors(path):
        raw = path.read_bytes()
    try:
        text = json.loads(raw)["architecture"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged; remove it to derive the architecture again") from error
    return str(text)


def _random(
    plan: SearchPlan, settings: RunSettings, family: NetworkFamily, splits: Splits, *, seed: int
) -> tuple[tuple[str, ...], float]:
    """Different random architectures, and the share of a search's cost that training them takes."""
    if not settings.train or settings.random == 0:
        return NO_RANDOM
    rng = np.random.default_rng([seed, streams.BASELINE])
    drawn = _different(family.space.sample(4 * MOST_RANDOM, rng))
    costs = np.cumsum(training_cost(family, splits, drawn, epochs=plan.training.epochs))
    budget = search_cost(family, splits, plan.recipe)
    count = settings.random
    if count is None:
        count = min(max(int((costs <= budget).sum()), FEWEST_RANDOM), MOST_RANDOM)
    count = min(count, len(drawn))
    return tuple(family.space.format(code) for code in drawn[:count]), float(costs[count - 1] / budget)


def _different(codes: Codes) -> Codes:
    """Each code once, in the order of its first appearance."""
    _, first = np.unique(codes, axis=0, return_index=True)
    return codes[np.sort(first)]


def _wanted(found: Sequence[Found], epochs: int) -> list[Training]:
    """What is trained when all searches are done."""
    return [
        Training(text, epochs, each.seed)
        for each in found
        for text in (
            [text for pair in each.pairs for text in (pair.architecture, pair.random)]
            if each.members
            else [each.architecture, *each.random]
        )
    ]


def _train(
    trainings: Sequence[Training],
    trainer: ScratchTrainer,
    journal: Journal,
    engine: Engine,
    progress: bool,
) -> None:
    wanted = list(dict.fromkeys(trainings))
    left = [each for each in wanted if each not in journal.records]
    train_all(left, trainer, journal, engine, done=len(wanted) - len(left), progress=progress)


def read_plan(out: Path) -> tuple[SearchPlan, dict[str, Any]]:
    """The plan of a directory, and all that its ``config.yaml`` says.

    Raises:
        RunError: No directory of a supernet search, or a damaged one.
    """
    file = out / CONFIG
    if not file.is_file():
        raise RunError(f"{out} is no directory of `crlso supernet search` (it has no {CONFIG})")
    with disk_errors(file):
        raw = file.read_bytes()
    try:
        config = yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{file} is damaged; restore it") from error
    if not isinstance(config, dict) or config.get("kind") != KIND:
        raise RunError(f"{out} holds another kind of run, not that of `crlso supernet search`")
    return SearchPlan.from_dict(config), config


def seeds_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The seeds of the searches in a directory.

    Raises:
        RunError: ``config.yaml`` does not say.
    """
    seeds = config.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise RunError("config.yaml is not that of a supernet search (seeds)")
    return tuple(seeds)


def read_state(out: Path, seed: int) -> tuple[Path, dict[str, Any]]:
    """Checkpoint file and state of one search.

    Raises:
        RunError: It has none yet, or it is damaged.
    """
    file = seed_path(out, seed) / CHECKPOINT
    state = read_checkpoint(file)
    if state is None:
        raise RunError(f"the search with seed {seed} in {out} has no checkpoint yet; let it run")
    return file, state
