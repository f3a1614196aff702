"""TFRecord files: a sequence of byte strings, each with its length, both with checksums.

A record is its length (uint64), the masked CRC32C of these 8 bytes (uint32), the bytes, and their masked
CRC32C (uint32), all little-endian; the mask turns a checksum right by 15 bits and adds a constant. So says
TensorFlow's description of the format (www.tensorflow.org/tutorials/load_data/tfrecord). TensorFlow itself is
not needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import google_crc32c

from crlso.errors import TableError

RECORD_LIMIT: Final = 1 << 16
"""Longest record that is read, in bytes; those of benchmark files have about a thousand."""

_MASK: Final = 0xA282EAD8
_HEAD: Final = struct.Struct("<QI")
_LENGTH: Final = struct.Struct("<Q")
_CHECK: Final = struct.Struct("<I")


def masked_crc32c(data: bytes) -> int:
    """The checksum of the format: CRC32C, turned right by 15 bits, plus a constant, modulo 2³²."""
    checksum: int = google_crc32c.value(data)
    return (((checksum >> 15) | (checksum << 17)) + _MASK) & 0xFFFFFFFF


def place(path: Path, number: int, offset: int) -> str:
    """Where a record stands, for messages; the first is number 1."""
    return f"{path}, record {number} (byte {offset})"


def read_records(file: IO[bytes], path: Path) -> Iterator[tuple[int, bytes]]:
    """The records of a file in its order, each checked before it is handed out.

    Args:
        file: The file, opened for binary reading.
        path: Named in messages.

    Yields:
        Offset of the record in the file, and its bytes.

    Raises:
        TableError: A checksum does not fit, the file ends inside a record, or a record is longer than
            :data:`RECORD_LIMIT`; the message says which record.
    """
    offset = number = 0
    while head := file.read(_HEAD.size):
        number += 1
        if len(head) < _HEAD.size:
            raise _cut(path, number, offset)
        length, check = _HEAD.unpack(head)
        if masked_crc32c(_LENGTH.pack(length)) != check:
            raise TableError(
                f"{place(path, number, offset)}: its length does not fit its checksum;"
                " the file is damaged or no TFRecord file: fetch it again"
            )
        if length > RECORD_LIMIT:
            raise TableError(
                f"{place(path, number, offset)}: {length:,} bytes long; at most {RECORD_LIMIT:,} are read"
            )
        body = file.read(length + _CHECK.size)
        if len(body) < length + _CHECK.size:
            raise _cut(path, number, offset)
        data = body[:length]
        if masked_crc32c(data) != _CHECK.unpack_from(body, length)[0]:
            raise TableError(
                f"{place(path, number, offset)}: its bytes do not fit their checksum;"
                " the file is damaged: fetch it again"
            )
        yield offset, data
        offset += _HEAD.size + len(body)


def _cut(path: Path, number: int, offset: int) -> TableError:
    return TableError(f"{place(path, number, offset)}: the file ends inside it; fetch it again")
