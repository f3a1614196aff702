"""NAS-Bench-201: the official ``.pth`` files, and the folder with one file per architecture.

``NAS-Bench-201-v1_0-e61699.pth`` and ``NAS-Bench-201-v1_1-096897.pth`` are pickles of ``torch.save``:
``{"meta_archs", "total_archs", "arch2infos": {number: {"less": state, "full": state}},
"evaluated_indexes"}``, ``less`` being the schedule of 12 epochs and ``full`` that of 200. The folder holds
``000157-FULL.pth`` and so on, each ``{"less", "full"}`` with the trained weights, which are not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import nasbench201 as built_in
from benchmarks.builder import TableBuilder
from benchmarks.formats.torch_file import open_torch
from benchmarks.importers.digests import published_digits, source_digests, vouchers
from benchmarks.importers.nats_table import Origin, RecordTable, first_arch, space_of
from benchmarks.importers.progress import byte_progress
from benchmarks.importers.registry import Format, Source
from crlso.errors import TableError
from crlso.spaces import get_space

IMPORTER = "crlso.nasbench201-files/1"
BENCHMARK = "NAS-Bench-201"
_PUBLISHED = re.compile(r"NAS-Bench-201-(v1_\d)-([0-9a-f]{6})\.pth")
_MEMBER = re.compile(r"(\d+)-FULL\.pth")
_SCHEDULES: Mapping[object, str] = {"less": "12", "full": "200"}


def table_name(path: Path) -> str:
    """``nasbench201_v1_1`` for the published files, ``nasbench201_archive`` for the folder."""
    if path.is_dir():
        return "nasbench201_archive"
    match = _PUBLISHED.fullmatch(path.name)
    return f"nasbench201_{match[1]}" if match else re.sub(r"\W+", "_", path.stem).strip("_")


def recognises(path: Path) -> bool:
    """Whether it is a ``.pth`` file, or a folder of ``000000-FULL.pth`` files."""
    if path.is_dir():
        return any(_MEMBER.fullmatch(member.name) for member in path.iterdir())
    return path.suffix == ".pth"


def convert(source: Source) -> None:
    """Convert the file or folder, one architecture at a time.

    Raises:
        TableError: Not NAS-Bench-201, damaged, or naming more than data.
        RunError: The disk can not be read or written.
    """
    if source.path.is_dir():
        _convert_folder(source)
    else:
        _convert_file(source)


def _convert_file(source: Source) -> None:
    files = source_digests(source)
    match = _PUBLISHED.fullmatch(source.path.name)
    published = published_digits(source, match[2], files["file md5"]) if match else ""
    space = get_space("nasbench201")
    with (
        byte_progress("architectures", source.path, enabled=source.progress) as on_bytes,
        TableBuilder(source.target, space) as builder,
        open_torch(source.path, on_bytes) as file,
    ):
        records = RecordTable(source, builder, space)
        entries = file.entries(("arch2infos",))
        for index, value in entries:
            records.add(index, _record(value, source.path))
        root = entries.rest
        if not isinstance(root, dict) or not isinstance(root.get("meta_archs"), list):
            raise TableError(f"{source.path}: it has no list meta_archs, which NAS-Bench-201 files have")
        verified = vouchers("CRC32 of the zip archive" if file.form == "zip" else "", published)
        records.finish(root["meta_archs"], Origin(BENCHMARK, files, verified, IMPORTER))


def _convert_folder(source: Source) -> None:
    forms = set()

    def read(path: Path) -> object:
        with open_torch(path) as file:
            value = file.read()
            forms.add(file.form)
        return _record(value, path)

    space = get_space("nasbench201")
    with TableBuilder(source.target, space) as builder:
        records = RecordTable(source, builder, space)
        files = records.add_files(_members(source.path), read)
        verified = "CRC32 of the zip archives" if forms == {"zip"} else ""
        # The folder has no list of all architectures; the built-in table has them in the official order.
        order = [space.format(code) for code in built_in.TABLE.load().codes]
        records.finish(order, Origin(f"{BENCHMARK} archive", files, verified, IMPORTER))


def _members(folder: Path) -> dict[int, Path]:
    """The files of architectures by number, rising."""
    found = ((_MEMBER.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def _record(value: object, path: Path) -> dict[str, object]:
    """``{"less", "full"}`` as schedules."""
    if not isinstance(value, dict) or not value or not set(value) <= set(_SCHEDULES):
        keys: Sequence[object] = (
            sorted(map(str, value)) if isinstance(value, dict) else [type(value).__name__]
        )
        raise TableError(f"{path}: a record holds {keys}, not 'less' and 'full': not a NAS-Bench-201 file")
    if space_of(first_arch(value)).name != "nasbench201":
        raise TableError(f"{path}: it holds {first_arch(value)!r}, which is no NAS-Bench-201 cell")
    return {_SCHEDULES[key]: value[key] for key in sorted(value, key=lambda key: _SCHEDULES[key])}


FORMAT = Format(
    "nasbench201", table_name, "NAS-Bench-201-v1_*.pth, or its folder of *-FULL.pth", recognises, convert
)
