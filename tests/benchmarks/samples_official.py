"""Small schema-true files of NAS-Bench-201 and NATS-Bench in every form in which they come."""

from __future__ import annotations

import bz2
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks import samples_nats, samples_sizes

Replace = Callable[[dict[str, Any]], object]
"""Changes the content of a file before it is written."""


@dataclass(frozen=True)
class Form:
    """One form of official file.

    Attributes:
        path: Its name in the folder of a test.
        changed: The file that a test changes; ``path`` itself, or a member of the folder.
        checked: What ``verified`` says where all of it is whole; empty: it has no checksum.
        write: Writes it, given the path.
    """

    path: str
    changed: str
    checked: str
    write: Callable[[Path, Replace], object]


def unchanged(content: dict[str, Any]) -> object:
    """No change."""
    return content


def topology() -> tuple[list[str], dict[int, Any]]:
    """Two cells of the topology space."""
    archs = samples_nats.architectures(30)
    rng = np.random.default_rng(0)
    made = {n: samples_nats.record(n, archs[n], (777, 888), rng) for n in (0, 7)}
    return archs, {n: {"12": each["less"], "200": each["full"]} for n, each in made.items()}


def sizes() -> tuple[list[str], dict[int, Any]]:
    """Two networks of the size space."""
    archs = samples_sizes.architectures()[:30]
    rng = np.random.default_rng(0)
    return archs, {n: samples_sizes.record(n, archs[n], rng) for n in (0, 7)}


def whole(archs: list[str], states: dict[int, Any]) -> dict[str, Any]:
    """The content of a single file."""
    return {
        "meta_archs": archs,
        "total_archs": len(archs),
        "arch2infos": states,
        "evaluated_indexes": set(states),
    }


def renamed(states: Mapping[str, Any]) -> dict[str, Any]:
    """The schedules of a record as NAS-Bench-201 calls them."""
    return {"less": states["12"], "full": states["200"]}


def packed(content: object) -> bytes:
    """As NATS-Bench packs it."""
    return bz2.compress(pickle.dumps(content, protocol=4))


def saved(content: object, *, zipped: bool) -> bytes:
    """As ``torch.save`` packs it."""
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def _nats_file(make: Callable[[], tuple[list[str], dict[int, Any]]], path: Path, replace: Replace) -> None:
    archs, states = make()
    path.write_bytes(packed(replace(whole(archs, states))))


def _nats_folder(make: Callable[[], tuple[list[str], dict[int, Any]]], path: Path, replace: Replace) -> None:
    archs, states = make()
    path.mkdir()
    meta = whole(archs, {}) | {"arch2infos": None}
    (path / "meta.pickle.pbz2").write_bytes(packed(meta))
    changed = replace(whole(archs, states))
    infos = changed["arch2infos"] if isinstance(changed, dict) else {0: changed}
    for number, state in infos.items():
        (path / f"{number:06d}.pickle.pbz2").write_bytes(packed(state))


def _pth(path: Path, replace: Replace, *, zipped: bool) -> None:
    archs, states = topology()
    content = whole(archs, {n: renamed(state) for n, state in states.items()})
    path.write_bytes(saved(replace(content), zipped=zipped))


def _pth_folder(path: Path, replace: Replace, *, zipped: bool) -> None:
    """The first of the official cells, which stand in another order than the made ones."""
    arch = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    path.mkdir()
    state = samples_nats.record(0, arch, (777,), np.random.default_rng(0))
    changed = replace(whole([arch], {0: state}))
    infos = changed["arch2infos"] if isinstance(changed, dict) else {0: changed}
    for number, each in infos.items():
        (path / f"{number:06d}-FULL.pth").write_bytes(saved(each, zipped=zipped))


FORMS: Mapping[str, Form] = {
    "nats file": Form("t.pickle.pbz2", "t.pickle.pbz2", "bzip2", partial(_nats_file, topology)),
    "nats folder": Form("t-simple", "t-simple/000007.pickle.pbz2", "bzip2", partial(_nats_folder, topology)),
    "nats meta": Form("m-simple", "m-simple/meta.pickle.pbz2", "bzip2", partial(_nats_folder, topology)),
    "sizes file": Form("s.pickle.pbz2", "s.pickle.pbz2", "bzip2", partial(_nats_file, sizes)),
    "sizes folder": Form("s-simple", "s-simple/000007.pickle.pbz2", "bzip2", partial(_nats_folder, sizes)),
    "pth zip": Form("z.pth", "z.pth", "zip", partial(_pth, zipped=True)),
    "pth legacy": Form("l.pth", "l.pth", "", partial(_pth, zipped=False)),
    "archive zip": Form("za", "za/000000-FULL.pth", "zip", partial(_pth_folder, zipped=True)),
    "archive legacy": Form("la", "la/000000-FULL.pth", "", partial(_pth_folder, zipped=False)),
}
"""Every form by name."""
