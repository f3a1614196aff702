"""What trainings came to: figures per architecture over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from supernet.data import Splits
from supernet.networks import NetworkFamily
from supernet.search.summary import spread
from supernet.train.directory import MEASURED
from supernet.train.plan import TrainPlan

if TYPE_CHECKING:
    from supernet.train.run import TrainRun

FORMAT: Final = 1


def summarise(
    plan: TrainPlan,
    seeds: Sequence[int],
    *,
    splits: Splits,
    family: NetworkFamily,
    results: Mapping[TrainRun, Mapping[str, Any]],
) -> dict[str, Any]:
    """Plain data for ``summary.json``. Accuracies are in %, losses in nats, costs in millions.

    Trainings that diverged count in no mean; ``null`` stands for what there is not (a validation accuracy
    where all data were trained on, the standard deviation of one training).

    Args:
        plan: What was trained.
        seeds: Of every architecture's trainings.
        splits: The data.
        family: The networks.
        results: Of every training.
    """
    entries = [
        _entry(number, text, family, [result for run, result in results.items() if run.number == number])
        for number, text in enumerate(plan.architectures)
    ]
    return {
        "format": FORMAT,
        "kind": "supernet train",
        "space": plan.space.name,
        "data": f"{splits.name}: {splits.describe()}",
        "all_data": plan.all_data,
        "network": family.describe(),
        "epochs": plan.training.epochs,
        "metric": f"{splits.name}/test_accuracy@{plan.training.epochs}",
        "seeds": list(seeds),
        "architectures": entries,
        "over_architectures": {
            name: spread([entry[name]["mean"] for entry in entries])
            for name in ("test_accuracy", "valid_accuracy")
        },
    }


def _entry(
    number: int, text: str, family: NetworkFamily, results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    code = family.space.parse(text)[None]
    return {
        "number": number,
        "architecture": text,
        "params": float(family.parameters(code)[0]) / 1e6,
        "flops": float(family.multiplications(code)[0]) / 1e6,
        "test_accuracy": spread([result["test_accuracy"] for result in results]),
        "valid_accuracy": spread([result["valid_accuracy"] for result in results]),
        "diverged": sum(result["failed"] for result in results),
        "seconds": sum(result["seconds"] for result in results),
        "trainings": [
            {
                "seed": result["seed"],
                **{name: result[name] for name in (*MEASURED, "test_loss", "test_accuracy")},
                "epochs": result["epochs"],
                "failed": result["failed"],
                "seconds": result["seconds"],
            }
            for result in results
        ],
    }
