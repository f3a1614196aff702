"""Reader of numeric arrays in MATLAB files of version 5 (also called 6 and 7), as SVHN has them.

Format (MathWorks, "MAT-File Format"): a header of 128 bytes, then elements: a tag (type, number of bytes) and
data. An array is an element of type 14, or one of type 15 that is compressed with zlib. It holds elements
itself: flags with the class, dimensions, name, numbers (first dimension fastest). Elements of up to 4 bytes
stand within their tag; all others begin at multiples of eight bytes. It is read here, not with scipy, so that
whatever is wrong with a file from outside is one clear line.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from struct import Struct
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.runs.files import disk_errors

_HEADER: Final = 128
_MATRIX: Final = 14
_COMPRESSED: Final = 15
_COMPLEX: Final = 0x08
_NUMBERS: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES: Final = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}


def read_matlab(path: Path, names: tuple[str, ...], *, most: int) -> dict[str, NDArray[Any]]:
    """The arrays with these names.

    Args:
        path: The file.
        names: Of the arrays that are wanted; others are skipped.
        most: Bytes that the file, and what it unpacks to, may have.

    Raises:
        UserError: Missing, damaged, of another version, or an array that is missing or not of real numbers.
    """
    with disk_errors(path):
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except FileNotFoundError as error:
            raise UserError(f"there is no file {path}") from error
    if len(data) > most:
        raise UserError(f"{path} is larger than {most:,} bytes")
    if len(data) < _HEADER or data[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise UserError(f"{path} is not a MATLAB file of version 5 (or damaged); get it again")
    order = "<" if data[126:128] == b"IM" else ">"
    found: dict[str, NDArray[Any]] = {}
    try:
        outer = _Elements(memoryview(data)[_HEADER:], order)
        while outer.more():
            kind, content = outer.next()
            if kind == _COMPRESSED:
                kind, content = _unpacked(content, order, most)
            if kind == _MATRIX:
                array = _array(content, order, names)
                if array is not None and array[0] in found:
                    raise _DamagedError(f"it holds {array[0]} twice")
                if array is not None:
                    found[array[0]] = array[1]
    except _DamagedError as error:
        raise UserError(f"{path} is damaged ({error}); get it again") from error
    for name in names:
        if name not in found:
            raise UserError(f"{path} holds no array {name!r}; get it again")
    return found


class _DamagedError(Exception):
    """What is wrong with the file."""


@final
class _Elements:
    """The elements in a stretch of bytes, one after another."""

    def __init__(self, data: memoryview, order: str) -> None:
        self._data = data
        self._pair = Struct(order + "II")
        self._little = order == "<"
        self._position = 0

    def more(self) -> bool:
        return self._position < len(self._data)

    def next(self) -> tuple[int, memoryview]:
        """Type and data."""
        start = self._position
        if start + 8 > len(self._data):
            raise _DamagedError("it ends inside a tag")
        kind, size = self._pair.unpack_from(self._data, start)
        if kind >> 16:  # at most four bytes, in the tag itself
            kind, size, begin, self._position = kind & 0xFFFF, kind >> 16, start + 4, start + 8
            if size > 4:
                raise _DamagedError("an impossible tag")
        else:
            begin = start + 8
            self._position = begin + size + (0 if kind == _COMPRESSED else -size % 8)
        if begin + size > len(self._data):
            raise _DamagedError(f"{begin + size - len(self._data):,} bytes are missing")
        return kind, self._data[begin : begin + size]

    def numbers(self) -> NDArray[Any]:
        """The next element, which must hold numbers."""
        kind, content = self.next()
        if kind not in _NUMBERS:
            raise _DamagedError(f"element type {kind} where numbers are expected")
        dtype = np.dtype(_NUMBERS[kind]).newbyteorder("<" if self._little else ">")
        if len(content) % dtype.itemsize:
            raise _DamagedError("a number is cut off")
        return np.frombuffer(content, dtype)


def _unpacked(content: memoryview, order: str, most: int) -> tuple[int, memoryview]:
    """The element in a compressed one."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(content, most + 1)
    except zlib.error as error:
        raise _DamagedError(f"zlib: {error}") from error
    if len(data) > most:
        raise _DamagedError(f"it unpacks to more than {most:,} bytes")
    if not unpacker.eof:  # only then the checksum was looked at
        raise _DamagedError("a compressed array is cut off")
    return _Elements(memoryview(data), order).next()


def _array(content: memoryview, order: str, names: tuple[str, ...]) -> tuple[str, NDArray[Any]] | None:
    """Name and array, or ``None`` where it is not wanted."""
    parts = _Elements(content, order)
    flags, dimensions, letters = parts.numbers(), parts.numbers(), parts.numbers()
    name = letters.tobytes().decode("latin-1")
    if name not in names:
        return None
    if not len(flags) or flags.dtype.kind != "u" or int(flags[0]) & 0xFF not in _CLASSES:
        raise _DamagedError(f"{name} is not an array of numbers")
    if (int(flags[0]) >> 8) & _COMPLEX:
        raise _DamagedError(f"{name} holds complex numbers")
    if dimensions.dtype.kind not in "iu" or not 0 < len(dimensions) <= 8 or dimensions.min() < 0:
        raise _DamagedError(f"{name} has impossible dimensions")
    shape = tuple(int(size) for size in dimensions)
    numbers = parts.numbers()
    if math.prod(shape) != len(numbers):
        raise _DamagedError(
            f"{name} should hold {' x '.join(map(str, shape))} numbers, it holds {len(numbers):,}"
        )
    # MATLAB stores numbers in the smallest type that holds them.
    with np.errstate(invalid="ignore"):
        typed = numbers.astype(_CLASSES[int(flags[0]) & 0xFF], copy=False)
    return name, typed.reshape(shape, order="F")
