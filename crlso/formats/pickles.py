"""Pickles as data: read opcode by opcode with a machine of our own, which has no means to run anything.

The opcodes are those of Python's pickle protocols 2 to 5 (``pickletools`` describes them). Departures from
``pickle.load``: names are looked up in a list of stand-ins (:mod:`crlso.formats.emulated`) instead of being
imported; everything becomes plain Python data (``OrderedDict`` becomes ``dict``, numpy numbers become
Python numbers, and the texts of Python 2, which are bytes, become texts by Latin-1); memory, nesting and
lengths are limited; a dict with the same key twice, and an object that contains itself, are refused.
:func:`stream_pickle` hands out the entries of a dict inside of the pickle one by one and lets go of them,
so that a file of gigabytes needs the memory of one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, final

from crlso.formats.emulated import DEFAULT, Allowed
from crlso.formats.machine import Limits, Machine
from crlso.formats.source import Readable, Source

__all__ = ["WHOLE", "Entries", "Finish", "Limits", "read_pickle", "stream_pickle"]

_NOTHING: Final = object()

Finish = Callable[[Source], None]
"""Checks what follows a pickle in its stream."""

WHOLE: Final = Limits(size=256 << 20, containers=5_000_000)
"""For pickles that are read at once."""


def read_pickle(
    stream: Readable | Source,
    *,
    allowed: Allowed = DEFAULT,
    limits: Limits = WHOLE,
    finish: Finish | None = Source.finish,
) -> object:
    """Read a pickle as plain data.

    Args:
        stream: Positioned at the pickle.
        allowed: The names that it may use.
        limits: Of memory and nesting.
        finish: Checks what follows the pickle. By default nothing may follow; the stream is then read to its
            end, so that an archive's checksum is checked. ``None``: it is left as it is.

    Returns:
        Plain data: dict, list, tuple, set, frozenset, str, bytes, int, float, bool, None, numpy arrays of
        numbers, and what ``allowed`` makes of other objects. An allowed name that is not called comes out as
        a :class:`~crlso.formats.emulated.Global`, which does nothing.

    Raises:
        FormatError: Not a pickle, damaged, beyond the limits, or it names what is not allowed.

    Example:
        >>> import io, pickle
        >>> read_pickle(io.BytesIO(pickle.dumps({"accuracy": [91.5, None]})))
        {'accuracy': [91.5, None]}
        >>> read_pickle(io.BytesIO(pickle.dumps(print)))
        Traceback (most recent call last):
        crlso.formats.errors.FormatError: at byte 30: the file names builtins.print, which is not data; \
refused, nothing was run
    """
    source = stream if isinstance(stream, Source) else Source(stream)
    machine = Machine(source, allowed, limits, at=None)
    for _ in machine.run():  # without ``at`` nothing is handed out
        raise AssertionError
    if finish is not None:
        finish(source)
    return machine.result


def stream_pickle(
    stream: Readable | Source,
    *,
    at: tuple[str, ...],
    allowed: Allowed = DEFAULT,
    limits: Limits | None = None,
    finish: Finish | None = Source.finish,
) -> Entries:
    """Read a pickled dict, handing out the entries of a dict inside of it one by one.

    Args:
        stream: Positioned at the pickle.
        at: The keys that lead from the pickled dict to the one whose entries are handed out.
        allowed: The names that the pickle may use.
        limits: For each entry, and for what stands outside of that dict.
        finish: Checks what follows the pickle, see :func:`read_pickle`.

    Example:
        >>> import io, pickle
        >>> stream = io.BytesIO(pickle.dumps({"total": 2, "infos": {0: {"x": 1.5}, 1: {"x": 2.5}}}))
        >>> entries = stream_pickle(stream, at=("infos",))
        >>> list(entries)
        [(0, {'x': 1.5}), (1, {'x': 2.5})]
        >>> entries.rest
        {'total': 2, 'infos': {}}
    """
    source = stream if isinstance(stream, Source) else Source(stream)
    machine = Machine(source, allowed, limits or Limits(), at=at)
    return Entries(machine, None if finish is None else partial(finish, source))


@final
class Entries(Iterator[tuple[object, object]]):
    """Iterator over ``(key, value)`` of the streamed dict; made by :func:`stream_pickle`.

    Raises:
        FormatError: While iterating: damaged, beyond the limits, naming what is not allowed, the same key
            twice, or there is no dict at the place. What was handed out before is then not to be trusted
            either.
    """

    def __init__(self, machine: Machine, finish: Callable[[], None] | None) -> None:
        self._machine = machine
        self._steps = machine.run()
        self._finish = finish
        self._rest: object = _NOTHING

    def __next__(self) -> tuple[object, object]:
        for entry in self._steps:
            return entry
        if self._rest is _NOTHING:
            if self._finish is not None:
                self._finish()
            self._rest = self._machine.result
        raise StopIteration

    @property
    def rest(self) -> object:
        """The pickled dict, empty where the entries were. Known when the iteration has ended."""
        if self._rest is _NOTHING:
            raise ValueError("the entries have not been read to their end")
        return self._rest
