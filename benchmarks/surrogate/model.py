"""Our own surrogate: a quadratic form over features gives a score, and a curve the label of the score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.surrogate.features import VERSION, features
from benchmarks.surrogate.quadratic import Quadratic
from benchmarks.surrogate.warping import Warp
from crlso.errors import TableError
from crlso.protocols import Codes, FloatArray, SearchSpace


@final
@dataclass(frozen=True)
class QuadraticSurrogate:
    """Predicts one metric (implements :class:`benchmarks.surrogate.evaluator.Predictor`).

    Attributes:
        space: The space that the codes belong to.
        form: The fitted quadratic form: from features to the label's normal score.
        warp: From scores to labels.
        deviation: Root mean squared error on held-out architectures: the standard deviation of the noise.
    """

    KIND: ClassVar[str] = "quadratic"

    space: SearchSpace
    form: Quadratic
    warp: Warp
    deviation: float

    def predict(self, codes: Codes) -> FloatArray:
        """``[1, n]``."""
        return self.warp.to_labels(self.form.predict(features(self.space, codes).values))[None]

    def noise(self, predicted: FloatArray) -> FloatArray:
        """``[n]``, the same for all."""
        return np.full(predicted.shape[1], self.deviation)

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """What the header's details and the file's arrays hold of it."""
        form, warp = self.form, self.warp
        scalars = np.array(
            [form.mean, form.spread, form.constant, warp.below, warp.above, self.deviation], dtype=np.float64
        )
        arrays = {
            "scalars": scalars,
            "linear": form.linear,
            "products": form.products,
            "curve": np.stack([warp.scores, warp.labels]),
        }
        return {"kind": self.KIND, "features": VERSION}, arrays

    @classmethod
    def from_arrays(
        cls, space: SearchSpace, details: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> QuadraticSurrogate:
        """What :meth:`to_arrays` gave.

        Raises:
            TableError: The features are of another version.
            KeyError, TypeError, ValueError: Not such arrays.
        """
        if details["features"] != VERSION:
            raise TableError(
                f"a surrogate over {str(details['features'])[:40]!r}: this version computes {VERSION!r}; "
                "fit it again"
            )
        width = features(space, space.sample(1, np.random.default_rng(0))).values.shape[1]
        knots = arrays["curve"].shape[1]
        shapes = {"scalars": (6,), "linear": (width,), "products": (width, width), "curve": (2, knots)}
        for name, shape in shapes.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
                raise ValueError(f"array {name!r} is not of {shape} finite numbers")
        mean, spread, constant, below, above, deviation = arrays["scalars"].tolist()
        if not (spread > 0 and deviation >= 0):
            raise ValueError("a negative standard deviation")
        scores, labels = arrays["curve"]
        if knots < 1 or not (np.diff(scores) > 0).all():
            raise ValueError("scores that do not rise")
        form = Quadratic(mean, spread, constant, arrays["linear"], arrays["products"])
        return cls(space, form, Warp(scores, labels, below, above), deviation)
