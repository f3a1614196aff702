"""A space and an evaluator so small that everything can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import pandas as pd

from crlso.errors import ArchitectureError, UnknownNameError
from crlso.protocols import CODE_DTYPE, BoolArray, Code, Codes, Keys, Metric, Rule


def row(*values: int) -> Codes:
    """``[n, 1]`` codes."""
    return np.array(values, dtype=CODE_DTYPE)[:, None]


@final
class Line:
    """The numbers 0 to n - 1; one edit is one step up (or, if asked for, one step up or down).

    ``script`` is drawn first, then random numbers. Rule ``official``: pairs (0, 1), (2, 3), ... are the same.
    """

    name = "line"
    operations = ("step",)
    vocabulary = ("input", "output", "step")
    positions = 1

    def __init__(self, n: int, script: Sequence[int] = (), steps: Sequence[int] = (1,)) -> None:
        self.cardinalities = (n,)
        self.size = n
        self._script = list(script)
        self._steps = steps

    def parse(self, text: str) -> Code:
        if not text.isdecimal() or int(text) >= self.size:
            raise ArchitectureError(f"{text!r} is no number below {self.size}")
        code: Code = row(int(text))[0]
        return code

    def format(self, code: Code) -> str:
        return str(int(code[0]))

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        scripted, self._script = self._script[:n], self._script[n:]
        return row(*scripted, *rng.integers(self.size, size=n - len(scripted)))

    def enumerate(self) -> Iterator[Codes]:
        yield from np.array_split(row(*range(self.size)), max(1, self.size // 4))

    def neighbors(self, code: Code) -> Codes:
        return row(*(int(code[0]) + step for step in self._steps if 0 <= int(code[0]) + step < self.size))

    def is_valid(self, codes: Codes) -> BoolArray:
        valid: BoolArray = (codes[:, 0] >= 0) & (codes[:, 0] < self.size)
        return valid

    def repair(self, codes: Codes) -> Codes:
        return codes

    def class_keys(self, codes: Codes, rule: Rule = "exact") -> Keys:
        return (codes[:, 0] // (2 if rule == "official" else 1)).astype(np.uint64)

    def canonical(self, codes: Codes, rule: Rule = "exact") -> Codes:
        return (codes // 2 * 2).astype(CODE_DTYPE) if rule == "official" else codes

    def graphs(self, codes: Codes) -> Any:
        raise NotImplementedError


@final
class LineBench:
    """``value(x)`` to be maximised (``score``), its negative to be minimised (``loss``), and ``square``."""

    name = "line-bench"
    metrics: Mapping[str, Metric] = {
        "score": Metric("score", "max", "points", "what the test says"),
        "loss": Metric("loss", "min", "points", "its negative"),
        "square": Metric("square", "max", "", "the square of the number"),
    }

    def __init__(
        self, space: Line, value: Callable[[int], float], support: Codes | None = None, known: bool = True
    ) -> None:
        self.space = space
        self.support = support
        self.fingerprint = {"test": "line"}
        self.asked: list[int] = []
        self._value = value
        self._known = known

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        numbers = [int(code[0]) for code in codes]
        self.asked += numbers
        return pd.DataFrame({name: [self._answer(name, number) for number in numbers] for name in metrics})

    def optimum(self, metric: str) -> float | None:
        if not self._known:
            return None
        numbers = range(self.space.size) if self.support is None else self.support[:, 0].tolist()
        values = [self._answer(metric, number) for number in numbers]
        worked = [value for value in values if not math.isnan(value)]
        return max(worked) if self.metrics[metric].direction == "max" else min(worked)

    def _answer(self, metric: str, number: int) -> float:
        match metric:
            case "score":
                return self._value(number)
            case "loss":
                return -self._value(number)
            case "square":
                return float(number**2)
            case _:
                raise UnknownNameError("metric", metric, self.metrics)


def distance_to_seven(number: int) -> float:
    """One maximum, at 7."""
    return -abs(number - 7.0)


def failing_odd(number: int) -> float:
    """Odd numbers fail."""
    return math.nan if number % 2 else float(number)
