"""The pickle machine: what each opcode does to a stack and a memo of plain data.

:mod:`crlso.formats.pickles` says what it departs from ``pickle.load`` in, and has the functions to use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final, final

from crlso.formats.emulated import Allowed, Global, Record, Shell, check_key
from crlso.formats.errors import FormatError
from crlso.formats.memo import Memo
from crlso.formats.runs import LONGEST_TEXT, Runs
from crlso.formats.source import Source

PROTOCOLS: Final = (2, 3, 4, 5)

_BATCH: Final = 1000  # picklers fill lists and dicts in batches of this size
_LONGEST_INTEGER: Final = 4096  # bytes
_CONTAINERS: Final = frozenset({dict, list, set, frozenset, tuple, Record})
_BIG_DOUBLE: Final = Struct(">d")
_FLOAT: Final = ord("G")
_UNUSED: Final = Global("(no object)")  # stands at a number of the memo that has none


@dataclass(frozen=True)
class Limits:
    """What one entry, or the rest of the pickle outside of the streamed dict, may take.

    Attributes:
        size: Bytes of pickle.
        containers: Lists, dicts, tuples and sets, counted again where they are referred to; and the items of
            those that a call copies (64 characters of a text are one).
        depth: Containers inside of one another.
    """

    size: int = 16 << 20
    containers: int = 500_000
    depth: int = 64


@final
class Machine:
    """The pickle machine: a stack with marks, a memo, and one method per opcode.

    The entries of the streamed dict are taken off the bottom of its part of the stack as soon as a later
    entry has begun. Every opcode works on the top of the stack and may not reach below the innermost mark, so
    an entry that was taken off too early (a tuple is still to be made of it) is noticed as an underflow.
    """

    def __init__(
        self, source: Source, allowed: Allowed, limits: Limits, *, at: tuple[str, ...] | None
    ) -> None:
        self._source = source
        self._allowed = allowed
        self._limits = limits
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._made_at: list[int] = []  # for each mark, ``_made`` when it was set
        self._floor = 0  # the innermost mark
        self._memo = Memo()
        self._runs = Runs(source, self._stack, self._memo)
        self._running = True
        self.result: object = None
        # Containers that were pushed so far; if a stretch has pushed none, its objects are all scalars.
        self._made = 0
        self._made_before = 0
        self._depths: dict[int, int] = {}
        self._referred: set[int] = set()  # identities of containers that a memo opcode has referred to
        self._outer_depths: dict[int, int] = {}
        self._outer_referred: set[int] = set()
        # Streaming.
        self._at = at
        self._streamed: dict[object, object] | None = None
        self._open_marks: int | None = None  # number of marks while the streamed dict is being filled
        self._ready: list[tuple[object, object]] = []
        self._keys: set[object] = set()
        self._restart_limits()

    def run(self) -> Iterator[tuple[object, object]]:
        """Run up to the end of the pickle; yields the streamed entries."""
        source, operations, ready = self._source, _OPERATIONS, self._ready
        start = source.offset
        try:
            if source.take(1) != b"\x80":
                raise FormatError("not a pickle of protocol 2 or later")
            self._proto()
            while self._running:
                if source.position >= len(source.buffer):
                    source.need(1)
                position = source.position
                start = source.before + position
                source.position = position + 1
                operations[source.buffer[position]](self)
                if ready:
                    yield from ready
                    ready.clear()
        except UnicodeDecodeError as error:
            raise FormatError("a text that is not UTF-8", start) from error
        except FormatError as error:
            if error.offset is None:
                raise FormatError(error.reason, start) from error
            raise

    # Parts of the opcodes

    def _pop(self) -> object:
        if len(self._stack) <= self._floor:
            raise FormatError("the pickle takes more objects than it has made")
        return self._stack.pop()

    def _top(self) -> object:
        if len(self._stack) <= self._floor:
            raise FormatError("the pickle takes more objects than it has made")
        return self._stack[-1]

    def _items(self) -> tuple[list[object], bool]:
        """Takes off what was pushed since the innermost mark, and says whether it may hold containers."""
        if not self._marks:
            raise FormatError("the pickle closes a part that it has not opened")
        start = self._marks.pop()
        self._floor = self._marks[-1] if self._marks else 0
        items = self._stack[start:]
        del self._stack[start:]
        return items, self._made_at.pop() != self._made

    def _push_new(self, value: object, depth: int = 1) -> None:
        """Pushes an object that was just made."""
        if type(value) in _CONTAINERS:
            self._count()
            if depth > self._limits.depth:
                raise FormatError(f"more than {self._limits.depth} containers inside of one another")
            self._depths[id(value)] = depth
            self._referred.discard(id(value))
        self._stack.append(value)

    def _count(self, more: int = 1) -> None:
        self._made += more
        if self._made - self._made_before > self._limits.containers:
            raise FormatError(f"more than {self._limits.containers} containers in one record")

    def _depth(self, items: list[object] | tuple[object, ...]) -> int:
        """How deep a container of these items is."""
        deepest = 0
        for item in items:
            if type(item) in _CONTAINERS:
                place = id(item)
                deepest = max(deepest, self._depths.get(place) or self._outer_depths.get(place, 1))
        return 1 + deepest

    def _deepen(self, container: object, items: list[object]) -> None:
        """Notes that a container receives items."""
        place = id(container)
        depth = max(self._depth(items), self._depths.get(place) or self._outer_depths.get(place, 1))
        if depth > self._limits.depth:
            raise FormatError(f"more than {self._limits.depth} containers inside of one another")
        self._depths[place] = depth

    def _fillable(self, kind: type) -> object:
        """The container on top; it must not have been referred to yet, else it could hold itself."""
        container = self._top()
        if type(container) is not kind:
            raise FormatError(f"the pickle fills a {_kind(container)} as if it were a {kind.__name__}")
        if id(container) in self._referred or id(container) in self._outer_referred:
            raise FormatError("an object that contains itself")
        return container

    def _set_pairs(self, items: list[object], containers: bool) -> None:
        target = self._fillable(dict)
        assert isinstance(target, dict)
        if len(items) % 2:
            raise FormatError("a dict with a key but no value")
        if target is self._streamed:
            self._hand_out(items)
            return
        if containers:
            for key in items[::2]:
                check_key(key)
            self._deepen(target, items)
        before = len(target)
        both = iter(items)
        target.update(zip(both, both, strict=True))
        if len(target) != before + len(items) // 2:
            raise FormatError("a dict with the same key twice")

    # Streaming

    def _restart_limits(self) -> None:
        """A new entry, or what stands outside of all, begins."""
        self._made_before = self._made
        self._source.stop = self._source.offset + self._limits.size
        self._source.refusal = f"more than {self._limits.size} bytes in one record"

    def _path(self, place: int, longest: int) -> tuple[object, ...] | None:
        """Keys that lead from the root to a place of the stack; ``None`` if it is not a dict in dicts.

        Nor if there are more than ``longest``: a hostile stack is not searched to its bottom time and again.
        """
        keys: list[object] = []
        starts = [start for start in self._marks if start <= place]
        while place:
            if type(self._stack[place]) is not dict or len(keys) == longest:
                return None
            start = starts.pop() if starts else None
            # Above a mark stand key, value, key, value; without one there is a single pair above its dict.
            if (place - start if start is not None else place - 1) % 2 == 0:
                return None
            keys.append(self._stack[place - 1])
            place = place - 2 if start is None else start - 1
        return tuple(reversed(keys)) if type(self._stack[0]) is dict else None

    def _find_streamed(self, place: int) -> bool:
        """Whether the dict at this place, which is about to be filled, is the one to stream; notes it."""
        found, at = self._stack[place], self._at or ()
        if type(found) is not dict or len(self._marks) > len(at) or self._path(place, len(at)) != at:
            return False
        if self._streamed is None and not found:
            self._streamed = found
            self._memo.keep()
            self._outer_depths |= self._depths
        return found is self._streamed

    def _watch_mark(self) -> None:
        """A part opens on top of the stack: perhaps the streamed dict's, perhaps a later entry's."""
        if not self._stack:
            return
        if self._open_marks is None:
            if self._find_streamed(len(self._stack) - 1):
                self._open_marks = len(self._marks) + 1
                self._restart_limits()
            return
        if len(self._marks) != self._open_marks or (len(self._stack) - self._floor) % 2:
            return
        end = start = self._floor
        while end + 2 < len(self._stack) and _is_complete(self._stack[end + 1]):
            end += 2
        if end > start:
            items = self._stack[start:end]
            del self._stack[start:end]
            self._hand_out(items)

    def _hand_out(self, items: list[object]) -> None:
        """Entries of the streamed dict are complete."""
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            if key in self._keys:
                raise FormatError(f"the same key twice: {str(key)[:40]!r}")
            self._keys.add(key)
            self._ready.append((key, value))
        self._memo.forget()
        self._depths.clear()
        self._referred.clear()
        self._restart_limits()

    # Opcodes

    def _proto(self) -> None:
        version = self._source.take(1)[0]
        if version not in PROTOCOLS:
            raise FormatError(f"pickle protocol {version}; known are {PROTOCOLS[0]} to {PROTOCOLS[-1]}")

    def _frame(self) -> None:
        self._source.take(8)  # where the pickler cut its output; the content goes on as if it had not

    def _stop(self) -> None:
        result = self._pop()
        if self._stack or self._marks:
            raise FormatError("the pickle ends inside of an object")
        self._running = False
        self._source.stop = 1 << 62
        if self._at is not None:
            found: object = result
            for key in self._at:
                found = found.get(key) if type(found) is dict else None
            if type(found) is not dict or (found is not self._streamed and (found or self._keys)):
                raise FormatError(f"no dict of records at {'/'.join(map(str, self._at))!r}")
        self.result = result

    def _mark(self) -> None:
        if self._at is not None:
            self._watch_mark()
        if len(self._marks) >= self._limits.depth:
            raise FormatError(f"more than {self._limits.depth} containers inside of one another")
        self._floor = len(self._stack)
        self._marks.append(self._floor)
        self._made_at.append(self._made)

    def _none(self) -> None:
        self._stack.append(None)

    def _true(self) -> None:
        self._stack.append(True)

    def _false(self) -> None:
        self._stack.append(False)

    def _binint1(self) -> None:
        raw = self._source.take(1)
        if not self._starts_run("K", 1):
            self._stack.append(raw[0])

    def _binint2(self) -> None:
        raw = self._source.take(2)
        if not self._starts_run("M", 2):
            self._stack.append(int.from_bytes(raw, "little"))

    def _starts_run(self, opcode: str, size: int) -> bool:
        """Takes a stretch that begins with the opcode just read and its argument, if there is one."""
        source = self._source
        position, buffer = source.position, source.buffer
        if position >= len(buffer) or buffer[position] != _FLOAT or position <= size:
            return False  # the last: the opcode itself is no longer in the buffer
        source.position = position - size - 1
        if self._runs.floats() if opcode == "G" else self._runs.numbered(opcode):
            return True
        source.position = position
        return False

    def _binint(self) -> None:
        self._stack.append(int.from_bytes(self._source.take(4), "little", signed=True))

    def _long1(self) -> None:
        self._long(self._source.take(1)[0])

    def _long4(self) -> None:
        self._long(self._source.number(4))

    def _long(self, size: int) -> None:
        if size > _LONGEST_INTEGER:
            raise FormatError(f"an integer of {size} bytes")
        self._stack.append(int.from_bytes(self._source.take(size), "little", signed=True))

    def _binfloat(self) -> None:
        raw = self._source.take(8)
        if not self._starts_run("G", 8):
            self._stack += _BIG_DOUBLE.unpack(raw)

    def _short_binunicode(self) -> None:
        self._text(1)

    def _binunicode(self) -> None:
        self._text(4)

    def _binunicode8(self) -> None:
        self._text(8)

    def _text(self, length_size: int) -> None:
        source = self._source
        start = source.position - 1
        length = source.number(length_size)
        if length <= LONGEST_TEXT and length_size <= 4:
            after = source.position
            if start == after - length_size - 1:  # the buffer was not refilled between
                source.position = start
                if self._runs.texts(source.buffer[start:after]):
                    return
                source.position = after
            self._stack.append(self._runs.known[source.take(length)])
        else:
            self._stack.append(source.take(length).decode("utf-8", "surrogatepass"))

    # Texts of Python 2, which are bytes: the content of an array among them.

    def _short_binstring(self) -> None:
        self._stack.append(self._source.take(self._source.take(1)[0]).decode("latin-1"))

    def _binstring(self) -> None:
        self._stack.append(self._source.take(self._source.number(4)).decode("latin-1"))

    def _short_binbytes(self) -> None:
        self._stack.append(self._source.take(self._source.take(1)[0]))

    def _binbytes(self) -> None:
        self._stack.append(self._source.take(self._source.number(4)))

    def _binbytes8(self) -> None:
        self._stack.append(self._source.take(self._source.number(8)))

    def _empty_list(self) -> None:
        self._push_new([])

    def _empty_dict(self) -> None:
        self._push_new({})

    def _empty_set(self) -> None:
        self._push_new(set())

    def _empty_tuple(self) -> None:
        self._push_new(())

    def _tuple1(self) -> None:
        self._tuple_of((self._pop(),))

    def _tuple2(self) -> None:
        second = self._pop()
        self._tuple_of((self._pop(), second))

    def _tuple3(self) -> None:
        third, second = self._pop(), self._pop()
        self._tuple_of((self._pop(), second, third))

    def _tuple(self) -> None:
        self._tuple_of(tuple(self._items()[0]))

    def _tuple_of(self, items: tuple[object, ...]) -> None:
        self._push_new(items, self._depth(items))

    def _frozenset(self) -> None:
        items, containers = self._items()
        for item in items if containers else ():
            check_key(item)
        self._push_new(frozenset(items), self._depth(items))

    def _append(self) -> None:
        item = self._pop()
        self._extend([item], True)

    def _appends(self) -> None:
        self._extend(*self._items())

    def _extend(self, items: list[object], containers: bool) -> None:
        target = self._fillable(list)
        assert isinstance(target, list)
        if containers:
            self._deepen(target, items)
        target += items

    def _additems(self) -> None:
        items, containers = self._items()
        target = self._fillable(set)
        assert isinstance(target, set)
        if containers:
            for item in items:
                check_key(item)
            self._deepen(target, items)
        target.update(items)

    def _setitem(self) -> None:
        value = self._pop()
        key = self._pop()
        self._top()
        if self._at is not None and self._open_marks is None:
            self._find_streamed(len(self._stack) - 1)
        self._set_pairs([key, value], True)

    def _setitems(self) -> None:
        self._set_pairs(*self._items())
        if len(self._marks) + 1 == self._open_marks:
            self._open_marks = None

    def _memoize(self) -> None:
        self._memo.put(self._top())

    def _binput(self) -> None:
        self._put(self._source.take(1))

    def _long_binput(self) -> None:
        self._put(self._source.take(4))

    def _put(self, raw: bytes) -> None:
        number, memo = int.from_bytes(raw, "little"), self._memo
        if number == 1 and not len(memo):
            memo.put(_UNUSED)  # Python 2 counts from 1
        if number != memo.base + len(memo.texts):
            raise FormatError(f"object {number} is memoised where {len(memo)} is next")
        memo.put(self._top())

    def _binget(self) -> None:
        raw = self._source.take(1)
        if not self._starts_run("h", 1):
            self._get(raw)

    def _long_binget(self) -> None:
        raw = self._source.take(4)
        if not self._starts_run("j", 4):
            self._get(raw)

    def _get(self, raw: bytes) -> None:
        number, memo = int.from_bytes(raw, "little"), self._memo
        if number >= memo.base + len(memo.texts):
            raise FormatError(f"the pickle refers to object {number}, which it has not made")
        value = memo.get(number)
        if value is _UNUSED:
            raise FormatError(f"the pickle refers to object {number}, which it has not made")
        if type(value) in _CONTAINERS:
            self._count()
            if memo.is_kept(number):
                self._outer_referred.add(id(value))
            elif number >= memo.base:
                self._referred.add(id(value))
            else:  # a copy, or small and of scalars only
                self._depths[id(value)] = 1
        self._stack.append(value)

    def _global(self) -> None:
        module, name = self._source.line().decode("utf-8"), self._source.line().decode("utf-8")
        self._stack.append(self._allowed.find(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise FormatError("a name that is not text")
        self._stack.append(self._allowed.find(module, name))

    def _inst(self) -> None:
        self._global()
        raise FormatError(
            f"the pickle makes an object of {_kind(self._stack[-1])} in a way that data do not need"
        )

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(function) is not Global or function.call is None or type(arguments) is not tuple:
            raise FormatError(
                f"the pickle calls {_kind(function)}, which is not data; refused, nothing was run"
            )
        self._memo.spend(arguments)
        self._count(sum(map(_copied, arguments)))
        self._push_made(function.call(arguments))

    def _newobj(self) -> None:
        arguments, kind = self._pop(), self._pop()
        self._make(kind, arguments)

    def _newobj_ex(self) -> None:
        keywords, arguments, kind = self._pop(), self._pop(), self._pop()
        if keywords != {}:
            raise FormatError("an object that is made with named arguments")
        self._make(kind, arguments)

    def _make(self, kind: object, arguments: object) -> None:
        if type(kind) is not Global or kind.new is None or type(arguments) is not tuple:
            raise FormatError(f"the pickle makes an object of {_kind(kind)}, which is not data; refused")
        self._push_made(kind.new(arguments))

    def _push_made(self, value: object) -> None:
        """Pushes what a stand-in has made."""
        if isinstance(value, (set, frozenset)):
            self._push_new(value, self._depth(tuple(value)))
        elif isinstance(value, dict):
            self._push_new(value, self._depth(tuple(value.values())))
        else:
            self._push_new(value)

    def _build(self) -> None:
        state = self._pop()
        shell = self._top()
        if type(shell) is not Shell:
            raise FormatError(f"the pickle sets the state of {_kind(shell)}, which is not data; refused")
        self._stack.pop()
        self._push_new(shell.fill(state), self._depth((state,)))

    def _binpersid(self) -> None:
        identifier = self._pop()
        if self._allowed.persistent is None:
            raise FormatError("the pickle refers to an object outside of it; refused")
        self._stack.append(self._allowed.persistent(identifier))


def _kind(value: object) -> str:
    return value.name if type(value) is Global else type(value).__name__


def _copied(argument: object) -> int:
    """How much a call that copies this argument takes, in containers."""
    if isinstance(argument, str):
        return len(argument) >> 6
    return len(argument) if isinstance(argument, list | tuple) else 0


def _is_complete(value: object) -> bool:
    """Whether an entry's value that later objects stand above is complete.

    An empty dict may be waiting for its only entry, and one of a full batch for a last one. If another object
    is taken for complete although it is to become a part of something, that is noticed later.
    """
    return isinstance(value, (dict, list)) and len(value) % _BATCH != 0


_REFUSED: Final = {
    "o": "OBJ",
    "P": "PERSID",
    "\x82": "EXT1",
    "\x83": "EXT2",
    "\x84": "EXT4",
    "\x97": "NEXT_BUFFER",
    "\x98": "READONLY_BUFFER",
}


def _refusal(code: int) -> Callable[[Machine], None]:
    name = _REFUSED.get(chr(code))
    what = f"opcode {name}" if name else f"byte 0x{code:02x} as an opcode"

    def refuse(machine: Machine) -> None:
        del machine
        raise FormatError(f"{what}, which data of protocols 2 to 5 do not need; refused or damaged")

    return refuse


_KNOWN: Final[dict[bytes, Callable[[Machine], None]]] = {
    b"\x80": Machine._proto,
    b"\x95": Machine._frame,
    b".": Machine._stop,
    b"(": Machine._mark,
    b"N": Machine._none,
    b"\x88": Machine._true,
    b"\x89": Machine._false,
    b"K": Machine._binint1,
    b"M": Machine._binint2,
    b"J": Machine._binint,
    b"\x8a": Machine._long1,
    b"\x8b": Machine._long4,
    b"G": Machine._binfloat,
    b"\x8c": Machine._short_binunicode,
    b"X": Machine._binunicode,
    b"\x8d": Machine._binunicode8,
    b"U": Machine._short_binstring,
    b"T": Machine._binstring,
    b"C": Machine._short_binbytes,
    b"B": Machine._binbytes,
    b"\x8e": Machine._binbytes8,
    b"\x96": Machine._binbytes8,  # a bytearray, as numpy uses it
    b"]": Machine._empty_list,
    b"}": Machine._empty_dict,
    b"\x8f": Machine._empty_set,
    b")": Machine._empty_tuple,
    b"\x85": Machine._tuple1,
    b"\x86": Machine._tuple2,
    b"\x87": Machine._tuple3,
    b"t": Machine._tuple,
    b"\x91": Machine._frozenset,
    b"a": Machine._append,
    b"e": Machine._appends,
    b"\x90": Machine._additems,
    b"s": Machine._setitem,
    b"u": Machine._setitems,
    b"\x94": Machine._memoize,
    b"q": Machine._binput,
    b"r": Machine._long_binput,
    b"h": Machine._binget,
    b"j": Machine._long_binget,
    b"c": Machine._global,
    b"\x93": Machine._stack_global,
    b"i": Machine._inst,
    b"R": Machine._reduce,
    b"\x81": Machine._newobj,
    b"\x92": Machine._newobj_ex,
    b"b": Machine._build,
    b"Q": Machine._binpersid,
}

_OPERATIONS: Final = tuple(_KNOWN.get(bytes([code])) or _refusal(code) for code in range(256))
