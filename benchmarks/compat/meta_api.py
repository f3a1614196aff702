"""What the APIs of NAS-Bench-201 and NATS-Bench have in common."""

from __future__ import annotations

import os
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, final, runtime_checkable

from benchmarks.compat.errors import NoAnswerError
from benchmarks.compat.results import ArchResults, Dialect, Info
from benchmarks.compat.stored_trials import StoredTrials
from benchmarks.compat.warning import warn_misleading
from crlso.errors import TableError

_SIMULATED = ("cifar10", "cifar100", "ImageNet16-120")
_TRAINING_SETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")


@runtime_checkable
class _Structure(Protocol):
    """An architecture object of other packages, which gives its text."""

    def tostr(self) -> str:
        """The official text."""


@final
class _Infos(Mapping[int, "dict[str, ArchResults]"]):
    """`arch2infos_dict` of the official APIs: trainings by number and schedule, made when asked for."""

    def __init__(self, store: StoredTrials, dialect: Dialect) -> None:
        self._store, self._dialect = store, dialect

    def __getitem__(self, index: int) -> dict[str, ArchResults]:
        if index not in self._store:
            raise KeyError(index)
        found = {hp: ArchResults(self._store, index, hp, self._dialect) for hp in self._store.datasets}
        return {hp: results for hp, results in found.items() if results.dataset_seed}

    def __iter__(self) -> Iterator[int]:
        return iter(self._store.indexes)

    def __len__(self) -> int:
        return len(self._store.indexes)


class MetaAPI(ABC):
    """Queries by official number or text.

    Args:
        table: Name of an imported table, or path of a table file.
        verbose: Taken for compatibility; nothing is printed.

    Raises:
        UserError: No such table; for an official file the message has the command that imports it.
    """

    _dialect: Dialect

    def __init__(self, table: str | os.PathLike[str], verbose: bool) -> None:
        self._store = StoredTrials(table)
        self.filename = self._store.path.name
        self.verbose = verbose
        self.meta_archs = self._store.archs
        self.archstr2index = {arch: index for index, arch in enumerate(self.meta_archs)}
        self.arch2infos_dict: Mapping[int, dict[str, ArchResults]] = _Infos(self._store, self._dialect)
        self._used_time = 0.0

    def __getitem__(self, index: int) -> str:
        return self.meta_archs[index]

    def __len__(self) -> int:
        return len(self.meta_archs)

    def __repr__(self) -> str:
        known = f"{len(self.arch2infos_dict)}/{len(self)} architectures"
        return f"{type(self).__name__}({known}, file={self.filename})"

    def arch(self, index: int) -> str:
        """The text of an architecture.

        Raises:
            NoAnswerError: No such number.
        """
        if not 0 <= index < len(self):
            raise NoAnswerError(f"invalid index {index}; allowed are 0 to {len(self) - 1}")
        return self.meta_archs[index]

    @property
    def avaliable_hps(self) -> list[str]:
        """The schedules (the official spelling)."""
        return list(self._store.datasets)

    @property
    def used_time(self) -> float:
        """Seconds of training simulated so far."""
        return self._used_time

    def reset_time(self) -> None:
        """Start counting simulated seconds anew."""
        self._used_time = 0.0

    def random(self) -> int:
        """A random number of an architecture, from Python's global generator."""
        return random.randint(0, len(self) - 1)

    def query_index_by_arch(self, arch: int | str | _Structure) -> int:
        """The number of an architecture; -1 for a text that is none.

        Raises:
            NoAnswerError: A number that is none.
        """
        if isinstance(arch, int):
            if not 0 <= arch < len(self):
                raise NoAnswerError(f"invalid architecture index {arch}; allowed are 0 to {len(self) - 1}")
            return arch
        text = arch.tostr() if isinstance(arch, _Structure) else arch
        return self.archstr2index.get(text, -1) if isinstance(text, str) else -1

    def query_meta_info_by_index(self, arch_index: int, hp: str = "12") -> ArchResults:
        """All trainings of an architecture with one schedule.

        Raises:
            NoAnswerError: No results of this architecture, or not with this schedule.
        """
        return self._results(arch_index, str(hp))

    def query_by_index(self, arch_index: int, dataname: str | None = None, hp: str = "12") -> Any:
        """All trainings of an architecture with one schedule, or those on one training set by seed.

        Raises:
            NoAnswerError: No results of this architecture, with this schedule or on this training set.
        """
        results = self._results(arch_index, str(hp))
        if dataname is None:
            return results
        if dataname not in results.get_dataset_names():
            raise NoAnswerError(
                f"invalid dataset {dataname!r}; known: {', '.join(results.get_dataset_names())}"
            )
        return results.query(dataname)

    def query_by_arch(self, arch: int | str | _Structure, hp: str = "12") -> str | None:
        """The same as :meth:`query_info_str_by_arch`."""
        return self.query_info_str_by_arch(arch, hp)

    def query_info_str_by_arch(self, arch: int | str | _Structure, hp: str = "12") -> str | None:
        """What is known of an architecture, in lines of the official form; ``None`` without results."""
        index = self.query_index_by_arch(arch)
        if index not in self._store:
            return None
        return "\n".join(self._describe(self._results(index, hp), f"arch-index={index}"))

    def get_more_info(
        self,
        index: int | str | _Structure,
        dataset: str,
        iepoch: int | None = None,
        hp: str = "12",
        is_random: bool | int = True,
    ) -> Info:
        """Losses, accuracies and seconds of an architecture on all splits of a training set.

        Args:
            index: Official number or text.
            dataset: The training set: ``cifar10-valid``, ``cifar10``, ``cifar100`` or ``ImageNet16-120``.
            iepoch: Epoch from 0; ``None``: the last. Splits that were not measured then are left out.
            hp: The schedule, ``"12"`` or ``"200"`` (sizes: ``"01"``, ``"12"``, ``"90"``).
            is_random: ``True``: one training at random; ``False``: means over all; a number: the seed.

        Raises:
            NoAnswerError: No such architecture, schedule, training set, epoch or seed.
        """
        results = self._results(self.query_index_by_arch(index), str(hp))
        if is_random is True:
            is_random = random.choice(results.get_dataset_seeds(dataset))
        train = results.get_metrics(dataset, "train", iepoch=iepoch, is_random=is_random)
        epochs = train["iepoch"] + 1
        info = self._named("train", train, epochs)
        test = "ori-test" if dataset in {"cifar10-valid", "cifar10"} else "x-test"
        splits = {"valid": "x-valid", "test": test}
        if dataset not in {"cifar10-valid", "cifar10"}:
            splits["valtest"] = "ori-test"
        for name, split in splits.items():
            try:
                found = results.get_metrics(dataset, split, iepoch=iepoch, is_random=is_random)
            except NoAnswerError:
                if dataset == "cifar10-valid" and name == "valid":
                    raise
                continue
            info |= self._named(name, found, epochs)
        return info | self._comment(dataset, hp)

    def get_cost_info(self, index: int, dataset: str, hp: str = "12") -> Info:
        """FLOPs and weights in millions, latency in seconds, training and evaluation times."""
        return self._results(index, str(hp)).get_compute_costs(dataset)

    def get_latency(self, index: int, dataset: str, hp: str = "12") -> Any:
        """Seconds for a batch of 256 images."""
        return self.get_cost_info(index, dataset, hp)["latency"]

    def get_net_config(self, index: int, dataset: str) -> Info:
        """What builds the network.

        Raises:
            NoAnswerError: No results of this architecture, or not on this training set.
        """
        if index not in self._store:
            raise NoAnswerError(f"there are no results of architecture {index}")
        first = next(iter(self.arch2infos_dict[index].values()))
        result = next(iter(first.query(dataset).values()))
        config: Info = result.get_config(None)
        return config

    def get_net_param(self, index: int, dataset: str, seed: int | None, hp: str = "12") -> Any:
        """Weights are not kept in tables: ``None``, for each seed where none is named."""
        return self._results(index, str(hp)).get_net_param(dataset, seed)

    def clear_params(self, index: int, hp: str | None = None) -> None:
        """Nothing to do: weights are not kept in tables."""
        del index, hp

    def reload(self, archive_root: str | None = None, index: int | None = None) -> None:
        """Weights can not be loaded: tables do not keep them.

        Raises:
            TableError: Always.
        """
        raise TableError(
            f"reload({archive_root!r}, {index!r}): tables keep no weights; use the official package"
        )

    def statistics(self, dataset: str, hp: str | int) -> dict[int, int]:
        """How many architectures were trained how many times.

        Raises:
            NoAnswerError: No such training set.
        """
        if dataset not in _TRAINING_SETS:
            raise NoAnswerError(f"invalid dataset {dataset!r}; known: {', '.join(_TRAINING_SETS)}")
        counts: dict[int, int] = {}
        for index in self.arch2infos_dict:
            seeds = self._store.seeds(index, str(hp), dataset)
            counts[len(seeds)] = counts.get(len(seeds), 0) + 1
        return counts

    def show(self, index: int = -1) -> None:
        """Print what is known of one architecture, or of all (a negative number)."""
        for number in self.arch2infos_dict if index < 0 else [index]:
            if number not in self._store:
                print(f"there are no results of architecture {number} (of 0 to {len(self) - 1})")
                continue
            print(f"arch : {self.meta_archs[number]}")
            for hp, results in self.arch2infos_dict[number].items():
                print(f"{'>' * 40} {int(hp):03d} epochs {'>' * 40}")
                print("\n".join(self._describe(results, None)))
            print(f"{'<' * 40}------------{'<' * 40}")

    def _simulate(
        self, arch: int | str | _Structure, dataset: str, iepoch: int | None, hp: str, count: bool
    ) -> Any:
        """Validation accuracy of one random training, latency, and what it would have cost."""
        index = self.query_index_by_arch(arch)
        if dataset not in _SIMULATED:
            raise NoAnswerError(f"invalid dataset {dataset!r}; known: {', '.join(_SIMULATED)}")
        key = "cifar10-valid" if dataset == "cifar10" else dataset
        info = self.get_more_info(index, key, iepoch=iepoch, hp=hp, is_random=True)
        if "valid-accuracy" in info:
            accuracy, clock = info["valid-accuracy"], info
        else:
            # The official API draws a second training here, for its time; so do we, for equal numbers.
            clock = self.get_more_info(index, key, iepoch=None, hp=hp, is_random=True)
            accuracy = info["valtest-accuracy"]
            warn_misleading(
                f"the benchmark has no validation accuracy on {dataset} after epoch {iepoch}: this is the "
                "accuracy on validation and test images together, as the official API gives it; a search "
                "that uses it sees test data"
            )
        cost = info["train-all-time"] + clock["valid-per-time"]
        if count:
            self._used_time += cost
        return accuracy, self._simulated_latency(index, dataset, hp), cost, self._used_time

    def _best(
        self, dataset: str, metric_on_set: str, flops: float | None, params: float | None, hp: str
    ) -> tuple[int, float | None]:
        """The architecture of the highest mean accuracy within limits; the first among equals."""
        split = {"valid": "x-valid", "test": "ori-test" if dataset == "cifar10" else "x-test"}.get(
            metric_on_set, metric_on_set
        )
        key = "cifar10-valid" if (dataset, metric_on_set) == ("cifar10", "valid") else dataset
        best, highest = -1, None
        for index in self.arch2infos_dict:
            results = self._results(index, hp)
            if flops is not None or params is not None:
                costs = results.get_compute_costs(key)
                if (flops is not None and costs["flops"] > flops) or (
                    params is not None and costs["params"] > params
                ):
                    continue
            accuracy = results.get_metrics(key, split)["accuracy"]
            if highest is None or highest < accuracy:
                best, highest = index, accuracy
        return best, highest

    def _results(self, index: int, hp: str) -> ArchResults:
        if index not in self._store:
            raise NoAnswerError(f"there are no results of architecture {index}")
        if hp not in self._store.datasets:
            raise NoAnswerError(
                f"there is no schedule of {hp!r} epochs; known: {', '.join(self._store.datasets)}"
            )
        results = ArchResults(self._store, index, hp, self._dialect)
        if not results.dataset_seed:
            raise NoAnswerError(f"architecture {index} has no results at {hp} epochs")
        return results

    @staticmethod
    def _named(name: str, info: Info, epochs: Any) -> Info:
        seconds = info["all_time"]
        return {
            f"{name}-loss": info["loss"],
            f"{name}-accuracy": info["accuracy"],
            f"{name}-per-time": None if seconds is None else seconds / epochs,
            f"{name}-all-time": seconds,
        }

    def _describe(self, results: ArchResults, extra: str | None) -> list[str]:
        """The lines of the official description."""
        names = results.get_dataset_names()
        lines = [results.arch_str, f"datasets : {names}, extra-info : {extra}"]
        for name in names:
            costs = results.get_compute_costs(name)
            latency = costs["latency"]
            shown = f"{latency * 1000:.2f}" if latency is not None and latency > 0 else None
            lines.append(
                f"{name:14s} FLOP={costs['flops']:6.2f} M, Params={costs['params']:.3f} MB,"
                f" latency={shown} ms."
            )
            parts = [f"train : [{self._measured(results, name, 'train')}]"]
            for label, split in self._shown_splits(name):
                parts.append(f"{label} : [{self._measured(results, name, split)}]")
            lines.append(f"{name:14s} {', '.join(parts)}")
        return lines

    def _measured(self, results: ArchResults, dataset: str, split: str) -> str:
        found = results.get_metrics(dataset, split)
        return f"loss = {found['loss']:.3f}{self._joint}top1 = {found['accuracy']:.2f}%"

    _joint = " & "

    def _shown_splits(self, dataset: str) -> list[tuple[str, str]]:
        """Labels and splits of the official description of a training set."""
        if dataset == "cifar10-valid":
            return [("valid", "x-valid")]
        if dataset == "cifar10":
            return [("test ", "ori-test")]
        return [("valid", "x-valid"), ("test", "x-test")]

    def _comment(self, dataset: str, hp: str) -> Info:
        """What the official answer says of itself, where it does."""
        del dataset, hp
        return {}

    @abstractmethod
    def _simulated_latency(self, index: int, dataset: str, hp: str) -> Any:
        """The latency that a simulated training reports."""


def matrix_of(arch_str: str, search_space: Any) -> Any:
    """Lower-triangular matrix ``[nodes, nodes]`` of operation numbers of a topology text."""
    import numpy as np

    groups = lists_of(arch_str)
    matrix = np.zeros((len(groups) + 1, len(groups) + 1))
    for node, edges in enumerate(groups, start=1):
        for name, source in edges:
            if name not in search_space:
                raise TableError(f"operation {name!r} is not one of {', '.join(search_space)}")
            matrix[node, source] = list(search_space).index(name)
    return matrix


def lists_of(arch_str: str) -> list[tuple[tuple[str, int], ...]]:
    """``(operation, source)`` pairs of each node of a topology text."""
    found = []
    for group in arch_str.split("+"):
        pairs = [edge.split("~") for edge in group.split("|") if edge]
        if any(len(pair) != 2 for pair in pairs):
            raise TableError(f"invalid part {group!r} of an architecture; expected |operation~source|...")
        found.append(tuple((name, int(source)) for name, source in pairs))
    return found
