"""NAS-Bench-101's files: ``nasbench_full.tfrecord``, ``nasbench_only108.tfrecord``, others of their format.

Each record is one training of a cell. What is read follows the official reader (``nasbench/api.py``), which
needs TensorFlow 1; of the first evaluation, before the training, nothing is kept, as there. Beyond it every
checksum is checked, and every module hash is computed anew from its matrix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.builder import remove_leftover_folders
from benchmarks.folders import make_folder
from benchmarks.formats.tfrecord import place, read_records
from benchmarks.importers.digests import source_digests
from benchmarks.importers.nasbench101_records import read_training
from benchmarks.importers.nasbench101_table import TrainingTable
from benchmarks.importers.progress import byte_progress
from benchmarks.importers.registry import Format, Source
from crlso.errors import TableError
from crlso.runs.files import disk_errors

PUBLISHED: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "nasbench_full.tfrecord": (
            "nasbench101",
            "3d64db8180fb1b0207212f9032205064312b6907a3bbc81eabea10db2f5c7e9c",
        ),
        "nasbench_only108.tfrecord": (
            "nasbench101_only108",
            "4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
        ),
    }
)
"""The benchmark's own files (github.com/google-research/nasbench): the table's name, the SHA-256."""

_SUFFIX = ".tfrecord"
_BATCH = 8192  # records between two checks of module hashes, which are quicker together


def table_name(path: Path) -> str:
    """Name of the table of a file where none is stated."""
    if path.name in PUBLISHED:
        return PUBLISHED[path.name][0]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", path.name.removesuffix(_SUFFIX)).lstrip("._-") or "nasbench101"


def recognises(path: Path) -> bool:
    """Whether it is a ``.tfrecord`` file."""
    return path.suffix == _SUFFIX and path.is_file()


def convert(source: Source) -> None:
    """Read a file and write its table; rows are in the order in which cells first appear in the file.

    Raises:
        TableError: Damaged, or something in it is not as it must be; the message says in which record.
        RunError: The file can not be read, or the disk is full.
    """
    files = source_digests(source)
    published = _is_published(source, files["file sha256"])
    make_folder(source.target.parent)
    remove_leftover_folders(source.target.parent)
    with (
        byte_progress("trainings", source.path, enabled=source.progress) as on_bytes,
        disk_errors(source.path),
        source.path.open("rb", buffering=1 << 20) as file,
        TrainingTable(source.target) as table,
    ):
        number = told = 0
        for number, (offset, data) in enumerate(read_records(file, source.path), start=1):
            where = place(source.path, number, offset)
            try:
                table.add(read_training(data), number - 1, where)
            except TableError as error:
                raise TableError(f"{where}: {error}") from error
            if number % _BATCH == 0:
                table.check()
                on_bytes(offset - told)
                told = offset
        if number == 0:
            raise TableError(f"{source.path} holds no record; fetch it again")
        table.check()
        if not published:  # the publisher's file is taken as it is
            table.refuse_twins(source.path)
        checks = _checks(published=published, missing=table.missing)
        table.write(source.name, files | {"file bytes": str(source.path.stat().st_size)}, checks)


def _is_published(source: Source, sha256: str) -> bool:
    """Whether the file is one of the benchmark's own.

    Raises:
        TableError: It only has the name of one, and the user does not accept that.
    """
    if any(sha256 == digest for _, digest in PUBLISHED.values()):
        return True
    if source.path.name in PUBLISHED and not source.unverified:
        raise TableError(
            f"{source.path} is not the published file of this name: its SHA-256 is {sha256}, not"
            f" {PUBLISHED[source.path.name][1]}; fetch it again, or accept it with --unverified"
        )
    return False


def _checks(*, published: bool, missing: int) -> str:
    """What the table's header says of the file."""
    checks = "CRC32C of every record; module hash of every cell computed anew; "
    checks += "SHA-256 of the published file" if published else "NOT one of the published files (SHA-256)"
    if missing:  # no checksum tells of a file that was cut between two records
        checks += f"; {missing:,} of the cells' trainings are not in the file"
    return checks


FORMAT: Final = Format(
    name="nasbench101",
    table=table_name,
    what="NAS-Bench-101, nasbench_full.tfrecord and nasbench_only108.tfrecord",
    recognises=recognises,
    convert=convert,
)
