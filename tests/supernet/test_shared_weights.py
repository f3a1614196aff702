"""Shared weights as an evaluator: the public contract, and the supernet with one-hot shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.testing import EvaluatorContract
from crlso.errors import UserError
from crlso.protocols import Codes
from crlso.runs.workers import run_tasks
from crlso.spaces import get_space
from supernet.data import SplitSettings
from supernet.data.splits import Part, Splits
from supernet.evaluators import SharedWeights
from supernet.networks import DARTSSizes, Skeleton
from supernet.processes import Processes
from supernet.recipe import load_recipe
from supernet.search.directory import read_checkpoint
from supernet.search.plan import DataPlan, SearchPlan, training_of
from supernet.search.run import RunSettings, run_search
from tests.supernet.search.small import EDGES

SIZES = {"edges": Skeleton(channels=2, cells=1, stages=1), "darts": DARTSSizes(channels=2, cells=3)}


def plan(name: str) -> SearchPlan:
    space = EDGES if name == "edges" else get_space("darts")
    return SearchPlan(
        space,
        DataPlan("digits", None, SplitSettings(fractions=(0.4, 0.4, 0.2), limits=(32, 32, 32))),
        SIZES[name],
        load_recipe("darts_1st", preset="small", changes={"epochs": 1, "batch": 16, "precision": "64-true"}),
        training_of(space, "small", {}),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Searches that are done, with the seeds 3 and 4, one directory for each space."""
    folder = tmp_path_factory.mktemp("shared")
    for name in SIZES:
        run_search(
            plan(name),
            RunSettings(seeds=(3, 4), train=False),
            out=folder / name,
            processes=Processes("cpu", "64-true"),
            engine=lambda tasks, shared: run_tasks(tasks, shared, jobs=1),
            progress=False,
        )
    return folder


@pytest.fixture(scope="module")
def loaded(folder: Path) -> SharedWeights:
    return SharedWeights.load(folder / "edges")


class TestContract(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, loaded: SharedWeights) -> SharedWeights:
        return loaded

    @pytest.fixture
    def codes(self, loaded: SharedWeights) -> Codes:
        """Fewer than of a table: every answer is computed."""
        return loaded.space.sample(24, np.random.default_rng(0))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("seed", [3, 4])
def test_answers_are_the_supernets_with_one_hot_shares(folder: Path, name: str, seed: int) -> None:
    evaluator = SharedWeights.load(folder / name / "seeds" / str(seed))
    splits = plan(name).data.load()
    family = plan(name).family(splits)
    network = family.supernet(path="reference").double()
    state = read_checkpoint(folder / name / "seeds" / str(seed) / "checkpoint.pt")
    assert state is not None
    fast = family.supernet().double()
    fast.load_state_dict(state["weights"])
    network.load_state_dict(fast.to_reference().state_dict())
    codes = evaluator.space.sample(4, np.random.default_rng(0))
    answer = evaluator.evaluate(codes, metrics=list(evaluator.metrics))
    for row, mixing in enumerate(family.mixing(codes).double()):
        for part, held in (("valid", splits.valid), ("test", splits.test)):
            images, labels = normalised(held, splits), torch.from_numpy(held.labels.copy())
            with torch.no_grad():
                logits = network(images, mixing)
            loss = float(F.cross_entropy(logits, labels))
            right = 100 * float((logits.argmax(1) == labels).double().mean())
            assert answer[f"digits/shared_{part}_loss"][row] == pytest.approx(loss, rel=1e-9)
            assert answer[f"digits/shared_{part}_accuracy"][row] == pytest.approx(right)
    assert (answer["digits/params"] * 1e6 == family.parameters(codes)).all()


def normalised(part: Part, splits: Splits) -> torch.Tensor:
    pixels = (part.images - splits.mean[:, None, None]) / splits.deviation[:, None, None]
    return torch.from_numpy(pixels)


def test_the_fingerprint_is_that_of_the_weights(folder: Path) -> None:
    one, same, other = (
        SharedWeights.load(folder / "edges" / end).fingerprint for end in (".", "seeds/3", "seeds/4")
    )
    assert one == same
    assert one != other


def test_an_architecture_of_another_space(loaded: SharedWeights) -> None:
    genotype = get_space("darts").sample(1, np.random.default_rng(0))
    with pytest.raises(UserError, match="codes"):
        loaded.evaluate(genotype, metrics=["digits/shared_valid_loss"])


def test_other_images_than_those_of_the_search(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = DataPlan.load

    def others(self: DataPlan) -> Splits:
        return load(DataPlan(self.name, self.path, SplitSettings(limits=(32, 32, 31))))

    monkeypatch.setattr(DataPlan, "load", others)
    with pytest.raises(UserError, match="the images of 'digits' are not those"):
        SharedWeights.load(folder / "edges")
