"""Reading of declarations: the plain data of a YAML file, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from crlso.errors import UserError
from crlso.spaces.roles import Roles


@dataclass(frozen=True)
class Declaration:
    """The fields of one declared space, each read with its kind checked."""

    kind: str
    data: Mapping[str, Any]

    def _fail(self, key: str, wanted: str) -> UserError:
        return UserError(f"space declaration ({self.kind}): {key} must be {wanted}, got {self.data[key]!r}")

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.data[key]
        if not isinstance(value, str) or not value.strip():
            raise self._fail(key, "a text")
        return value

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self.data[key]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._fail(key, "a whole number")
        return value

    def items(self, key: str) -> list[Any]:
        """A list that is not empty."""
        value = self.data[key]
        if not isinstance(value, list | tuple) or not value:
            raise self._fail(key, "a list that is not empty")
        return list(value)

    def roles(self, key: str, operations: Sequence[str]) -> Roles:
        """Roles of operations; lists not stated go by the usual names, for operations that none claims."""
        stated = self.data.get(key, {})
        known = tuple(field.name for field in fields(Roles))
        if not isinstance(stated, Mapping):
            raise self._fail(key, f"a mapping with keys {', '.join(known)}")
        taken: dict[str, tuple[str, ...]] = {}
        for role, names in stated.items():
            if role not in known:
                raise UserError(
                    f"space declaration ({self.kind}): unknown role {role!r}; known: {', '.join(known)}"
                )
            listed = (names,) if isinstance(names, str) else names
            if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
                raise UserError(
                    f"space declaration ({self.kind}): role {role!r} must list operation names, got {names!r}"
                )
            taken[role] = tuple(listed)
        claimed = {name for names in taken.values() for name in names}
        default = Roles.default(name for name in operations if isinstance(name, str) and name not in claimed)
        return replace(default, **taken)


def declaration(
    data: Mapping[str, Any], *, required: Sequence[str], optional: Sequence[str] = ()
) -> Declaration:
    """The declaration behind plain data, with all required fields and no unknown ones.

    Raises:
        UserError: The message lists what is missing, or what is allowed.
    """
    kind = str(data.get("space"))
    allowed = ("space", *required, *optional)
    if missing := [key for key in required if key not in data]:
        raise UserError(
            f"space declaration ({kind}): missing {', '.join(missing)}; fields: {', '.join(allowed)}"
        )
    if unknown := [str(key) for key in data if key not in allowed]:
        raise UserError(
            f"space declaration ({kind}): unknown field {unknown[0]!r}; fields: {', '.join(allowed)}"
        )
    return Declaration(kind, data)
