"""Steps played again as a CUDA graph do what steps do; needs such a device."""

from __future__ import annotations

import pytest
import torch

from supernet.processes import Processes
from supernet.search import Search
from tests.supernet.search import test_shrinking as shrinking
from tests.supernet.search.small import search

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def made(method: str, warmup: int, *, cuda_graph: bool) -> Search:
    processes = Processes("cuda", "64-true")
    changes = {"precision": "64-true", "epochs": 3, "warmup_epochs": warmup, "cuda_graph": cuda_graph}
    return search(method, processes=processes, **changes)


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("method", ["darts_1st", "darts_2nd", "darts_2nd_exact", "milenas", "gdas"])
def test_a_graph_is_the_same_search(method: str, warmup: int) -> None:
    """Three epochs with another learning rate and temperature each, measured after each."""
    found = [made(method, warmup, cuda_graph=graph) for graph in (False, True)]
    for each in found:
        while not each.finished:
            each.run_epoch()
    plain, replayed = found
    torch.testing.assert_close(plain.alpha, replayed.alpha, rtol=1e-6, atol=1e-8)
    for one, other in zip(plain.records, replayed.records, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-8)
        assert one.valid_loss == pytest.approx(other.valid_loss, rel=1e-8)


@pytest.mark.parametrize("recipe", shrinking.FAST)
def test_a_graph_is_recorded_anew_when_operators_go(recipe: str) -> None:
    """As many operators go in the same steps, the same architectures are noted."""
    changes = {"precision": "64-true", "epochs": 8}
    plain, replayed = (
        shrinking.search(recipe, device="cuda", cuda_graph=graph, **changes) for graph in (False, True)
    )
    for each in (plain, replayed):
        while not each.finished:
            each.run_epoch()
    torch.testing.assert_close(plain.alpha, replayed.alpha, rtol=1e-6, atol=1e-8)
    assert plain.shrinking is not None
    assert replayed.shrinking is not None
    assert plain.shrinking.left == replayed.shrinking.left < 40
    for name in ("alive", "physical", "step"):
        assert plain.shrinking.trace[name].tolist() == replayed.shrinking.trace[name].tolist()
    for one, other in zip(plain.shrinking.noted, replayed.shrinking.noted, strict=True):
        assert (one.step, one.reason, one.architecture) == (other.step, other.reason, other.architecture)
        assert one.loss == pytest.approx(other.loss, rel=1e-8)
