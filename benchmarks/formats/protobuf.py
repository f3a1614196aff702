"""Protocol buffers' wire format, as far as the result messages of NAS-Bench-101 need it.

Written from the public description of the encoding (protobuf.dev/programming-guides/encoding) and the fields
of ``model_metrics.proto``::

    ModelMetrics    1 repeated EvaluationData   2 int32 trainable_parameters   3 double total_time
    EvaluationData  1 current_epoch   2 training_time   3 train_accuracy   4 validation_accuracy
                    5 test_accuracy (all double)   6 string checkpoint_path

As in every reader of the format, the last of several values of a field counts, and fields that the message
does not declare, or that come in another wire type than declared, are skipped; doubles among them are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from crlso.errors import TableError

CURRENT_EPOCH: Final = 1
TRAINING_TIME: Final = 2
TRAIN_ACCURACY: Final = 3
VALIDATION_ACCURACY: Final = 4
TEST_ACCURACY: Final = 5

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_DOUBLE: Final = struct.Struct("<d")


@dataclass(frozen=True)
class ModelMetrics:
    """What one training left.

    Attributes:
        evaluations: One per evaluation, in their order: the doubles of the message by field number, declared
            ones (:data:`CURRENT_EPOCH` to :data:`TEST_ACCURACY`) and others.
        trainable_parameters: ``None`` where the message does not say.
    """

    evaluations: tuple[Mapping[int, float], ...]
    trainable_parameters: int | None


def read_model_metrics(data: bytes) -> ModelMetrics:
    """A ``ModelMetrics`` message.

    Raises:
        TableError: Not such a message; says at which of its bytes.
    """
    evaluations = []
    parameters = None
    for number, value in read_fields(data):
        if number == 1 and isinstance(value, bytes):
            evaluations.append({key: x for key, x in read_fields(value) if isinstance(x, float)})
        elif number == 2 and isinstance(value, int):
            # Declared as int32: 64 bits are on the wire, the lower 32 count.
            parameters = (value + (1 << 31)) % (1 << 32) - (1 << 31)
    return ModelMetrics(tuple(evaluations), parameters)


def read_fields(data: bytes) -> Iterator[tuple[int, int | float | bytes | None]]:
    """Fields of a message in their order: number and value.

    A varint is an ``int``, eight bytes are a ``float`` (a double), a length and bytes are ``bytes``; four
    bytes are skipped: ``None``.

    Raises:
        TableError: The message ends inside a field, or holds what the format does not have.
    """
    place, end = 0, len(data)
    while place < end:
        tag = data[place]
        if tag < 0x80:
            place += 1
        else:
            tag, place = _varint(data, place, 5)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise _wrong(place, f"field number {number}")
        if kind == _EIGHT_BYTES:
            if place + 8 > end:
                raise _wrong(place, "it ends inside a number")
            yield number, _DOUBLE.unpack_from(data, place)[0]
            place += 8
        elif kind == _LENGTH:
            length, place = _varint(data, place, 5)
            if place + length > end:
                raise _wrong(place, f"{length} bytes announced, {end - place} left")
            yield number, data[place : place + length]
            place += length
        elif kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
        elif kind == _FOUR_BYTES:
            if place + 4 > end:
                raise _wrong(place, "it ends inside a number")
            yield number, None
            place += 4
        else:
            raise _wrong(place, f"wire type {kind}")


def _varint(data: bytes, place: int, longest: int = 10) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and the place behind it; 64 bits take up to 10 bytes."""
    value = 0
    for i, byte in enumerate(data[place : place + longest]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place + i + 1
    raise _wrong(place, "a number without an end")


def _wrong(place: int, what: str) -> TableError:
    return TableError(f"protobuf message, byte {place}: {what}")
