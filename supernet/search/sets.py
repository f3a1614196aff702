"""The set of architectures that a shrinking search passes: verified, compared with random ones alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from crlso.protocols import SearchSpace, TrainedRecord
from crlso.runs.trainings import Training
from crlso.runs.trials import finite
from crlso.spaces import FreeTopologySpace
from supernet.networks import NetworkFamily
from supernet.pareto import Member, marked, random_alike
from supernet.search import streams
from supernet.search.shrinking import Noted

SIZES: Final = ("smallest", "middle", "largest")
"""Which non-dominated members, by their weights, are trained as long as other searches' architectures."""


@dataclass(frozen=True)
class Pair:
    """A member that is trained, and what it is compared with.

    Attributes:
        size: One of :data:`SIZES`.
        member: Its number.
        architecture: Its text.
        random: Text of a random architecture with as many weights, as nearly as it was found.
    """

    size: str
    member: int
    architecture: str
    random: str


def members_of(
    noted: Sequence[Noted],
    family: NetworkFamily,
    records: Mapping[Training, TrainedRecord],
    *,
    metric: str,
    epochs: int,
    seed: int,
) -> tuple[Member, ...]:
    """The noted architectures from the largest to the smallest, each once.

    Args:
        noted: By a search.
        family: Knows what they cost.
        records: Trainings that are done.
        metric: Of the verified accuracy, in ``records``; without such a training it is that of the shrunk
            supernet.
        epochs: Of those trainings; 0: none.
        seed: Of those trainings.
    """
    found: dict[str, Member] = {}
    for each in noted:
        code = family.space.parse(each.architecture)[None]
        verified = each.accuracy
        if epochs:
            record = records.get(Training(each.architecture, epochs, seed))
            verified = math.nan if record is None else record.values[metric]
        found[each.architecture] = Member(
            architecture=each.architecture,
            step=each.step,
            operators=int(code.sum()),
            params=float(family.parameters(code)[0]) / 1e6,
            flops=float(family.multiplications(code)[0]) / 1e6,
            shared_valid_accuracy=each.accuracy,
            valid_accuracy=verified,
        )
    return marked(sorted(found.values(), key=lambda member: -member.params))


def to_verify(noted: Sequence[Noted], *, epochs: int, seed: int) -> list[Training]:
    """The trainings that :func:`members_of` asks for."""
    return [Training(each.architecture, epochs, seed) for each in noted] if epochs else []


def pairs_of(members: Sequence[Member], family: NetworkFamily, *, seed: int) -> tuple[Pair, ...]:
    """The smallest, the middle and the largest of the non-dominated members, each beside a random one.

    With one non-dominated member that is the smallest, with two they are the smallest and the largest. A
    random one is the member itself where no other has as many weights, such as one of all operators.
    """
    kept = sorted(
        (number for number, member in enumerate(members) if member.non_dominated),
        key=lambda number: members[number].params,
    )
    if not kept:
        return ()
    assert isinstance(family.space, FreeTopologySpace)  # no other space has sets
    # Of two in the middle the smaller one, as supernet.pareto chooses members by size.
    chosen = dict(zip(SIZES, (kept[0], kept[(len(kept) - 1) // 2], kept[-1]), strict=True))
    if len(kept) < len(SIZES):
        del chosen["middle"]
    if len(kept) < 2:
        del chosen["largest"]
    pairs: list[Pair] = []
    for size, number in chosen.items():
        rng = np.random.default_rng([seed, streams.BASELINE, SIZES.index(size)])
        alike = random_alike(family.space, family.parameters, members[number].params * 1e6, rng)
        text = family.space.format(alike.code)
        pairs.append(Pair(size, number, members[number].architecture, text))
    return tuple(pairs)


def set_entry(
    members: Sequence[Member],
    pairs: Sequence[Pair],
    trace: Mapping[str, Any],
    trained: Mapping[str, Mapping[str, float | None] | None],
    family: NetworkFamily,
) -> dict[str, Any]:
    """Plain data for ``summary.json``.

    Args:
        members: The set.
        pairs: What was trained.
        trace: Of the search, see :class:`~supernet.search.shrinking.Shrinking`.
        trained: Accuracies by architecture; ``None`` where there is no training.
        family: Knows what architectures cost.
    """
    steps = len(trace["step"])
    first, last = (slice(0, 1), slice(steps - 1, steps))
    return {
        "members": len(members),
        "non_dominated": sum(member.non_dominated for member in members),
        "steps": steps,
        "operators": [float(trace["physical"][0]), float(trace["alive"][-1])] if steps else None,
        "step_seconds": [finite(float(trace["seconds"][at].mean())) for at in (first, last)]
        if steps
        else None,
        "step_cpu_seconds": (
            [finite(float(trace["cpu_seconds"][at].mean())) for at in (first, last)] if steps else None
        ),
        "trained": [
            {
                "size": pair.size,
                "member": pair.member,
                **_figures(pair.architecture, family, trained),
                "random": _figures(pair.random, family, trained),
            }
            for pair in pairs
        ],
    }


def _figures(
    text: str, family: NetworkFamily, trained: Mapping[str, Mapping[str, float | None] | None]
) -> dict[str, Any]:
    space: SearchSpace = family.space
    code = space.parse(text)[None]
    return {
        "architecture": text,
        "operators": int(code.sum()),
        "params": float(family.parameters(code)[0]) / 1e6,
        "flops": float(family.multiplications(code)[0]) / 1e6,
        **(trained.get(text) or {"train_accuracy": None, "valid_accuracy": None, "test_accuracy": None}),
    }
