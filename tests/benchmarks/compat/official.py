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
import torch

from tests.benchmarks import samples_nats, samples_sizes
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


def made_records() -> tuple[list[str], dict[int, Any]]:
    """Three schema-true ones of the topology space, with three seeds, two, and one."""
    archs = samples_nats.architectures(15_625)
    rng = np.random.default_rng(0)
    seeds = ((777, 888, 999), (888, 999), (777,))
    made = {n: samples_nats.record(n, archs[n], some, rng) for n, some in zip(NUMBERS, seeds, strict=True)}
    states: dict[int, Any] = {n: {"12": state["less"], "200": state["full"]} for n, state in made.items()}
    for number, schedules in states.items():
        for state in schedules.values():
            for training in state["all_results"].values():  # all of one network
                training["params"], training["flop"] = np.float64(1 + number / 1000), 100.0 + number
    return archs, states


def made_sizes() -> tuple[list[str], dict[int, Any]]:
    """Three schema-true ones of the size space."""
    archs = samples_sizes.architectures()
    rng = np.random.default_rng(0)
    return archs, {n: samples_sizes.record(n, archs[n], rng) for n in NUMBERS}


def nats_file(archs: list[str], states: dict[int, Any]) -> dict[str, Any]:
    """The content of a NATS-Bench file."""
    return {
        "meta_archs": archs,
        "total_archs": len(archs),
        "arch2infos": states,
        "evaluated_indexes": set(states),
    }


def nasbench201_file(archs: list[str], states: dict[int, Any]) -> dict[str, Any]:
    """The content of a NAS-Bench-201 file."""
    data = nats_file(archs, states)
    renamed = {number: {"less": s["12"], "full": s["200"]} for number, s in data["arch2infos"].items()}
    return data | {"arch2infos": renamed, "evaluated_indexes": sorted(renamed)}


def write_nats_file(path: Path, archs: list[str], states: dict[int, Any]) -> Path:
    """The single file ``.pickle.pbz2``."""
    path.write_bytes(bz2.compress(pickle.dumps(nats_file(archs, states), protocol=4)))
    return path


def write_nats_folder(path: Path, archs: list[str], states: dict[int, Any]) -> Path:
    """The folder ``-simple`` with a file for each record."""
    path.mkdir()
    meta = nats_file(archs, {}) | {"arch2infos": None}
    for name, content in [("meta", meta), *((f"{n:06d}", state) for n, state in states.items())]:
        (path / f"{name}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content, protocol=4)))
    return path


def write_pth(path: Path, archs: list[str], states: dict[int, Any], *, zipped: bool = True) -> Path:
    """The file of NAS-Bench-201 in torch's newer or older form."""
    torch.save(nasbench201_file(archs, states), path, _use_new_zipfile_serialization=zipped)
    return path


def write_pth_folder(path: Path, archs: list[str], states: dict[int, Any]) -> Path:
    """The archive folder of NAS-Bench-201."""
    path.mkdir()
    for number, state in nasbench201_file(archs, states)["arch2infos"].items():
        torch.save(state, path / f"{number:06d}-FULL.pth")
    return path


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
