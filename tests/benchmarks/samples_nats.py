"""Schema-true files of NAS-Bench-201, of any size, with random values, written as a stream.

A few records are pickled by Python itself (protocol 2, as torch does), one after another with one pickler, so
that later ones refer to texts of earlier ones as in the real files. Each further record is a copy of one of
them in which the floats, the index, the architecture and the memo numbers are replaced.
"""

from __future__ import annotations

import io
import itertools
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
# Data set: which sets were measured in every epoch, and which after the last one only (200 epochs).
EVALUATED = {
    "cifar10-valid": (("x-valid",), ("ori-test",)),
    "cifar10": (("ori-test",), ()),
    "cifar100": (("ori-test",), ("x-valid", "x-test")),
    "ImageNet16-120": (("ori-test",), ("x-valid", "x-test")),
}
CLASSES = {"cifar10-valid": 10, "cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}
_INDEX = 54_321  # stands for the record's index in a template
_ARCH = "|the architecture of this record|"
_SPARE = 300  # memo numbers before the first record, so that all take four bytes


def architectures(count: int) -> list[str]:
    """The first cells in lexicographic order, in the official text form."""
    cells = itertools.islice(itertools.product(OPERATIONS, repeat=6), count)
    return [f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|" for a, b, c, d, e, f in cells]


def result(name: str, seed: int, arch: str, epochs: int, rng: np.random.Generator) -> dict[str, object]:
    """One training, as ``ResultsCount.state_dict()`` of the official package gives it."""

    def curve(names: Sequence[object], scale: float) -> dict[object, float]:
        return dict(zip(names, (scale * rng.random(len(names))).tolist(), strict=True))

    every, last = EVALUATED[name]
    if epochs == 12:
        every, last = every + last, ()

    def keys() -> list[str]:
        names = [f"{split}@{epoch}" for split in every for epoch in range(epochs)]
        return names + [f"{split}@{epochs - 1}" for split in last]

    # The official records share the keys' objects in the short schedule and not in the long one.
    shared = keys() if epochs == 12 else None
    epoch_numbers = range(epochs)
    time = float(rng.uniform(5, 30))
    return {
        "name": name,
        "net_state_dict": None,
        "train_acc1es": curve(epoch_numbers, 100),
        "train_acc5es": curve(epoch_numbers, 100) if epochs == 12 else None,
        "train_losses": curve(epoch_numbers, 3),
        "train_times": OrderedDict((epoch, time) for epoch in epoch_numbers),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": arch, "class_num": CLASSES[name]},
        "params": _scalar(rng),
        "flop": float(rng.uniform(1, 200)),
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [_scalar(rng)],
        "eval_names": list(every + last),
        "eval_acc1es": curve(shared or keys(), 100),
        "eval_times": {f"{split}@{epoch}": time / 9 for split in every + last for epoch in range(epochs)},
        "eval_losses": curve(shared or keys(), 3),
    }


def _scalar(rng: np.random.Generator) -> np.float64:
    # The lowest three bytes are ASCII, so that others can be put there without changing the pickle's length.
    raw = bytes(rng.integers(1, 128, 3, dtype=np.uint8)) + struct.pack("<d", rng.uniform(0.01, 2))[3:]
    return np.float64(struct.unpack("<d", raw)[0])


def state(
    index: int, arch: str, epochs: int, seeds: Sequence[int], rng: np.random.Generator
) -> dict[str, object]:
    """All trainings of an architecture with one schedule, as ``ArchResults.state_dict()`` gives them."""
    trained = {
        name: ([777, 111] if name == "cifar10-valid" else [111]) if epochs == 12 else list(seeds)
        for name in EVALUATED
    }
    results = {
        (name, seed): result(name, seed, arch, epochs, rng) for name, some in trained.items() for seed in some
    }
    return {
        "arch_index": index,
        "arch_str": arch,
        "all_results": results,
        "dataset_seed": trained,
        "clear_net_done": True,
    }


def record(
    index: int, arch: str, seeds: Sequence[int], rng: np.random.Generator, epochs: tuple[int, int] = (12, 200)
) -> dict[str, object]:
    return {
        key: state(index, arch, count, seeds, rng)
        for key, count in zip(("less", "full"), epochs, strict=True)
    }


@dataclass(frozen=True)
class Template:
    """A pickled record with the places where something can be replaced."""

    data: np.ndarray  # [n] bytes
    cuts: tuple[int, ...]  # start and end of each architecture text, with its opcode and length
    floats: np.ndarray  # [f, 8]
    scalars: np.ndarray  # [s, 3]
    indices: np.ndarray  # [i, 2]
    early: np.ndarray  # [e, 4] memo numbers of earlier records
    own: np.ndarray  # [m, 4] and of this one
    first: int  # memo number of its first object
    puts: int

    def fill(self, index: int, arch: str, shift: int, early_shift: int, rng: np.random.Generator) -> bytes:
        data = self.data.copy()
        _replace(data, self.floats, (100 * rng.random(len(self.floats))).astype(">f8"))
        if len(self.scalars):
            data[self.scalars] = rng.integers(1, 128, self.scalars.shape, dtype=np.uint8)
        _replace(data, self.indices, np.full(len(self.indices), index, dtype="<u2"))
        for places, by in ((self.early, early_shift), (self.own, shift)):
            if len(places):
                _replace(data, places, (data[places].view("<u4")[:, 0].astype(np.int64) + by).astype("<u4"))
        text = b"X" + struct.pack("<I", len(arch)) + arch.encode()
        starts = (0, *self.cuts[1::2])
        ends = (*self.cuts[::2], len(data))
        return text.join(data[a:b].tobytes() for a, b in zip(starts, ends, strict=True))


def _replace(data: np.ndarray, places: np.ndarray, values: np.ndarray) -> None:
    if len(places):
        data[places] = values.view(np.uint8).reshape(places.shape)


def _template(pickled: bytes, first: int) -> Template:
    cuts: list[int] = []
    floats, scalars, indices, early, own = [], [], [], [], []
    puts = 0
    opcodes = [(code.name, value, place) for code, value, place in pickletools.genops(pickled)]
    for i, (name, value, place) in enumerate(opcodes):
        match name:
            case "BINFLOAT":
                floats.append(place + 1)
            case "BININT2" if value == _INDEX:
                indices.append(place + 1)
            case "BINUNICODE" if value == _ARCH:
                cuts += [place, place + 5 + len(_ARCH)]
            case "BINUNICODE" if len(value) == 8 and opcodes[i + 3][0] == "TUPLE2" and value not in EVALUATED:
                scalars.append(place + 5)  # bytes of a number: text, memo, encoding, pair
            case "LONG_BINPUT":
                own.append(place + 1)
                puts += 1
            case "LONG_BINGET":
                (own if value >= first else early).append(place + 1)
            case "BINPUT" | "BINGET":
                raise AssertionError(name)
    body = np.frombuffer(pickled, dtype=np.uint8)[2:-1]  # without protocol and end

    def places(starts: list[int], size: int) -> np.ndarray:
        return np.array(starts, dtype=np.int64).reshape(-1, 1) - 2 + np.arange(size)

    return Template(
        body,
        tuple(cut - 2 for cut in cuts),
        places(floats, 8),
        places(scalars, 3),
        places(indices, 2),
        places(early, 4),
        places(own, 4),
        first,
        puts,
    )


def pickled_table(
    count: int,
    *,
    seed: int = 0,
    epochs: tuple[int, int] = (12, 200),
    seeds: Sequence[Sequence[int]] = ((777, 888, 999), (777, 888), (777,)),
    meta_first: bool = True,
) -> Iterator[bytes]:
    """A pickle of a whole table, in pieces, with the four entries of the real files.

    Args:
        count: Number of architectures.
        seed: Of the random values.
        epochs: Of the two schedules; fewer make the file smaller.
        seeds: What the architectures may have been trained with in the longer one; one of these each.
        meta_first: Whether the list of architectures stands before the records.
    """
    rng = np.random.default_rng(seed)
    archs = architectures(count)
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=2)
    pickler.dump([f"spare {i}" for i in range(_SPARE - 1)])
    templates = []
    first = _SPARE
    for trained in (seeds[0], *seeds):
        stream.seek(0)
        stream.truncate()
        pickler.dump(record(_INDEX, "".join(_ARCH), trained, rng, epochs))
        templates.append(_template(stream.getvalue(), first))
        first += templates[-1].puts

    memo = itertools.count()

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode() + b"r" + struct.pack("<I", next(memo))

    def meta() -> bytes:
        parts = [text("meta_archs"), b"]r" + struct.pack("<I", next(memo)) + b"("]
        parts += [text(arch) for arch in archs]
        return b"".join([*parts, b"e", text("total_archs"), b"J" + struct.pack("<i", count)])

    yield b"\x80\x02}r" + struct.pack("<I", next(memo)) + b"("
    if meta_first:
        yield meta()
    yield text("arch2infos") + b"}r" + struct.pack("<I", next(memo))
    start = following = next(memo)
    yield b"("
    for index, arch in enumerate(archs):
        template = templates[0] if index == 0 else templates[1 + int(rng.integers(len(seeds)))]
        # Later records refer to texts of the first; those of templates in between are not in this file.
        yield b"M" + struct.pack("<H", index)
        yield template.fill(index, arch, following - template.first, start - _SPARE, rng)
        following += template.puts
        if index % 1000 == 999 and index + 1 < count:
            yield b"u("
    yield b"u"
    memo = itertools.count(following)
    if not meta_first:
        yield meta()
    yield text("evaluated_indexes") + b"c__builtin__\nset\nr" + struct.pack("<I", next(memo)) + b"]("
    yield b"".join(b"J" + struct.pack("<i", index) for index in range(count))
    yield b"e\x85Ru."


def write_pth(path: Path, pickled: Iterator[bytes], form: Literal["zip", "legacy"] = "zip") -> Path:
    """A file as ``torch.save`` writes it, around a pickle."""
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(f"{path.stem}/data.pkl", "w", force_zip64=True) as member:
                member.writelines(pickled)
            archive.writestr(f"{path.stem}/byteorder", "little")
            archive.writestr(f"{path.stem}/version", "3\n")
        return path
    sizes = {"short": 2, "int": 4, "long": 4}
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, facts):
            pickle.dump(part, file, protocol=2)
        file.writelines(pickled)
        pickle.dump([], file, protocol=2)
    return path


class Pieces(io.RawIOBase):
    """Pieces of bytes as a stream that is never in memory as a whole."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.total = 0

    def read(self, size: int = -1) -> bytes:
        del size
        piece = next(self._pieces, b"")
        self.total += len(piece)
        return piece

    def readable(self) -> bool:
        return True


def stream(pieces: Iterator[bytes]) -> BinaryIO:
    return cast("BinaryIO", Pieces(pieces))
