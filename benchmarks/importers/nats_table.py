"""Records of NAS-Bench-201 or NATS-Bench, one after the other, as a table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from benchmarks.builder import TableBuilder
from benchmarks.importers.nats_records import ACCURACY, LOSS, TIME, TOP5, Row, read_record
from benchmarks.importers.registry import Source
from benchmarks.store import Header
from benchmarks.table import Curve
from benchmarks.trials import DATASETS, SPLITS, Trial, describe
from crlso.errors import ArchitectureError, TableError
from crlso.protocols import Code, Metric, SearchSpace
from crlso.runs.progress import progress_bar
from crlso.spaces import codes as code_tools
from crlso.spaces import get_space, nasbench201, space_to_dict

COST_DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "imagenet16"}
_COSTS = {
    "params": ("M", "weights of the network"),
    "flops": ("M", "multiply-accumulate operations for one image"),
    "latency": ("ms", "seconds for a batch of 256 images as published, in ms; a rough guide"),
}


@dataclass(frozen=True)
class Origin:
    """What the table's header says of where it comes from.

    Attributes:
        benchmark: Name of the benchmark and what part of it.
        files: File names and digests.
        verified: How it was made sure that the files are whole and the publisher's; empty: it was not.
        importer: Name and version of the importer.
    """

    benchmark: str
    files: Mapping[str, str]
    verified: str
    importer: str


@final
class RecordTable:
    """Takes records, checks that they belong together, and writes the table.

    Args:
        source: Where the table goes.
        builder: Takes the rows; made with :func:`space_of`'s space.
        space: The space of the architectures.
    """

    def __init__(self, source: Source, builder: TableBuilder, space: SearchSpace) -> None:
        self._source = source
        self._builder = builder
        self._space = space
        self._trials: dict[Trial, set[str]] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self._splits: dict[str, dict[str, list[str]]] = {}
        self._archs: dict[int, str] = {}

    def add(self, index: object, record: object) -> None:
        """Take the record that the file gives the number ``index``.

        Raises:
            TableError: Not a record as published, of another number, or it came before.
        """
        where = f"{self._source.path}, architecture {index}"
        row = read_record(record, where)
        if row.index != index or index in self._archs:
            what = f"the record says {row.index}" if row.index != index else "it came before"
            raise TableError(f"{where}: {what}")
        code = self._code(row, where)
        for dataset, config in row.configs.items():
            if self._configs.setdefault(dataset, config) != config:
                raise TableError(f"{where}: arch_config of {dataset} differs from the other architectures'")
        for (hp, dataset), splits in row.splits.items():
            self._splits.setdefault(hp, {}).setdefault(dataset, splits)
        self._archs[row.index] = row.arch
        self._builder.add(
            code,
            metrics=row.metrics | self._costs(row, code),
            fields=row.fields | {"index": row.index},
            curves=row.curves,
        )

    def add_files(self, members: Mapping[int, Path], read: Callable[[Path], object]) -> dict[str, str]:
        """Take one file per architecture.

        Returns:
            What identifies them, for the header of the table.

        Raises:
            TableError: As :meth:`add`, and what ``read`` raises.
        """
        digest = hashlib.sha256()
        with progress_bar("architectures", len(members), enabled=self._source.progress) as advance:
            for done, (index, path) in enumerate(members.items(), start=1):
                digest.update(f"{path.name} {path.stat().st_size}\n".encode())
                self.add(index, read(path))
                advance(done, "")
        return {"folder": self._source.path.name, "sha256 of names and sizes": digest.hexdigest()}

    def finish(self, order: Sequence[object] | None, origin: Origin) -> None:
        """Write the table.

        Args:
            order: The texts of all architectures by number, where the files have them (``meta_archs``).
            origin: Where it all comes from.

        Raises:
            TableError: No record, or an architecture that does not stand at its number in ``order``.
        """
        if order is not None:
            for index, arch in self._archs.items():
                if index >= len(order) or order[index] != arch:
                    raise TableError(
                        f"{self._source.path}: architecture {index} is {arch!r}, but the list of all says"
                        f" {order[index] if index < len(order) else 'nothing'!r}: files of two benchmarks?"
                    )
        header = Header(
            name=self._source.name,
            space=space_to_dict(self._space),
            metrics=self._metrics(),
            rows=len(self._builder),
            source=origin.files,
            importer=origin.importer,
            description=f"{origin.benchmark}: {_counted(len(self._builder), order)} architectures",
            verified=origin.verified,
            curves=tuple(_curve(name, length) for name, length in self._builder.curves.items()),
            fields=self._builder.fields,
            details={
                "benchmark": origin.benchmark,
                "schedules": {hp: list(splits) for hp, splits in self._splits.items()},
                "splits": self._splits,
                "networks": self._configs,
                "order": self._order(order),
            },
        )
        self._builder.finish(header)

    def _code(self, row: Row, where: str) -> Code:
        try:
            return self._space.parse(row.arch)
        except ArchitectureError as error:
            raise TableError(f"{where}: {error}") from error

    def _costs(self, row: Row, code: Code) -> dict[str, float]:
        """Latency as published; weights and operations by formula where there is one, else as published.

        In 150 cells of the topology files the stored numbers are of other cells (NATS-Bench issue 36).
        """
        found = {}
        for dataset, name in COST_DATASETS.items():
            trials = [trial for trial in row.trials if trial.dataset == dataset]
            for cost in _COSTS:
                values = [
                    row.fields[trial.field(cost)] for trial in trials if trial.field(cost) in row.fields
                ]
                if values:
                    found[f"{name}/{cost}"] = values[0] * (1e3 if cost == "latency" else 1)
            if self._space.name == "nasbench201":
                found[f"{name}/params"] = float(nasbench201.parameters(code, name)[0])
                found[f"{name}/flops"] = float(nasbench201.flops(code, name)[0])
        return found

    def _metrics(self) -> tuple[Metric, ...]:
        """What each metric is: means first, then single trainings, then costs."""
        known: dict[str, Metric] = {}
        for hp, datasets in self._splits.items():
            for dataset, split in SPLITS:
                if dataset in datasets:
                    for quantity in (ACCURACY, LOSS):
                        metric = describe(hp, dataset, split, quantity, None)
                        known[metric.name] = metric
            for dataset in datasets:
                name = f"{DATASETS[dataset]}/train_time@{int(hp)}"
                text = f"time of all {int(hp)} epochs of training on {dataset}, as published, mean over seeds"
                known[name] = Metric(name, "min", "s", text)
        for name in COST_DATASETS.values():
            for cost, (unit, text) in _COSTS.items():
                known[f"{name}/{cost}"] = Metric(f"{name}/{cost}", "min", unit, text)
        present = set(self._builder.metrics)
        means = [metric for name, metric in known.items() if name in present]
        single = [_single(name, known) for name in self._builder.metrics if name not in known]
        return (*means, *sorted(single, key=lambda metric: metric.name))

    def _order(self, order: Sequence[object] | None) -> list[int] | None:
        """Ranks of all architectures by number; ``None`` where the rows themselves are all, in that order."""
        if order is None or list(self._archs) == list(range(len(order))):
            return None
        codes = np.stack([self._space.parse(str(arch)) for arch in order])
        return [int(rank) for rank in code_tools.ravel(codes, self._space.cardinalities)]


def space_of(arch: object) -> SearchSpace:
    """The space that an official text is of: sizes (``8:16:24:32:40``) or topology (``|...~0|+...``)."""
    return get_space("nats_size" if isinstance(arch, str) and ":" in arch else "nasbench201")


def first_arch(record: object) -> object:
    """The text of a record's architecture, wherever it is found; ``None`` where it is not."""
    states: Iterable[object] = record.values() if isinstance(record, dict) else ()
    return next(
        (state["arch_str"] for state in states if isinstance(state, dict) and "arch_str" in state), None
    )


def _single(name: str, known: Mapping[str, Metric]) -> Metric:
    mean, _, seed = name.partition("/seed")
    text = known[mean].description.replace("mean over the seeds that were trained", f"seed {seed}")
    return Metric(name, known[mean].direction, known[mean].unit, text)


def _curve(name: str, length: int) -> Curve:
    """What an array over epochs is, from its name."""
    mean, _, seed = name.partition("/seed")
    stem, _, hp = mean.rpartition("@")
    for (dataset, split), (prefix, text) in SPLITS.items():
        quantity = stem.removeprefix(f"{prefix}_")
        if stem != quantity and quantity in {ACCURACY, TOP5, LOSS, TIME}:
            if quantity == TIME:
                what = f"seconds of each epoch on {split} of {dataset}"
                return Curve(name, length, "s", f"{what}; seed {seed}, schedule of {hp} epochs")
            metric = describe(hp, dataset, split, quantity, int(seed))
            return Curve(
                name, length, metric.unit, f"after each epoch: {text}; seed {seed}, schedule of {hp} epochs"
            )
    raise AssertionError(name)  # the importer makes no other names


def _counted(found: int, order: Sequence[object] | None) -> str:
    """How many there are, and of how many, where the files list more."""
    return f"{found:,}" if order is None or found == len(order) else f"{found:,} of {len(order):,}"
