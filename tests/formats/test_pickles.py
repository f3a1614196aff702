"""The pickle machine against Python's own, on real records and on generated data."""

from __future__ import annotations

import bz2
import io
import itertools
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlso.formats.emulated import DEFAULT, Record, record_class
from crlso.formats.errors import FormatError
from crlso.formats.pickles import Limits, read_pickle, stream_pickle
from tests.benchmarks.samples_nats import Pieces, pickled_table, stream
from tests.spaces.data import data_file

PROTOCOLS = (2, 3, 4, 5)
RECORDS = ("000000", "000011", "000284", "meta")
PICKLERS: dict[str, Callable[..., bytes]] = {
    "c": pickle.dumps,
    "python": pickle._dumps,  # type: ignore[attr-defined]
    "optimized": lambda value, protocol: pickletools.optimize(pickle.dumps(value, protocol)),
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**2100), 2**2100),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.text(min_size=250, max_size=300),
    st.binary(max_size=300),
)
keys = st.one_of(scalars, st.tuples(st.text(max_size=5), st.integers()))


def collections(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(
        st.lists(inner, max_size=6),
        st.tuples(),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(keys, inner, max_size=6),
        st.dictionaries(keys, inner, max_size=6).map(OrderedDict),
        st.sets(keys, max_size=6),
        st.frozensets(keys, max_size=6),
        inner.map(lambda value: [value, value, {"again": value}]),  # shared references
    )


values = st.recursive(scalars, collections, max_leaves=25)


def same(ours: object, theirs: object) -> bool:
    """Equal, and of equal types (``OrderedDict`` counts as dict); 0.0 and -0.0 differ."""
    if isinstance(theirs, dict):
        return (
            type(ours) is dict
            and len(ours) == len(theirs)
            and all(
                same(a, b)
                for x, y in zip(ours.items(), theirs.items(), strict=True)
                for a, b in zip(x, y, strict=True)
            )
        )
    if type(ours) is not type(theirs):
        return False
    if isinstance(theirs, (list, tuple)):
        assert isinstance(ours, (list, tuple))
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return repr(ours) == repr(theirs) if isinstance(theirs, float) else ours == theirs


def read(data: bytes, chunk: int = 1 << 20) -> object:
    pieces = (data[start : start + chunk] for start in range(0, len(data), chunk))
    return read_pickle(stream(pieces))


def entries(data: bytes, at: tuple[str, ...] = ("infos",), chunk: int = 1 << 20) -> tuple[dict, object]:
    pieces = (data[start : start + chunk] for start in range(0, len(data), chunk))
    found = stream_pickle(stream(pieces), at=at)
    return dict(found), found.rest


def real(name: str) -> bytes:
    return bz2.decompress(data_file(f"nasbench201/nats_records/{name}.pbz2").read_bytes())


@pytest.mark.parametrize("name", RECORDS)
def test_real_records_equal_pickle(name: str) -> None:
    data = real(name)
    expected = pickle.loads(data)
    assert same(read(data), plain(expected))
    # Pieces of odd sizes: every opcode and every stretch is cut somewhere.
    for chunk in (997, 4096):
        assert same(read(data, chunk), plain(expected))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("pickler", PICKLERS)
def test_real_record_in_every_protocol(protocol: int, pickler: str) -> None:
    expected = pickle.loads(real("000011"))
    assert same(read(PICKLERS[pickler](expected, protocol)), plain(expected))


def plain(value: object) -> object:
    """With Python's numbers instead of numpy's."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


@given(value=values, protocol=st.sampled_from(PROTOCOLS), pickler=st.sampled_from(list(PICKLERS)))
@settings(max_examples=100, deadline=None)
def test_plain_data_equal_pickle(value: object, protocol: int, pickler: str) -> None:
    data = PICKLERS[pickler](value, protocol)
    assert same(read(data), value)
    assert same(read(data, 3), value)


@given(
    curves=st.dictionaries(
        st.one_of(st.text(max_size=70), st.integers(-5, 70_000)), st.floats(allow_nan=False), max_size=40
    ),
    protocol=st.sampled_from(PROTOCOLS),
    repeats=st.integers(1, 5),
)
@settings(max_examples=100, deadline=None)
def test_curves_equal_pickle(curves: dict[object, float], protocol: int, repeats: int) -> None:
    """Stretches of keys and floats, with keys that are memoised before and after."""
    value = [dict(curves) for _ in range(repeats)]
    value.append({f"{split}@{epoch}": epoch / 7 for split in ("x-valid", "é") for epoch in range(120)})
    for dumps in PICKLERS.values():
        data = dumps(value, protocol)
        assert same(read(data), value)
        assert same(read(data, 101), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "i1", "i2", "i4", "i8", ">i4", "u1", "u8", "b1"])
def test_numpy_numbers(protocol: int, dtype: str) -> None:
    array = np.arange(6).astype(dtype)
    expected = [array[i] for i in range(6)]
    found = read(pickle.dumps(expected, protocol))
    assert same(found, [number.item() for number in expected])
    for shaped in (
        array,
        array.reshape(2, 3),
        np.asfortranarray(array.reshape(2, 3)),
        array[:0],
        array[2:3].reshape(()),
    ):
        back = read(pickle.dumps({"a": shaped, "b": [shaped]}, protocol))
        assert isinstance(back, dict)
        for each in (back["a"], back["b"][0]):
            assert each.dtype == shaped.dtype
            assert each.shape == shaped.shape
            assert (each == shaped).all()


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_numbers_by_both_names(module: bytes) -> None:
    data = pickle.dumps(np.float64(91.5), 2).replace(b"numpy._core.multiarray", module)
    assert module in data
    assert read(data) == 91.5


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "c16", "M8[s]", [("a", "f8")]])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_numpy_types_are_refused(dtype: object, protocol: int) -> None:
    with pytest.raises(FormatError, match=r"numpy|data do not need|not data"):
        read(pickle.dumps(np.zeros(2, dtype=dtype), protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_deep_and_cyclic(protocol: int) -> None:
    value: object = []
    for _ in range(60):
        value = [value]
    assert read(pickle.dumps(value, protocol)) == value
    for wrap in (lambda x: [x], lambda x: (x,), lambda x: {1: x}, lambda x: [x, x]):
        deep: object = ()
        for _ in range(70):
            deep = wrap(deep)
        with pytest.raises(FormatError, match="inside of one another"):
            read(pickle.dumps(deep, protocol))
    itself: list[object] = []
    itself.append(itself)
    two: list[object] = [1, itself]
    two.append(two)
    indirect: dict[str, object] = {"list": [1, 2]}
    indirect["tuple"] = ([indirect],)
    for cyclic in (itself, two, indirect):
        with pytest.raises(FormatError, match=r"contains itself|data do not need"):
            read(pickle.dumps(cyclic, protocol))


def test_classes_of_others_as_records() -> None:
    data = b"\x80\x04\x8c\x01m\x8c\x01C\x93)\x81\x94}\x8c\x01a]h\x00asb."
    allowed = DEFAULT.also(record_class("m.C"))
    with pytest.raises(FormatError, match=r"names m\.C"):
        read(data)
    with pytest.raises(FormatError):  # its state refers to itself, before it is complete
        assert read_pickle(io.BytesIO(data), allowed=allowed) is None
    data = b"\x80\x04\x8c\x01m\x8c\x01C\x93)\x81\x94}\x8c\x01aK\x07sb."
    assert read_pickle(io.BytesIO(data), allowed=allowed) == Record("m.C", {"a": 7})
    twice = data[:-1] + b"h\x00\x86."
    assert read_pickle(io.BytesIO(twice), allowed=allowed) == (Record("m.C", {"a": 7}),) * 2


# Streaming


def info(index: int, size: int = 3) -> dict[str, object]:
    curve = {f"x-valid@{epoch}": index + epoch / 8 for epoch in range(size)}
    return {"less": {"acc": curve, "seeds": [777, index]}, "full": {"acc": dict(curve), "time": {0: 1.5}}}


@pytest.mark.parametrize(
    ("count", "protocol", "pickler"),
    [
        *itertools.product((0, 1, 2, 3), PROTOCOLS, ("c", "python")),
        *itertools.product((999, 1000, 1001, 2001), (2, 4), ("c",)),  # around the batches of picklers
        (1001, 2, "python"),
    ],
)
def test_streamed_equals_whole(protocol: int, pickler: str, count: int) -> None:
    infos = {index: info(index) for index in range(count)}
    archs = [f"arch {index}" for index in range(max(count, 2))]
    for root in (
        {"archs": archs, "infos": infos, "indexes": set(infos), "none": None},
        {"infos": infos, "archs": archs, "again": archs},
        {"infos": infos},
        # Without records a later dict with the same key could be theirs: it would be refused.
        OrderedDict(archs=archs, infos=OrderedDict(infos), last={"infos": {1: 2, 3: 4} if count else 1}),
    ):
        found, rest = entries(PICKLERS[pickler](root, protocol))
        assert same(found, infos)
        assert same(rest, {**root, "infos": {}})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("pickler", ["c", "python"])
def test_streamed_deeper_and_nearly(protocol: int, pickler: str) -> None:
    infos = {index: info(index) for index in range(20)}
    root = {
        "x": {"infos": {"no": 1, "nor": 2}},
        "a": {"z": 1, "b": infos, "y": 2},
        "b": {"b": {"c": 3, "d": 4}},
    }
    found, rest = entries(PICKLERS[pickler](root, protocol), at=("a", "b"))
    assert same(found, infos)
    assert same(rest, {**root, "a": {"z": 1, "b": {}, "y": 2}})
    for at in (("c",), ("a", "c"), ("a", "b", 0, "less", "no"), ("x", "infos", "no"), ("archs",)):
        with pytest.raises(FormatError, match="no dict of records"):
            entries(PICKLERS[pickler](root, protocol), at=at)  # type: ignore[arg-type]
    assert same(
        entries(PICKLERS[pickler]({"a": {"b": {"c": infos}}}, protocol), at=("a", "b", "c"))[0], infos
    )


@given(
    infos=st.dictionaries(st.one_of(st.integers(), st.text(max_size=5)), values, max_size=12),
    before=st.dictionaries(st.text(max_size=4), values, max_size=3),
    after=st.dictionaries(st.text(max_size=4), values, max_size=3),
    protocol=st.sampled_from(PROTOCOLS),
    pickler=st.sampled_from(["c", "python"]),
)
@settings(max_examples=100, deadline=None)
def test_streamed_equals_whole_or_is_refused(
    infos: dict[object, object],
    before: dict[str, object],
    after: dict[str, object],
    protocol: int,
    pickler: str,
) -> None:
    """Whatever the values are: never another value. Tuples of containers, and shared ones, may be refused."""
    root = {**before, "infos": infos}
    root |= {key: value for key, value in after.items() if key != "infos"}
    data = PICKLERS[pickler](root, protocol)
    try:
        found, rest = entries(data)
    except FormatError as error:
        assert "more objects than it has made" in str(error) or "share an object" in str(error)
    else:
        assert same(found, infos)
        assert same(rest, {**root, "infos": {}})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_texts_numbers_and_small_containers_are_shared_between_entries(protocol: int) -> None:
    text, name, raw = "a text of the first record", "x" * 300, bytes(range(200))
    pair, seeds, config = ("cifar10", 777), [777, 888], {"channel": 16, "name": name}
    number = np.float64(1.25)
    shared = {"t": text, "n": name, "r": raw, "p": pair, "s": seeds, "c": config, "f": number}
    infos = {index: {"own": {f"{text} {index}": index / 3}, **shared} for index in range(3000)}
    root = {"infos": infos, "after": [text, seeds, number]}
    found, rest = entries(pickle.dumps(root, protocol))
    assert same(found, plain(infos))
    assert same(rest, plain({**root, "infos": {}}))
    found[1]["s"].append(1)  # type: ignore[index]
    assert found[2]["s"] == [777, 888]  # type: ignore[index]


def test_large_containers_shared_between_entries_are_refused() -> None:
    curve = {epoch: epoch / 8 for epoch in range(20)}
    with pytest.raises(FormatError, match="two records of the file share an object"):
        entries(
            pickle.dumps({"infos": {0: {"a": curve, "b": 1}, 1: {"a": curve, "b": 2}, 2: {"c": 1, "d": 2}}})
        )


def test_containers_outside_of_the_entries_can_be_shared() -> None:
    archs = [f"arch {i}" for i in range(20)]
    root = {"archs": archs, "infos": {i: {"all": archs, "i": i} for i in range(5)}, "again": archs}
    found, rest = entries(pickle.dumps(root))
    assert same(found, root["infos"])
    assert same(rest, {**root, "infos": {}})


@pytest.mark.parametrize("meta_first", [True, False])
def test_synthetic_table_equals_pickle(meta_first: bool) -> None:
    data = b"".join(pickled_table(30, meta_first=meta_first))
    expected = plain(pickle.loads(data))
    found, rest = entries(data, at=("arch2infos",), chunk=70_001)
    assert isinstance(expected, dict)
    assert same(found, expected["arch2infos"])
    assert same(rest, {**expected, "arch2infos": {}})
    assert len({repr(entry) for entry in found.values()}) == 30


def test_entries_come_as_soon_as_they_are_complete() -> None:
    pieces = Pieces(pickled_table(50))
    read_so_far = []
    for _ in stream_pickle(pieces, at=("arch2infos",)):
        read_so_far.append(pieces.total)
    sizes = np.diff(read_so_far)
    assert len(read_so_far) == 50
    assert sizes.max() < 2 * pieces.total / 50 + (1 << 20)


def test_the_rest_is_known_at_the_end_only() -> None:
    found = stream_pickle(io.BytesIO(pickle.dumps({"infos": {1: {"a": 1, "b": 2}}})), at=("infos",))
    with pytest.raises(ValueError, match="end"):
        _ = found.rest


def test_a_key_that_stands_twice_is_refused() -> None:
    for data in (
        b"\x80\x02}(K\x01K\x02K\x01K\x03u.",
        b"\x80\x02}(K\x01K\x02uK\x01K\x03s.",
        b"\x80\x02}(K\x01G" + bytes(8) + b"K\x01G" + bytes(8) + b"u.",
    ):
        with pytest.raises(FormatError, match="same key twice"):
            read(data)
        with pytest.raises(FormatError, match="same key twice"):
            entries(b"\x80\x02}X\x05\x00\x00\x00infos" + data[2:-1] + b"s.")
    with pytest.raises(FormatError, match="same key twice"):
        entries(b"\x80\x02}X\x05\x00\x00\x00infos}(K\x01}K\x01K\x01sK\x01}K\x01K\x01suK\x02}K\x01K\x01ss.")


def test_limits() -> None:
    infos = {index: {"a": list(range(1000)), "b": [[]] * 3} for index in range(50)}
    data = pickle.dumps({"infos": infos})
    limits = Limits(size=8000, containers=12)
    assert len(dict(stream_pickle(io.BytesIO(data), at=("infos",), limits=limits))) == 50
    big = pickle.dumps({"infos": {**infos, 50: {"a": list(range(2_000_000)), "b": 1}}})
    with pytest.raises(FormatError, match="more than 8000 bytes in one record"):
        dict(stream_pickle(io.BytesIO(big), at=("infos",), limits=limits))
    many = pickle.dumps({"infos": {**infos, 50: {"a": [[] for _ in range(20)], "b": 1}}})
    with pytest.raises(FormatError, match="more than 12 containers"):
        dict(stream_pickle(io.BytesIO(many), at=("infos",), limits=limits))


def test_no_memory_is_set_aside_for_a_length() -> None:
    for start in (
        b"X\xff\xff\xff\x7f",
        b"\x8d" + b"\xff" * 7 + b"\x00",
        b"\x8e" + b"\xff" * 7 + b"\x7f",
        b"B\xff\xff\xff\xff",
    ):
        with pytest.raises(FormatError, match=r"too early|bytes in one record"):
            read(b"\x80\x04" + start + b"abc")
    with pytest.raises(FormatError, match="an integer of 4294967295 bytes"):
        read(b"\x80\x04\x8b\xff\xff\xff\xffabc")


def test_bytes_after_the_end(tmp_path: Path) -> None:
    del tmp_path
    data = pickle.dumps([1.5])
    with pytest.raises(FormatError, match=f"at byte {len(data)}: there are more bytes"):
        read(data + b"x")
    assert read_pickle(io.BytesIO(data + b"x"), finish=None) == [1.5]
