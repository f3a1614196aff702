"""What a long pickle has memoised, kept small: texts by number, in compressed blocks."""

from __future__ import annotations

import json
import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar, final

import numpy as np

from crlso.formats.emulated import Global
from crlso.formats.errors import FormatError

T = TypeVar("T")

_FORGOTTEN: Final = object()
_TEXT, _BYTES, _FLOAT, _VALUE = range(4)

_DECODED_BLOCKS: Final = 16
_KNOWN_TEXTS: Final = 100_000  # beyond, texts get new numbers: costs a little compressed memory
_KEPT_VALUES: Final = 100_000
_SIZE_LIMIT: Final = 256 << 20
_SMALL: Final = 8
_PLAIN: Final = (str, int, bool, type(None))


@final
class Blocks(Generic[T]):
    """A sequence that only grows, in blocks that are compressed when they are full.

    Args:
        encode: From the items of a block to bytes.
        decode: And back.
        items: A block is full with so many items.
        weight: Or when its items weigh so much together.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[T]], bytes],
        decode: Callable[[bytes], Sequence[T]],
        *,
        items: int,
        weight: int = 1 << 62,
    ) -> None:
        self._encode, self._decode = encode, decode
        self._items, self._weight_limit = items, weight
        self._blocks: list[bytes] = []
        self._starts: list[int] = []
        self._decoded: OrderedDict[int, Sequence[T]] = OrderedDict()
        self._open: list[T] = []
        self._open_start = 0
        self._weight = 0
        self.size = 0

    def __len__(self) -> int:
        return self._open_start + len(self._open)

    def append(self, item: T, weight: int = 1) -> None:
        """Add one item."""
        self._open.append(item)
        self._weight += weight
        if len(self._open) >= self._items or self._weight >= self._weight_limit:
            self._seal()

    def extend(self, items: Iterable[T]) -> None:
        """Add items that have no weight."""
        self._open.extend(items)
        if len(self._open) >= self._items:
            self._seal()

    def _seal(self) -> None:
        block = zlib.compress(self._encode(self._open), 1)
        self._blocks.append(block)
        self._starts.append(self._open_start)
        self.size += len(block)
        self._open_start += len(self._open)
        self._open = []
        self._weight = 0

    def __getitem__(self, index: int) -> T:
        if index >= self._open_start:
            return self._open[index - self._open_start]
        place = bisect_right(self._starts, index) - 1
        block = self._decoded.get(place)
        if block is None:
            block = self._decode(zlib.decompress(self._blocks[place]))
            self._decoded[place] = block
            if len(self._decoded) > _DECODED_BLOCKS:
                self._decoded.popitem(last=False)
        else:
            self._decoded.move_to_end(place)
        return block[index - self._starts[place]]


def _encode_codes(codes: Sequence[int]) -> bytes:
    # Differences: a stretch of texts that were first seen in this order becomes a stretch of equal numbers.
    return np.diff(np.array(codes, dtype=np.int32), prepend=np.int32(0)).tobytes()


def _decode_codes(data: bytes) -> Sequence[int]:
    return array("i", np.cumsum(np.frombuffer(data, dtype=np.int32), dtype=np.int32).tobytes())


def _encode_texts(texts: Sequence[str]) -> bytes:
    return json.dumps(texts).encode("ascii")


def _decode_texts(data: bytes) -> Sequence[str]:
    texts: list[str] = json.loads(data)
    return texts


@final
class Archive:
    """Memo entries of parts of a pickle that were handed out already.

    A text of any age can be had again, and so can bytes, numbers, allowed names, and small containers of
    plain scalars (up to 8 entries without floats, up to 100,000 different ones) as fresh copies. Larger
    containers are forgotten.
    """

    def __init__(self) -> None:
        self._codes: Blocks[int] = Blocks(_encode_codes, _decode_codes, items=1 << 18)
        self._texts: Blocks[str] = Blocks(_encode_texts, _decode_texts, items=4096, weight=1 << 20)
        # A code is a number and, in the lowest two bits, of what. ``None``: not a text, not yet known.
        self._text_codes: dict[str | None, int] = {None: _VALUE}
        self._floats = array("d")
        self._values: list[object] = [_FORGOTTEN]
        self._value_numbers: dict[object, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def extend(self, texts: Sequence[str | None], others: Mapping[int, object]) -> None:
        """Add memo entries.

        Args:
            texts: In their order; ``None`` for what is not a text.
            others: What is not a text, by its place in ``texts``.

        Raises:
            FormatError: The file has memoised more different texts than can be kept.
        """
        codes: list[int | None] = list(map(self._text_codes.get, texts))
        place = 0
        for _ in range(codes.count(None)):  # new texts, few among many that are known
            place = codes.index(None, place)
            codes[place] = self._text(texts[place])
        for place, value in others.items():
            codes[place] = self._code(value)
        self._codes.extend(codes)  # type: ignore[arg-type]  # no ``None`` is left
        if self._texts.size + self._codes.size + 8 * len(self._floats) > _SIZE_LIMIT:
            raise FormatError("more different texts and numbers than any known benchmark file has; refused")

    def fetch(self, index: int) -> object:
        """The memo entry with this number.

        Raises:
            FormatError: A container that was forgotten.
        """
        code = self._codes[index]
        kind, number = code & 3, code >> 2
        if kind == _TEXT:
            return self._texts[number]
        if kind == _BYTES:
            return self._texts[number].encode("latin-1")
        if kind == _FLOAT:
            return self._floats[number]
        value = self._values[number]
        if value is _FORGOTTEN:
            raise FormatError(
                "two records of the file share an object (another record's list, dict or array is referred "
                "to), which is not supported"
            )
        return value.copy() if isinstance(value, (list, dict, set)) else value

    def _text(self, text: str | None) -> int:
        code = self._text_codes.get(text)
        if code is None:
            if len(self._text_codes) >= _KNOWN_TEXTS:
                self._text_codes = {None: _VALUE}
            code = self._text_codes[text] = len(self._texts) << 2 | _TEXT
            self._texts.append(text or "", weight=len(text or ""))
        return code

    def _code(self, value: object) -> int:
        kind = type(value)
        if isinstance(value, float):
            self._floats.append(value)
            return (len(self._floats) - 1) << 2 | _FLOAT
        if isinstance(value, bytes):
            return self._text(value.decode("latin-1")) | _BYTES
        key = _value_key(value)
        if key is None:
            return _VALUE  # number 0: forgotten
        number = self._value_numbers.get((kind, key))
        if number is None:
            if len(self._values) > _KEPT_VALUES:
                return _VALUE
            number = self._value_numbers[kind, key] = len(self._values)
            self._values.append(value.copy() if isinstance(value, (list, dict, set)) else value)
        return number << 2 | _VALUE


def _value_key(value: object) -> object:
    """What tells values of one type apart that are small enough to be kept; ``None`` for all others."""
    if isinstance(value, (int, type(None), np.dtype, Global)):
        return (value,)
    if not isinstance(value, (tuple, list, dict, set, frozenset)) or len(value) > _SMALL:
        return None
    items: list[object] = list(value)
    if isinstance(value, dict):
        items += value.values()
    if not all(type(item) in _PLAIN for item in items):
        return None
    # The types too: 1, 1.0 and True are equal.
    return tuple((type(item), item) for item in items)
