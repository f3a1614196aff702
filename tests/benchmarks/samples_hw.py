"""Files in HW-NAS-Bench's format, written by the tests: its schema, and made-up numbers of its ranges."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.importers.hw_nas_bench import CELLS
from crlso.protocols import Codes
from crlso.spaces import get_space

DATASETS = {"cifar10": ("cifar10", 10), "cifar100": ("cifar100", 100), "ImageNet16-120": ("imagenet16", 120)}
METRICS = (
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


def shuffled_cells(seed: int = 0, cells: int = CELLS) -> Codes:
    """NAS-Bench-201 cells in an order of their own, as the official one is."""
    codes = np.concatenate(list(get_space("nasbench201").enumerate()))
    return codes[np.random.default_rng(seed).permutation(len(codes))[:cells]]


def content(codes: Codes, seed: int = 0) -> dict[str, Any]:
    """What the pickle holds: lists of floats, configs, and costs of FBNet's blocks. -1: not compiled."""
    rng = np.random.default_rng(seed)
    space = get_space("nasbench201")
    texts = [space.format(code) for code in codes]
    part: dict[str, Any] = {}
    for dataset, (_, classes) in DATASETS.items():
        found: dict[str, Any] = {metric: rng.uniform(0.1, 50, size=len(codes)).tolist() for metric in METRICS}
        for row in rng.choice(len(codes), size=len(codes) // 3, replace=False):
            found["edgetpu_latency"][row] = -1.0
        found["config"] = [
            {"name": "infer.tiny", "C": 16, "N": 5, "arch_str": text, "num_classes": classes}
            for text in texts
        ]
        part[dataset] = found
    blocks = {f"ConvBlock_H{size}_W{size}_Cin16_Cout24_exp1_kernel3_stride1_group1": 0.5 for size in (32, 16)}
    return {"nasbench201": part, "fbnet": dict.fromkeys(METRICS, blocks)}


def write(path: Path, data: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(data, protocol))
    return path
