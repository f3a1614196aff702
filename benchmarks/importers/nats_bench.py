"""NATS-Bench: folders and single files of both of its spaces.

``NATS-tss-v1_0-3ffb9-simple`` and ``NATS-sss-v1_0-50262-simple`` are folders with ``meta.pickle.pbz2`` and
one ``000157.pickle.pbz2`` per architecture: ``{schedule: state}``. A single file
``NATS-tss-v1_0-3ffb9.pickle.pbz2`` is ``{"meta_archs", "total_archs", "arch2infos": {number: {schedule:
state}}, "evaluated_indexes"}``. All are pickles packed with bzip2, which has a checksum for every block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.builder import TableBuilder
from benchmarks.formats.files import Bzip, Progress, open_watched
from benchmarks.importers.digests import published_digits, source_digests, vouchers
from benchmarks.importers.nats_table import Origin, RecordTable, first_arch, space_of
from benchmarks.importers.progress import byte_progress
from benchmarks.importers.registry import Format, Source
from crlso.errors import TableError
from crlso.formats.errors import naming
from crlso.formats.pickles import Entries, read_pickle, stream_pickle
from crlso.protocols import SearchSpace

IMPORTER = "crlso.nats-files/1"
_PUBLISHED = re.compile(r"NATS-([ts]ss)-v1_0-([0-9a-f]{5})\.pickle\.pbz2")
_NAMED = re.compile(r"NATS-([ts]ss)-")
_MEMBER = re.compile(r"(\d+)(\.pickle)?\.pbz2")
_META = ("meta.pickle.pbz2", "meta.pbz2")
_SPACES = {"tss": "nasbench201", "sss": "nats_size"}
_TITLES = {"nasbench201": "NATS-Bench, topology", "nats_size": "NATS-Bench, sizes"}
_CHECKED = "CRC of every bzip2 block"


def table_name(path: Path) -> str:
    """``nats_tss`` or ``nats_sss`` for the published names, otherwise the file's own."""
    match = _NAMED.match(path.name)
    return f"nats_{match[1]}" if match else re.sub(r"\W+", "_", path.name.partition(".")[0]).strip("_")


def recognises(path: Path) -> bool:
    """Whether it is a folder with ``meta.pickle.pbz2``, or a ``.pbz2`` file."""
    if path.is_dir():
        return any((path / name).is_file() for name in _META)
    return path.name.endswith(".pbz2")


def convert(source: Source) -> None:
    """Convert the folder or file, one architecture at a time.

    Raises:
        TableError: Not NATS-Bench, damaged, or naming more than data.
        RunError: The disk can not be read or written.
    """
    if source.path.is_dir():
        _convert_folder(source)
    else:
        _convert_file(source)


def _convert_folder(source: Source) -> None:
    meta = next(source.path / name for name in _META if (source.path / name).is_file())
    order = _order(_read(meta), meta)
    space = _space(source, order)
    found = ((_MEMBER.fullmatch(path.name), path) for path in source.path.iterdir())
    members = dict(sorted((int(match[1]), path) for match, path in found if match))
    if not members:
        raise TableError(f"{source.path} holds {meta.name}, but no 000000.pickle.pbz2 and so on")
    with TableBuilder(source.target, space) as builder:
        records = RecordTable(source, builder, space)
        files = records.add_files(members, _read)
        records.finish(order, Origin(_TITLES[space.name], files, _CHECKED, IMPORTER))


def _convert_file(source: Source) -> None:
    if _MEMBER.fullmatch(source.path.name) or source.path.name in _META:
        raise TableError(
            f"{source.path} is one file of a NATS-Bench folder; import the folder: {source.path.parent}"
        )
    files = source_digests(source)
    match = _PUBLISHED.fullmatch(source.path.name)
    published = published_digits(source, match[2], files["file md5"]) if match else ""
    with (
        byte_progress("architectures", source.path, enabled=source.progress) as on_bytes,
        _entries(source.path, on_bytes) as entries,
    ):
        first = next(entries, None)
        if first is None:
            raise TableError(f"{source.path} holds no architecture")
        space = _space(source, [first_arch(first[1])])
        with TableBuilder(source.target, space) as builder:
            records = RecordTable(source, builder, space)
            records.add(*first)
            for index, value in entries:
                records.add(index, value)
            order = _order(entries.rest, source.path)
            verified = vouchers(_CHECKED, published)
            records.finish(order, Origin(_TITLES[space.name], files, verified, IMPORTER))


@contextmanager
def _entries(path: Path, on_bytes: Progress) -> Iterator[Entries]:
    with naming(path), open_watched(path, on_bytes) as watched:
        yield stream_pickle(Bzip(watched), at=("arch2infos",))


def _read(path: Path) -> object:
    with naming(path), open_watched(path) as watched:
        return read_pickle(Bzip(watched))


def _order(meta: object, path: Path) -> list[object]:
    if not isinstance(meta, dict) or not isinstance(meta.get("meta_archs"), list) or not meta["meta_archs"]:
        raise TableError(f"{path}: it has no list meta_archs, which NATS-Bench files have")
    order: list[object] = meta["meta_archs"]
    return order


def _space(source: Source, order: list[object]) -> SearchSpace:
    """The space of the architectures, which must be the one that the file's name says."""
    space = space_of(order[0])
    match = _NAMED.match(source.path.name)
    if match and _SPACES[match[1]] != space.name:
        raise TableError(
            f"{source.path}: by its name it holds {_SPACES[match[1]]}, but its architectures are {order[0]!r}"
        )
    return space


FORMAT = Format(
    "nats",
    table_name,
    "folders NATS-tss-*-simple and NATS-sss-*-simple, or the single NATS-*.pickle.pbz2",
    recognises,
    convert,
)
