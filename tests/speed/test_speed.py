"""CPU seconds on one thread of the parts that have to be fast: ``make bench``.

CPU time, not wall time: other work on the machine then changes little. The limits leave a slow machine room;
what matters is the table that pytest-benchmark prints, and the lines that say figures per second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import TableEvaluator, load
from crlso.latent.model import LatentModel, ModelSettings
from crlso.protocols import CODE_DTYPE, Codes, Rule
from crlso.search import make_method
from crlso.threads import threads

METRIC = "cifar10/valid_accuracy@200"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.benchmark(timer=time.process_time, min_rounds=3, max_time=2.0, warmup=False),
]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a figure although the test passes."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return show


@pytest.fixture(scope="module")
def cells(nasbench201: TableEvaluator) -> Codes:
    """All 15,625 cells."""
    return np.concatenate(list(nasbench201.space.enumerate()))


def median(benchmark: BenchmarkFixture) -> float:
    return float(benchmark.stats.stats.median)


def test_table_load(benchmark: BenchmarkFixture, nasbench201: TableEvaluator) -> None:
    """From the cache, in a process that has the imports behind it."""
    table = benchmark(load, "nasbench201")
    assert len(table) == len(nasbench201)
    assert median(benchmark) < 0.5


def test_a_million_queries(benchmark: BenchmarkFixture, nasbench201: TableEvaluator) -> None:
    codes = nasbench201.space.sample(1_000_000, np.random.default_rng(0))
    answer = benchmark(nasbench201.evaluate, codes, metrics=[METRIC])
    assert answer.shape == (1_000_000, 1)
    assert median(benchmark) < 1


@pytest.mark.parametrize(("rule", "classes"), [("exact", 5260), ("official", 6466)])
def test_class_keys_of_all_cells(
    benchmark: BenchmarkFixture, nasbench201: TableEvaluator, cells: Codes, rule: Rule, classes: int
) -> None:
    keys = benchmark(nasbench201.space.class_keys, cells, rule)
    assert len(np.unique(keys)) == classes
    assert median(benchmark) < 5


def test_graphs_of_all_cells(
    benchmark: BenchmarkFixture, nasbench201: TableEvaluator, cells: Codes, say: Callable[[str], None]
) -> None:
    batch = benchmark(nasbench201.space.graphs, cells)
    assert batch.num_graphs == len(cells)
    assert median(benchmark) < 10
    say(f"graphs: {len(cells) / median(benchmark):,.0f} made per CPU second")


def test_encoder_forward_and_backward(
    benchmark: BenchmarkFixture, nasbench201: TableEvaluator, cells: Codes, say: Callable[[str], None]
) -> None:
    """Batches of 512 codes, as graphs, through the default encoder and back."""
    settings = ModelSettings()
    model = LatentModel(nasbench201.space, settings, seed=0)
    codes = cells[np.random.default_rng(0).permutation(len(cells))[:512]]

    def step() -> None:
        mean, log_variance = model.posterior(codes)
        (mean.square().mean() + log_variance.square().mean()).backward()  # type: ignore[no-untyped-call]

    with threads():
        benchmark(step)
    gradients = [p.grad for p in model.encoder.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)
    rate = len(codes) / median(benchmark)
    benchmark.extra_info["graphs per CPU second"] = rate
    say(
        f"encoder: {rate:,.0f} graphs per CPU second forward and backward "
        f"({settings.layers} layers of width {settings.width}, batches of {len(codes)})"
    )
    assert rate > 5_000


def test_a_round_of_crlso(
    benchmark: BenchmarkFixture, nasbench201: TableEvaluator, cells: Codes, say: Callable[[str], None]
) -> None:
    """Training, descent and decoding of one round with 100 labels, after the pre-training."""
    method = make_method("crlso", nasbench201.space, seed=0, settings={"pretrain_steps": 20})
    codes = cells[np.random.default_rng(0).permutation(len(cells))[:100]].astype(CODE_DTYPE)
    values = nasbench201.evaluate(codes, metrics=[METRIC]).to_numpy()
    method.tell(codes[:95], values[:95])
    proposals = [method.ask(1)]
    state = method.state_dict()
    assert state["pretrained"]
    # The queue of the round is thrown away: the next question starts the next round.
    state["rounds"]["queue"] = state["rounds"]["queue"][:0]

    def again() -> None:
        method.load_state_dict(state)
        method.tell(codes[95:], values[95:])  # without new labels a round trains nothing

    benchmark.pedantic(lambda: proposals.append(method.ask(1)), setup=again, rounds=5)
    assert all(nasbench201.space.is_valid(codes).all() for codes in proposals)
    # The same state gives the same round.
    assert len(np.unique(np.concatenate(proposals[1:]), axis=0)) == 1
    say(f"crlso: {median(benchmark):.2f} CPU seconds a round with 100 labels")
    assert median(benchmark) < 10
