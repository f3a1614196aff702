"""Signs that a search collapses, and the best architecture of every size that it passed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from crlso.errors import UnknownNameError, UserError
from supernet.search.record import EpochRecord

RULES: Final = ("skips", "eigenvalue", "size")
"""Names of the signs: :func:`many_skips`, :func:`sharp_curvature`, :func:`small_model`."""


@dataclass(frozen=True)
class Guard:
    """What counts as a collapse.

    Attributes:
        skips: Skip connections that the normal cell may have.
        ratio: See :func:`sharp_curvature`.
        window: Likewise.
        size: Convolutions per kind of cell at or below which a search has gone far enough.
        stop: Names of the signs (:data:`RULES`) that end a search; the others only warn.

    Raises:
        UserError: A number that makes no sense.
        UnknownNameError: A sign that does not exist.
    """

    skips: int = 2
    ratio: float = 0.75
    window: int = 5
    size: tuple[int, ...] = (6, 0)
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.skips < 0 or self.window < 1 or not 0 < self.ratio < 1:
            raise UserError(
                "a collapse guard needs skips of 0 or more, a window of 1 or more, a ratio between 0 and 1;"
                f" got {self.skips}, {self.window}, {self.ratio}"
            )
        for name in self.stop:
            if name not in RULES:
                raise UnknownNameError("sign of collapse", name, RULES)


@dataclass(frozen=True)
class Verdict:
    """What a guard says.

    Attributes:
        warnings: One line for every sign that is seen.
        stop: Whether the search should end.
    """

    warnings: tuple[str, ...]
    stop: bool


def judge(history: Sequence[EpochRecord], guard: Guard) -> Verdict:
    """What the guard says of a search after its last epoch so far; an empty history is fine."""
    if not history:
        return Verdict((), False)
    seen = {
        "skips": many_skips(history[-1], guard.skips),
        "eigenvalue": sharp_curvature(history, guard.ratio, guard.window),
        "size": small_model(history[-1], guard.size),
    }
    warnings = {name: text for name, text in seen.items() if text is not None}
    return Verdict(tuple(warnings.values()), any(name in warnings for name in guard.stop))


def many_skips(record: EpochRecord, limit: int = 2) -> str | None:
    """A line if the normal (first) cell has more skip connections than the limit (after DARTS+).

    DARTS+ (Liang et al. 2019) stops at two or more, which is a limit of 1; two are common in good published
    cells, so that the default allows them.
    """
    if record.skips[0] <= limit:
        return None
    return (
        f"epoch {record.epoch}: {record.skips[0]} skip connections in the normal cell, more than {limit}:"
        " the search may be collapsing"
    )


def sharp_curvature(history: Sequence[EpochRecord], ratio: float = 0.75, window: int = 5) -> str | None:
    """A line if the dominant eigenvalue has grown fast (RobustDARTS, Zela et al. 2020).

    Means over ``window`` measurements are compared: the present one, and that of ``window`` measurements ago.
    Once the earlier divided by the present one is below ``ratio``, the earlier architecture is the better
    choice. Nothing is said before there are ``2 * window`` measurements, or where one of the means is not
    positive or not finite.
    """
    measured = [record for record in history if record.eigenvalue is not None]
    if len(measured) < 2 * window or measured[-1] is not history[-1]:
        return None
    values = [record.eigenvalue or 0.0 for record in measured]
    before = sum(values[-2 * window : -window]) / window
    now = sum(values[-window:]) / window
    if not (math.isfinite(before) and math.isfinite(now) and before > 0 and now > 0 and before / now < ratio):
        return None
    earlier = measured[-1 - window].epoch
    return (
        f"epoch {measured[-1].epoch}: the dominant eigenvalue grew from {before:.3g} to {now:.3g} since epoch"
        f" {earlier} (means over {window} measurements): the architecture of then may be the better one"
    )


def small_model(record: EpochRecord, size: tuple[int, ...] = (6, 0)) -> str | None:
    """A line if every kind of cell is down to its number of convolutions (MiLeNAS, He et al. 2020).

    MiLeNAS stops at exactly 6 in the normal and 0 in the reduction cell. A search looked at once per epoch
    may jump over that, so here fewer count too. Nothing is said of cells of other kinds than ``size`` is for.
    """
    counts = record.convolutions
    if len(counts) != len(size) or any(n > most for n, most in zip(counts, size, strict=True)):
        return None
    return (
        f"epoch {record.epoch}: the cells are down to {' and '.join(map(str, counts))} convolutions"
        f" (early stopping of MiLeNAS at {' and '.join(map(str, size))})"
    )


def best_by_size(history: Iterable[EpochRecord]) -> dict[tuple[int, ...], EpochRecord]:
    """For every size that a search passed, its best epoch by validation accuracy (MiLeNAS).

    A size is the number of convolutions per kind of cell. The first of equals is kept, and records whose
    accuracy is not a number are left out. Large sizes come first.
    """
    best: dict[tuple[int, ...], EpochRecord] = {}
    for record in history:
        known = best.get(record.convolutions)
        if not math.isnan(record.valid_accuracy) and (
            known is None or record.valid_accuracy > known.valid_accuracy
        ):
            best[record.convolutions] = record
    return dict(sorted(best.items(), reverse=True))
