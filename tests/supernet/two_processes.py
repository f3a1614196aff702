"""What two processes of torchrun compute together; one start serves all tests of it.

As a script (``-m tests.supernet.two_processes FOLDER RECIPE``) it is one of the processes: a search, and then
everything of `tests.supernet.test_reduced_statistics`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from supernet.networks.reduced_statistics import ReducedStatistics
from tests.source import ROOT
from tests.supernet.search.small import search

CHANGES: dict[str, Any] = {"precision": "64-true", "statistics": "reduced", "space": "darts"}
"""Of the search: float64, so that nothing but the order of sums differs."""


def together(folder: Path, recipe: str) -> None:
    """Starts two processes and waits; they leave ``search.json`` and, each, ``0.pt`` and ``1.pt``."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = ["-m", "tests.supernet.two_processes", str(folder), recipe]
    subprocess.run([*command, *words], check=True, capture_output=True, cwd=ROOT, env=environment)


def work(folder: Path, recipe: str) -> None:
    """One of the processes."""
    from tests.supernet.test_reduced_statistics import computed

    torch.set_num_threads(1)
    found = search(recipe, **CHANGES)
    while not found.finished:
        found.run_epoch()
    rank, count = found.processes.rank, found.processes.count
    if rank == 0:
        records = [[r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy] for r in found.records]
        answer = {"records": records, "alpha": found.alpha.tolist(), "count": count}
        (folder / "search.json").write_text(json.dumps(answer), encoding="utf-8")
    torch.save(computed(rank, count, ReducedStatistics()), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
