"""Files in NAS-Bench-101's format, written by other libraries than those that read them in the project."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from crlso.protocols import Codes
from crlso.spaces import NASBench101Space
from crlso.spaces.nasbench101 import to_record

DOUBLES = ("current_epoch", "training_time", "train_accuracy", "validation_accuracy", "test_accuracy")


@cache
def model_metrics() -> Any:
    """The class of the message, from its fields in ``model_metrics.proto``."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="sample.proto", package="sample", syntax="proto2")
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_REPEATED,
        type_name=".sample.EvaluationData",
    )
    optional = field.LABEL_OPTIONAL
    metrics.field.add(name="trainable_parameters", number=2, type=field.TYPE_INT32, label=optional)
    metrics.field.add(name="total_time", number=3, type=field.TYPE_DOUBLE, label=optional)
    evaluation = file.message_type.add(name="EvaluationData")
    for number, name in enumerate(DOUBLES, start=1):
        evaluation.field.add(name=name, number=number, type=field.TYPE_DOUBLE, label=optional)
    evaluation.field.add(name="checkpoint_path", number=6, type=field.TYPE_STRING, label=optional)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sample.ModelMetrics"))


def payload(module: str, epochs: int, adjacency: str, operations: str, message: bytes) -> bytes:
    """A record as the benchmark's writer makes it: base64 in lines."""
    return json.dumps([module, epochs, adjacency, operations, base64.encodebytes(message).decode()]).encode()


def message(epochs: int, parameters: int, points: Sequence[Sequence[float]]) -> bytes:
    """Three evaluations; ``points`` ``[3, 4]``: time and accuracies of each."""
    built = model_metrics()()
    for epoch, (time, train, valid, test) in zip((0.0, epochs / 2, float(epochs)), points, strict=True):
        built.evaluation_data.add(
            current_epoch=epoch,
            training_time=time,
            train_accuracy=train,
            validation_accuracy=valid,
            test_accuracy=test,
        )
    built.trainable_parameters = parameters
    built.total_time = 2 * points[2][0]
    return bytes(built.SerializeToString())


def trainings(
    codes: Codes, budgets: Sequence[int], rng: np.random.Generator, *, runs: int = 3
) -> Iterator[bytes]:
    """Records of all cells, cell after cell, with random numbers of the benchmark's kind."""
    hashes = NASBench101Space().hashes(codes)
    for code, module in zip(codes, hashes, strict=True):
        adjacency, operations = to_record(code)
        parameters = int(rng.integers(200_000, 50_000_000))
        points = rng.random((len(budgets), runs, 3, 4))
        points[:, :, 0] = 0.0
        points[:, :, 1:, 0] *= 3000
        for epochs, of_budget in zip(budgets, points.tolist(), strict=True):
            for of_run in of_budget:
                yield payload(module, epochs, adjacency, operations, message(epochs, parameters, of_run))


def masked(data: bytes) -> bytes:
    checksum = google_crc32c.value(data)
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + masked(head) + data + masked(data)


def write_records(path: Path, records: Iterable[bytes]) -> Path:
    with path.open("wb") as file:
        for record in records:
            file.write(framed(record))
    return path


def distinct_cells(n: int, rng: np.random.Generator) -> Codes:
    """``[n, d]`` random cells of different modules."""
    space = NASBench101Space()
    found = space.sample(4 * n + 64, rng)
    _, first = np.unique(space.class_keys(found), return_index=True)
    return found[np.sort(first)][:n]
