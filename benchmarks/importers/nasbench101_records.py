"""One record of a NAS-Bench-101 file: JSON around a base64 text around a protobuf message, all checked."""

from __future__ import annotations

import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.formats import protobuf
from crlso.errors import TableError
from crlso.protocols import Code
from crlso.spaces.nasbench101 import OPERATIONS, VERTICES

VALUES: Final = tuple(range(protobuf.TRAINING_TIME, protobuf.TEST_ACCURACY + 1))
"""Fields of an evaluation that are kept: training time, then the three accuracies."""

_EVALUATIONS = 3  # before the training, halfway, at the end
_HASH = re.compile(r"[0-9a-f]{32}")
_LONGEST = 100_000  # epochs
_ROWS, _COLUMNS = np.triu_indices(VERTICES, 1)


@dataclass(frozen=True)
class Training:
    """What a record says.

    Attributes:
        module: The module hash that it states: 32 hexadecimal digits.
        epochs: Epochs that the training was planned for.
        adjacency: The matrix, row by row, as a text of 0 and 1.
        operations: Names, joined by commas, from ``input`` to ``output``.
        parameters: Trainable parameters.
        reached: Epochs done at the second and at the last evaluation, as stated; NaN where it is not.
        values: :data:`VALUES` of the second evaluation, then those of the last.
        extras: Doubles of the last evaluation that the message does not declare, by field number.
    """

    module: str
    epochs: int
    adjacency: str
    operations: str
    parameters: int
    reached: tuple[float, float]
    values: tuple[float, ...]
    extras: Mapping[int, float]


def read_training(data: bytes) -> Training:
    """The training that a record is.

    Raises:
        TableError: The message says what does not fit (but not in which record).
    """
    try:
        fields = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise TableError(f"not JSON ({str(error)[:80]})") from error
    if not isinstance(fields, list) or len(fields) != 5:
        raise TableError("not a list of module hash, epochs, matrix, operations and metrics")
    module, epochs, adjacency, operations, message = fields
    if not isinstance(module, str) or not _HASH.fullmatch(module):
        raise TableError(f"module hash: expected 32 hexadecimal digits, got {_shown(module)}")
    if type(epochs) is not int or not 0 < epochs <= _LONGEST:
        raise TableError(f"epochs: expected a number from 1 to {_LONGEST:,}, got {_shown(epochs)}")
    if not (isinstance(adjacency, str) and isinstance(operations, str) and isinstance(message, str)):
        raise TableError("matrix, operations and metrics: expected three texts")
    try:
        # Python's writer breaks base64 into lines; nothing else may stand between its characters.
        packed = binascii.a2b_base64(message.replace("\n", ""), strict_mode=True)
    except ValueError as error:
        raise TableError(f"metrics: not base64 ({error})") from error
    metrics = protobuf.read_model_metrics(packed)
    if metrics.trainable_parameters is None or metrics.trainable_parameters < 0:
        raise TableError(f"trainable parameters: {metrics.trainable_parameters}")
    if len(metrics.evaluations) != _EVALUATIONS:
        raise TableError(f"{len(metrics.evaluations)} evaluations, not {_EVALUATIONS}")
    _, halfway, final = metrics.evaluations
    extras = {}
    if len(final) > len(VALUES) + 1:
        extras = {key: value for key, value in final.items() if key > VALUES[-1]}
    return Training(
        module,
        epochs,
        adjacency,
        operations,
        metrics.trainable_parameters,
        (halfway.get(protobuf.CURRENT_EPOCH, math.nan), final.get(protobuf.CURRENT_EPOCH, math.nan)),
        (*_measured(halfway), *_measured(final)),
        extras,
    )


def stated_cell(code: Code, size: int) -> tuple[NDArray[np.int8], list[str]]:
    """Matrix ``[size, size]`` and operations as a record states them, whether pruned or not.

    Args:
        code: What :func:`crlso.spaces.nasbench101.from_record` made of them.
        size: Vertices of the record's matrix.
    """
    whole = np.zeros((VERTICES, VERTICES), dtype=np.int8)
    whole[_ROWS, _COLUMNS] = code[: len(_ROWS)]
    slots = [*range(size - 1), VERTICES - 1]
    inner = code[len(_ROWS) : len(_ROWS) + size - 2]
    return whole[np.ix_(slots, slots)], ["input", *(OPERATIONS[label] for label in inner), "output"]


def _measured(evaluation: Mapping[int, float]) -> tuple[float, ...]:
    try:
        time, *accuracies = values = tuple([evaluation[field] for field in VALUES])
    except KeyError as error:
        raise TableError(f"an evaluation lacks field {error} of its message") from error
    # NaN is a measurement that failed, and is kept as such.
    if time < 0 or math.isinf(time):
        raise TableError(f"a training time of {time} s")
    if any(accuracy < 0 or accuracy > 1 for accuracy in accuracies):
        raise TableError(f"an accuracy outside [0, 1]: {accuracies}")
    return values


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
