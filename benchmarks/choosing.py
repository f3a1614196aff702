"""Which architectures of a space a new table holds, and which of them are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UserError
from crlso.protocols import CODE_DTYPE, Codes, SearchSpace

MOST_ROWS = 1 << 20
_ROUNDS = 50  # so many times more draws than architectures wanted, then the space has no more

Unique = Literal["exact", "code"]


@dataclass(frozen=True, eq=False)
class Chosen:
    """The rows of a table.

    Attributes:
        codes: ``[n, d]`` the architectures, in the space's order.
        trained: ``[n]`` for each the row whose training it shares: its own, or that of an identical network.
    """

    codes: Codes
    trained: NDArray[np.intp]


def whole_space(space: SearchSpace, unique: Unique) -> Chosen:
    """All architectures; of identical networks the first one is trained.

    Raises:
        UserError: More than a million.
    """
    if space.size > MOST_ROWS:
        raise UserError(
            f"space {space.name!r} has up to {space.size:,} architectures, too many for a table of all of"
            " them; take a sample (--sample N)"
        )
    codes = np.concatenate(list(space.enumerate()))
    return Chosen(codes, _first_of_class(space, codes, unique))


def sample(space: SearchSpace, n: int, *, seed: int, unique: Unique) -> Chosen:
    """``n`` architectures, no two of them identical networks.

    Where all architectures can be listed (up to a million): a uniform sample without replacement of the
    classes of identical networks, each represented by its first member. In larger spaces: draws of
    ``space.sample``, of each class the first that comes; large classes are then more likely.

    Raises:
        UserError: Fewer than one, more than there are, or more than a million.
    """
    if not 1 <= n <= MOST_ROWS:
        raise UserError(f"a sample needs 1 architecture or more, up to {MOST_ROWS:,}; got {n}")
    rng = np.random.default_rng(seed)
    if space.size <= MOST_ROWS:
        everything = whole_space(space, unique)
        members = everything.codes[np.unique(everything.trained)]
        if n > len(members):
            raise UserError(
                f"a sample of {n:,} is more than the {len(members):,} different architectures of"
                f" {space.name!r}; take all (--all)"
            )
        rows = np.sort(rng.choice(len(members), n, replace=False))
        return Chosen(members[rows], np.arange(n))
    codes = np.empty((0, len(space.cardinalities)), dtype=CODE_DTYPE)
    for _ in range(_ROUNDS):
        codes = np.concatenate([codes, space.sample(n, rng)])
        codes = codes[np.unique(_first_of_class(space, codes, unique))]
        if len(codes) >= n:
            codes = codes[:n]
            return Chosen(codes[np.lexsort(codes.T[::-1])], np.arange(n))
    raise UserError(f"{_ROUNDS * n:,} draws gave only {len(codes):,} different architectures; take fewer")


def _first_of_class(space: SearchSpace, codes: Codes, unique: Unique) -> NDArray[np.intp]:
    """``[n]`` for each row the first row of the same class."""
    _, first, inverse = np.unique(space.class_keys(codes, unique), return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.intp)
