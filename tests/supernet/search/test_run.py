"""A run of searches: what it computes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crlso.runs.workers import run_tasks
from crlso.threads import threads
from supernet.processes import Processes
from supernet.search.run import RunSettings, run_search
from tests.supernet.test_shared_weights import plan


@pytest.mark.parametrize("count", [1, 2])
def test_a_search_works_on_the_threads_of_its_recipe(tmp_path: Path, count: int) -> None:
    wanted = plan("edges")
    recipe = replace(wanted.recipe, search=replace(wanted.recipe.search, threads=count))
    seen = []
    with threads(3):
        run_search(
            replace(wanted, recipe=recipe),
            RunSettings(train=False),
            out=tmp_path,
            processes=Processes("cpu", "64-true"),
            engine=lambda tasks, shared: run_tasks(tasks, shared, jobs=1),
            progress=False,
            say=lambda text: seen.append(torch.get_num_threads()),
        )
        assert torch.get_num_threads() == 3
    assert seen == [count]
