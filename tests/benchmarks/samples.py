"""Small tables for the tests."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crlso.protocols import Codes, FloatArray, SearchSpace


def random_table(rows: int, seed: int = 0) -> dict[str, FloatArray]:
    rng = np.random.default_rng(seed)
    return {"accuracy": rng.normal(90, 3, rows), "latency": rng.lognormal(0, 1, rows)}


def write_csv(path: Path, space: SearchSpace, codes: Codes, columns: Mapping[str, FloatArray]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch", *columns])
        for i, code in enumerate(codes):
            values = [float(values[i]) for values in columns.values()]
            writer.writerow([space.format(code), *("" if math.isnan(v) else repr(v) for v in values)])
    return path
