"""A surrogate as an evaluator: it answers for every architecture of its space, by computing.

Importing this module imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, final

import numpy as np
from numpy.typing import NDArray

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import Codes, FloatArray, Metric, SearchSpace
from crlso.spaces import codes as code_tools

if TYPE_CHECKING:
    import pandas as pd

NOISE_SEEDS = (0, 1, 2)
"""Seeds of the noisy metrics that every surrogate has."""

_CHUNK = 4096  # rows that are computed at once: a limit on memory


class Predictor(Protocol):
    """The model behind a surrogate. Its answer for a code does not depend on what else is asked."""

    def predict(self, codes: Codes) -> FloatArray:
        """``[k, n]`` for checked codes ``[n, d]``: a row per metric without noise, the main one first."""

    def noise(self, predicted: FloatArray) -> FloatArray:
        """``[n]`` standard deviation of the noise, from what :meth:`predict` gave."""


@final
class SurrogateEvaluator:
    """Predicts metrics of any architecture of a space (implements :class:`crlso.protocols.Evaluator`).

    Beside the metrics of its model it has noisy ones, ``NAME/noisy/seed0`` and so on: the first metric plus
    normal noise, which the seed and the code decide. So they are fixed functions, too.

    Args:
        name: What it is called.
        space: The space that the codes belong to.
        metrics: What the rows of the model's predictions are.
        predictor: The model.
        fingerprint: What pins the answers down.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        metrics: Sequence[Metric],
        predictor: Predictor,
        fingerprint: Mapping[str, str],
    ) -> None:
        self._name = name
        self._space = space
        self._rows = {metric.name: row for row, metric in enumerate(metrics)}
        noisy = [noisy_metric(metrics[0], seed) for seed in NOISE_SEEDS]
        self._seeds = {metric.name: seed for metric, seed in zip(noisy, NOISE_SEEDS, strict=True)}
        self._metrics = {metric.name: metric for metric in (*metrics, *noisy)}
        self._predictor = predictor
        self._fingerprint = {"surrogate": name, **fingerprint}

    def __repr__(self) -> str:
        return f"SurrogateEvaluator({self._name!r}, {self._space.name}, {len(self._metrics)} metrics)"

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def space(self) -> SearchSpace:
        """The space that the codes belong to."""
        return self._space

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What it can answer."""
        return MappingProxyType(self._metrics)

    @property
    def support(self) -> Codes | None:
        """``None``: it answers for the whole space."""
        return None

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What pins the answers down."""
        return MappingProxyType(self._fingerprint)

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        """Predict for codes ``[n, d]``: ``n`` rows, one float64 column per metric, in the order asked.

        ``rng`` is not used: noise depends on the seed in the metric's name and on the code.

        Raises:
            UnknownNameError: A metric that the surrogate does not have.
            UserError: Not codes of the space.
        """
        del rng
        import pandas as pd

        self._refuse_unknown(metrics)
        checked = self._checked(codes)
        values = np.empty((len(metrics), len(checked)))
        for start in range(0, len(checked) if metrics else 0, _CHUNK):
            part = checked[start : start + _CHUNK]
            predicted = self._predictor.predict(part)
            for column, name in zip(values, metrics, strict=True):
                if name in self._rows:
                    column[start : start + _CHUNK] = predicted[self._rows[name]]
                else:
                    drawn = code_noise(part, self._seeds[name]) * self._predictor.noise(predicted)
                    column[start : start + _CHUNK] = predicted[0] + drawn
        return pd.DataFrame(values.T, columns=list(metrics), copy=False)

    def optimum(self, metric: str) -> float | None:
        """``None``: nobody has asked for all architectures.

        Raises:
            UnknownNameError: The surrogate has no such metric.
        """
        self._refuse_unknown([metric])
        return None

    def _refuse_unknown(self, metrics: Sequence[str]) -> None:
        for metric in metrics:
            if metric not in self._metrics:
                raise UnknownNameError("metric", metric, self._metrics)

    def _checked(self, codes: Codes) -> Codes:
        if np.ndim(codes) != 2:
            raise UserError(f"codes must be an integer array [n, {len(self._space.cardinalities)}]")
        checked = code_tools.as_codes(codes, self._space.cardinalities)
        valid = self._space.is_valid(checked)
        if not valid.all():
            row = int(np.argmin(valid))
            raise UserError(
                f"code {checked[row].tolist()} (row {row}) is no architecture of {self._space.name}"
            )
        return checked


def noisy_metric(metric: Metric, seed: int) -> Metric:
    """The metric with noise on it."""
    return Metric(
        f"{metric.name}/noisy/seed{seed}",
        metric.direction,
        metric.unit,
        f"{metric.name} plus normal noise of the surrogate's own standard deviation, fixed by seed {seed} "
        "and the architecture",
    )


def code_noise(codes: Codes, seed: int) -> FloatArray:
    """``[n]`` numbers that look like draws from the standard normal distribution, fixed by code and seed.

    The code's entries go through splitmix64 (Steele, Lea, Flood 2014), the last state through the normal
    quantile function.
    """
    from scipy.special import ndtri

    state: NDArray[np.uint64] = np.full(len(codes), seed + 1, dtype=np.uint64)
    for column in codes.T:
        state = _mixed(state ^ (column.astype(np.uint64) + np.uint64(1)))
    uniform = ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    normal: FloatArray = ndtri(uniform)
    return normal


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)  # wraps around by intention
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
