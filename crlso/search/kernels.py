"""A kernel of codes for Gaussian processes: shares of differing entries, and neighbourhoods in the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, final

import numpy as np

from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.spaces.codes import differing
from crlso.spaces.neighbourhoods import WeisfeilerLehman

LENGTHS: Final = (0.17, 0.25, 0.33, 0.5, 0.67, 1.0)
"""Of the Hamming kernel, as shares of all entries: from one differing entry of six to all."""

KernelKind = Literal["graphs", "codes", "both"]

MIXTURES: Final[Mapping[KernelKind, tuple[float, ...]]] = MappingProxyType(
    {"graphs": (1.0,), "codes": (0.0,), "both": (0.0, 0.3, 0.7, 1.0)}
)
"""Weights of the Weisfeiler-Lehman kernel beside the Hamming kernel that are tried."""


@final
@dataclass(frozen=True)
class KernelChoice:
    """Hyper-parameters of the kernel.

    Attributes:
        length: Of the Hamming kernel, one of :data:`LENGTHS`.
        weight: Of the Weisfeiler-Lehman kernel, one of :data:`MIXTURES`.
    """

    length: float
    weight: float


@final
class CodeKernel:
    """The weighted mean of two kernels, each 1 on its diagonal.

    The Hamming kernel is exp(-share of differing entries / length), the Weisfeiler-Lehman kernel the cosine
    of the counts of neighbourhoods (:class:`~crlso.spaces.neighbourhoods.WeisfeilerLehman`). Codes are taken
    as they are: with representatives (:class:`~crlso.search.observations.Representatives`) one network has
    one place.

    Args:
        space: The space of the codes.
        kind: Hamming (``codes``), Weisfeiler-Lehman (``graphs``), or a mean of ``both``.
        rounds: Of the Weisfeiler-Lehman refinement; 0 counts operations alone.
    """

    def __init__(self, space: SearchSpace, kind: KernelKind, rounds: int) -> None:
        self._neighbourhoods = WeisfeilerLehman(space, rounds)
        self._weights = MIXTURES[kind]

    def choices(self, codes: Codes) -> Iterator[tuple[KernelChoice, FloatArray]]:
        """All hyper-parameters that are to be tried, each with its kernel ``[n, n]`` of ``[n, d]`` codes."""
        share, cosine = self._parts(codes, codes, graphs=any(self._weights))
        for weight in self._weights:
            # The length is without effect where the Hamming kernel has no weight.
            for length in LENGTHS if weight < 1 else LENGTHS[:1]:
                choice = KernelChoice(length, weight)
                yield choice, _mixed(share, cosine, choice)

    def __call__(self, one: Codes, other: Codes, choice: KernelChoice) -> FloatArray:
        """The kernel between codes. Shapes: ``[n, d]``, ``[m, d]`` -> ``[n, m]``."""
        return _mixed(*self._parts(one, other, graphs=choice.weight > 0), choice)

    def _parts(self, one: Codes, other: Codes, *, graphs: bool) -> tuple[FloatArray, FloatArray]:
        """Share of differing entries, and cosine of neighbourhoods; zeros where it has no weight."""
        share = differing(one, other) / one.shape[1]
        return share, self._neighbourhoods.similarity(one, other) if graphs else np.zeros_like(share)


def _mixed(share: FloatArray, cosine: FloatArray, choice: KernelChoice) -> FloatArray:
    mixed: FloatArray = (1 - choice.weight) * np.exp(-share / choice.length) + choice.weight * cosine
    return mixed
