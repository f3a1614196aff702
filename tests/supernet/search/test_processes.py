"""Several processes: the same search as one with the same batches; devices that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crlso.errors import UserError
from supernet.processes import Processes
from tests.source import ROOT
from tests.supernet.search.small import search

CHANGES = {"precision": "64-true", "statistics": "reduced", "space": "darts"}

SCRIPT = """
import json, sys, torch
torch.set_num_threads(1)
from tests.supernet.search.small import search
found = search({recipe!r}, **{changes!r})
while not found.finished:
    found.run_epoch()
if found.processes.rank == 0:
    records = [[r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy] for r in found.records]
    with open(sys.argv[1], "w") as file:
        json.dump({{"records": records, "alpha": found.alpha.tolist(), "count": found.processes.count}}, file)
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("recipe", ["darts_1st", pytest.param("darts_2nd", marks=pytest.mark.slow)])
def test_two_processes_are_one_with_the_same_batches(tmp_path: Path, recipe: str) -> None:
    """Batches of 8 shared out by halves, statistics and gradients reduced: equal to 1e-8 in float64."""
    script, answer = tmp_path / "search.py", tmp_path / "answer.json"
    script.write_text(SCRIPT.format(recipe=recipe, changes=CHANGES), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, str(script), str(answer)], check=True, capture_output=True, cwd=ROOT, env=environment
    )
    together = json.loads(answer.read_text(encoding="utf-8"))
    assert together["count"] == 2
    alone = search(recipe, **CHANGES)
    while not alone.finished:
        alone.run_epoch()
    expected = [[r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy] for r in alone.records]
    np.testing.assert_allclose(together["records"], expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(together["alpha"], alone.alpha.detach(), rtol=0, atol=1e-8)


def test_one_process_averages_nothing() -> None:
    processes = Processes()
    tensors = [torch.ones(2), torch.zeros(())]
    assert all(a is b for a, b in zip(processes.mean(tensors), tensors, strict=True))
    assert processes.rows(6) == slice(0, 6)
    assert (processes.rank, processes.count, processes.device.type) == (0, 1, "cpu")


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:-1", ""])
def test_devices_that_are_none(device: str) -> None:
    with pytest.raises(UserError, match="choose cpu, cuda or cuda:NUMBER"):
        Processes(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UserError, match="finds no CUDA device"):
        Processes("cuda")
