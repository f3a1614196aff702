"""The official packages on the real records, and tables of ours made of the same."""

from __future__ import annotations

import bz2
import contextlib
import copy
import io
import pickle
from pathlib import Path
from typing import Any

import nas_201_api
import nats_bench
import numpy as np

from tests.spaces.data import data_file

RECORDS = "nasbench201/nats_records"
NUMBERS = (0, 11, 284)


def load(path: Path) -> Any:
    """A real record; this is what the official packages do with it."""
    with bz2.open(path) as file:
        return pickle.load(file)


def records() -> tuple[list[str], dict[int, Any]]:
    """All architectures, and the three real records."""
    folder = data_file(RECORDS)
    return load(folder / "meta.pbz2")["meta_archs"], {
        number: load(folder / f"{number:06d}.pbz2") for number in NUMBERS
    }


def nats_file() -> dict[str, Any]:
    """The content of a NATS-Bench file with the three records."""
    archs, states = records()
    return {
        "meta_archs": archs,
        "total_archs": len(archs),
        "arch2infos": states,
        "evaluated_indexes": set(states),
    }


def nasbench201_file() -> dict[str, Any]:
    """The content of a NAS-Bench-201 file with the three records."""
    data = nats_file()
    renamed = {number: {"less": s["12"], "full": s["200"]} for number, s in data["arch2infos"].items()}
    return data | {"arch2infos": renamed, "evaluated_indexes": sorted(renamed)}


def official_nats(data: dict[str, Any], space: str = "tss") -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return nats_bench.create(copy.deepcopy(data), space, verbose=False)


def official_nasbench201(data: dict[str, Any]) -> Any:
    return nas_201_api.NASBench201API(copy.deepcopy(data), verbose=False)


def same(ours: Any, theirs: Any) -> None:
    """Equal to the last bit, ``None`` and NaN included; numbers of NumPy and Python are the same."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert ours.keys() == theirs.keys()
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            same(mine, other)
    elif isinstance(theirs, np.ndarray):
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(theirs, float) and theirs != theirs:
        assert ours != ours
    else:
        assert ours == theirs
        assert (ours is None) == (theirs is None)
