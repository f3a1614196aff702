"""Trainings that take a second: few images, few channels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crlso.runs.workers import run_tasks
from crlso.spaces import get_space
from supernet.processes import Processes
from supernet.scratch import ScratchTrainer
from supernet.train.architectures import read_architectures
from supernet.train.plan import TrainPlan, small_plan
from supernet.train.run import run_training

CONVOLUTIONS = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|"
SKIPS = "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"


def plan(*architectures: str, all_data: bool = False, **training: Any) -> TrainPlan:
    """Networks of 4 channels on 96, 48 and 48 digits, two epochs."""
    space = get_space("nasbench201")
    return small_plan(space, read_architectures(space, architectures or (CONVOLUTIONS,))).changed(
        limits=(96, 48, 48),
        sizes={"channels": 4},
        training={"epochs": 2, "augmentation": "shift", **training},
        all_data=all_data,
    )


def trainer(made: TrainPlan) -> ScratchTrainer:
    splits = made.load()
    return ScratchTrainer(made.family(splits), splits, made.training)


def run(
    made: TrainPlan, out: Path, seeds: Sequence[int] = (0,), lines: list[str] | None = None
) -> dict[str, Any]:
    return run_training(
        made,
        seeds,
        out=out,
        processes=Processes(),
        engine=functools.partial(run_tasks, jobs=1),
        progress=False,
        say=(lines if lines is not None else []).append,
    )
