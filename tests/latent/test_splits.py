"""No network stands on both sides of a split."""

from __future__ import annotations

import numpy as np
import pytest

from crlso.latent import split_by_class
from crlso.protocols import SearchSpace
from tests.latent.small import all_codes, thin_spaces

SPACES = thin_spaces()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_holds_out_whole_classes(share: float) -> None:
    space = SPACES["nasbench201"]
    codes = all_codes(space)
    split = split_by_class(space, codes, share=share, rng=np.random.default_rng(0))
    train, held_out = (np.unique(space.class_keys(part)) for part in (split.train, split.held_out))
    assert not set(train.tolist()) & set(held_out.tolist())
    assert len(train) + len(held_out) == 5260
    assert len(held_out) == round(share * 5260)
    together = np.concatenate([split.train, split.held_out])
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(codes, axis=0))
    assert len(together) == len(codes)


def test_a_split_by_code_would_leak() -> None:
    space = SPACES["nasbench201"]
    codes = np.random.default_rng(0).permutation(all_codes(space))
    train, held_out = (set(space.class_keys(part).tolist()) for part in (codes[1500:], codes[:1500]))
    assert len(train & held_out) > 300


@pytest.mark.parametrize("name", SPACES)
def test_splits_any_space(name: str) -> None:
    space: SearchSpace = SPACES[name]
    codes = space.sample(60, np.random.default_rng(1))
    split = split_by_class(space, codes, share=0.3, rng=np.random.default_rng(0))
    assert not np.isin(space.class_keys(split.train), space.class_keys(split.held_out)).any()
    assert len(split.train) + len(split.held_out) == 60


def test_one_class_is_held_out_at_least() -> None:
    space = SPACES["toy64"]
    split = split_by_class(space, all_codes(space), share=1e-6, rng=np.random.default_rng(0))
    assert len(np.unique(space.class_keys(split.held_out))) == 1


def test_the_generator_decides() -> None:
    space = SPACES["toy64"]
    first, again, other = (
        split_by_class(space, all_codes(space), share=0.3, rng=np.random.default_rng(seed)).held_out
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
