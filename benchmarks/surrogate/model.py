"""Our own surrogate's model: the quadratic form over an architecture's features, as a predictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.surrogate.features import VERSION, features
from benchmarks.surrogate.quadratic import Quadratic
from crlso.errors import TableError
from crlso.protocols import Codes, FloatArray, SearchSpace


@final
@dataclass(frozen=True)
class QuadraticSurrogate:
    """Predicts one metric (implements :class:`benchmarks.surrogate.evaluator.Predictor`).

    Attributes:
        space: The space that the codes belong to.
        form: The fitted quadratic form.
        deviation: Root mean squared error on held-out architectures: the standard deviation of the noise.
    """

    KIND: ClassVar[str] = "quadratic"

    space: SearchSpace
    form: Quadratic
    deviation: float

    def predict(self, codes: Codes) -> FloatArray:
        """``[1, n]``."""
        return self.form.predict(features(self.space, codes).values)[None]

    def noise(self, predicted: FloatArray) -> FloatArray:
        """``[n]``, the same for all."""
        return np.full(predicted.shape[1], self.deviation)

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """What the header's details and the file's arrays hold of it."""
        form = self.form
        scalars = np.array([form.mean, form.spread, form.constant, self.deviation])
        arrays = {"scalars": scalars, "linear": form.linear, "products": form.products}
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
        shapes = {"scalars": (4,), "linear": (width,), "products": (width, width)}
        for name, shape in shapes.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
                raise ValueError(f"array {name!r} is not of {shape} finite numbers")
        mean, spread, constant, deviation = arrays["scalars"].tolist()
        if not (spread > 0 and deviation >= 0):
            raise ValueError("a negative standard deviation")
        form = Quadratic(mean, spread, constant, arrays["linear"], arrays["products"])
        return cls(space, form, deviation)
