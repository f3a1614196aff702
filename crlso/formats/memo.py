"""The numbered objects of a pickle that later parts of it refer to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from crlso.formats.archive import Archive
from crlso.formats.emulated import Shell
from crlso.formats.errors import FormatError

_OLD_TEXTS: Final = 10_000


@final
class Memo:
    """Objects by number, in the order in which they were memoised (every Python pickler counts up from 0).

    Attributes:
        texts: Texts of the current part, ``None`` where the object is not a text.
        base: Number of the first of them.
    """

    __slots__ = ("_archive", "_kept", "_old_texts", "_others", "_spent", "base", "texts")

    def __init__(self) -> None:
        self.base = 0
        self.texts: list[str | None] = []
        self._others: dict[int, object] = {}
        self._spent: list[int] = []
        self._kept: dict[int, object] = {}
        self._archive = Archive()
        self._old_texts: dict[int, str] = {}  # some that were asked for

    def __len__(self) -> int:
        return self.base + len(self.texts)

    def put(self, value: object) -> None:
        """Give the next number to an object."""
        if type(value) is str:
            self.texts.append(value)
        else:
            self._others[len(self.texts)] = value
            self.texts.append(None)

    def spend(self, arguments: object) -> None:
        """These are arguments of a call that was made: a part that ends need not keep them."""
        if self._others.get(len(self.texts) - 1) is arguments:
            self._spent.append(len(self.texts) - 1)

    def get(self, number: int) -> object:
        """The object with this number.

        Raises:
            IndexError: There is none.
            FormatError: It was forgotten.
        """
        place = number - self.base
        if place >= 0:
            text = self.texts[place]
            return _finished(self._others[place]) if text is None else text
        if (old := self._old_texts.get(number)) is not None:
            return old
        if number in self._kept:
            return _finished(self._kept[number])
        value = self._archive.fetch(number)
        if type(value) is str:
            if len(self._old_texts) >= _OLD_TEXTS:
                self._old_texts.clear()
            self._old_texts[number] = value
        return value

    def is_kept(self, number: int) -> bool:
        """Whether this is an object, not a text, of a part that stays in memory."""
        return number in self._kept

    def texts_of(self, numbers: Sequence[int]) -> list[str] | None:
        """The objects with these numbers if all are texts of the current part."""
        base, texts = self.base, self.texts
        if min(numbers) < base or max(numbers) >= base + len(texts):
            return None
        found = [texts[number - base] for number in numbers]
        return None if None in found else found  # type: ignore[return-value]

    def keep(self) -> None:
        """End the current part, which stays in memory as a whole: containers are still known."""
        kept = {self.base + place: value for place, value in self._others.items()}
        self._end_part()
        self._kept |= kept

    def forget(self) -> None:
        """End the current part: its texts, numbers and small containers stay known, all else is let go."""
        self._end_part()

    def _end_part(self) -> None:
        for place in self._spent:
            del self._others[place]
        self._spent = []
        self._archive.extend(self.texts, {place: _finished(value) for place, value in self._others.items()})
        self.base += len(self.texts)
        self.texts = []
        self._others = {}


def _finished(value: object) -> object:
    if type(value) is not Shell:
        return value
    if value.value is None:
        raise FormatError("an object that contains itself")
    return value.value
