"""Arithmetic on codes: checks, ranks in mixed radix, one-edit neighbours, keys of rows.

Everything here knows only the cardinalities of a code, not what its entries mean. Ranks count codes in
lexicographic order: the first entry is the most significant digit.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes, FloatArray, Keys, Rule

MAX_RANK = 2**63 - 1
"""Ranks are int64: larger spaces have codes but no ranks."""

MAX_LISTED = 100_000
"""Largest space whose codes :func:`all_codes` lists."""

CHUNK = 65536
"""Rows per chunk of an enumeration."""


def count(cardinalities: Sequence[int]) -> int:
    """Number of codes with these cardinalities, as an unbounded integer."""
    return math.prod(cardinalities)


def as_matrix(codes: ArrayLike, cardinalities: Sequence[int]) -> NDArray[Any]:
    """Array ``[n, d]`` of any integer type, entries not checked; a single code ``[d]`` becomes one row.

    Raises:
        ArchitectureError: Not integers, or not ``d`` columns.
    """
    array = np.asarray(codes)
    width = len(cardinalities)
    if array.size == 0 and array.ndim in (1, 2):
        return np.zeros((0, width), dtype=CODE_DTYPE)
    if array.dtype.kind not in "iu":
        raise ArchitectureError(f"codes must be integers, got an array of type {array.dtype}")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != width:
        shape = "x".join(map(str, np.shape(codes)))
        raise ArchitectureError(f"codes must have shape [n, {width}], got an array of shape [{shape}]")
    return array


def in_range(codes: NDArray[Any], cardinalities: Sequence[int]) -> BoolArray:
    """``[n]``: whether all entries of a row lie inside their cardinalities."""
    inside = (codes >= 0) & (codes < np.asarray(cardinalities))
    return np.asarray(inside.all(axis=1), dtype=np.bool_)


def as_codes(codes: ArrayLike, cardinalities: Sequence[int]) -> Codes:
    """Checked codes: shape ``[n, d]``, every entry inside its cardinality, type int16.

    Raises:
        ArchitectureError: Wrong shape or type, or an entry out of range (the message names the first one).
    """
    array = as_matrix(codes, cardinalities)
    if not (inside := in_range(array, cardinalities)).all():
        row = int(np.flatnonzero(~inside)[0])
        limits = np.asarray(cardinalities)
        column = int(np.flatnonzero((array[row] < 0) | (array[row] >= limits))[0])
        raise ArchitectureError(
            f"entry {column} of code {row} is {array[row, column]}; allowed: 0 to {limits[column] - 1}"
        )
    return np.ascontiguousarray(array, dtype=CODE_DTYPE)


def as_code(code: ArrayLike, cardinalities: Sequence[int]) -> Code:
    """One checked code of shape ``[d]``; see :func:`as_codes`."""
    array = np.asarray(code)
    if array.ndim != 1:
        raise ArchitectureError(
            f"expected one code of shape [{len(cardinalities)}], got an array with {array.ndim} dimensions"
        )
    if array.size == 0 and len(cardinalities):
        raise ArchitectureError(f"expected one code of shape [{len(cardinalities)}], got an empty one")
    checked: Code = as_codes(array, cardinalities)[0]
    return checked


def ravel(codes: ArrayLike, cardinalities: Sequence[int]) -> NDArray[np.int64]:
    """Ranks ``[n]`` of codes ``[n, d]`` in lexicographic order, in ``range(count(cardinalities))``.

    >>> ravel([[0, 0], [0, 2], [1, 0]], (2, 3)).tolist()
    [0, 2, 3]
    """
    checked = as_codes(codes, cardinalities)
    return checked.astype(np.int64) @ _weights(cardinalities)


def unravel(ranks: ArrayLike, cardinalities: Sequence[int]) -> Codes:
    """Codes ``[n, d]`` of ranks ``[n]``: the inverse of :func:`ravel`.

    >>> unravel([0, 2, 3], (2, 3)).tolist()
    [[0, 0], [0, 2], [1, 0]]
    """
    flat = np.atleast_1d(np.asarray(ranks))
    if flat.size and flat.dtype.kind not in "iu":
        raise ArchitectureError(f"ranks must be integers, got an array of type {flat.dtype}")
    if flat.size and (flat.min() < 0 or flat.max() >= count(cardinalities)):
        raise ArchitectureError(f"ranks must lie between 0 and {count(cardinalities) - 1}")
    digits = flat.astype(np.int64)[:, None] // _weights(cardinalities) % np.asarray(cardinalities)
    codes: Codes = digits.astype(CODE_DTYPE)
    return codes


def _weights(cardinalities: Sequence[int]) -> NDArray[np.int64]:
    if count(cardinalities) - 1 > MAX_RANK:
        raise UserError("the space has more than 2**63 codes, which is too many for ranks")
    tail = itertools.accumulate(reversed(cardinalities[1:]), lambda a, b: a * b, initial=1)
    return np.array(list(tail)[::-1], dtype=np.int64)


def one_edit(code: Code, cardinalities: Sequence[int]) -> Codes:
    """``[sum(c - 1), d]``: all codes with exactly one other entry, ordered by entry, then by value."""
    old = np.asarray(code, dtype=np.int64)
    column = np.repeat(np.arange(len(cardinalities)), [c - 1 for c in cardinalities])
    step = np.concatenate([np.arange(c - 1) for c in cardinalities])
    rows = np.repeat(old[None], len(column), axis=0)
    rows[np.arange(len(column)), column] = step + (step >= old[column])  # skip the present value
    return rows.astype(CODE_DTYPE)


def sample_uniform(n: int, cardinalities: Sequence[int], rng: np.random.Generator) -> Codes:
    """``[n, d]`` codes with independent uniform entries: uniform over all codes, with replacement.

    Raises:
        UserError: ``n`` is negative.
    """
    if n < 0:
        raise UserError(f"the number of samples must be 0 or more, got {n}")
    return rng.integers(0, np.asarray(cardinalities), size=(n, len(cardinalities))).astype(CODE_DTYPE)


def enumerate_codes(cardinalities: Sequence[int], chunk: int = CHUNK) -> Iterator[Codes]:
    """All codes in lexicographic order, in chunks of at most ``chunk`` rows; works for spaces of any size."""
    total = count(cardinalities)
    if total - 1 <= MAX_RANK:
        for start in range(0, total, chunk):
            yield unravel(np.arange(start, min(start + chunk, total)), cardinalities)
        return
    # Beyond int64 there are no ranks, and nobody waits for the end.
    rows = itertools.product(*(range(c) for c in cardinalities))
    while block := list(itertools.islice(rows, chunk)):
        yield np.array(block, dtype=CODE_DTYPE)


def all_codes(space: str, cardinalities: Sequence[int]) -> Codes:
    """Every code in lexicographic order, ``[count(cardinalities), d]``, for work that needs them at once.

    Raises:
        UserError: More than 100,000 codes.
    """
    if (total := count(cardinalities)) > MAX_LISTED:
        shown = f"{total:,}" if total - 1 <= MAX_RANK else "more than 2**63"
        raise UserError(
            f"space {space!r} has {shown} codes, too many to list the smallest of each class "
            f"(at most {MAX_LISTED:,}); use class_keys"
        )
    return np.concatenate(list(enumerate_codes(cardinalities)))


def rows_as_keys(codes: Codes) -> NDArray[np.void]:
    """``[n]`` opaque scalars, one per row, whose order is the lexicographic order of the rows.

    They serve ``np.unique``, ``np.searchsorted`` and ``np.isin`` on whole rows, for codes of any width.
    """
    big_endian = np.ascontiguousarray(codes, dtype=">i2")  # compared bytewise; entries are not negative
    return big_endian.view(np.dtype((np.void, big_endian.shape[1] * 2)))[:, 0]


def digest_keys(names: Iterable[bytes]) -> Keys:
    """Keys ``[n]`` from the names of classes: 64 bits of BLAKE2b, the same on every machine."""
    digests = b"".join(hashlib.blake2b(name, digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def code_keys(codes: Codes, cardinalities: Sequence[int]) -> Keys:
    """Keys ``[n]`` of the rule ``code``: ranks where the space has them, digests of the rows elsewhere."""
    if count(cardinalities) - 1 <= MAX_RANK:
        return ravel(codes, cardinalities).astype(np.uint64)
    return digest_keys(row.tobytes() for row in np.ascontiguousarray(codes, dtype="<i2"))


def check_rule(rule: str, space: str, known: Sequence[Rule]) -> None:
    """Refuse a rule of sameness that a space does not have.

    Raises:
        UserError: The message lists the space's rules.
    """
    if rule not in known:
        raise UserError(
            f"space {space!r} has no rule {rule!r} for equal architectures; known: {', '.join(known)}"
        )


def differing(one: Codes, other: Codes) -> FloatArray:
    """Number of entries in which codes differ: ``[n, d]``, ``[m, d]`` -> ``[n, m]``."""
    found = np.zeros((len(one), len(other)))
    for position in range(one.shape[1]):
        found += one[:, position, None] != other[None, :, position]
    return found
