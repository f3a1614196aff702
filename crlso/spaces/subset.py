"""A space restricted to listed architectures: what a partial table can answer for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes, Keys, Rule, SearchSpace
from crlso.spaces import codes as code_tools
from crlso.spaces.texts import shown

if TYPE_CHECKING:
    from torch_geometric.data import Batch

_BLOCK = 2**22  # pairs of codes that are compared at a time


@final
class Subset:
    """The members of a space that are listed in ``codes``; itself a search space.

    Samples are uniform over the members, neighbours are the nearest other members by edit distance (number of
    differing entries), and :meth:`repair` ends at the nearest member. Neighbourhood need not be mutual: the
    nearest member of an outlier has nearer ones of its own.

    Args:
        space: The space that says what the codes mean.
        codes: ``[m, d]`` its members, in any order; repetitions are dropped.

    Raises:
        UserError: No code at all, or one that is not valid in the space.
    """

    def __init__(self, space: SearchSpace, codes: ArrayLike) -> None:
        rows = code_tools.as_codes(codes, space.cardinalities)
        if len(rows) == 0:
            raise UserError(f"a subset of {space.name!r} needs one architecture or more, got none")
        if not (valid := space.is_valid(rows)).all():
            wrong = int(np.flatnonzero(~valid)[0])
            raise ArchitectureError(f"code {wrong} is not a valid architecture of {space.name!r}")
        self._space = space
        self._keys, first = np.unique(code_tools.rows_as_keys(rows), return_index=True)
        self._members: Codes = rows[first]
        self._representatives: dict[Rule, tuple[Keys, Codes]] = {}

    @property
    def name(self) -> str:
        """The name of the space that it is part of."""
        return self._space.name

    @property
    def space(self) -> SearchSpace:
        """The space that it is part of."""
        return self._space

    @property
    def members(self) -> Codes:
        """``[m, d]`` all members, in lexicographic order."""
        return self._members.copy()

    @property
    def operations(self) -> tuple[str, ...]:
        """Operation names of the space."""
        return self._space.operations

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Cardinalities of the space; far from all codes inside them are members."""
        return self._space.cardinalities

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Node labels of the space's graphs."""
        return self._space.vocabulary

    @property
    def positions(self) -> int:
        """Node positions of the space's graphs."""
        return self._space.positions

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self._members)

    def __repr__(self) -> str:
        return f"Subset({self._space!r}, {self.size} members)"

    def parse(self, text: str) -> Code:
        """Code of a text of the space.

        Raises:
            ArchitectureError: The text is wrong, or its architecture is not a member.
        """
        code = self._space.parse(text)
        if not self.is_valid(code)[0]:
            raise ArchitectureError(
                f"{shown(text)} is not among the {self.size} listed architectures of {self.name!r}"
            )
        return code

    def format(self, code: ArrayLike) -> str:
        """The space's text form."""
        return self._space.format(code_tools.as_code(code, self.cardinalities))

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]``: uniform over the members, with replacement."""
        if n < 0:
            raise UserError(f"the number of samples must be 0 or more, got {n}")
        return self._members[rng.integers(0, self.size, size=n)]

    def enumerate(self) -> Iterator[Codes]:
        """All members in lexicographic order, in chunks."""
        for start in range(0, self.size, code_tools.CHUNK):
            yield self._members[start : start + code_tools.CHUNK].copy()

    def neighbors(self, code: ArrayLike) -> Codes:
        """``[m, d]``: all members at the smallest positive edit distance, in lexicographic order.

        One edit where the table holds such members, more where it is sparse; none for the only member.
        """
        row = code_tools.as_code(code, self.cardinalities)
        distance = (self._members != row).sum(axis=1)
        away = distance > 0
        if not away.any():
            return np.zeros((0, len(row)), dtype=CODE_DTYPE)
        nearest: Codes = self._members[away & (distance == distance[away].min())]
        return nearest

    def is_valid(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: whether each row is a member."""
        matrix = code_tools.as_matrix(codes, self.cardinalities)
        inside = code_tools.in_range(matrix, self.cardinalities)
        found = np.zeros(len(matrix), dtype=np.bool_)
        found[inside] = self._find(matrix[inside])[1]
        return found

    def repair(self, codes: ArrayLike) -> Codes:
        """``[n, d]``: the nearest member by edit distance, the first in lexicographic order among equals."""
        rows = code_tools.as_codes(codes, self.cardinalities)
        repaired = rows.copy()
        strangers = np.flatnonzero(~self._find(rows)[1])
        wanted, inverse = np.unique(rows[strangers], axis=0, return_inverse=True)
        nearest = np.zeros(len(wanted), dtype=np.int64)
        step = max(1, _BLOCK // self.size)
        for start in range(0, len(wanted), step):
            # Equal entries are counted: a product of matrices, exact in float32.
            alike = self._one_hot(wanted[start : start + step]) @ self._one_hot_members.T
            nearest[start : start + step] = alike.argmax(axis=1)
        repaired[strangers] = self._members[nearest[inverse.reshape(-1)]]
        return repaired

    def _one_hot(self, rows: Codes) -> NDArray[np.float32]:
        """``[n, sum of the cardinalities]``: a one for each entry's value."""
        offsets = np.concatenate([[0], np.cumsum(self.cardinalities)])
        ones = np.zeros((len(rows), offsets[-1]), dtype=np.float32)
        np.put_along_axis(ones, rows + offsets[:-1], np.float32(1), axis=1)
        return ones

    @cached_property
    def _one_hot_members(self) -> NDArray[np.float32]:
        return self._one_hot(self._members)

    def class_keys(self, codes: ArrayLike, rule: Rule = "exact") -> Keys:
        """``[n]``: the space's keys, which say the same inside and outside the subset."""
        return self._space.class_keys(code_tools.as_codes(codes, self.cardinalities), rule)

    def canonical(self, codes: ArrayLike, rule: Rule = "exact") -> Codes:
        """``[n, d]``: the first member, in lexicographic order, of each row's class.

        Raises:
            ArchitectureError: No member is of the same class.
        """
        if rule not in self._representatives:
            class_keys, first = np.unique(self.class_keys(self._members, rule), return_index=True)
            self._representatives[rule] = class_keys, self._members[first]
        known, representatives = self._representatives[rule]
        wanted = self.class_keys(codes, rule)
        index = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        if (strange := known[index] != wanted).any():
            row = int(np.flatnonzero(strange)[0])
            raise ArchitectureError(
                f"code {row} equals none of the {self.size} listed architectures of {self.name!r}"
            )
        return representatives[index]

    def graphs(self, codes: ArrayLike) -> Batch:
        """The space's graphs."""
        return self._space.graphs(code_tools.as_codes(codes, self.cardinalities))

    def _find(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.intp], BoolArray]:
        """``[n]`` each: place among the members, and whether the row stands there."""
        keys = code_tools.rows_as_keys(rows.astype(CODE_DTYPE))
        index = np.minimum(np.searchsorted(self._keys, keys), self.size - 1)
        return index, np.asarray(self._keys[index] == keys, dtype=np.bool_)
