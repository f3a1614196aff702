"""From codes to row numbers, many at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.protocols import Codes

# A dense array of this many 4-byte row numbers is 16 MB; larger spaces are looked up in sorted keys.
_DENSE_LIMIT = 4_000_000
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, bits well spread (golden ratio)


@final
class CodeIndex:
    """Row numbers of a fixed set of codes.

    Small spaces (up to 4 million combinations) use a dense array from mixed-radix rank to row: one gather
    per look-up. Larger ones, whose ranks may not even fit 64 bits, use a sorted array of 64-bit hashes; each
    hit is compared with the stored code, so the answer is exact.

    Args:
        cardinalities: ``code[i]`` lies in ``range(cardinalities[i])``.
        codes: ``[n, d]``, each once.

    Raises:
        UserError: An entry outside its cardinality, or a code that stands twice (both rows are named).
    """

    def __init__(self, cardinalities: Sequence[int], codes: Codes) -> None:
        self._limits = np.asarray(cardinalities, dtype=np.int64)
        self._codes = codes
        self._size = math.prod(cardinalities)
        self._strides = _strides(cardinalities) if self._size <= _DENSE_LIMIT else None
        self._keys: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._order: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._dense: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        inside = self._inside(codes)
        if not inside.all():
            raise UserError(f"row {int(np.argmin(inside))}: the code is outside the space's cardinalities")
        keys = self._key(codes)
        order = np.argsort(keys, kind="stable")
        ranked = keys[order]
        same = np.flatnonzero(ranked[1:] == ranked[:-1])
        if same.size:
            first, second = int(order[same[0]]), int(order[same[0] + 1])
            if not np.array_equal(
                codes[first], codes[second]
            ):  # pragma: no cover  odds below 1e-7 at a million rows
                raise UserError("two codes share a 64-bit hash; please report this table")
            raise UserError(f"rows {first} and {second} hold the same architecture")
        if self._strides is None:
            self._keys, self._order = ranked, order
        else:
            self._dense = np.full(self._size, -1, dtype=np.int32)
            self._dense[keys] = np.arange(len(codes), dtype=np.int32)

    def find(self, codes: NDArray[np.integer]) -> NDArray[np.intp]:
        """``[n]`` row of each code ``[n, d]``, -1 where it is not there.

        Raises:
            UserError: Not an integer array ``[n, d]``.
        """
        codes = np.asarray(codes)
        width = len(self._limits)
        if codes.ndim != 2 or codes.shape[1] != width or not np.issubdtype(codes.dtype, np.integer):
            raise UserError(
                f"codes must be an integer array [n, {width}]; got {codes.dtype} of shape {list(codes.shape)}"
            )
        inside = self._inside(codes)
        whole = bool(inside.all())
        known = codes if whole else codes[inside]
        keys = self._key(known)
        if self._strides is not None:
            found: NDArray[np.intp] = self._dense[keys].astype(np.intp)
        else:
            place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            found = self._order[place].astype(np.intp)
            found[(self._codes[found] != known).any(axis=1)] = -1
        if whole:
            return found
        rows = np.full(len(codes), -1, dtype=np.intp)
        rows[inside] = found
        return rows

    def _inside(self, codes: NDArray[np.integer]) -> NDArray[np.bool_]:
        """``[n]`` whether all entries are inside their cardinalities."""
        inside = np.ones(len(codes), dtype=np.bool_)
        for column, limit in zip(codes.T, self._limits, strict=True):
            if column.size and (column.min() < 0 or column.max() >= limit):
                inside &= (column >= 0) & (column < limit)
        return inside

    def _key(self, codes: NDArray[np.integer]) -> NDArray[Any]:
        """``[n]`` exact ranks of a small space, hashes of a large one."""
        if self._strides is not None:
            ranks = np.zeros(len(codes), dtype=np.int64)
            for column, stride in zip(codes.T, self._strides, strict=True):
                ranks += column.astype(np.int64) * stride
            return ranks
        hashes = np.zeros(len(codes), dtype=np.uint64)
        for column in codes.T:  # wraps around modulo 2**64 by intention
            hashes = (hashes ^ column.astype(np.uint64)) * _MIX
            hashes ^= hashes >> np.uint64(29)
        return hashes


def _strides(cardinalities: Sequence[int]) -> list[int]:
    """Weight of each position in the mixed-radix rank, the last position varying fastest."""
    strides = [1] * len(cardinalities)
    for i in range(len(cardinalities) - 2, -1, -1):
        strides[i] = strides[i + 1] * cardinalities[i + 1]
    return strides
