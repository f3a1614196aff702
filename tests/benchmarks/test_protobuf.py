"""The wire format, against Google's library."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.formats.protobuf import read_fields, read_model_metrics
from crlso.errors import TableError
from tests.benchmarks.samples_tfrecord import DOUBLES, message, model_metrics

EVALUATIONS = st.fixed_dictionaries(
    {},
    optional={name: st.floats() for name in DOUBLES} | {"checkpoint_path": st.text("abc/-1", max_size=20)},
)


def agrees(data: bytes, reference: Any) -> None:
    """What we read of a message is what the library read."""
    ours = read_model_metrics(data)
    assert len(ours.evaluations) == len(reference.evaluation_data)
    for found, expected in zip(ours.evaluations, reference.evaluation_data, strict=True):
        for number, name in enumerate(DOUBLES, start=1):
            assert (number in found) == expected.HasField(name)
            if number in found:
                value = getattr(expected, name)
                assert found[number] == value or (math.isnan(value) and math.isnan(found[number]))
    stated = reference.trainable_parameters if reference.HasField("trainable_parameters") else None
    assert ours.trainable_parameters == stated


@given(
    st.lists(EVALUATIONS, max_size=4),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.floats(),
)
def test_messages_of_the_library(
    evaluations: list[dict[str, Any]], parameters: int | None, total: float | None
) -> None:
    built = model_metrics()()
    for values in evaluations:
        built.evaluation_data.add(**values)
    if parameters is not None:
        built.trainable_parameters = parameters
    if total is not None:
        built.total_time = total
    agrees(built.SerializeToString(), built)


def test_changed_messages_are_refused_or_read_as_by_the_library() -> None:
    whole = message(108, 8_555_530, [[0, 0.1, 0.1, 0.1], [800.5, 0.8, 0.7, 0.7], [1700.25, 1.0, 0.9, 0.9]])
    rng = random.Random(0)
    read = refused = 0
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(data))
            change = rng.randrange(4)
            if change == 0:
                data[place] ^= 1 << rng.randrange(8)
            elif change == 1:
                del data[place:]
            elif change == 2:
                data[place:place] = rng.randbytes(rng.randint(1, 12))
            else:
                del data[place : place + rng.randint(1, 12)]
            if not data:
                break
        changed = bytes(data)
        reference = model_metrics()()
        try:
            reference.ParseFromString(changed)
        except DecodeError:
            with pytest.raises(TableError, match=r"^protobuf message, byte \d+: .+$"):
                read_model_metrics(changed)
            refused += 1
            continue
        try:
            agrees(changed, reference)
        except TableError as error:  # groups, which no message of ours has
            assert "wire type" in str(error)
            refused += 1
        else:
            read += 1
    assert read > 400
    assert refused > 500


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x11" + bytes(7), "byte 1: it ends inside a number"),
        (b"\x15" + bytes(3), "byte 1: it ends inside a number"),
        (b"\x10", "byte 1: a number without an end"),
        (b"\x10" + b"\x80" * 10 + b"\x01", "byte 1: a number without an end"),
        (b"\x0a\x05abc", "byte 2: 5 bytes announced, 3 left"),
        (b"\x0a\xff\xff\xff\xff\x0f", "bytes announced, 0 left"),
        (b"\x00\x00", "byte 1: field number 0"),
        (b"\x13", "byte 1: wire type 3"),
        (b"\x16", "byte 1: wire type 6"),
    ],
)
def test_what_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(TableError, match=problem):
        read_model_metrics(data)


def test_undeclared_fields() -> None:
    evaluation = b"\x31" + b"\x00" * 6 + b"\xf0\x3f" + b"\x3d\0\0\0\0" + b"\x40\x07" + b"\x4a\x01x"
    data = b"\x0a" + bytes([len(evaluation)]) + evaluation + b"\x1d\0\0\0\0" + b"\x10\x05" + b"\x10\x06"
    assert list(read_fields(evaluation)) == [(6, 1.0), (7, None), (8, 7), (9, b"x")]
    found = read_model_metrics(data)
    assert found.evaluations == ({6: 1.0},)
    assert found.trainable_parameters == 6  # the last one counts
