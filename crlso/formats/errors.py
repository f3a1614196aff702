"""What is wrong with a file from outside, as one line with the place."""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from crlso.errors import TableError
from crlso.runs.files import disk_errors

CONTAINER_ERRORS: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # zipfile: a compression that it does not know
    RuntimeError,  # zipfile: an encrypted member
    UnicodeError,
    ValueError,
    OverflowError,
)
"""What the standard library raises over a damaged archive (``OSError`` too, which is also the disk's)."""


@final
class FormatError(TableError):
    """A file is not what it should be: damaged, cut off, of another kind, or naming what is not data.

    Attributes:
        reason: What is wrong, without the place.
        offset: Byte of the (decompressed) stream at which it was noticed, where there is one.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason if offset is None else f"at byte {offset}: {reason}")
        self.reason = reason
        self.offset = offset


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name in front of every :class:`FormatError` of the block; a missing file is one too.

    Raises:
        FormatError: With the file's name.
        RunError: The disk can not be read.
    """
    try:
        with disk_errors(path):
            yield
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise FormatError(f"there is no file {path}") from error


@contextmanager
def damaged(what: str) -> Iterator[None]:
    """What the standard library says about a damaged archive, as :class:`FormatError`.

    Args:
        what: Names the archive, as ``"zip archive"``.
    """
    try:
        yield
    except FormatError:
        raise
    except (*CONTAINER_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a seek to a place before the file
            raise
        detail = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"damaged {what} ({detail}); download the file again") from error
