"""What a predictor is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from crlso.protocols import Codes, FloatArray

Prediction = Callable[[Codes], FloatArray]
"""``[n, d]`` codes -> ``[n]`` scores, larger for better architectures; only their order has a meaning."""


class Predictor(Protocol):
    """Learns from a few labelled architectures; can be fitted again and again, each time from nothing."""

    def fit(self, codes: Codes, values: FloatArray) -> Prediction:
        """What is learnt from ``[n, d]`` architectures and their ``[n]`` finite values, to be maximised."""
