"""Steps of a search with both paths of the DARTS supernet: 16 channels, 8 cells, images of 32x32.

Each path works in a process of its own on one thread; CPU seconds per step and peak memory are printed. The
reference does the published implementation's amount of work: one operation at a time, all gradients where
that calls ``backward()``, an optimiser that goes from tensor to tensor.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.source import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"),
]

STEPS = r"""
import re, statistics, sys, time
import torch
from supernet.networks.relaxed import DARTSFast, DARTSReference, initialise_supernet
from supernet.relaxation import Softmax
from supernet.update_rules import FirstOrder, SecondOrder, SecondOrderExact
from supernet.update_rules.problem import Batch, Problem
from supernet.update_rules.virtual import virtual_step

path, rule, size, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
torch.manual_seed(0)
fast = path == "fast"
network = DARTSFast() if fast else DARTSReference()
initialise_supernet(network, torch.Generator().manual_seed(0))
alpha = torch.nn.Parameter(1e-3 * torch.randn(2, 14, 8))
problem = Problem(network, alpha, Softmax(), reference=not fast)
batches = [Batch(torch.randn(size, 3, 32, 32), torch.randint(10, (size,))) for _ in range(2)]
how = {"fused": True} if fast else {"foreach": False}
weights = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4, **how)
architecture = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3, **how)
method = {"first": FirstOrder, "second": SecondOrder, "exact": SecondOrderExact}[rule]()

def step():
    virtual = virtual_step(weights, problem.parameters) if method.needs_virtual else None
    alpha.grad = method.gradients(problem, *batches, virtual).alpha
    architecture.step()
    for parameter, gradient in zip(problem.parameters, problem.backward(batches[0], "weights").weights):
        parameter.grad = gradient
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0, foreach=fast)
    weights.step()

step()
seconds = []
for _ in range(rounds):
    start = time.process_time()
    step()
    seconds.append(time.process_time() - start)
peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
print(statistics.median(seconds), int(peak) / 1e6)
"""


def measure(path: str, rule: str, size: int, rounds: int) -> tuple[float, float]:
    """CPU seconds per step (median) and peak memory in GB."""
    command = [sys.executable, "-c", STEPS, path, rule, str(size), str(rounds)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    seconds, peak = answer.stdout.split()
    return float(seconds), float(peak)


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize(("rule", "least"), [("first", 2.5), ("second", 2.0), ("exact", 1.5)])
def test_a_step_of_a_search(
    benchmark: BenchmarkFixture, rule: str, least: float, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed figures count, not pytest-benchmark's own, which has all of this as one round."""
    found = {}

    def both() -> None:
        for path in ("reference", "fast"):
            found[path] = measure(path, rule, size, 3)

    benchmark.pedantic(both, rounds=1)
    ratio = found["reference"][0] / found["fast"][0]
    benchmark.extra_info["times the reference"] = ratio
    with capsys.disabled():
        for path, (seconds, peak) in found.items():
            what = f"{rule} order, batch {size}, {path}"
            print(f"\n{what}: {seconds:.2f} CPU s a step, peak {peak:.2f} GB", end="")
        print(f"; {ratio:.2f} times as fast")
    assert ratio > least
