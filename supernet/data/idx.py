"""Reader of idx files, the format of MNIST and its relatives.

Format (Y. LeCun, the MNIST page): two zero bytes, a byte for the type (0x08: unsigned byte), a byte for the
number of dimensions, each dimension as a big-endian 32-bit number, then the entries, last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.runs.files import disk_errors

_UNSIGNED_BYTE: Final = 0x08
_GZIP: Final = b"\x1f\x8b"
_MOST_ENTRIES: Final = 2**32  # a damaged header must not ask for all memory


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes, plain or compressed with gzip (its first bytes tell).

    Args:
        path: The file.
        dimensions: How many dimensions it must have: 3 for images, 1 for labels.

    Raises:
        UserError: Missing, another format, type or number of dimensions, shorter or longer than its header
            says, or damaged (gzip carries a checksum, plain idx none).
    """
    with disk_errors(path):
        try:
            with path.open("rb") as file:
                packed = file.read(2) == _GZIP
                file.seek(0)
                if not packed:
                    return _read(file, path, dimensions)
                with gzip.open(file) as unpacked:
                    return _read(unpacked, path, dimensions)
        except FileNotFoundError as error:
            raise UserError(f"there is no file {path}") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path} is damaged (gzip: {error}); get it again") from error


def _read(file: IO[bytes] | gzip.GzipFile, path: Path, dimensions: int) -> NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise UserError(f"{path} is not an idx file: it begins with {magic!r} instead of two zero bytes")
    if magic[2] != _UNSIGNED_BYTE:
        raise UserError(f"{path} holds idx type 0x{magic[2]:02x}; only 0x08 (unsigned bytes) is read")
    if magic[3] != dimensions:
        raise UserError(f"{path} has {magic[3]} dimensions, expected {dimensions}; are the files mixed up?")
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise UserError(f"{path} ends inside its header; get it again")
    shape = struct.unpack(f">{dimensions}I", header)
    size = math.prod(shape)
    if not 0 < size <= _MOST_ENTRIES:
        raise UserError(f"{path} has an impossible header: {' x '.join(map(str, shape))} entries")
    # One more than there may be: it shows a file that is too long, and makes gzip check its checksum.
    data = file.read(size + 1)
    if len(data) != size:
        held = "more" if len(data) > size else f"only {len(data)}"
        raise UserError(f"{path} should hold {size} entries, it holds {held}; get it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
