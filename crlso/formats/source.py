"""A buffered reader that knows its place and never takes a length on trust."""

from __future__ import annotations

from typing import Final, Protocol, final

from crlso.formats.errors import FormatError

CHUNK: Final = 1 << 20
_LINE_LIMIT: Final = 1024  # a module's or a class's name


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


@final
class Source:
    """Bytes of a stream, a chunk at a time.

    Several pickles that follow one another can be read from one source.

    Args:
        stream: Anything with ``read(n)``; a short answer is fine, an empty one is the end.

    Attributes:
        buffer: What was read and may not have been used yet.
        position: First unused byte of ``buffer``.
        before: Bytes of the stream in front of ``buffer``.
        stop: Byte of the stream beyond which nothing may be asked for (a limit on memory).
        refusal: What to say when more is asked for.
    """

    __slots__ = ("_stream", "before", "buffer", "position", "refusal", "stop")

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.buffer = b""
        self.position = 0
        self.before = 0
        self.stop = 1 << 62
        self.refusal = ""

    @property
    def offset(self) -> int:
        """Bytes of the stream that were used."""
        return self.before + self.position

    def need(self, count: int) -> None:
        """See to it that ``count`` unused bytes are in the buffer.

        Raises:
            FormatError: The stream ends before, or the limit does not allow it; nothing is set aside for
                bytes that do not come.
        """
        have = len(self.buffer) - self.position
        if have >= count:
            return
        if self.offset + count > self.stop:
            raise FormatError(self.refusal, self.offset)
        parts = [self.buffer[self.position :]]
        while have < count:
            part = self._stream.read(CHUNK)
            if not part:
                raise FormatError(f"the data end here, {count - have} bytes too early", self.offset + have)
            parts.append(part)
            have += len(part)
        self.before += self.position
        self.position = 0
        self.buffer = b"".join(parts)

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if self.position + count > len(self.buffer):
            self.need(count)
        start = self.position
        self.position = start + count
        return self.buffer[start : start + count]

    def number(self, count: int) -> int:
        """The next ``count`` bytes as an unsigned integer, least byte first."""
        return int.from_bytes(self.take(count), "little")

    def line(self) -> bytes:
        """What stands before the next line feed."""
        size = 0
        while (end := self.buffer.find(b"\n", self.position + size)) < 0:
            size = len(self.buffer) - self.position
            if size > _LINE_LIMIT:
                break
            self.need(size + 1)
        if end < 0 or end - self.position > _LINE_LIMIT:
            raise FormatError(f"a name of more than {_LINE_LIMIT} bytes", self.offset)
        return self.take(end - self.position + 1)[:-1]

    def at_end(self) -> bool:
        """Whether nothing follows. Reading up to here is what makes an archive check its checksum."""
        if self.position < len(self.buffer):
            return False
        self.before += self.position
        self.position = 0
        self.buffer = self._stream.read(CHUNK)
        return not self.buffer

    def finish(self) -> None:
        """Nothing may follow.

        Raises:
            FormatError: Something does.
        """
        if not self.at_end():
            raise FormatError("there are more bytes after the end of the data", self.offset)
