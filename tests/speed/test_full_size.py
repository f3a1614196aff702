"""A NAS-Bench-201 file of full size, with random numbers: ours, and the official package beside it.

Both run in processes of their own, whose CPU seconds and peak memory are printed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.samples_nats import pickled_table, write_pth
from tests.source import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"),
]

# Seeds of the long trainings, and GB of memory in which the official package opens the file.
FILES = {
    "2.3 GB, as v1.0": (((777,),), 16),
    "4.3 GB, as v1.1": (((777, 888, 999), (777, 888), (777,)), 32),
}

REPORT = r"""
def report(name, seconds, cpu):
    import re
    peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
    print(name, seconds, cpu, int(peak) / 1e6)

def timed(name, work):
    import time
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    report(name, time.perf_counter() - start, time.process_time() - cpu)
    return result
"""

IMPORT = """
import sys
from pathlib import Path
from benchmarks.importers import import_official
timed("import", lambda: import_official(Path(sys.argv[1]), name="full"))
"""

LOAD = """
import numpy as np, pandas, pyarrow.parquet
import benchmarks, crlso.spaces
table = timed("load", lambda: benchmarks.load("full"))
codes = table.space.sample(1_000_000, np.random.default_rng(0))
names = ["cifar10/valid_accuracy@200", "cifar10/test_accuracy@200", "cifar10/flops"]
timed("queries", lambda: table.evaluate(codes, metrics=names[:1]))
timed("queries-of-three", lambda: table.evaluate(codes, metrics=names))
"""

OFFICIAL = """
import os, sys
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # as it was when the package was written
from nas_201_api import NASBench201API
timed("official", lambda: NASBench201API(sys.argv[1], verbose=False))
"""


def run(script: str, *arguments: str) -> dict[str, tuple[float, float, float]]:
    """By step: wall seconds, CPU seconds and the peak memory so far in GB."""
    answer = subprocess.run(
        [sys.executable, "-c", REPORT + script, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    lines = [line.split() for line in answer.stdout.splitlines()]
    return {name: (float(wall), float(cpu), float(peak)) for name, wall, cpu, peak in lines}


def available() -> float:
    """GB of memory that a process can have."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) / 1e6


@pytest.mark.parametrize("kind", FILES)
def test_a_full_size_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRLSO_DATA_HOME", str(tmp_path))
    seeds, needed = FILES[kind]
    path = write_pth(tmp_path / "full.pth", pickled_table(15_625, seeds=seeds))
    assert path.stat().st_size > 2e9
    found = run(IMPORT, str(path)) | run(LOAD)
    if available() > needed:
        found |= run(OFFICIAL, str(path))
    path.unlink()
    with capsys.disabled():
        for name, (wall, cpu, peak) in found.items():
            print(f"\n{name}: {wall:.2f} s, {cpu:.2f} CPU s, peak {peak:.2f} GB", end="")
    assert found["import"][2] < 1
    assert found["load"][1] < 0.3
    assert found["queries"][1] < 1
    assert found["queries-of-three"][1] < 1
