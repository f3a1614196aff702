"""CPU seconds on one thread for the whole of NAS-Bench-101: part of ``make bench``."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from crlso.spaces import NASBench101Space

pytestmark = [pytest.mark.slow, pytest.mark.benchmark(timer=time.process_time)]


def median(benchmark: BenchmarkFixture) -> float:
    return float(benchmark.stats.stats.median)


def test_listing_all_classes(benchmark: BenchmarkFixture) -> None:
    chunks = benchmark.pedantic(lambda: list(NASBench101Space().classes()), rounds=3)
    assert sum(len(codes) for _, codes in chunks) == 423_624
    assert median(benchmark) < 180


def test_hashes_of_a_million_random_cells(benchmark: BenchmarkFixture) -> None:
    space = NASBench101Space()
    codes = space.sample(1_000_000, np.random.default_rng(0))
    hashes = benchmark.pedantic(space.hashes, args=(codes,), rounds=1)
    assert len(hashes) == 1_000_000
    assert median(benchmark) < 60


def test_hashes_of_a_million_cells_of_random_classes(benchmark: BenchmarkFixture) -> None:
    """Uniform over classes: random codes fall into far fewer of them."""
    space = NASBench101Space()
    classes = np.concatenate([codes for _, codes in space.classes()])
    codes = classes[np.random.default_rng(0).integers(0, len(classes), size=1_000_000)]
    hashes = benchmark.pedantic(space.hashes, args=(codes,), rounds=1)
    assert len(set(hashes)) > 370_000
    assert median(benchmark) < 120


def test_class_keys_of_a_million_random_cells(benchmark: BenchmarkFixture) -> None:
    space = NASBench101Space()
    codes = space.sample(1_000_000, np.random.default_rng(0))
    keys = benchmark.pedantic(space.class_keys, args=(codes,), rounds=3)
    assert keys.shape == (1_000_000,)
    assert median(benchmark) < 30
