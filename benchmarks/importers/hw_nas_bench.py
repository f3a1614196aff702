"""HW-NAS-Bench: latency and energy of all NAS-Bench-201 cells on six devices.

Li et al., "HW-NAS-Bench: Hardware-Aware Neural Architecture Search Benchmark" (ICLR 2021). The official file
``HW-NAS-Bench-v1_0.pickle`` is a pickled dict ``{"nasbench201": {DATASET: {METRIC: [...], "config":
[{"arch_str": ...}, ...]}}, "fbnet": ...}``, every list in the official order of the cells. Its FBNet part
holds costs of single blocks, not of architectures, and is left out. So is ``average_hw_metric`` of the
official interface: it is no data but the product of nine of the metrics.

A latency of -1 on the Edge TPU means that its compiler refused the network (issue 11 of the benchmark's
repository); here it is missing, so that no search takes it for the smallest latency.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks.importers.digests import source_digests
from benchmarks.importers.registry import Format, Source
from benchmarks.store import Header, write_table
from crlso.errors import ArchitectureError, TableError
from crlso.formats.errors import naming
from crlso.formats.pickles import read_pickle
from crlso.protocols import Codes, FloatArray, Metric
from crlso.spaces import get_space, space_to_dict

IMPORTER = "crlso.hw_nas_bench/1"
NAME = "hw_nas_bench"
CELLS = 15_625

PUBLISHED = "HW-NAS-Bench-v1_0.pickle"
_ANOTHER = "; NOT the published file of this name (another Git blob)"

GIT_BLOB = "b0634cb7f6e7be07192c77833df9eafa4baf705e"
"""What Git calls the published file in the benchmark's repository, GATECH-EIC/HW-NAS-Bench: its SHA-1 after a
header with its length. The publisher states no other digest."""

DATASETS: Mapping[str, str] = MappingProxyType(
    {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "imagenet16"}
)
"""Data sets in the file and in names of metrics."""

_IMAGE = {"cifar10": "32x32", "cifar100": "32x32", "imagenet16": "16x16"}
_DEVICES = {
    "edgegpu": "NVIDIA Jetson TX2 with TensorRT, measured",
    "raspi4": "Raspberry Pi 4, measured",
    "edgetpu": "Google Edge TPU, measured; missing where its compiler refused the network",
    "pixel3": "Google Pixel 3, measured",
    "eyeriss": "Eyeriss accelerator (ASIC), estimated",
    "fpga": "FPGA; its energy is 7 mJ per ms of latency for every cell, so both rank alike",
}
_METRICS = (
    "edgegpu_latency",
    "edgegpu_energy",
    "raspi4_latency",
    "edgetpu_latency",
    "pixel3_latency",
    "eyeriss_latency",
    "eyeriss_energy",
    "eyeriss_arithmetic_intensity",
    "fpga_latency",
    "fpga_energy",
)
_NOT_COMPILED = {"edgetpu_latency": -1.0}
"""Metrics with a number that stands for a missing value."""


def table_name(path: Path) -> str:
    """``hw_nas_bench`` whatever the file is called."""
    del path
    return NAME


def recognises(path: Path) -> bool:
    """Whether it is called as the published file is: ``HW-NAS-Bench*.pickle``."""
    return path.is_file() and re.fullmatch(r"HW-NAS-Bench.*\.(pickle|pkl)", path.name) is not None


def convert(source: Source) -> None:
    """Convert the file. Its pickle is read at once, which takes up to 400 MB of memory (a file of 18 MB).

    Raises:
        TableError: Not HW-NAS-Bench, damaged, naming more than data, or not the published file although it
            is called so (``source.unverified`` accepts it).
        RunError: The disk can not be read or written.
    """
    space = get_space("nasbench201")
    with naming(source.path):
        files = source_digests(source)
        verified = _verified(source)
        with source.path.open("rb") as stream:
            content = read_pickle(stream)
    codes, columns = _table(content, source.path)
    header = Header(
        name=source.name,
        space=space_to_dict(space),
        metrics=METRICS,
        rows=len(codes),
        source=files,
        importer=IMPORTER,
        description="HW-NAS-Bench, all NAS-Bench-201 cells: latency and energy on six devices"
        + (_ANOTHER if source.path.name == PUBLISHED and not verified else ""),
        verified=verified,
    )
    write_table(source.target, header, space, codes, columns)


def _table(content: object, path: Path) -> tuple[Codes, dict[str, FloatArray]]:
    """Codes and columns of the unpickled file."""
    part = content.get("nasbench201") if isinstance(content, dict) else None
    if not isinstance(part, dict):
        raise TableError(f"{path}: it holds no dict 'nasbench201', which the HW-NAS-Bench file has")
    columns: dict[str, FloatArray] = {}
    archs: list[str] = []
    for dataset, name in DATASETS.items():
        found = part.get(dataset)
        if not isinstance(found, dict):
            raise TableError(f"{path}: no data set {dataset!r}; it holds {_keys(part)}")
        listed = [_arch(config, path) for config in _in_order(found, "config", f"{path}, {dataset}")]
        if archs and listed != archs:
            raise TableError(f"{path}: the architectures of {dataset!r} are not those of the other data sets")
        archs = listed
        for metric in _METRICS:
            values = _in_order(found, metric, f"{path}, {dataset}")
            columns[f"{name}/{metric}"] = _numbers(values, metric, f"{path}, {dataset}")
    return _codes(archs, path), columns


def _in_order(found: Mapping[object, object], key: str, where: str) -> list[object]:
    """The values of all cells, by the cells' official numbers."""
    values = found.get(key)
    if isinstance(values, dict) and values.keys() == set(range(len(values))):
        values = [values[index] for index in range(len(values))]
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise TableError(f"{where}: no list {key!r}; it holds {_keys(found)}")
    if len(values) != CELLS:
        raise TableError(f"{where}: {key!r} has {len(values):,} values, not one for each of {CELLS:,} cells")
    return list(values)


def _numbers(values: list[object], metric: str, where: str) -> FloatArray:
    """``[n]`` costs; all are positive, or stand for a missing one."""
    numbers = np.empty(len(values))
    missing = _NOT_COMPILED.get(metric)
    for row, value in enumerate(values):
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
        if 0 < number <= sys.float_info.max:
            numbers[row] = number
        elif number == missing:
            numbers[row] = np.nan
        else:
            raise TableError(
                f"{where}: {metric!r} of architecture {row} is {_shown(value)}, not a positive number"
            )
    return numbers


def _arch(config: object, path: Path) -> str:
    arch = config.get("arch_str") if isinstance(config, dict) else None
    if not isinstance(arch, str):
        raise TableError(f"{path}: a config without a text 'arch_str'")
    return arch


def _codes(archs: list[str], path: Path) -> Codes:
    space = get_space("nasbench201")
    try:
        codes = np.array([space.parse(arch) for arch in archs])
    except ArchitectureError as error:
        raise TableError(f"{path}: {error}") from error
    if len(np.unique(codes, axis=0)) != len(codes):
        raise TableError(f"{path}: it holds an architecture twice")
    return codes


def _verified(source: Source) -> str:
    """What the table's header says of the file: Git would call it as it calls the published one, or nothing.

    Raises:
        TableError: It has the published name, is another file, and the user does not accept that.
    """
    digest = hashlib.sha1(f"blob {source.path.stat().st_size}\0".encode(), usedforsecurity=False)
    with source.path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() == GIT_BLOB:
        return f"Git blob {GIT_BLOB} of the publisher's repository"
    if source.path.name == PUBLISHED and not source.unverified:
        raise TableError(
            f"{source.path} is not the published file of this name: git hash-object gives "
            f"{digest.hexdigest()}, not {GIT_BLOB}; download it again, or accept it with --unverified"
        )
    return ""


def _keys(found: Mapping[object, object]) -> str:
    return ", ".join(sorted(map(_shown, found))[:20]) or "nothing"


def _shown(value: object) -> str:
    # Only these two: the text of a large integer is refused by Python itself.
    return repr(value)[:40] if isinstance(value, float | str) else f"of type {type(value).__name__}"


def _metric(dataset: str, name: str) -> Metric:
    device, _, quantity = name.partition("_")
    what = f"of one {_IMAGE[dataset]} image on {_DEVICES[device]}"
    if quantity == "latency":
        return Metric(f"{dataset}/{name}", "min", "ms", f"latency {what}")
    if quantity == "energy":
        return Metric(f"{dataset}/{name}", "min", "mJ", f"energy {what}")
    intensity = f"arithmetic work per memory traffic {what}; the publisher states no unit"
    return Metric(f"{dataset}/{name}", "max", "", intensity)


METRICS: tuple[Metric, ...] = tuple(
    _metric(dataset, name) for dataset in DATASETS.values() for name in _METRICS
)
"""All columns of the table, in its order."""

FORMAT = Format(NAME, table_name, f"{PUBLISHED} (its NAS-Bench-201 part)", recognises, convert)
