"""The kernel of codes against definitions worked out anew."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from crlso.protocols import Code, FloatArray
from crlso.search.kernels import LENGTHS, MIXTURES, CodeKernel, KernelChoice, KernelKind
from crlso.spaces import get_space

SPACE = get_space("nasbench201")
CODES = SPACE.sample(40, np.random.default_rng(1000))
OTHERS = SPACE.sample(15, np.random.default_rng(1001))


@pytest.mark.parametrize("length", LENGTHS)
def test_hamming(length: float) -> None:
    kernel = CodeKernel(SPACE, "codes", rounds=2)(CODES, OTHERS, KernelChoice(length, 0.0))
    for row, code in enumerate(CODES):
        for column, other in enumerate(OTHERS):
            share = sum(a != b for a, b in zip(code, other, strict=True)) / 6
            assert kernel[row, column] == pytest.approx(np.exp(-share / length), rel=1e-12)


def test_neighbourhoods_of_no_round_are_counts_of_operations() -> None:
    kernel = CodeKernel(SPACE, "graphs", rounds=0)(CODES, OTHERS, KernelChoice(LENGTHS[0], 1.0))

    def counted(code: Code) -> FloatArray:
        graph = SPACE.graphs(code[None])
        return np.bincount(graph.x.numpy().reshape(-1), minlength=20).astype(float)

    for row, code in enumerate(CODES):
        for column, other in enumerate(OTHERS):
            one, two = counted(code), counted(other)
            cosine = one @ two / (np.linalg.norm(one) * np.linalg.norm(two))
            assert kernel[row, column] == pytest.approx(cosine, rel=1e-12)


@pytest.mark.parametrize("kind", get_args(KernelKind))
def test_every_choice_is_a_kernel_and_the_same_when_asked_for(kind: KernelKind) -> None:
    kernel = CodeKernel(SPACE, kind, rounds=2)
    tried = dict(kernel.choices(CODES))
    weights = MIXTURES[kind]
    assert len(tried) == sum(len(LENGTHS) if weight < 1 else 1 for weight in weights)
    assert {choice.weight for choice in tried} == set(weights)
    for choice, values in tried.items():
        np.testing.assert_array_equal(values, kernel(CODES, CODES, choice))
        np.testing.assert_allclose(np.diag(values), 1.0, rtol=1e-12)
        assert np.linalg.eigvalsh(values).min() > -1e-9
        mixed = (1 - choice.weight) * kernel(CODES, OTHERS, KernelChoice(choice.length, 0.0))
        mixed = mixed + choice.weight * kernel(CODES, OTHERS, KernelChoice(choice.length, 1.0))
        np.testing.assert_allclose(kernel(CODES, OTHERS, choice), mixed, rtol=1e-12)
