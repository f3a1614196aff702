"""What the names in a pickle stand for here: small functions of ours over plain data, nothing imported.

A pickle names classes and functions that rebuild its objects. Only the names in an :class:`Allowed` are
known, each with a stand-in that makes plain Python data; all others are refused. Which names there are, and
their arguments, is what ``object.__reduce_ex__`` of Python, numpy and torch writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, final

import numpy as np

from crlso.formats.errors import FormatError

Arguments = tuple[object, ...]

SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_KEY_LEAVES: Final = 256

_NUMERIC: Final = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_DIMENSIONS: Final = 32


@dataclass(frozen=True)
class Global:
    """A name that a pickle may use. It stands for itself until it is called.

    Attributes:
        name: With its module.
        call: What calling it with these arguments gives; ``None``: it can not be called.
        new: What ``__new__`` with these arguments gives.
    """

    name: str
    call: Callable[[Arguments], object] | None = field(default=None, compare=False)
    new: Callable[[Arguments], object] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Opaque:
    """Stands for what is not read, as the weights of a network.

    Attributes:
        kind: What it is in the file.
        detail: What the pickle says about it: plain data.
    """

    kind: str
    detail: object = None


@dataclass(frozen=True)
class Record:
    """An object of a class that is not ours: its class's name and its state.

    Attributes:
        kind: Name of the class, with its module.
        state: What the object held, as a rule a dict of its attributes.
    """

    kind: str
    state: object


@final
class Shell:
    """An object between its creation and the moment at which its state is known.

    Args:
        build: From the state to the object.
    """

    def __init__(self, build: Callable[[object], object]) -> None:
        self._build = build
        self.value: object = None

    def fill(self, state: object) -> object:
        """The object; the shell keeps it for later references.

        Raises:
            FormatError: The state does not fit, or came twice.
        """
        if self.value is not None:
            raise FormatError("an object's state comes twice")
        self.value = self._build(state)
        return self.value


@dataclass(frozen=True)
class Allowed:
    """What a pickle may name.

    Attributes:
        names: By module and name.
        persistent: What stands for an object outside of the pickle, from its identifier; ``None``: refused.
    """

    names: Mapping[tuple[str, str], Global]
    persistent: Callable[[object], object] | None = None

    def also(self, *more: Global) -> Allowed:
        """With further names."""
        names = {tuple(item.name.rsplit(".", 1)): item for item in more}
        return replace(self, names=MappingProxyType({**self.names, **names}))  # type: ignore[dict-item]

    def find(self, module: str, name: str) -> Global:
        """The stand-in for a name.

        Raises:
            FormatError: It is not allowed.
        """
        found = self.names.get((module, name))
        if found is None:
            shown = f"{module}.{name}"
            shown = shown if shown.isprintable() and len(shown) < 200 else ascii(shown)[:200]
            raise FormatError(f"the file names {shown}, which is not data; refused, nothing was run")
        return found


def record_class(name: str) -> Global:
    """Allows the objects of a class and reads them as :class:`Record`.

    Args:
        name: The class with its module, as ``"package.module.Class"``.
    """

    def make(arguments: Arguments) -> object:
        if arguments:
            raise FormatError(f"{name} is made with arguments, which is not known here")
        return Shell(lambda state: Record(name, state))

    return Global(name, new=make)


def check_key(value: object) -> None:
    """Whether a value can be the key of a dict or in a set.

    Raises:
        FormatError: Not a scalar, nor a tuple or frozenset of at most 256 of them.
    """
    if type(value) not in SCALARS:
        _leaves(value)


def _leaves(value: object) -> int:
    kind = type(value)
    if kind in SCALARS:
        return 1
    if kind is not tuple and kind is not frozenset:
        raise FormatError(f"a {kind.__name__} as a key of a dict or in a set")
    total = 1
    for item in value:  # type: ignore[attr-defined]
        total += _leaves(item)
        if total > _KEY_LEAVES:
            raise FormatError(f"a key of more than {_KEY_LEAVES} parts")
    return total


def _wrong(name: str) -> FormatError:
    return FormatError(f"{name} is called with arguments that do not fit")


def _ordered_dict(arguments: Arguments) -> object:
    if not arguments:
        return {}
    pairs = arguments[0]
    if len(arguments) != 1 or not isinstance(pairs, (list, tuple)):
        raise _wrong("collections.OrderedDict")
    made: dict[object, object] = {}
    for pair in pairs:  # Python 2 wrote its content so
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise _wrong("collections.OrderedDict")
        check_key(pair[0])
        made[pair[0]] = pair[1]
    if len(made) != len(pairs):
        raise FormatError("a dict with the same key twice")
    return made


def _members(kind: type[set[object]] | type[frozenset[object]]) -> Callable[[Arguments], object]:
    def call(arguments: Arguments) -> object:
        if not arguments:
            return kind()
        if len(arguments) != 1 or not isinstance(arguments[0], (list, tuple)):
            raise _wrong(kind.__name__)
        for item in arguments[0]:
            check_key(item)
        return kind(arguments[0])

    return call


def _encode(arguments: Arguments) -> object:
    """Bytes of protocol 2: ``_codecs.encode(text, "latin1")``."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] not in ("latin1", "latin-1"):
        raise _wrong("_codecs.encode")
    return _latin1(arguments[0])


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise FormatError("a text that should stand for bytes does not") from error


def _empty_bytes(arguments: Arguments) -> object:
    if arguments:
        raise _wrong("bytes")
    return b""


def _dtype(arguments: Arguments) -> object:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or code not in _NUMERIC:
        raise FormatError(f"numpy type {str(code)[:40]!r}; only plain numbers are read")

    def build(state: object) -> object:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise _wrong("numpy.dtype")
        if any(part is not None for part in state[2:5]):
            raise FormatError("a numpy type with fields; only plain numbers are read")
        return np.dtype(code).newbyteorder("<" if state[1] in "=|" else state[1])

    return Shell(build)


def _scalar(arguments: Arguments) -> object:
    if len(arguments) != 2 or not isinstance(arguments[0], np.dtype):
        raise _wrong("numpy's scalar")
    kind, raw = arguments[0], arguments[1]
    raw = _latin1(raw) if isinstance(raw, str) else raw  # Python 2
    if not isinstance(raw, bytes) or len(raw) != kind.itemsize:
        raise _wrong("numpy's scalar")
    value: object = np.frombuffer(raw, kind).item()
    return value


def _array(shape: object, kind: object, raw: object, *, fortran: bool) -> object:
    if not isinstance(kind, np.dtype) or not isinstance(shape, tuple) or len(shape) > _DIMENSIONS:
        raise _wrong("a numpy array")
    if not all(type(size) is int and 0 <= size < 1 << 40 for size in shape):
        raise _wrong("a numpy array")
    raw = _latin1(raw) if isinstance(raw, str) else raw
    if not isinstance(raw, bytes) or len(raw) != kind.itemsize * math.prod(shape):
        raise _wrong("a numpy array")
    return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")


def _reconstruct(arguments: Arguments) -> object:
    if len(arguments) != 3 or arguments[0] != _NDARRAY:
        raise _wrong("numpy's _reconstruct")

    def build(state: object) -> object:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _wrong("a numpy array")
        _, shape, kind, fortran, raw = state
        return _array(shape, kind, raw, fortran=fortran is True)

    return Shell(build)


def _frombuffer(arguments: Arguments) -> object:
    """Arrays of protocol 5."""
    if len(arguments) != 4 or arguments[3] not in ("C", "F"):
        raise _wrong("numpy's _frombuffer")
    raw, kind, shape, order = arguments
    return _array(shape, kind, raw, fortran=order == "F")


_NDARRAY: Final = Global("numpy.ndarray")


def _table(*items: Global) -> Mapping[tuple[str, str], Global]:
    return Allowed({}).also(*items).names


DEFAULT: Final = Allowed(
    _table(
        Global("collections.OrderedDict", _ordered_dict),
        *(Global(f"{module}.set", _members(set)) for module in ("builtins", "__builtin__")),
        *(Global(f"{module}.frozenset", _members(frozenset)) for module in ("builtins", "__builtin__")),
        *(Global(f"{module}.bytes", _empty_bytes) for module in ("builtins", "__builtin__")),
        Global("_codecs.encode", _encode),
        Global("numpy.dtype", _dtype),
        _NDARRAY,
        *(
            item
            for core in ("numpy.core", "numpy._core")
            for item in (
                Global(f"{core}.multiarray.scalar", _scalar),
                Global(f"{core}.multiarray._reconstruct", _reconstruct),
                Global(f"{core}.numeric._frombuffer", _frombuffer),
            )
        ),
    )
)
"""Plain data: containers, texts, numbers, and numpy's numbers and arrays of them."""


def _tensor(arguments: Arguments) -> object:
    if len(arguments) < 4 or type(arguments[0]) is not Opaque or not isinstance(arguments[2], tuple):
        raise _wrong("torch's _rebuild_tensor_v2")
    return Opaque("tensor", arguments[2])


def _parameter(arguments: Arguments) -> object:
    if not arguments or type(arguments[0]) is not Opaque:
        raise _wrong("torch's _rebuild_parameter")
    return arguments[0]


def _storage(identifier: object) -> object:
    if (
        not isinstance(identifier, tuple)
        or len(identifier) < 5
        or identifier[0] != "storage"
        or type(identifier[1]) is not Global
    ):
        raise FormatError("a reference to something outside of the data that is not a tensor's storage")
    return Opaque(identifier[1].name)


_STORAGES: Final = (
    *("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"),
    "Untyped",
)

TORCH: Final = replace(
    DEFAULT.also(
        Global("torch._utils._rebuild_tensor_v2", _tensor),
        Global("torch._utils._rebuild_parameter", _parameter),
        *(Global(f"torch.{kind}Storage") for kind in _STORAGES),
        Global("torch.storage.UntypedStorage"),
    ),
    persistent=_storage,
)
"""What ``torch.save`` writes: plain data, and tensors as :class:`Opaque`."""
