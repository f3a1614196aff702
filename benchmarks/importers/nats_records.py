"""One record of NAS-Bench-201 or NATS-Bench (an architecture with all its trainings) as a row of a table.

A record is ``{schedule: state}``; what a state holds is stated in ``docs/benchmarks.md``. Everything is
checked: a record that is not as published is refused, not mended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn

import numpy as np

from benchmarks.trials import DATASETS, SPLITS, TRAIN, Trial, mean_column
from crlso.errors import TableError
from crlso.protocols import FloatArray

ACCURACY, TOP5, LOSS, TIME = "accuracy", "top5_accuracy", "loss", "time"
POSITION = "position"  # of a seed among those of its architecture, where they do not rise
_HPS = ("01", "12", "90", "200")
_EVALS = ("x-valid", "x-test", "ori-test")
_STATE = frozenset({"arch_index", "arch_str", "all_results", "dataset_seed"})
# fmt: off
_TRIAL = frozenset({
    "name", "train_acc1es", "train_losses", "arch_config", "params", "flop", "seed", "epochs", "eval_names",
    "eval_acc1es", "eval_losses",
})
# fmt: on


@dataclass
class Row:
    """One architecture.

    Attributes:
        index: Its official number.
        arch: Its official text.
        metrics: Numbers after the last epoch: of each training, and means over seeds.
        fields: Numbers that only official views read.
        curves: Numbers by epoch.
        trials: The trainings, by schedule, training set and seed in the record's order.
        splits: What each was measured on, by schedule and training set, in the record's order.
        configs: What the record says of the network, by training set, without the architecture itself.
    """

    index: int
    arch: str
    metrics: dict[str, float] = field(default_factory=dict)
    fields: dict[str, float] = field(default_factory=dict)
    curves: dict[str, FloatArray] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    splits: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_record(record: object, where: str) -> Row:
    """A record as a row.

    Args:
        record: ``{schedule: state}`` as plain data.
        where: What to call it in messages.

    Raises:
        TableError: Not a record as published; the message says what differs.
    """
    states = _mapping(record, where)
    if not states or not set(states) <= set(_HPS):
        _fail(where, f"schedules are {sorted(map(str, states))}, known are {', '.join(_HPS)}")
    row: Row | None = None
    for hp, value in states.items():
        state = _mapping(value, f"{where}, schedule {hp}")
        if not state.keys() >= _STATE:
            _fail(where, f"schedule {hp} lacks {', '.join(sorted(_STATE - state.keys()))}")
        index, arch = state["arch_index"], state["arch_str"]
        if not isinstance(index, int) or isinstance(index, bool) or index < 0 or not isinstance(arch, str):
            _fail(where, f"arch_index {index!r} and arch_str {arch!r} are not a number and a text")
        if row is None:
            row = Row(index, arch)
        elif (row.index, row.arch) != (index, arch):
            _fail(where, f"schedules are of different architectures ({row.index} and {index})")
        _read_state(row, str(hp), state, where)
    assert row is not None  # there is a schedule
    return row


def _read_state(row: Row, hp: str, state: Mapping[Any, Any], where: str) -> None:
    results = _mapping(state["all_results"], f"{where}, all_results")
    listed = _mapping(state["dataset_seed"], f"{where}, dataset_seed")
    expected = set()
    for dataset, seeds in listed.items():
        if dataset not in DATASETS:
            _fail(where, f"training set {dataset!r}; known: {', '.join(DATASETS)}")
        if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
            _fail(where, f"seeds of {dataset} are {seeds!r}, not a list of numbers")
        if len(set(seeds)) != len(seeds):
            _fail(where, f"seeds of {dataset} are {seeds!r}: one is there twice")
        trials = [Trial(hp, dataset, seed) for seed in seeds]
        if sorted(seeds) != seeds:  # the official API sums, and draws, in the record's order
            row.fields |= {trial.field(POSITION): place for place, trial in enumerate(trials)}
        for trial in trials:
            expected.add((dataset, trial.seed))
            if (dataset, trial.seed) not in results:
                _fail(where, f"no results of {dataset} with seed {trial.seed} at {hp} epochs")
            _read_trial(row, trial, _mapping(results[dataset, trial.seed], where), where)
        _means(row, trials)
    if set(results) != expected:
        _fail(where, f"results of trainings that are not listed: {sorted(map(str, set(results) - expected))}")


def _read_trial(row: Row, trial: Trial, data: Mapping[Any, Any], where: str) -> None:
    where = f"{where}, {trial.dataset} with seed {trial.seed} at {trial.hp} epochs"
    if not data.keys() >= _TRIAL:
        _fail(where, f"lacks {', '.join(sorted(_TRIAL - data.keys()))}")
    epochs = data["epochs"]
    if type(epochs) is not int or epochs != int(trial.hp):
        _fail(where, f"it was trained for {epochs!r} epochs")
    if data["name"] != trial.dataset or data["seed"] != f"{trial.seed:04d}":
        _fail(where, f"it calls itself {data['name']!r} with seed {data['seed']!r}")
    row.trials.append(trial)
    for quantity, key in ((ACCURACY, "train_acc1es"), (LOSS, "train_losses")):
        _curve(row, trial, TRAIN, quantity, _by_epoch(data[key], epochs, f"{where}, {key}"))
    if data.get("train_acc5es") is not None:
        values = _by_epoch(data["train_acc5es"], epochs, f"{where}, train_acc5es")
        row.curves[trial.column(TRAIN, TOP5)] = values
    if data.get("train_times") is not None:
        _times(row, trial, TRAIN, _by_epoch(data["train_times"], epochs, f"{where}, train_times"))
    _read_evals(row, trial, data, where)
    row.fields[trial.field("params")] = _number(data["params"], f"{where}, params")
    row.fields[trial.field("flops")] = _number(data["flop"], f"{where}, flop")
    row.fields[trial.field("epochs")] = epochs
    latency = data.get("latency")
    if latency is not None:
        if not isinstance(latency, list) or not latency:
            _fail(where, f"latency is {latency!r}, not a list of numbers")
        numbers = [_number(value, f"{where}, latency") for value in latency]
        # All that the official API ever answers with is the mean of the list.
        row.fields[trial.field("latency")] = sum(numbers) / len(numbers)
    _config(row, trial, data["arch_config"], where)


def _read_evals(row: Row, trial: Trial, data: Mapping[Any, Any], where: str) -> None:
    epochs, names = data["epochs"], data["eval_names"]
    allowed = [split for split in _EVALS if (trial.dataset, split) in SPLITS]
    if (
        not isinstance(names, list)
        or len(set(map(str, names))) != len(names)
        or not set(names) <= set(allowed)
    ):
        _fail(where, f"eval_names are {names!r}, allowed: {', '.join(allowed)}")
    accuracies = _mapping(data["eval_acc1es"], f"{where}, eval_acc1es")
    losses = _mapping(data["eval_losses"], f"{where}, eval_losses")
    if accuracies.keys() != losses.keys():
        _fail(where, "accuracies and losses are not of the same splits and epochs")
    times = _mapping(data.get("eval_times") or {}, f"{where}, eval_times")
    if set(row.splits.setdefault((trial.hp, trial.dataset), names)) != set(names):
        _fail(where, f"eval_names are {names!r}, of another seed {row.splits[trial.hp, trial.dataset]}")
    found = timed = 0
    for split in names:
        keys = _keys(split, epochs)
        values = list(map(accuracies.get, keys))
        found += len(keys) - values.count(None)
        _curve(row, trial, split, ACCURACY, _numbers(values, f"{where}, eval_acc1es"))
        _curve(row, trial, split, LOSS, _numbers(list(map(losses.get, keys)), f"{where}, eval_losses"))
        clock = list(map(times.get, keys))
        timed += (known := len(keys) - clock.count(None))
        if known:
            if known != epochs:
                _fail(where, f"times of {split} are given for {known} of {epochs} epochs")
            _times(row, trial, split, _numbers(clock, f"{where}, eval_times"))
    if found != len(accuracies) or timed != len(times):
        _fail(where, "it was measured on splits or at epochs that eval_names and epochs do not name")


def _curve(row: Row, trial: Trial, split: str, quantity: str, values: FloatArray) -> None:
    name = trial.column(split, quantity)
    row.metrics[name] = float(values[-1])
    if len(values) > 1:
        row.curves[name] = values


def _times(row: Row, trial: Trial, split: str, values: FloatArray) -> None:
    """Seconds per epoch: one number where all epochs have the same, as nearly everywhere, else a curve."""
    if (values == values[0]).all():
        row.fields[trial.column(split, TIME)] = float(values[0])
    else:
        row.curves[trial.column(split, TIME)] = values


def _config(row: Row, trial: Trial, config: object, where: str) -> None:
    """What the record says of the network, the same in all trainings of a training set."""
    stated = dict(_mapping(config, f"{where}, arch_config"))
    arch = stated.pop("arch_str", None)
    channels = stated.pop("channels", None)
    if arch != row.arch or (channels is not None and channels != row.arch):
        _fail(where, f"its arch_config is of {arch!r}")
    if not all(isinstance(key, str) and isinstance(value, str | int) for key, value in stated.items()):
        _fail(where, "arch_config holds more than numbers and texts")
    if row.configs.setdefault(trial.dataset, stated) != stated:
        _fail(where, "its arch_config differs from the one of another seed")


def _means(row: Row, trials: Sequence[Trial]) -> None:
    """Means over the seeds of one training set, as the official API forms them."""
    hp, dataset = trials[0].hp, trials[0].dataset
    for split in (TRAIN, *_EVALS):
        for quantity in (ACCURACY, LOSS):
            names = [t.column(split, quantity) for t in trials if (t.dataset, split) in SPLITS]
            values = [row.metrics[name] for name in names if name in row.metrics]
            if values and len(values) == len(trials):
                row.metrics[mean_column(hp, dataset, split, quantity)] = _mean(values)
    clocks = [row.fields.get(trial.column(TRAIN, TIME)) for trial in trials]
    totals = []
    for trial, clock in zip(trials, clocks, strict=True):
        curve = row.curves.get(trial.column(TRAIN, TIME))
        if curve is not None:
            totals.append(float(curve.sum()))
        elif clock is not None:
            totals.append(clock * int(hp))
    if len(totals) == len(trials):
        row.metrics[f"{DATASETS[dataset]}/train_time@{int(hp)}"] = _mean(totals)


def _mean(values: Sequence[float]) -> float:
    """Sum from left to right over the count: the same on every Python (3.12 made ``sum`` round otherwise)."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


@cache
def _keys(split: str, epochs: int) -> tuple[str, ...]:
    return tuple(f"{split}@{epoch}" for epoch in range(epochs))


def _by_epoch(value: object, epochs: int, where: str) -> FloatArray:
    """``{0: x, 1: y, ...}`` with every epoch as an array."""
    numbers = _mapping(value, where)
    listed = list(map(numbers.get, range(epochs)))
    if len(numbers) != epochs or None in listed:
        _fail(where, f"it has {len(numbers)} entries that are not the epochs 0 to {epochs - 1}")
    return _numbers(listed, where)


def _numbers(values: Sequence[object], where: str) -> FloatArray:
    if not {float, int, type(None)} >= set(map(type, values)):
        _fail(where, "it holds something that is no number")
    return np.array(values, dtype=np.float64)


def _number(value: object, where: str) -> float:
    if type(value) not in {float, int}:
        _fail(where, f"{value!r} is no number")
    return float(value)  # type: ignore[arg-type]  # checked just above


def _mapping(value: object, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        _fail(where, f"expected a dictionary, got {type(value).__name__}")
    return value


def _fail(where: str, what: str) -> NoReturn:
    raise TableError(f"{where}: {what}")
