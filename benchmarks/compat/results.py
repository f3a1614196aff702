"""`ArchResults` and `ResultsCount` of the official APIs, read from a table when they are asked."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from benchmarks.compat.errors import NoAnswerError
from benchmarks.compat.stored_trials import StoredTrials
from benchmarks.compat.warning import warn_misleading
from benchmarks.trials import TRAIN, Trial

Info = dict[str, Any]

# The official classes keep exactly these, and `state_dict` gives them.
_TRAINING_STATE = (
    "name",
    "net_state_dict",
    "train_acc1es",
    "train_acc5es",
    "train_losses",
    "train_times",
    "arch_config",
    "params",
    "flop",
    "seed",
    "epochs",
    "latency",
    "eval_names",
    "eval_acc1es",
    "eval_times",
    "eval_losses",
)
_ARCH_STATE = ("arch_index", "arch_str", "dataset_seed", "clear_net_done")


@dataclass(frozen=True)
class Dialect:
    """In what the two official packages differ.

    Attributes:
        mean: How they average a list.
        total: How they add up a list of seconds.
        mend_costs: Whether params and FLOPs that differ between seeds are taken from seed 888 (``nats-bench``
            from 1.6 on) or averaged (``nas-bench-201``).
    """

    mean: Callable[[Sequence[float]], float]
    total: Callable[[Sequence[float]], float]
    mend_costs: bool


@final
class ResultsCount:
    """One training of one architecture; attributes and methods as in the official class."""

    def __init__(self, store: StoredTrials, index: int, trial: Trial, dialect: Dialect) -> None:
        self._store, self._index, self._trial, self._dialect = store, index, trial, dialect
        self.name = trial.dataset
        self.seed = f"{trial.seed:04d}"
        self.epochs = int(trial.hp)
        self.net_state_dict = None
        self.arch_config = store.network(index, trial.dataset)
        self.eval_names = [
            split
            for split in store.splits[trial.hp][trial.dataset]
            if self._last(split, "accuracy") is not None or self._numbers(split, "accuracy") is not None
        ]

    def __repr__(self) -> str:
        sets = ", ".join(self.eval_names)
        return (
            f"ResultsCount({self.name}, arch={self.arch_config['arch_str']}, FLOP={self.flop:.2f}M, "
            f"Param={self.params:.3f}MB, seed={self.seed}, {len(self.eval_names)} eval-sets: [{sets}])"
        )

    @property
    def params(self) -> float:
        """Weights in millions, as stored."""
        return self._field("params")

    @property
    def flop(self) -> float:
        """Multiply-accumulate operations in millions, as stored."""
        return self._field("flops")

    @property
    def latency(self) -> list[float] | None:
        """Seconds for a batch: one number, the mean where the record had several."""
        value = self._store.value(self._index, self._trial.field("latency"))
        return None if value is None else [value]

    @property
    def train_acc1es(self) -> dict[int, float]:
        """Accuracy on the training images by epoch."""
        return dict(enumerate(self._numbers(TRAIN, "accuracy") or ()))

    @property
    def train_acc5es(self) -> dict[int, float] | None:
        """Top-5 accuracy by epoch, where the record has it."""
        values = self._numbers(TRAIN, "top5_accuracy")
        return None if values is None else dict(enumerate(values))

    @property
    def train_losses(self) -> dict[int, float]:
        """Training loss by epoch."""
        return dict(enumerate(self._numbers(TRAIN, "loss") or ()))

    @property
    def train_times(self) -> dict[int, float] | None:
        """Seconds by epoch, where the record has them."""
        values = self._clock(TRAIN)
        return None if values is None else dict(enumerate(values))

    @property
    def eval_acc1es(self) -> dict[str, float]:
        """Accuracy by split and epoch, ``{"x-valid@199": ...}``, of the epochs that were measured."""
        return self._evals("accuracy")

    @property
    def eval_losses(self) -> dict[str, float]:
        """Loss by split and epoch."""
        return self._evals("loss")

    @property
    def eval_times(self) -> dict[str, float]:
        """Seconds by split and epoch."""
        return {
            f"{split}@{epoch}": value
            for split in self.eval_names
            for epoch, value in enumerate(self._clock(split) or ())
        }

    def get_total_epoch(self) -> int:
        """Epochs of this training."""
        return self.epochs

    def get_eval_set(self) -> list[str]:
        """The splits that it was measured on."""
        return self.eval_names

    def judge_valid(self, iepoch: int) -> None:
        """Refuse an epoch that the training did not have (``nats_bench`` from 1.8 on).

        Raises:
            NoAnswerError: It is not from 0 to the number of epochs less one.
        """
        if not 0 <= iepoch < self.epochs:
            raise NoAnswerError(f"iepoch is {iepoch}; allowed are 0 to {self.epochs - 1}, counted from 0")

    def state_dict(self) -> dict[str, Any]:
        """All that is known of the training, by the official names; a copy, which changes nothing here."""
        return copy.deepcopy({name: getattr(self, name) for name in _TRAINING_STATE})

    def get_latency(self) -> float:
        """Seconds for a batch; -1 where unknown."""
        return -1.0 if self.latency is None else self.latency[0]

    def get_net_param(self, clone: bool = False) -> None:
        """Weights are not kept in tables."""
        del clone

    def get_times(self) -> dict[str, float | None]:
        """Seconds per epoch and in all, for training and for each split."""
        info: dict[str, float | None] = {}
        for label, split in (("train", TRAIN), *((split, split) for split in self.eval_names)):
            values = self._clock(split)
            info[f"T-{label}@epoch"] = None if values is None else self._dialect.mean(values)
            info[f"T-{label}@total"] = None if values is None else self._dialect.total(values)
        return info

    def get_train(self, iepoch: int | None = None) -> Info:
        """Loss, accuracy and seconds on the training images after an epoch (from 0; ``None``: the last)."""
        epoch = self._epoch(iepoch)
        return {
            "iepoch": epoch,
            "loss": self._at(TRAIN, "loss", epoch),
            "accuracy": self._at(TRAIN, "accuracy", epoch),
            **self._seconds(self._clock(TRAIN), epoch),
        }

    def get_eval(self, name: str, iepoch: int | None = None) -> Info:
        """Loss, accuracy and seconds on a split after an epoch.

        Raises:
            NoAnswerError: It was not measured there.
        """
        epoch = self._epoch(iepoch)
        split = "x-valid" if name == "valid" else name
        accuracy = self._at(split, "accuracy", epoch) if split in self.eval_names else None
        clock = None if accuracy is None else self._clock(split)
        # Officially there is no answer either where other splits have times and this one has none.
        untimed = clock is None and any(self._clock(other) is not None for other in self.eval_names)
        if accuracy is None or untimed:
            raise NoAnswerError(
                f"{self.name} at {self.epochs} epochs: {split}@{epoch} was not measured; its splits: "
                + ", ".join(self.eval_names)
            )
        loss = self._at(split, "loss", epoch)
        return {
            "iepoch": epoch,
            "loss": float("nan") if loss is None else loss,
            "accuracy": accuracy,
            **self._seconds(clock, epoch),
        }

    def get_config(self, str2structure: Callable[[str], Any] | None) -> Info:
        """What builds the network."""
        config = self.arch_config
        if config.get("name") == "infer.shape.tiny":
            genotype = config["genotype"] if str2structure is None else str2structure(config["genotype"])
            return {
                "name": "infer.shape.tiny",
                "channels": config["channels"],
                "genotype": genotype,
                "num_classes": config["class_num"],
            }
        arch = config["arch_str"]
        cell = {"arch_str": arch} if str2structure is None else {"genotype": str2structure(arch)}
        return (
            {"name": "infer.tiny", "C": config["channel"], "N": config["num_cells"]}
            | cell
            | {"num_classes": config["class_num"]}
        )

    def _field(self, quantity: str) -> float:
        value = self._store.value(self._index, self._trial.field(quantity))
        return float("nan") if value is None else value

    def _last(self, split: str, quantity: str) -> float | None:
        return self._store.value(self._index, self._trial.column(split, quantity))

    def _numbers(self, split: str, quantity: str) -> list[float] | None:
        """By epoch; ``None`` where nothing is stored (schedules of one epoch have no curve)."""
        if self.epochs == 1 and (last := self._last(split, quantity)) is not None:
            return [last]
        values = self._store.curve(self._index, self._trial.column(split, quantity))
        return None if values is None or all(map(math.isnan, values)) else values

    def _at(self, split: str, quantity: str, epoch: int) -> float | None:
        if epoch == self.epochs - 1:
            return self._last(split, quantity)
        value = (self._numbers(split, quantity) or {epoch: float("nan")})[epoch]
        return None if math.isnan(value) else value

    def _clock(self, split: str) -> list[float] | None:
        """Seconds by epoch."""
        name = self._trial.column(split, "time")
        every = self._store.value(self._index, name)
        if every is not None:
            return [every] * self.epochs
        values = self._store.curve(self._index, name)
        return None if values is None or math.isnan(values[0]) else values

    def _evals(self, quantity: str) -> dict[str, float]:
        found = {}
        for split in self.eval_names:
            measured = self._numbers(split, "accuracy") or ()
            values = self._numbers(split, quantity) or [float("nan")] * self.epochs
            for epoch, accuracy in enumerate(measured):
                if not math.isnan(accuracy):
                    found[f"{split}@{epoch}"] = values[epoch]
        return found

    def _epoch(self, iepoch: int | None) -> int:
        epoch = self.epochs - 1 if iepoch is None else iepoch
        self.judge_valid(epoch)
        return epoch

    def _seconds(self, clock: list[float] | None, epoch: int) -> Info:
        if clock is None:
            return {"cur_time": None, "all_time": None}
        return {"cur_time": clock[epoch], "all_time": sum(clock[: epoch + 1])}


@final
class ArchResults:
    """All trainings of an architecture with one schedule; attributes and methods as in the official class."""

    def __init__(self, store: StoredTrials, index: int, hp: str, dialect: Dialect) -> None:
        self._store, self._hp, self._dialect = store, hp, dialect
        self.arch_index = index
        self.arch_str = store.archs[index]
        self.clear_net_done = True
        self.dataset_seed = {
            dataset: seeds for dataset in store.datasets[hp] if (seeds := store.seeds(index, hp, dataset))
        }

    def __repr__(self) -> str:
        runs = sum(map(len, self.dataset_seed.values()))
        return f"ArchResults(arch-index={self.arch_index}, arch={self.arch_str}, {runs} runs, clear=True)"

    @property
    def all_results(self) -> dict[tuple[str, int], ResultsCount]:
        """The trainings by training set and seed."""
        return {
            (dataset, seed): self._result(dataset, seed)
            for dataset, seeds in self.dataset_seed.items()
            for seed in seeds
        }

    def get_dataset_names(self) -> list[str]:
        """The training sets."""
        return list(self.dataset_seed)

    def get_dataset_seeds(self, dataset: str) -> list[int]:
        """The seeds of a training set."""
        return list(self._seeds(dataset))

    def arch_idx_str(self) -> str:
        """The number in six digits, as in names of official files."""
        return f"{self.arch_index:06d}"

    def state_dict(self) -> dict[str, Any]:
        """All that is known of the trainings, by the official names; a copy, which changes nothing here."""
        state = copy.deepcopy({name: getattr(self, name) for name in _ARCH_STATE})
        return state | {"all_results": {key: one.state_dict() for key, one in self.all_results.items()}}

    def query(self, dataset: str, seed: int | None = None) -> Any:
        """One training, or all of a training set by seed.

        Raises:
            NoAnswerError: No such training.
        """
        seeds = self._seeds(dataset)
        if seed is None:
            return {one: self._result(dataset, one) for one in seeds}
        if seed not in seeds:
            raise NoAnswerError(f"there is no training with seed {seed!r}; seeds of {dataset}: {seeds}")
        return self._result(dataset, seed)

    def get_net_param(self, dataset: str, seed: int | None = None) -> Any:
        """Weights are not kept in tables: ``None``, for each seed where none is named."""
        found = self.query(dataset, seed)
        return dict.fromkeys(found) if seed is None else None

    def clear_params(self) -> None:
        """Nothing to do: weights are not kept in tables."""

    def get_latency(self, dataset: str) -> float:
        """Seconds for a batch, mean over seeds.

        Raises:
            NoAnswerError: Unknown for one of them.
        """
        values = [result.get_latency() for result in self._results(dataset)]
        if min(values) <= 0:
            raise NoAnswerError(f"latency of {dataset} is unknown for architecture {self.arch_index}")
        return sum(values) / len(values)

    def get_total_epoch(self, dataset: str | None = None) -> int:
        """Epochs of the schedule.

        Raises:
            NoAnswerError: No such training set.
        """
        if dataset is not None:
            self._seeds(dataset)
        return int(self._hp)

    def get_compute_costs(self, dataset: str) -> Info:
        """FLOPs and weights in millions, latency in seconds, times; means over seeds."""
        results = self._results(dataset)
        mean = self._dialect.mean
        latencies = [value for result in results if (value := result.get_latency()) > 0]
        info: Info = {
            "flops": mean(self._one([result.flop for result in results], dataset, "FLOPs")),
            "params": mean(self._one([result.params for result in results], dataset, "params")),
            "latency": mean(latencies) if latencies else None,
        }
        times: dict[str, list[Any]] = {}
        for result in results:
            for key, seconds in result.get_times().items():
                times.setdefault(key, []).append(seconds)
        return info | {key: None if v[0] is None else mean(v) for key, v in times.items()}

    def get_metrics(
        self, dataset: str, setname: str, iepoch: int | None = None, is_random: bool | int = False
    ) -> Info:
        """Loss, accuracy and seconds on a split.

        Args:
            dataset: The training set.
            setname: ``train``, ``x-valid``, ``x-test`` or ``ori-test``.
            iepoch: Epoch from 0; ``None``: the last.
            is_random: ``True``: of one training at random; ``False``: means over all; a number: of this seed.

        Raises:
            NoAnswerError: It was not measured there, or no training has this seed.
        """
        seeds = self._seeds(dataset)
        if not isinstance(is_random, int):
            # Officially so: a NumPy number is refused even where it equals a seed.
            raise NoAnswerError(f"is_random is {is_random!r}; allowed are True, False and a seed as an int")
        if is_random is True:
            is_random = seeds[random.randint(0, len(seeds) - 1)]
        elif is_random is not False and is_random not in seeds:
            raise NoAnswerError(f"there is no training with seed {is_random}; seeds of {dataset}: {seeds}")
        chosen = seeds if is_random is False else [is_random]
        infos = []
        for seed in chosen:
            result = self._result(dataset, seed)
            infos.append(result.get_train(iepoch) if setname == TRAIN else result.get_eval(setname, iepoch))
        if is_random is not False:
            return infos[0]
        columns = {key: [info[key] for info in infos] for key in infos[0]}
        return {key: None if v[0] is None else self._dialect.mean(v) for key, v in columns.items()}

    def _results(self, dataset: str) -> list[ResultsCount]:
        return [self._result(dataset, seed) for seed in self._seeds(dataset)]

    def _seeds(self, dataset: str) -> list[int]:
        if not isinstance(dataset, str) or dataset not in self.dataset_seed:
            raise NoAnswerError(
                f"no training on {dataset!r} at {self._hp} epochs; known: {', '.join(self.dataset_seed)}"
            )
        return self.dataset_seed[dataset]

    def _result(self, dataset: str, seed: int) -> ResultsCount:
        return ResultsCount(self._store, self.arch_index, Trial(self._hp, dataset, seed), self._dialect)

    def _one(self, values: list[float], dataset: str, what: str) -> list[float]:
        """Stored costs of the seeds; where they differ, those that the official package goes by.

        The newer one takes seed 888's, the one that is right; the older one means them, which is warned of.
        """
        if len({f"{value:.5f}" for value in values}) < 2:
            return values
        stated = (
            f"{what} of architecture {self.arch_index} stored for the seeds of {dataset} differ ({values})"
        )
        formula = "crlso.spaces.nasbench201 has the formula"
        if not self._dialect.mend_costs:
            warn_misleading(f"{stated}; the mean of them, as here, is of no network: {formula}")
            return values
        seeds = self.dataset_seed[dataset]
        if 888 not in seeds:
            raise NoAnswerError(f"{stated} and there is no seed 888 to decide: {formula}")
        return [values[seeds.index(888)]]
