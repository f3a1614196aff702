"""Several processes: the same search as one with the same batches; devices that are not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from crlso.errors import UserError
from supernet.processes import Processes
from tests.supernet.search.small import search
from tests.supernet.two_processes import CHANGES, together


def check_search(folder: Path, recipe: str) -> None:
    """Batches of 8 shared out by halves, statistics and gradients reduced: equal to 1e-8 in float64."""
    found = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    assert found["count"] == 2
    alone = search(recipe, **CHANGES)
    while not alone.finished:
        alone.run_epoch()
    expected = [[r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy] for r in alone.records]
    np.testing.assert_allclose(found["records"], expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found["alpha"], alone.alpha.detach(), rtol=0, atol=1e-8)


def test_two_processes_are_one_with_the_same_batches(two_processes: Path) -> None:
    check_search(two_processes, "darts_1st")


@pytest.mark.slow
def test_two_processes_are_one_with_a_rule_of_many_passes(tmp_path: Path) -> None:
    together(tmp_path, "darts_2nd")
    check_search(tmp_path, "darts_2nd")


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
