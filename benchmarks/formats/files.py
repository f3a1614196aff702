"""Files as streams of bytes: progress, digests on the way, bzip2 without blind spots."""

from __future__ import annotations

import bz2
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, final

from crlso.formats.errors import FormatError, naming
from crlso.formats.source import Readable

Progress = Callable[[int], None]
"""Called with the number of bytes of the file that were read since the last call."""

_CHUNK: Final = 1 << 20


@final
class Watched(io.BufferedIOBase):
    """Passes reading through and reports it.

    Args:
        stream: A binary file.
        on_bytes: Called after each read.
        digests: Whether to compute the digests of what is read. The whole stream must then be read, in order.

    Raises:
        ValueError: A stream with digests is sought in.
    """

    def __init__(self, stream: BinaryIO, on_bytes: Progress | None = None, *, digests: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._on_bytes = on_bytes
        self._hashes = (
            (hashlib.md5(usedforsecurity=False), hashlib.sha256(usedforsecurity=False)) if digests else ()
        )

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; none at the end."""
        data = self._stream.read(-1 if size is None else size)
        for digest in self._hashes:
            digest.update(data)
        if self._on_bytes is not None and data:
            self._on_bytes(len(data))
        return data

    def digests(self) -> tuple[str, str]:
        """MD5 and SHA-256 of the whole stream, as hexadecimal digits; what was not read yet is read now."""
        if not self._hashes:
            raise ValueError("this stream was opened without digests")
        while self.read(_CHUNK):
            pass
        md5, sha256 = self._hashes
        return md5.hexdigest(), sha256.hexdigest()

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether :meth:`seek` works."""
        return not self._hashes and self._stream.seekable()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to another place."""
        if self._hashes:
            raise ValueError("a stream whose digests are computed can not be sought in")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._stream.tell()

    def close(self) -> None:
        """Close the stream below, too."""
        self._stream.close()
        super().close()


def open_watched(path: Path, on_bytes: Progress | None = None, *, digests: bool = False) -> Watched:
    """Open a file for reading; :func:`~crlso.formats.errors.naming` around it words what goes wrong."""
    return Watched(path.open("rb"), on_bytes, digests=digests)


def file_digests(path: Path, on_bytes: Progress | None = None) -> tuple[str, str]:
    """MD5 and SHA-256 of a file, as hexadecimal digits. Benchmarks' publishers state one or the other.

    Raises:
        FormatError: There is no such file.
        RunError: It can not be read.
    """
    with naming(path), open_watched(path, on_bytes, digests=True) as stream:
        return stream.digests()


@final
class Bzip(io.BufferedIOBase):
    """Decompresses bzip2; unlike ``bz2.open`` it refuses foreign bytes after the last stream.

    Args:
        stream: The compressed bytes; several bzip2 streams may follow one another.

    Raises:
        FormatError: When reading: not bzip2, a wrong checksum, cut off, or something else behind it.

    Example:
        >>> Bzip(io.BytesIO(bz2.compress(b"accuracy"))).read()
        b'accuracy'
    """

    def __init__(self, stream: Readable) -> None:
        super().__init__()
        self._stream = stream
        self._decompressor = bz2.BZ2Decompressor()
        self._started = False

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; none at the end."""
        if size is None or size < 0:
            parts = iter(lambda: self.read(_CHUNK), b"")
            return b"".join(parts)
        while size:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data or self._stream.read(_CHUNK)
                if not rest:
                    return b""
                self._decompressor = bz2.BZ2Decompressor()
            else:
                rest = self._stream.read(_CHUNK) if self._decompressor.needs_input else b""
                if not rest and self._decompressor.needs_input:
                    what = "the bzip2 data end too early" if self._started else "the file is empty"
                    raise FormatError(f"{what}; download the file again")
            try:
                data = self._decompressor.decompress(rest, size)
            except (OSError, ValueError, EOFError) as error:
                what = "damaged bzip2 data" if self._started else "not bzip2 data"
                raise FormatError(f"{what} ({error})") from error
            self._started = True
            if data:
                return data
        return b""

    def readable(self) -> bool:
        """Whether it can be read."""
        return True
