"""Directories of `crlso supernet search` as data, read and checked; nothing here runs or changes anything.

An unfinished run (no ``summary.json``) is read as far as it is. A file that does not hold what it should is a
:class:`~crlso.errors.RunError` of one line that names it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crlso.errors import RunError, UserError
from crlso.protocols import SearchSpace
from crlso.report.fields import RESTORE, Fields, first_line, read_epochs, read_json, read_text, read_yaml
from crlso.runs.pareto import FILE_NAME as PARETO
from crlso.runs.pareto import Member, read_members
from crlso.spaces import space_from_dict

KIND = "supernet search"
CONFIG = "config.yaml"
FORMAT = 1
_SLACK = 1e-3
TRACE = frozenset(("step", "alive", "physical", "rate", "target", "weight", "cpu_seconds"))
"""Columns that are shown of a shrinking search."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of a search; losses in nats, accuracies in %, NaN where unknown.

    Attributes:
        number: From 1.
        train_loss: Of the training part, during the epoch.
        train_accuracy: Likewise.
        valid_loss: Of the validation part, after the epoch, by the supernet.
        valid_accuracy: Likewise.
        entropy: Per kind of cell: mean over edges of the entropy of the shares, in nats.
        skips: Per kind of cell: skip connections of the architecture that would be derived now.
        convolutions: Per kind of cell: its convolutions.
        architecture: Its text.
        eigenvalue: Dominant one of the Hessian in the architecture weights; NaN where not measured.
        cpu_seconds: CPU time of the epoch.
        seconds: Time of the epoch.
        warnings: Signs of a collapse, a line each.
    """

    number: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    entropy: tuple[float, ...]
    skips: tuple[int, ...]
    convolutions: tuple[int, ...]
    architecture: str
    eigenvalue: float
    cpu_seconds: float
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Random:
    """Random architectures trained like the derived one; accuracies in %, on the test part.

    Attributes:
        n: Number of those whose training did not diverge.
        mean: Over them.
        deviation: Standard deviation over them; NaN for one.
        best: Of the one that is best by validation: what a random search of this cost ends with.
    """

    n: int
    mean: float
    deviation: float
    best: float


@dataclass(frozen=True)
class TableValue:
    """What a table of real trainings says of the derived architecture, beside the best it holds, in %."""

    value: float
    best: float


@dataclass(frozen=True)
class Pair:
    """A member of a set beside a random architecture with as many weights, both trained alike.

    Attributes:
        size: ``smallest``, ``middle`` or ``largest`` of the non-dominated members.
        params: Weights of the member, in millions.
        test_accuracy: Of the member, in %, NaN where unknown.
        random_params: Weights of the random one, in millions.
        random_test_accuracy: Of the random one.
    """

    size: str
    params: float
    test_accuracy: float
    random_params: float
    random_test_accuracy: float


@dataclass(frozen=True)
class Result:
    """What the summary says of one search; accuracies in %, NaN where unknown.

    Attributes:
        architecture: Text of the derived architecture.
        params: Its weights, in millions.
        flops: Its multiply-accumulate operations for one image, in millions.
        shared_valid_accuracy: Of the supernet at the end.
        trained: Whether the derived network was trained.
        valid_accuracy: Of the trained derived network; NaN where its training diverged.
        test_accuracy: Likewise, on the test part.
        random: None where none was trained.
        random_cost: What training the random networks costs, by formula, as a share of the search's cost.
        table: Name of the table of real trainings; empty where there is none.
        table_values: By metric of that table.
        pairs: Members of a set that were trained; none for searches that give one architecture.
    """

    architecture: str
    params: float
    flops: float
    shared_valid_accuracy: float
    trained: bool
    valid_accuracy: float
    test_accuracy: float
    random: Random | None
    random_cost: float
    table: str
    table_values: Mapping[str, TableValue]
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class SupernetSearch:
    """One search of a run.

    Attributes:
        seed: Its seed.
        epochs: What was recorded, in order; none where it has not come so far.
        shares: ``[t, kinds, edges, operations]`` before the first epoch and after each; None where unknown.
        architecture: Text of the derived architecture, or of the one to be derived now; None before that.
        derived: Whether the search has come to its end.
        result: None while the run is unfinished.
        members: The set that a search left which shrinks; empty where there is none.
        trace: What every step of such a search did, a column ``[steps]`` each; empty for others.
    """

    seed: int
    epochs: tuple[Epoch, ...]
    shares: NDArray[np.float64] | None
    architecture: str | None
    derived: bool
    result: Result | None
    members: tuple[Member, ...] = ()
    trace: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class SupernetRun:
    """A directory of `crlso supernet search`.

    Attributes:
        path: The directory.
        recipe: Name of the method.
        recipe_summary: The method in a line.
        recipe_source: Where the method comes from.
        space: Where it searches.
        data: Name of the images.
        data_text: Images and their parts in words; empty where unknown.
        network: Sizes in words; empty where unknown.
        metric: What the trained networks are compared by; empty where unknown.
        epochs: Epochs of a whole search.
        skip_limit: More skip connections in the first kind of cell count as a collapse.
        kinds: Kinds of cells.
        edges: ``(source, target)`` of each edge of every kind.
        operations: What an edge mixes.
        searches: By seed, in the order of the settings.
        trainings: Trainings from scratch that are done.
        finished: Whether the run came to its end.
        config: What ``config.yaml`` says.
        per_node: Whether the shares of a node add up to 1, not those of an edge.
    """

    path: Path
    recipe: str
    recipe_summary: str
    recipe_source: str
    space: SearchSpace
    data: str
    data_text: str
    network: str
    metric: str
    epochs: int
    skip_limit: int
    kinds: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    operations: tuple[str, ...]
    searches: tuple[SupernetSearch, ...]
    trainings: int
    finished: bool
    config: Mapping[str, Any] = field(default_factory=dict)
    per_node: bool = False


def is_supernet_directory(path: Path) -> bool:
    """Whether the settings or the summary in a directory say that it is one of `crlso supernet search`.

    Raises:
        RunError: They are damaged.
    """
    if not path.is_dir():
        return False
    summary = read_json(path / "summary.json")
    kinds = [
        read_yaml(path / CONFIG).get("kind"),
        summary.values.get("kind") if summary is not None else None,
    ]
    return KIND in kinds


def read_supernet(path: Path) -> SupernetRun:
    """A run, finished or not.

    Raises:
        RunError: A file is damaged.
    """
    config = Fields(path / CONFIG, read_yaml(path / CONFIG), remedy=RESTORE)
    if not config.values:
        raise RunError(f"{config.file}: no such file, and without it the run can not be read; {RESTORE}")
    recipe, supernet = config.inside("recipe"), config.inside("supernet")
    settings = recipe.inside("search")
    try:
        space = space_from_dict(config.values.get("space"))
    except UserError as error:
        raise RunError(f"{config.file}: {error}; {RESTORE}") from error
    summary = read_json(path / "summary.json")
    if summary is not None and summary.values.get("format", FORMAT) != FORMAT:
        found = summary.values["format"]
        raise RunError(f"{summary.file}: format {found!r} is not known, only {FORMAT}; update crlso")
    results = _results(summary) if summary is not None else {}
    kinds, edges, operations = supernet.texts("kinds"), _edges(supernet), supernet.texts("operations")
    shape = (len(kinds), len(edges), len(operations))
    searches = tuple(_search(path, seed, shape, results.get(seed)) for seed in config.wholes("seeds"))
    return SupernetRun(
        path=path,
        recipe=recipe.text("name"),
        recipe_summary=recipe.optional_text("summary") or "",
        recipe_source=recipe.optional_text("source") or "",
        space=space,
        data=config.inside("data").text("name"),
        data_text=summary.text("data") if summary is not None else "",
        network=summary.text("network") if summary is not None else "",
        metric=summary.text("metric") if summary is not None else "",
        epochs=settings.whole("epochs"),
        skip_limit=settings.whole("skip_limit"),
        kinds=kinds,
        edges=edges,
        operations=operations,
        searches=searches,
        trainings=_lines(path / "trainings.jsonl"),
        finished=summary is not None,
        config=config.values,
        per_node=str(recipe.inside("relaxation").values.get("kind", "")).startswith("node_"),
    )


def _edges(supernet: Fields) -> tuple[tuple[int, int], ...]:
    found = supernet.values.get("edges")
    wanted = "a list of pairs of whole numbers"
    if not isinstance(found, list) or not found:
        raise supernet.bad("edges", wanted)
    edges = []
    for edge in found:
        if not isinstance(edge, list) or len(edge) != 2 or not all(type(state) is int for state in edge):
            raise supernet.bad("edges", wanted)
        edges.append((edge[0], edge[1]))
    return tuple(edges)


def _search(path: Path, seed: int, shape: tuple[int, int, int], result: Result | None) -> SupernetSearch:
    home = path / "seeds" / str(seed)
    epochs = _epochs(home / "epochs.jsonl", shape[0])
    derived = read_json(home / "derived.json")
    architecture = epochs[-1].architecture if epochs else None
    if derived is not None:
        architecture = derived.text("architecture")
    if result is not None:
        architecture = result.architecture
    return SupernetSearch(
        seed=seed,
        epochs=epochs,
        shares=_shares(home / "architecture.npz", shape),
        architecture=architecture,
        derived=derived is not None or result is not None,
        result=result,
        members=read_members(home / PARETO) if (home / PARETO).is_file() else (),
        trace=_trace(home / "shrinking.npz"),
    )


def _epochs(file: Path, kinds: int) -> tuple[Epoch, ...]:
    return tuple(_epoch(fields, kinds) for fields in read_epochs(file))


def _epoch(fields: Fields, kinds: int) -> Epoch:
    def per_kind(key: str) -> list[Any]:
        values = fields.values.get(key)
        if not isinstance(values, list) or len(values) != kinds:
            raise fields.bad(key, f"a list of {kinds}, one per kind of cell")
        return values

    for key in ("entropy", "skips", "convolutions"):
        per_kind(key)
    return Epoch(
        number=fields.whole("epoch"),
        train_loss=fields.measured("train_loss"),
        train_accuracy=fields.measured("train_accuracy"),
        valid_loss=fields.measured("valid_loss"),
        valid_accuracy=fields.measured("valid_accuracy"),
        entropy=tuple(fields.numbers("entropy").tolist()),
        skips=tuple(fields.wholes("skips")),
        convolutions=tuple(fields.wholes("convolutions")),
        architecture=fields.text("architecture"),
        eigenvalue=fields.measured("eigenvalue"),
        cpu_seconds=fields.measured("cpu_seconds"),
        seconds=fields.measured("seconds"),
        warnings=fields.texts("warnings") if fields.values.get("warnings") else (),
    )


def _trace(file: Path) -> Mapping[str, NDArray[np.float64]]:
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            columns = {name: np.asarray(archive[name]).astype(np.float64) for name in archive.files}
        if not columns.keys() >= TRACE or len({column.shape for column in columns.values()}) != 1:
            raise ValueError(
                f"columns {', '.join(columns)}, expected {', '.join(sorted(TRACE))}, equally long"
            )
        if columns["step"].ndim != 1:
            raise ValueError("columns must have one number per step")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{file}: damaged ({first_line(error)}); restore or remove the file") from error
    return columns


def _shares(file: Path, shape: tuple[int, int, int]) -> NDArray[np.float64] | None:
    if not file.is_file():
        return None
    try:
        # Opened here: numpy leaves a file open that turns out to be no archive.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            shares = np.asarray(archive["shares"]).astype(np.float64)
        if shares.ndim != 4 or shares.shape[1:] != shape or not len(shares):
            raise ValueError(f"shares have shape {shares.shape}, expected (epochs + 1, *{shape})")
        if not ((shares >= -_SLACK) & (shares <= 1.0 + _SLACK)).all():
            raise ValueError("shares must lie between 0 and 1")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{file}: damaged ({first_line(error)}); restore or remove the file") from error
    return np.clip(shares, 0.0, 1.0)


def _results(summary: Fields) -> Mapping[int, Result]:
    searches = summary.values.get("searches")
    if not isinstance(searches, list) or not all(isinstance(entry, dict) for entry in searches):
        raise summary.bad("searches", "a list of objects")
    entries = [Fields(summary.file, entry, f"searches.{place}.") for place, entry in enumerate(searches)]
    return {entry.whole("seed"): _result(entry) for entry in entries}


def _result(entry: Fields) -> Result:
    trained, table = entry.inside("trained"), entry.inside("table")
    values, best = table.inside("values"), table.inside("best")
    return Result(
        architecture=entry.text("architecture"),
        params=entry.measured("params"),
        flops=entry.measured("flops"),
        shared_valid_accuracy=entry.measured("shared_valid_accuracy"),
        trained=bool(trained.values),
        valid_accuracy=trained.measured("valid_accuracy"),
        test_accuracy=trained.measured("test_accuracy"),
        random=_random(entry.inside("random")),
        random_cost=entry.measured("random_cost"),
        table=table.optional_text("name") or "",
        pairs=_pairs(entry.inside("set")),
        table_values={name: TableValue(values.measured(name), best.measured(name)) for name in values.values},
    )


def _pairs(fields: Fields) -> tuple[Pair, ...]:
    trained = fields.values.get("trained", [])
    if not isinstance(trained, list) or not all(isinstance(entry, dict) for entry in trained):
        raise fields.bad("trained", "a list of objects")
    entries = [Fields(fields.file, entry, f"trained.{place}.") for place, entry in enumerate(trained)]
    return tuple(
        Pair(
            entry.text("size"),
            entry.measured("params"),
            entry.measured("test_accuracy"),
            entry.inside("random").measured("params"),
            entry.inside("random").measured("test_accuracy"),
        )
        for entry in entries
    )


def _random(fields: Fields) -> Random | None:
    if not fields.values:
        return None
    return Random(
        n=fields.whole("n"),
        mean=fields.measured("mean"),
        deviation=fields.measured("std"),
        best=fields.inside("best_by_valid").measured("test_accuracy"),
    )


def _lines(file: Path) -> int:
    """Whole lines of a file that may still be growing."""
    return sum(1 for line in read_text(file).splitlines() if line.strip())
