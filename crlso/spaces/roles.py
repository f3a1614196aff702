"""What the operations of a declared space do, as far as sameness of networks depends on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crlso.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_RESERVED = ("input", "output")  # node labels of graphs()


@dataclass(frozen=True)
class Roles:
    """Names of the operations with a special meaning; all others have weights of their own.

    Attributes:
        zero: Operations whose output is zero: the edge is as good as absent.
        identity: Operations that pass their input on.
        pure: Operations without weights (pooling): twice the same of the same value is the same value.
    """

    zero: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    pure: tuple[str, ...] = ()

    @classmethod
    def default(cls, operations: Iterable[str]) -> Roles:
        """The roles that usual names carry: ``none``, ``skip_connect``, and names with ``pool`` in them."""
        names = tuple(operations)
        return cls(
            zero=tuple(name for name in names if name == "none"),
            identity=tuple(name for name in names if name == "skip_connect"),
            pure=tuple(name for name in names if "pool" in name),
        )

    def check(self, operations: Sequence[str]) -> None:
        """Every name is an operation of the space and has one role only.

        Raises:
            UserError: The message names the operation.
        """
        listed = [*self.zero, *self.identity, *self.pure]
        for name in listed:
            if name not in operations:
                raise UserError(f"role of an unknown operation {name!r}; operations: {', '.join(operations)}")
            if listed.count(name) > 1:
                raise UserError(f"operation {name!r} has more than one role")


def check_operations(operations: Sequence[object]) -> tuple[str, ...]:
    """Operation names, checked: texts of letters, digits, ``_``, ``-`` and ``.``, none twice, none reserved.

    Raises:
        UserError: The message names the operation that is wrong.
    """
    if not operations:
        raise UserError("a space needs one operation or more, got none")
    names: list[str] = []
    for name in operations:
        if not isinstance(name, str):
            raise UserError(f"operation names must be texts, got {name!r} (write it in quotes)")
        if not _NAME.fullmatch(name):
            raise UserError(f"operation name {name!r} is not allowed: use letters, digits, '_', '-' and '.'")
        if name in _RESERVED:
            raise UserError(f"operation name {name!r} is reserved for graphs; choose another")
        if name in names:
            raise UserError(f"operation {name!r} is listed twice")
        names.append(name)
    return tuple(names)
