"""Members of the sets that shrinking searches leave, as what is to be trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crlso.errors import RunError, UserError
from crlso.protocols import SearchSpace
from crlso.runs.config import FILE_NAME as CONFIG
from crlso.runs.files import disk_errors
from supernet.pareto import PARETO, read_set
from supernet.pareto.selection import choose
from supernet.train.architectures import read_architectures

if TYPE_CHECKING:
    from supernet.train.plan import TrainPlan

SEEDS: Final = "seeds"


@dataclass(frozen=True)
class Sets:
    """Where the sets are.

    Attributes:
        run: Directory of the search that left them; ``None``: nothing is known of it.
        folders: Each with a ``pareto.csv``.
    """

    run: Path | None
    folders: tuple[Path, ...]


def find_sets(directory: Path) -> Sets:
    """The sets of a shrinking search's run directory, of one of its ``seeds/K``, or in any folder.

    Raises:
        RunError: There is none, or a search of the run has left none yet, or it is another kind of run.
    """
    with disk_errors(directory):
        is_run = (directory / CONFIG).is_file()
        if (directory / PARETO).is_file():
            home = directory.resolve().parent
            if not is_run and home.name == SEEDS and (home.parent / CONFIG).is_file():
                return Sets(home.parent, (directory,))
            return Sets(directory if is_run else None, (directory,))
    homes = _homes(directory) if is_run else []
    there = [home for home in homes if (home / PARETO).is_file()]
    if not there:
        raise RunError(
            f"no set in {directory}: no {PARETO} there nor in its {SEEDS}/K; `crlso supernet search` with a"
            " recipe that shrinks leaves them"
        )
    for home in homes:
        if home not in there:
            raise RunError(
                f"no set in {home}: that search is not finished; go on with it, or choose one of"
                f" {_listed(there)}"
            )
    return Sets(directory, tuple(homes))


def read_members(sets: Sets, space: SearchSpace, words: Sequence[str | int]) -> dict[str, str]:
    """The members that are meant, of each set: the space's text of each, and what it is called.

    Args:
        sets: The sets.
        space: Of the architectures.
        words: Which members, see :func:`supernet.pareto.selection.choose`.

    Returns:
        Each architecture once, in the order of sets and words.

    Raises:
        RunError: A damaged set; the message has the line.
        UserError: A member that does not exist, or numbers where there are several sets.
    """
    if len(sets.folders) > 1 and any(isinstance(word, int) for word in words):
        raise UserError(
            f"{sets.run} has {len(sets.folders)} sets with numbers of their own; choose by number from one"
            f" of {_listed(sets.folders)}"
        )
    names: dict[str, list[str]] = {}
    for folder in sets.folders:
        members = read_set(folder, space)
        for number in choose(members, words, str(folder)):
            (text,) = read_architectures(space, [members[number].architecture])
            names.setdefault(text, []).append(f"member {number} of {folder}")
    read_architectures(space, list(names))  # not too many
    return {text: " and ".join(own) for text, own in names.items()}


def set_plan(sets: Sets, words: Sequence[str | int]) -> tuple[TrainPlan, dict[str, str]]:
    """Members of a run's sets, on its data, in its sizes, trained as it trains; and what they are called.

    Raises:
        RunError: No directory of a supernet search, or a damaged one.
        UserError: See :func:`read_members`.
    """
    from supernet.search.run import read_plan
    from supernet.train.plan import TrainPlan

    assert sets.run is not None
    plan, _ = read_plan(sets.run)
    names = read_members(sets, plan.space, words)
    return TrainPlan(plan.space, tuple(names), plan.data, plan.sizes, plan.training), names


def _homes(run: Path) -> list[Path]:
    """The directories of a run's searches, also of those that have not begun."""
    from supernet.search.run import read_plan, seed_path, seeds_of

    _, config = read_plan(run)
    return [seed_path(run, seed) for seed in seeds_of(config)]


def _listed(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))
