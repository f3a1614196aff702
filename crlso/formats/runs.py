"""Long stretches of one kind in a pickle, taken at once.

Most bytes of a benchmark file are learning curves: dicts from an epoch, or from a text such as
``x-valid@17``, to a float. Pickled, each entry is a key opcode, perhaps a memo opcode, and ``G`` with a
big-endian double, so that entries with keys of one kind and length all have one length. A regular expression
finds how many follow one another, ``struct`` reads them all; what they mean is the same as opcode by opcode.
"""

from __future__ import annotations

import re
from functools import lru_cache
from struct import Struct
from typing import Final, final

from crlso.formats.memo import Memo
from crlso.formats.source import Source

LONGEST_TEXT: Final = 64
_MOST: Final = 1000  # entries at once: bounds the number and size of the formats
_DOUBLE: Final = rb"G.{8}"
_KNOWN_TEXTS: Final = 100_000


def _repeated(item: bytes) -> re.Pattern[bytes]:
    """So many items as there are. The end of a match counts by whole items alone.

    Python before 3.11.5 has it inside the item after the last one that fits.
    """
    return re.compile(b"(?:%s){2,%d}+" % (item, _MOST), re.DOTALL)


_FLOATS: Final = _repeated(_DOUBLE)
# By key opcode: entries, and their parts for struct (the doubles are big-endian, all else is little-endian).
_NUMBERED: Final = {
    "K": (_repeated(rb"K." + _DOUBLE), 11, "xB9x"),
    "M": (_repeated(rb"M.." + _DOUBLE), 12, "xH9x"),
    "h": (_repeated(rb"h." + _DOUBLE), 11, "xB9x"),
    "j": (_repeated(rb"j.{4}" + _DOUBLE), 14, "xI9x"),
}


@lru_cache(maxsize=256)
def _struct(order: str, item: str, count: int) -> Struct:
    return Struct(order + item * count)


@lru_cache(maxsize=3 * LONGEST_TEXT)
def _texts(start: bytes, memo: bytes) -> re.Pattern[bytes]:
    # The length stands in the start: 1 byte after \x8c, 4 bytes after X.
    put = {b"\x94": rb"\x94", b"q": rb"q.", b"r": rb"r.{4}"}[memo]
    return _repeated(re.escape(start) + b".{%d}" % start[1] + put + _DOUBLE)


@final
class _Known(dict[bytes, str]):
    """Texts by their bytes, so that equal ones are one object."""

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= _KNOWN_TEXTS:
            self.clear()
        text = self[raw] = raw.decode("utf-8", "surrogatepass")
        return text


@final
class Runs:
    """Takes stretches from a source and puts their objects on a stack.

    Each method tries at the source's position and says whether it took something; stretches that the buffer
    cuts are taken up to there.
    """

    __slots__ = ("_memo", "_source", "_stack", "known")

    def __init__(self, source: Source, stack: list[object], memo: Memo) -> None:
        self._source, self._stack, self._memo = source, stack, memo
        self.known = _Known()

    def floats(self) -> bool:
        """``G`` double, repeated."""
        source = self._source
        found = _FLOATS.match(source.buffer, source.position)
        if found is None:
            return False
        count = (found.end() - found.start()) // 9
        self._stack += _struct(">", "xd", count).unpack_from(source.buffer, source.position)
        source.position += 9 * count
        return True

    def numbered(self, opcode: str) -> bool:
        """A number (``K``, ``M``) or a memo number (``h``, ``j``) as key, ``G`` double; repeated."""
        source = self._source
        pattern, size, keys_format = _NUMBERED[opcode]
        found = pattern.match(source.buffer, source.position)
        if found is None:
            return False
        count = (found.end() - found.start()) // size
        keys: list[object] = list(
            _struct("<", keys_format, count).unpack_from(source.buffer, source.position)
        )
        if opcode in "hj":
            texts = self._memo.texts_of(keys)  # type: ignore[arg-type]
            if texts is None:
                return False
            keys = list(texts)
        values = _struct(">", f"{size - 8}xd", count).unpack_from(source.buffer, source.position)
        both: list[object] = [None] * (2 * count)
        both[::2] = keys
        both[1::2] = values
        self._stack += both
        source.position += size * count
        return True

    def texts(self, start: bytes) -> bool:
        """A text of one length with its memo opcode as key, ``G`` double; repeated.

        Args:
            start: The text's opcode with its length.
        """
        source, length = self._source, start[1]
        buffer, position = source.buffer, source.position
        put = position + len(start) + length
        memo = buffer[put : put + 1]
        if memo == b"\x94":
            put_size = 1
        elif memo == b"q":
            put_size = 2
        elif memo == b"r":
            put_size = 5
        else:
            return False
        if buffer[put + put_size : put + put_size + 1] != b"G":
            return False
        found = _texts(start, memo).match(buffer, position)
        if found is None:
            return False
        size = len(start) + length + put_size + 9
        count = (found.end() - position) // size
        if put_size > 1:
            numbers_format = f"{size - put_size - 8}x{'B' if put_size == 2 else 'I'}9x"
            numbers = _struct("<", numbers_format, count).unpack_from(buffer, position)
            first = len(self._memo)
            if numbers != tuple(range(first, first + count)):
                return False  # opcode by opcode, the error comes out at its place
        parts = _struct(">", f"{len(start)}x{length}s{put_size + 1}xd", count).unpack_from(buffer, position)
        both: list[object] = list(parts)
        texts = list(map(self.known.__getitem__, parts[::2]))
        both[::2] = texts
        self._stack += both
        self._memo.texts += texts
        source.position += size * count
        return True
