"""Chains of choices: one operation after the other, each from its own list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike

from crlso.errors import ArchitectureError, UserError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes, Keys, Rule
from crlso.spaces import codes as code_tools
from crlso.spaces.batching import make_batch
from crlso.spaces.declared import declaration
from crlso.spaces.roles import Roles, check_operations
from crlso.spaces.texts import shown

if TYPE_CHECKING:
    from torch_geometric.data import Batch

SEPARATOR = "/"
_IN_NAMES = re.compile(r"[A-Za-z0-9_.\-\s]")  # what an option, or the white space around it, may contain


@final
class ChoiceChain:
    """A fixed number of choices in a row; the text form is ``option/option/option``.

    Every code is valid. Two chains are the same network (rule ``exact``) if they are equal after identity
    operations are dropped; all chains with a zero operation are one class.

    Args:
        name: What the space is called in messages and files.
        choices: The options of each place, in order. The same name means the same operation in all places.
        roles: Which options are zero or identity; by default by their usual names. Where options of different
            places are not interchangeable (widths, say), give empty roles.
        separator: What stands between the options in texts: one or more marks that no option contains.

    Example:
        >>> space = ChoiceChain("pair", [["skip_connect", "conv"], ["conv", "max_pool"]])
        >>> space.parse("conv/max_pool").tolist()
        [1, 1]
    """

    def __init__(
        self,
        name: str,
        choices: Sequence[Sequence[str]],
        *,
        roles: Roles | None = None,
        separator: str = SEPARATOR,
    ) -> None:
        if not choices:
            raise UserError(f"space {name!r} needs one choice or more, got none")
        if not separator or _IN_NAMES.search(separator):
            raise UserError(
                f"space {name!r}: the separator must be a mark such as '/' or ':', without letters, digits, "
                f"'_', '-', '.' and white space, got {separator!r}"
            )
        self._name = name
        self._separator = separator
        self._choices = tuple(check_operations(options) for options in choices)
        self._operations = tuple(dict.fromkeys(option for options in self._choices for option in options))
        self._roles = Roles.default(self._operations) if roles is None else roles
        self._roles.check(self._operations)
        width = max(map(len, self._choices))
        self._lookup = np.zeros((len(self._choices), width), dtype=np.int64)  # (place, value) -> operation
        for place, options in enumerate(self._choices):
            self._lookup[place, : len(options)] = [self._operations.index(option) for option in options]

    @property
    def name(self) -> str:
        """What the space is called."""
        return self._name

    @property
    def choices(self) -> tuple[tuple[str, ...], ...]:
        """The options of each place."""
        return self._choices

    @property
    def operations(self) -> tuple[str, ...]:
        """All options, in the order in which they first appear."""
        return self._operations

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of options of each place."""
        return tuple(map(len, self._choices))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """``input``, ``output``, then the operations."""
        return ("input", "output", *self._operations)

    @property
    def positions(self) -> int:
        """Input, the places, output."""
        return len(self._choices) + 2

    @property
    def separator(self) -> str:
        """What stands between the options in texts."""
        return self._separator

    @property
    def roles(self) -> Roles:
        """Which options are zero or identity."""
        return self._roles

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of sameness that it has; there is no published one."""
        return ("code", "exact")

    @property
    def size(self) -> int:
        """Number of codes, all of them valid."""
        return code_tools.count(self.cardinalities)

    def __repr__(self) -> str:
        return f"ChoiceChain({self._name!r}, {[list(options) for options in self._choices]})"

    def to_dict(self) -> dict[str, Any]:
        """The declaration as plain data, as it stands in YAML; :func:`chain_from_dict` reads it."""
        roles = self._roles
        return {
            "space": "chain",
            "name": self._name,
            "choices": [list(options) for options in self._choices],
            "roles": {"zero": list(roles.zero), "identity": list(roles.identity), "pure": list(roles.pure)},
            "separator": self._separator,
        }

    def parse(self, text: str) -> Code:
        """Code of a text ``option/option/...``.

        Raises:
            ArchitectureError: The message has the position of the first wrong option (from 0) and the
            options.
        """
        if not isinstance(text, str):
            raise ArchitectureError(f"an architecture of {self._name!r} is a text, got {type(text).__name__}")
        parts = text.split(self._separator)
        code, at = [], 0
        for place, options in enumerate(self._choices):
            part = parts[place] if place < len(parts) else ""
            if part.strip() not in options:
                found = shown(part.strip()) if place < len(parts) else "the end of the text"
                raise ArchitectureError(
                    f"character {min(at, len(text))} of {shown(text)}: expected one of {', '.join(options)} "
                    f"at place {place}, got {found}"
                )
            code.append(options.index(part.strip()))
            at += len(part) + len(self._separator)
        if len(parts) > len(self._choices):
            raise ArchitectureError(
                f"character {at - len(self._separator)} of {shown(text)}: expected the end of the text "
                f"after {len(self._choices)} choices"
            )
        return np.array(code, dtype=CODE_DTYPE)

    def format(self, code: ArrayLike) -> str:
        """The options with the separator between: ``option/option/...``."""
        row = code_tools.as_code(code, self.cardinalities).tolist()
        return self._separator.join(options[value] for options, value in zip(self._choices, row, strict=True))

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``[n, d]``: uniform over all codes, with replacement."""
        return code_tools.sample_uniform(n, self.cardinalities, rng)

    def enumerate(self) -> Iterator[Codes]:
        """All codes in lexicographic order, in chunks."""
        return code_tools.enumerate_codes(self.cardinalities)

    def neighbors(self, code: ArrayLike) -> Codes:
        """``[m, d]``: one choice made differently, in a fixed order."""
        return code_tools.one_edit(code_tools.as_code(code, self.cardinalities), self.cardinalities)

    def is_valid(self, codes: ArrayLike) -> BoolArray:
        """``[n]``: whether all entries are option indices."""
        return code_tools.in_range(code_tools.as_matrix(codes, self.cardinalities), self.cardinalities)

    def repair(self, codes: ArrayLike) -> Codes:
        """The codes themselves: every code is valid."""
        return code_tools.as_codes(codes, self.cardinalities)

    def class_keys(self, codes: ArrayLike, rule: Rule = "exact") -> Keys:
        """``[n]`` keys: of the codes, or of what is left without identity operations."""
        code_tools.check_rule(rule, self._name, self.rules)
        checked = code_tools.as_codes(codes, self.cardinalities)
        if rule == "code":
            return code_tools.code_keys(checked, self.cardinalities)
        return code_tools.digest_keys(
            self._contracted(row).encode() for row in self._labels(checked).tolist()
        )

    def canonical(self, codes: ArrayLike, rule: Rule = "exact") -> Codes:
        """``[n, d]``: the smallest code, in lexicographic order, of each row's class.

        Raises:
            UserError: More than 100,000 codes: use :meth:`class_keys`.
        """
        code_tools.check_rule(rule, self._name, self.rules)
        checked = code_tools.as_codes(codes, self.cardinalities)
        if rule == "code":
            return checked
        everything = code_tools.all_codes(self._name, self.cardinalities)
        keys, first = np.unique(self.class_keys(everything, rule), return_index=True)
        return everything[first][np.searchsorted(keys, self.class_keys(checked, rule))]

    def graphs(self, codes: ArrayLike) -> Batch:
        """A path: input, the chosen operations in order, output."""
        checked = code_tools.as_codes(codes, self.cardinalities)
        n, d = checked.shape
        x = np.zeros((n, d + 2), dtype=np.int64)
        x[:, 1:-1], x[:, -1] = self._labels(checked) + 2, 1
        wires = np.stack([np.arange(d + 1), np.arange(1, d + 2)])
        return make_batch(
            x.reshape(-1),
            np.tile(np.arange(d + 2), n),
            np.tile(wires, n),
            np.full(n, d + 2),
            np.full(n, d + 1),
        )

    def _labels(self, codes: Codes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """``[n, d]`` operation indices."""
        return self._lookup[np.arange(codes.shape[1]), codes]

    def _contracted(self, operations: Sequence[int]) -> str:
        names = [self._operations[operation] for operation in operations]
        if any(name in self._roles.zero for name in names):
            return "#"
        return SEPARATOR.join(name for name in names if name not in self._roles.identity)


def toy64() -> ChoiceChain:
    """A toy of 64 architectures: three operations in a row, each one of four."""
    return ChoiceChain("toy64", [("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")] * 3)


def chain_from_dict(data: Mapping[str, Any]) -> ChoiceChain:
    """The space of a declaration ``{space: chain, name: n, choices: [[...], [...]], ...}``.

    ``roles`` and ``separator`` may be left out.

    Raises:
        UserError: A key is missing, unknown, or has a value of the wrong kind.
    """
    fields = declaration(data, required=("name", "choices"), optional=("roles", "separator"))
    choices = fields.items("choices")
    for place, options in enumerate(choices):
        if not isinstance(options, list | tuple):
            raise UserError(
                f"space declaration (chain): choice {place} must be a list of options, got {options!r}"
            )
    checked = [check_operations(options) for options in choices]
    return ChoiceChain(
        fields.text("name"),
        checked,
        roles=fields.roles("roles", [name for options in checked for name in options]),
        separator=fields.text("separator") if "separator" in data else SEPARATOR,
    )
