"""Signs of collapse, and the record of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from crlso.errors import UnknownNameError, UserError
from supernet.search.collapse import (
    Guard,
    Verdict,
    best_by_size,
    judge,
    many_skips,
    sharp_curvature,
    small_model,
)
from supernet.search.record import EpochRecord

HERE = EpochRecord(
    epoch=7,
    train_loss=1.0,
    train_accuracy=50.0,
    valid_loss=1.0,
    valid_accuracy=0.5,
    entropy=(2.0, 2.0),
    skips=(2, 8),
    convolutions=(6, 1),
    architecture="cell",
    eigenvalue=None,
    learning_rate=0.1,
    cpu_seconds=1.0,
    seconds=1.0,
    warnings=(),
)


def measured(values: Sequence[float | None]) -> list[EpochRecord]:
    return [replace(HERE, epoch=epoch, eigenvalue=value) for epoch, value in enumerate(values, start=1)]


def test_skip_connections() -> None:
    assert many_skips(HERE) is None
    assert many_skips(replace(HERE, skips=(3, 0))) == (
        "epoch 7: 3 skip connections in the normal cell, more than 2: the search may be collapsing"
    )
    # DARTS+ as published.
    assert many_skips(HERE, limit=1) is not None
    assert many_skips(replace(HERE, skips=(1, 0)), limit=1) is None


def test_eigenvalue() -> None:
    # Means 1 and 4/3: the ratio is 0.75, which is not below it; a little more is.
    assert sharp_curvature(measured([1, 1, 1, 4 / 3, 4 / 3, 4 / 3]), window=3) is None
    text = sharp_curvature(measured([1, 1, 1, 4 / 3, 4 / 3, 1.4]), window=3)
    assert text is not None
    assert text.startswith("epoch 6: the dominant eigenvalue grew from 1 to 1.36 since epoch 3")
    assert sharp_curvature(measured([1.4, 1.3, 1.2, 1, 1, 1]), window=3) is None


def test_eigenvalue_of_some_epochs() -> None:
    values = [1, None, 1, None, 2, None, 2, None]
    history = measured(values)
    # It is said in the epoch of the measurement, once.
    assert sharp_curvature(history[:7], window=2) is not None
    assert sharp_curvature(history[:8], window=2) is None
    assert sharp_curvature(history[:5], window=2) is None


@pytest.mark.parametrize(
    "values", [[-1.0, -1.0, 2.0, 2.0], [1.0, 1.0, -2.0, -2.0], [1.0, 1.0, float("nan"), 2.0], [0.0] * 4]
)
def test_eigenvalues_without_a_ratio(values: list[float]) -> None:
    assert sharp_curvature(measured(values), window=2) is None


def test_size() -> None:
    assert small_model(HERE) is None
    assert small_model(replace(HERE, convolutions=(6, 0))) == (
        "epoch 7: the cells are down to 6 and 0 convolutions (early stopping of MiLeNAS at 6 and 0)"
    )
    assert small_model(replace(HERE, convolutions=(4, 0))) is not None
    assert small_model(replace(HERE, convolutions=(7, 0))) is None
    assert small_model(replace(HERE, convolutions=(0,))) is None


@pytest.mark.parametrize(("stop", "ends"), [((), False), (("size",), False), (("size", "skips"), True)])
def test_judge(stop: tuple[str, ...], ends: bool) -> None:
    history = [HERE, replace(HERE, epoch=8, skips=(5, 0))]
    verdict = judge(history, Guard(stop=stop))
    assert verdict.stop is ends
    assert len(verdict.warnings) == 1
    assert "5 skip connections" in verdict.warnings[0]
    assert judge(history[:1], Guard(stop=stop)) == Verdict((), False)
    assert judge([], Guard(stop=stop)) == Verdict((), False)


def test_judge_sees_all_signs() -> None:
    history = [
        replace(moment, skips=(8, 0), convolutions=(0, 0)) for moment in measured([1.0] * 5 + [9.0] * 5)
    ]
    assert len(judge(history, Guard()).warnings) == 3
    assert judge(history, Guard(stop=("eigenvalue",))).stop


def test_best_by_size() -> None:
    history = [
        replace(HERE, epoch=epoch, convolutions=size, valid_accuracy=accuracy)
        for epoch, (size, accuracy) in enumerate(
            [((8, 8), 0.1), ((7, 8), 0.3), ((8, 8), 0.2), ((7, 8), 0.3), ((6, 0), float("nan"))], start=1
        )
    ]
    assert [(size, moment.epoch) for size, moment in best_by_size(history).items()] == [
        ((8, 8), 3),
        ((7, 8), 2),
    ]


@pytest.mark.parametrize("settings", [{"skips": -1}, {"window": 0}, {"ratio": 1.0}, {"ratio": float("nan")}])
def test_bad_settings(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match="a collapse guard needs"):
        Guard(**settings)  # type: ignore[arg-type]


def test_unknown_sign() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown sign of collapse 'skip'.*did you mean 'skips'"):
        Guard(stop=("skip",))
