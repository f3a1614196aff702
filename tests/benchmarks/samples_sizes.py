"""Schema-true records of NATS-Bench's size space, with random values."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

CHANNELS = (8, 16, 24, 32, 40, 48, 56, 64)
SCHEDULES = {"01": (777,), "12": (777, 888, 999), "90": (777,)}
EVALUATED = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
CLASSES = {"cifar10-valid": 10, "cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}
GENOTYPE = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def architectures() -> list[str]:
    """All 32,768, in the official order."""
    return [":".join(map(str, sizes)) for sizes in itertools.product(CHANNELS, repeat=5)]


def record(index: int, arch: str, rng: np.random.Generator) -> OrderedDict[str, dict[str, object]]:
    """All trainings of one network: by schedule what ``ArchResults.state_dict()`` gives."""
    return OrderedDict((hp, _state(index, arch, int(hp), seeds, rng)) for hp, seeds in SCHEDULES.items())


def _state(
    index: int, arch: str, epochs: int, seeds: Sequence[int], rng: np.random.Generator
) -> dict[str, object]:
    pairs = [(dataset, seed) for seed in seeds for dataset in EVALUATED]
    return {
        "arch_index": index,
        "arch_str": arch,
        "all_results": OrderedDict((pair, _training(*pair, arch, epochs, rng)) for pair in pairs),
        "dataset_seed": {dataset: list(seeds) for dataset in EVALUATED},
        "clear_net_done": True,
    }


def _training(dataset: str, seed: int, arch: str, epochs: int, rng: np.random.Generator) -> dict[str, object]:
    splits = EVALUATED[dataset]
    measured = [f"{split}@{epoch}" for split in splits for epoch in range(epochs)]
    time = float(rng.uniform(1, 9))

    def values(keys: Sequence[object], scale: float) -> dict[object, float]:
        return dict(zip(keys, (scale * rng.random(len(keys))).tolist(), strict=True))

    return {
        "name": dataset,
        "train_acc1es": values(range(epochs), 100),
        "train_acc5es": values(range(epochs), 100),
        "train_losses": values(range(epochs), 3),
        "train_times": OrderedDict((epoch, time) for epoch in range(epochs)),
        "arch_config": {
            "name": "infer.shape.tiny",
            "channels": arch,
            "arch_str": arch,
            "genotype": GENOTYPE,
            "class_num": CLASSES[dataset],
        },
        "params": np.float64(rng.uniform(0.01, 2)),
        "flop": float(rng.uniform(1, 200)),
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(rng.uniform(0.01, 0.03))],
        "eval_names": list(splits),
        "eval_acc1es": values(measured, 100),
        "eval_times": values(measured, 2),
        "eval_losses": values(measured, 3),
        "net_state_dict": None,
    }
