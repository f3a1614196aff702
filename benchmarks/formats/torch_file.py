"""Files of ``torch.save`` without torch: the pickled object, and none of the tensors' contents.

Two forms are known. The zip form (torch 1.6 and later) is a zip archive with the pickle in a member
``NAME/data.pkl``. The older form is a row of pickles: a magic number, the protocol version 1001, facts about
the machine, the object, the list of the storages' keys; the storages' bytes follow.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Literal, cast, final

from benchmarks.formats.files import Progress, Watched, open_watched
from crlso.formats.emulated import TORCH, Allowed
from crlso.formats.errors import FormatError, damaged, naming
from crlso.formats.pickles import WHOLE, Entries, Limits, read_pickle, stream_pickle
from crlso.formats.source import Source

MAGIC: Final = 0x1950A86A20F9469CFC6C
PROTOCOL: Final = 1001
_ZIP_MAGIC: Final = b"PK\x03\x04"
# What the zipfile module unpacks in small pieces; bzip2 and LZMA it unpacks by the megabyte, to any size.
_STREAMED: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_HEADER_LIMITS: Final = Limits(size=1 << 16, containers=1000)

Form = Literal["zip", "legacy"]


@final
class TorchFile:
    """An open file of ``torch.save``; made by :func:`open_torch`. The object can be read once.

    Attributes:
        form: How it is packed. Only ``zip`` has a checksum.
    """

    def __init__(self, source: Source, form: Form) -> None:
        self._source = source
        self.form: Form = form

    def read(self, *, allowed: Allowed = TORCH, limits: Limits = WHOLE) -> object:
        """The whole object; see :func:`~crlso.formats.pickles.read_pickle`.

        Raises:
            FormatError: Damaged, or naming what is not allowed.
        """
        return read_pickle(self._source, allowed=allowed, limits=limits, finish=self._finish)

    def entries(
        self, at: tuple[str, ...], *, allowed: Allowed = TORCH, limits: Limits | None = None
    ) -> Entries:
        """The entries of a dict in the object; see :func:`~crlso.formats.pickles.stream_pickle`."""
        return stream_pickle(self._source, at=at, allowed=allowed, limits=limits, finish=self._finish)

    def _finish(self, source: Source) -> None:
        if self.form == "zip":
            source.finish()  # reads to the end: the archive checks its checksum
            return
        keys = read_pickle(source, finish=None)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise FormatError("the list of storages after the object is damaged", source.offset)
        if not keys:  # else the tensors' bytes follow, which have no checksum and are not read
            source.finish()


@contextmanager
def open_torch(path: Path, on_bytes: Progress | None = None) -> Iterator[TorchFile]:
    """Open a file of ``torch.save``.

    Args:
        path: The file.
        on_bytes: Hears how many bytes of the file were read.

    Raises:
        FormatError: Neither form, or damaged. Errors of reading inside the block get the file's name, too.
        RunError: The disk can not be read.
    """
    with naming(path), open_watched(path, on_bytes) as watched:
        start = watched.read(len(_ZIP_MAGIC))
        watched.seek(0)
        if not start:
            raise FormatError("the file is empty; download it again")
        if start == _ZIP_MAGIC:
            with _zip_member(watched) as member:
                yield TorchFile(Source(member), "zip")
        else:
            yield TorchFile(_after_header(watched), "legacy")


@final
class _Member:
    """A member of a zip archive whose damage is a :class:`FormatError`."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member = member

    def read(self, size: int, /) -> bytes:
        with damaged("zip archive"):
            return self._member.read(size)


@contextmanager
def _zip_member(file: Watched) -> Iterator[_Member]:
    with damaged("zip archive"):
        archive = zipfile.ZipFile(cast("IO[bytes]", file))
        names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise FormatError(f"a zip archive with {len(names)} members */data.pkl; torch.save writes one")
        if archive.getinfo(names[0]).compress_type not in _STREAMED:
            raise FormatError(f"{names[0]} is compressed in a way that torch.save does not use; refused")
        member = archive.open(names[0])
    with archive, member:
        yield _Member(member)


def _after_header(file: Watched) -> Source:
    """Positioned at the object of the older form."""
    source = Source(file)
    wrong = "not a file of torch.save (neither a zip archive nor the older form)"
    for what, expected in (("number", MAGIC), ("protocol", PROTOCOL), ("facts", None)):
        try:
            found = read_pickle(source, limits=_HEADER_LIMITS, finish=None)
        except FormatError as error:
            raise FormatError(f"{wrong}: {error}") from error
        if what == "number" and found != expected:
            raise FormatError(wrong)
        if what == "protocol" and found != expected:
            raise FormatError(f"torch's file protocol {str(found)[:20]}; known is {PROTOCOL}")
        if what == "facts" and (not isinstance(found, dict) or found.get("little_endian") is False):
            raise FormatError(f"{wrong}: damaged facts about the machine")
    return source
