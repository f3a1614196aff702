"""NAS-Bench-101's files: ``nasbench_full.tfrecord``, ``nasbench_only108.tfrecord``, others of their format.

Each record is one training of a cell. What is read follows the official reader (``nasbench/api.py``), which
needs TensorFlow 1; of the first evaluation, before the training, nothing is kept, as there. Beyond it every
checksum is checked, and every module hash is computed anew from its matrix.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.folders import make_folder
from benchmarks.formats.tfrecord import place, read_records
from benchmarks.importers.registry import Format, Source
from benchmarks.importers.nasbench101_records import read_training
from benchmarks.importers.nasbench101_table import TrainingTable
from crlso.errors import TableError
from crlso.runs.files import disk_errors
from crlso.runs.progress import progress_bar

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
_FIRST_BYTES = b'["'  # of the first record, behind its head of 12 bytes
_BATCH = 8192


def table_name(path: Path) -> str:
    """Name of the table of a file where none is stated."""
    if path.name in PUBLISHED:
        return PUBLISHED[path.name][0]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", path.name.removesuffix(_SUFFIX)).lstrip("._-") or "nasbench101"


def recognises(path: Path) -> bool:
    """Whether a path is a TFRecord file whose first record is JSON that begins with a text."""
    if path.suffix != _SUFFIX or not path.is_file():
        return False
    with disk_errors(path), path.open("rb") as file:
        return file.read(12 + len(_FIRST_BYTES))[12:] == _FIRST_BYTES


def convert(source: Source) -> None:
    """Read a file and write its table; rows are in the order in which cells first appear in the file.

    Raises:
        TableError: Damaged, or something in it is not as it must be; the message says in which record.
        RunError: The file can not be read, or the disk is full.
    """
    make_folder(source.target.parent)
    digest = hashlib.sha256()
    number = 0
    with ExitStack() as stack:
        stack.enter_context(disk_errors(source.path))
        file = stack.enter_context(source.path.open("rb", buffering=1 << 20))
        size = source.path.stat().st_size
        advance = stack.enter_context(progress_bar(source.path.name, size, enabled=source.progress))
        table = stack.enter_context(TrainingTable(source.target))
        for number, (offset, data) in enumerate(read_records(file, source.path, feed=digest.update), start=1):
            where = place(source.path, number, offset)
            try:
                table.add(read_training(data), number - 1, where)
            except TableError as error:
                raise TableError(f"{where}: {error}") from error
            if number % _BATCH == 0:
                table.check()
                advance(offset, f"{len(table):,} cells")
        if number == 0:
            raise TableError(f"{source.path} holds no record; fetch it again")
        sha256 = digest.hexdigest()
        checks = _verified(source.path.name, sha256, table.missing)
        table.write(source.name, source.path, size, sha256, checks)


def _verified(name: str, sha256: str, missing: int) -> str:
    checks = "CRC32C of every record; module hash of every cell computed anew"
    if any(sha256 == published for _, published in PUBLISHED.values()):
        checks += "; SHA-256 of the published file"
    elif name in PUBLISHED:
        checks += "; NOT the published file of this name (another SHA-256)"
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
