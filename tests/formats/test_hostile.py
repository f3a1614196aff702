"""Pickles that try to run something, and damaged ones: one clear error, nothing run, no hang."""

from __future__ import annotations

import bz2
import functools
import io
import os
import pickle
import pickletools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crlso.formats.emulated import TORCH
from crlso.formats.errors import FormatError
from crlso.formats.machine import Limits
from crlso.formats.pickles import read_pickle, stream_pickle
from tests.benchmarks.mutations import mutated
from tests.benchmarks.samples_nats import pickled_table
from tests.spaces.data import data_file

RUNNING = {
    "exec",
    "compile",
    "os.system",
    "os.exec",
    "subprocess.Popen",
    "pickle.find_class",
    "import",
    "open",
}
HEARD: list[str] = []
LISTENING: list[bool] = []


def hear(event: str, arguments: tuple[object, ...]) -> None:
    if LISTENING and event in RUNNING:
        HEARD.append(f"{event} {arguments!r}")


sys.addaudithook(hear)


@pytest.fixture
def nothing_runs() -> Iterator[None]:
    read_pickle(io.BytesIO(pickle.dumps([np.float64(1)])))  # numpy imports something at first use,
    np.random.default_rng(0)  # here too
    HEARD.clear()
    LISTENING.append(True)
    yield
    LISTENING.clear()
    assert HEARD == []


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.pair = (function, arguments)

    def __reduce__(self) -> Any:
        return self.pair


class WithState:
    def __setstate__(self, state: object) -> None:
        raise AssertionError("run")

    def __getstate__(self) -> object:
        return {"a": 1}


class New:
    def __new__(cls, *arguments: object) -> New:
        return super().__new__(cls)

    def __getnewargs__(self) -> tuple[object, ...]:
        return (1,)


def payloads(marker: Path) -> dict[str, object]:
    shell = f"touch {marker}"
    return {
        "posix.system": Calls(os.system, shell),
        "builtins.eval": Calls(eval, f"open({str(marker)!r}, 'w')"),
        "builtins.exec": Calls(exec, f"open({str(marker)!r}, 'w')"),
        "subprocess.Popen": Calls(subprocess.Popen, ["touch", str(marker)]),
        "functools.partial": Calls(functools.partial(os.system, shell)),
        "builtins.getattr": Calls(getattr, os, "system"),
        "io.open": Calls(open, str(marker), "w"),
        "builtins.print": print,
        "numpy.load": Calls(np.load, str(marker)),
        "WithState": WithState(),
        "New": New(),
        "builtins.complex": 1j,
        "builtins.range": range(3),
    }


NAMES = list(payloads(Path("x")))


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_names_are_refused(name: str, protocol: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    marker = tmp_path / "marker"
    payload = payloads(marker)[name] if name != "builtins.getattr" else Calls(getattr, "os", "system")
    value = {"before": 1, "infos": {0: {"a": [1], "b": payload}, 1: {"a": 1, "b": 2}}}
    data = pickle.dumps(value, protocol)
    request.getfixturevalue("nothing_runs")
    # Protocol 2 writes names as Python 2 knows them.
    old = [str(value) for opcode, value, _ in pickletools.genops(data) if opcode.name == "GLOBAL"]
    shown = "|".join(re.escape(each.replace(" ", ".")) for each in old) or name
    for allowed in (None, TORCH):
        kwargs = {} if allowed is None else {"allowed": allowed}
        with pytest.raises(FormatError, match=f"({shown}).*refused") as caught:
            read_pickle(io.BytesIO(data), **kwargs)
        assert "\n" not in str(caught.value)
        with pytest.raises(FormatError, match=f"({shown}).*refused"):
            list(stream_pickle(io.BytesIO(data), at=("infos",), **kwargs))
    assert not marker.exists()


RAW = {
    "global": b"cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "stack global": b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "dotted": b"\x8c\x0bcollections\x8c\x1aOrderedDict.fromkeys.x\x93)R.".replace(b"\x1a", b"\x16"),
    "inst": b"(X\x04\x00\x00\x00trueios\nsystem\n.",
    "inst of an allowed name": b"(icollections\nOrderedDict\n.",
    "obj": b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
    "obj of an allowed name": b"(ccollections\nOrderedDict\no.",
    "new of an allowed name": b"ccollections\nOrderedDict\n)\x81.",
    "new, named arguments": b"ccollections\nOrderedDict\n)}X\x01\x00\x00\x00aK\x01s\x92.",
    "call of a text": b"X\x02\x00\x00\x00os)R.",
    "call of a type": b"cnumpy\nndarray\n)R.",
    "state of a dict": b"}}b.",
    "state of a name": b"ccollections\nOrderedDict\n}b.",
    "state of an OrderedDict": b"ccollections\nOrderedDict\n)R}b.",
    "extension": b"\x82\x01.",
    "extension 2": b"\x83\x01\x00.",
    "extension 4": b"\x84\x01\x00\x00\x00.",
    "persistent text": b"Pabc\n.",
    "persistent": b"X\x01\x00\x00\x00aQ.",
    "next buffer": b"\x97.",
    "encode to elsewhere": b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    "encode not latin": b"c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R.",
    "bytes of a size": b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
    "set of a dict": b"c__builtin__\nset\n}\x85R.",
    "set of lists": b"c__builtin__\nset\n]]a\x85R.",
    "list as key": b"}]K\x01s.",
    "dict in set": b"\x8f(}\x90.",
    "dict in frozenset": b"(}\x91.",
    "list in key": b"}]\x85K\x01s.",
    "dtype of objects": b"cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R.",
    "scalar without type": b"cnumpy.core.multiarray\nscalar\nK\x01C\x01a\x86R.",
    "array of something": b"cnumpy.core.multiarray\n_reconstruct\nX\x01\x00\x00\x00aK\x00\x85C\x01b\x87R.",
    "array, state twice": b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R}b.",
    "underflow": b"K\x01\x86.",
    "underflow below a mark": b"K\x01(\x85.",
    "no mark": b"]K\x01e.",
    "append to a dict": b"}K\x01a.",
    "items of a list": b"](K\x01K\x02u.",
    "odd items": b"}(K\x01u.",
    "add to a list": b"](K\x01\x90.",
    "memo that is not there": b"h\x00.",
    "memo of the future": b"]q\x05.",
    "memo below a mark": b"K\x01(\x94t.",
    "memo of a filled list": b"]q\x00h\x00a.",
    "filled after it was referred to": b"]q\x00]h\x00aK\x01\x86h\x00K\x01a\x86.",
    "two objects at the end": b"K\x01K\x02.",
    "open mark at the end": b"(K\x01.",
    "nothing at the end": b".",
    "text protocol": b"I1\n.",
    "duplicate": b"K\x012\x86.",
    "pop": b"K\x01K\x020.",
    "bad text": b"X\x02\x00\x00\x00\xff\xfe.",
    "bad long text": b"X\x64\x00\x00\x00" + b"\xff" * 100 + b".",
    "bad text in a stretch": (b"X\x01\x00\x00\x00\xffq\x00G" + bytes(8)) * 3 + b".",
    "bad name": b"c\xff\n\xff\n.",
    "long name": b"c" + b"a" * 5000 + b"\n\n.",
    "name of numbers": b"K\x01K\x02\x93.",
    "unknown opcode": b"\xf0.",
    "protocol 9": b"\x80\x09K\x01.",
}


@pytest.mark.parametrize("name", RAW)
@pytest.mark.usefixtures("nothing_runs")
def test_raw_pickles_are_refused(name: str) -> None:
    with pytest.raises(FormatError, match=r"^at byte \d+: .+") as caught:
        read_pickle(io.BytesIO(b"\x80\x04" + RAW[name]))
    assert "\n" not in str(caught.value)
    with pytest.raises(FormatError):
        list(stream_pickle(io.BytesIO(b"\x80\x04" + RAW[name]), at=("infos",)))


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"\x80\x01K\x01.", b"(lp0\n.", b"hello", b"<html>", b"\x1f\x8b\x08"]
)
def test_what_is_no_pickle(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"at byte 0: not a pickle|protocol|data end"):
        read_pickle(io.BytesIO(data))


def bomb(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def test_doubling_takes_no_memory_and_no_time() -> None:
    """Thirty levels of pairs of the same: small in memory, but not to be hashed."""
    # Each is a pair of the top of the stack and of itself.
    parts = [b"K\x01\x85\x94", *(b"h" + bytes([last]) + b"\x86\x94" for last in range(30))]
    start = time.process_time()
    read_pickle(io.BytesIO(bomb(*parts)))
    with pytest.raises(FormatError, match="a key of more than 256 parts"):
        read_pickle(io.BytesIO(bomb(b"}", *parts, b"K\x01s")))
    assert time.process_time() - start < 1


UNITS = (b"]", b"}", b"\x8f", b")\x85", b"(", b"K\x01\x85", b"(\x91", b"]]a", b"}K\x01]s", b")\x94\x85")


def check_bomb(unit: bytes, limits: Limits) -> None:
    data = b"\x80\x04" + unit * (limits.containers + limits.containers // 2)
    with pytest.raises(FormatError, match="containers"):
        list(stream_pickle(io.BytesIO(data), at=("infos",), limits=limits))


@pytest.mark.parametrize("unit", UNITS)
def test_bombs_of_containers(unit: bytes) -> None:
    check_bomb(unit, Limits(containers=50_000))


@pytest.mark.parametrize("unit", [b"}K\x01]s", b"(\x91"])  # those that take longest
def test_the_usual_limit_is_come_to_in_seconds(unit: bytes) -> None:
    start = time.process_time()
    check_bomb(unit, Limits())
    assert time.process_time() - start < 20


def test_calls_that_copy_are_counted() -> None:
    many = b"](" + b"K\x01" * 100_000 + b"e\x94"
    for name, arguments in ((b"__builtin__\nset", b"h\x00\x85"),):
        call = b"c" + name + b"\n" + arguments + b"R"
        with pytest.raises(FormatError, match="containers"):
            list(stream_pickle(io.BytesIO(bomb(many, call * 100_000)), at=("infos",)))
    text = (
        b"B" + (0).to_bytes(4, "little") + b"X" + (1 << 20).to_bytes(4, "little") + b"a" * (1 << 20) + b"\x94"
    )
    call = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(FormatError, match="containers"):
        list(stream_pickle(io.BytesIO(bomb(text, call * 10_000)), at=("infos",)))


def survives(data: bytes, at: str | None) -> bool:
    """Whether it was read; a :class:`FormatError` is the only way not to be."""
    start = time.process_time()
    try:
        if at is None:
            read_pickle(io.BytesIO(data))
        else:
            for _ in stream_pickle(io.BytesIO(data), at=(at,)):
                pass
    except FormatError as error:
        assert "\n" not in str(error)
        return False
    finally:
        assert time.process_time() - start < 5
    return True


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["real", "streamed"])
@pytest.mark.usefixtures("nothing_runs")
def test_mutated_files(kind: str, count: int) -> None:
    """Near the start, where most opcodes are others, and anywhere."""
    rng = np.random.default_rng(201)
    if kind == "real":
        LISTENING.clear()
        data = bz2.decompress(data_file("nasbench201/nats_records/000011.pbz2").read_bytes())
        LISTENING.append(True)
    else:
        data = b"".join(pickled_table(3, epochs=(2, 4)))
    at = None if kind == "real" else "arch2infos"
    assert survives(data, at)
    read = 0
    for case in range(count):
        head = 4000 if case % 2 else len(data)
        read += survives(mutated(data[:head], rng) + data[head:], at)
    assert read < 0.8 * count


@pytest.mark.parametrize("kind", ["real", "streamed"])
def test_every_truncation_is_noticed(kind: str) -> None:
    if kind == "real":
        data = bz2.decompress(data_file("nasbench201/nats_records/000011.pbz2").read_bytes())[:8000]
        steps: range = range(0, 8000, 29)
    else:
        data = b"".join(pickled_table(2, epochs=(2, 3)))
        steps = range(0, len(data), 397)
    for end in steps:
        assert not survives(data[:end], None if kind == "real" else "arch2infos")
