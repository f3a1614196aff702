"""What a supernet search came to: figures per search and over searches, beside random architectures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from crlso.protocols import Evaluator, TrainedRecord
from crlso.runs.trainings import Training
from crlso.runs.trials import finite
from supernet.data.splits import Splits
from supernet.networks import NetworkFamily
from supernet.search.collapse import best_by_size
from supernet.search.plan import SearchPlan
from supernet.search.sets import SIZES, set_entry

if TYPE_CHECKING:
    from supernet.search.run import Found

FORMAT: Final = 1


def summarise(
    plan: SearchPlan,
    *,
    splits: Splits,
    family: NetworkFamily,
    found: Sequence[Found],
    records: Mapping[Training, TrainedRecord],
    table: Evaluator | None,
) -> dict[str, Any]:
    """Plain data for ``summary.json``. Accuracies are in %, costs in millions, over searches, not trainings.

    Args:
        plan: Of the search.
        splits: The data.
        family: The networks.
        found: What each search came to.
        records: Trainings that were done.
        table: Real trainings of the space's architectures, if there are any.
    """
    epochs = plan.training.epochs
    searches = [
        _search_entry(each, splits=splits, family=family, records=records, epochs=epochs, table=table)
        for each in found
    ]
    trained = [entry["trained"] for entry in searches if entry["trained"] is not None]
    random = [entry["random"] for entry in searches if entry["random"] is not None]
    return {
        "format": FORMAT,
        "kind": "supernet search",
        "recipe": plan.recipe.name,
        "space": plan.space.name,
        "data": f"{splits.name}: {splits.describe()}",
        "network": family.describe(),
        "epochs": plan.recipe.search.epochs,
        "metric": f"{splits.name}/test_accuracy@{epochs}",
        "searches": searches,
        "over_searches": {
            "derived": spread([entry["test_accuracy"] for entry in trained]),
            "random_mean": spread([entry["mean"] for entry in random]),
            "random_search": spread([entry["best_by_valid"]["test_accuracy"] for entry in random]),
            "set": _over_sets([entry["set"] for entry in searches if entry["set"] is not None]),
        },
    }


def _over_sets(sets: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """By size of the member: test accuracies and weights of members and of random architectures alike."""
    if not sets:
        return None
    found: dict[str, Any] = {}
    for size in SIZES:
        pairs = [pair for entry in sets for pair in entry["trained"] if pair["size"] == size]
        found[size] = {
            "member": spread([pair["test_accuracy"] for pair in pairs]),
            "random": spread([pair["random"]["test_accuracy"] for pair in pairs]),
            "params": spread([pair["params"] for pair in pairs]),
        }
    return {"non_dominated": spread([entry["non_dominated"] for entry in sets]), **found}


def _by_text(
    each: Found, trained: Callable[[str], dict[str, float | None] | None]
) -> dict[str, dict[str, float | None] | None]:
    return {text: trained(text) for pair in each.pairs for text in (pair.architecture, pair.random)}


def spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Number, mean, standard deviation (n - 1), standard error and median of the values that are numbers."""
    known = np.array([value for value in values if value is not None and math.isfinite(value)])
    n = len(known)
    deviation = float(known.std(ddof=1)) if n > 1 else None
    return {
        "n": n,
        "mean": float(known.mean()) if n else None,
        "std": deviation,
        "sem": deviation / math.sqrt(n) if deviation is not None else None,
        "median": float(np.median(known)) if n else None,
    }


def _search_entry(
    each: Found,
    *,
    splits: Splits,
    family: NetworkFamily,
    records: Mapping[Training, TrainedRecord],
    epochs: int,
    table: Evaluator | None,
) -> dict[str, Any]:
    code = family.space.parse(each.architecture)[None]
    last = each.records[-1]

    def trained(text: str) -> dict[str, float | None] | None:
        record = records.get(Training(text, epochs, each.seed))
        if record is None:
            return None
        return {
            part: finite(record.values[f"{splits.name}/{part}@{epochs}"])
            for part in ("train_accuracy", "valid_accuracy", "test_accuracy")
        }

    return {
        "seed": each.seed,
        "architecture": each.architecture,
        "params": float(family.parameters(code)[0]) / 1e6,
        "flops": float(family.multiplications(code)[0]) / 1e6,
        "shared_valid_accuracy": last.valid_accuracy,
        "warnings": list(last.warnings),
        "by_size": [
            {
                "convolutions": list(size),
                "epoch": record.epoch,
                "shared_valid_accuracy": record.valid_accuracy,
                "architecture": record.architecture,
            }
            for size, record in best_by_size(each.records).items()
        ],
        "search_seconds": sum(record.seconds for record in each.records),
        "search_cpu_seconds": sum(record.cpu_seconds for record in each.records),
        "trained": trained(each.architecture),
        "random": _random_entry([(text, trained(text)) for text in each.random]),
        "random_cost": each.random_cost,
        "set": set_entry(each.members, each.pairs, each.trace, _by_text(each, trained), family)
        if each.members
        else None,
        "table": _table_entry(table, code),
    }


def _random_entry(trained: Sequence[tuple[str, dict[str, float | None] | None]]) -> dict[str, Any] | None:
    known = [(text, figures) for text, figures in trained if figures is not None]
    known = [(text, figures) for text, figures in known if figures["valid_accuracy"] is not None]
    if not known:
        return None
    # Chosen by validation, as a random search would; the test accuracy is only stated.
    best = max(known, key=lambda pair: pair[1]["valid_accuracy"] or 0.0)
    return {
        **spread([figures["test_accuracy"] for _, figures in known]),
        "best_by_valid": {"architecture": best[0], **best[1]},
        "architectures": [text for text, _ in known],
    }


def _table_entry(table: Evaluator | None, code: Any) -> dict[str, Any] | None:
    if table is None:
        return None
    # Means over trainings, not the single ones (".../seed0").
    accuracies = [
        name for name, metric in table.metrics.items() if metric.unit == "%" and "/seed" not in name
    ]
    answer = table.evaluate(code, metrics=accuracies)
    return {
        "name": table.name,
        "values": {name: finite(float(answer[name].iloc[0])) for name in accuracies},
        "best": {name: table.optimum(name) for name in accuracies},
    }
