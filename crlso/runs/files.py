"""Files that survive a crash: written aside and renamed, or appended by lines; disk trouble in one line.

Importing this module imports neither torch nor numpy.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal, Self, final

from crlso.errors import RunError

TEMPORARY_PREFIX: Final = ".aside-"
"""Names of files that are still being written begin so; what a killed process left of them may be removed."""

_REMEDIES: Final = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file size limit is reached; raise it and run the same command again",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.EACCES: "permission denied; choose a folder that you may write",
    errno.EPERM: "not permitted; choose a folder that you may write",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EISDIR: "this is a folder, not a file; choose another path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter path",
    errno.ELOOP: "a link leads back to itself; choose another path",
    errno.EIO: "the disk reports an input/output error",
}


def process_mark() -> str:
    """The end of a temporary name: this process, where its number counts, and a random part."""
    return f"-{os.getpid()}@{_numbering()}-{secrets.token_hex(4)}"


def is_left_behind(name: str) -> bool:
    """Whether a temporary name is of a process that ended.

    Of processes on other machines or in other containers, which may share a folder, nothing can be told.
    """
    match = re.search(r"-(\d+)@([0-9a-f]{8})-[0-9a-f]{8}(\.d)?$", name)
    if match is None or match[2] != _numbering():
        return False
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # somebody else's; no process at all
        return False
    return False


@cache
def _numbering() -> str:
    """Where process numbers are unique: the machine, and on Linux the PID namespace."""
    place = socket.gethostname()
    with suppress(OSError):
        place += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(place.encode()):08x}"


def explain_os_error(error: OSError, path: Path | str | None = None) -> RunError | None:
    """The error as one line with a remedy, or ``None`` where it is not one that a user can mend.

    Args:
        error: What the operating system reported.
        path: Named in the message where the error itself names no file.
    """
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    # A temporary name means nothing to the reader: the path that was being written does.
    where = path or error.filename or "a file"
    return RunError(f"can not read or write {where}: {remedy}")


@contextmanager
def disk_errors(path: Path | str | None = None) -> Iterator[None]:
    """Turns full, read-only and forbidden disks inside the block into :class:`~crlso.errors.RunError`."""
    try:
        yield
    except OSError as error:
        explained = explain_os_error(error, path)
        if explained is None:
            raise
        raise explained from error


@contextmanager
def write_aside(path: Path | str, mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    """Opens a temporary file beside ``path`` that takes its name when the block ends well.

    Readers see the old file or the whole new one, never a part. If the block fails, the old file stays as it
    was and the temporary one is removed. The data reaches the disk (fsync) before the name does.

    Args:
        path: The file to write; its folder must exist.
        mode: ``"wb"`` for bytes, ``"w"`` for UTF-8 text.

    Raises:
        RunError: The disk is full or read-only, or the folder forbids writing.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with write_aside(target, "w") as file:
        ...     _ = file.write("whole or not at all")
        >>> target.read_text()
        'whole or not at all'
    """
    path = Path(path)
    with disk_errors(path):
        temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}{process_mark()}"
        try:
            with temporary.open(
                "xb" if mode == "wb" else "x", encoding=None if mode == "wb" else "utf-8"
            ) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left of :func:`write_aside` (only while holding the folder's lock)."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        leftover.unlink(missing_ok=True)


@final
class LineLog:
    """A text file that grows by whole lines, each on the disk before :meth:`append` returns.

    Raises:
        RunError: The disk is full or read-only; a line that did not fit is taken back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with disk_errors(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)

    def append(self, line: str) -> None:
        """Writes ``line`` and a line feed, and waits until they are on the disk."""
        data = line.encode() + b"\n"
        with disk_errors(self._path):
            length = os.fstat(self._descriptor).st_size
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, length)
                raise

    def close(self) -> None:
        """Closes the file; nothing is left to be flushed."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self.close()
