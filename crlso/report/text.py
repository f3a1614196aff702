"""Numbers and sentences of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from crlso.report.statistics import Spread
from crlso.report.studies import Series, Study, differences, summarise

MINUS = "−"
DASH = "–"


def number(value: float | None, decimals: int = 3) -> str:
    """A number for people: fixed decimals, thin spaces for thousands, a true minus; an en dash for "unknown"."""
    if value is None or not math.isfinite(value):
        return DASH
    if value != 0.0 and abs(value) < 0.5 * 10.0**-decimals:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    text = f"{value:,.{decimals}f}".replace(",", "\u202f")
    return text.replace("-", MINUS)


def short(value: float | None) -> str:
    """A number with four significant digits or more, without trailing zeros (for metrics of unknown size)."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0.0 or 1e-3 <= abs(value) < 1e7:
        decimals = 0 if value == 0.0 else max(0, 4 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{min(decimals, 6)}f}".replace(",", "\u202f")
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return text.replace("-", MINUS)
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa}e{int(exponent)}".replace("-", MINUS)


def with_unit(text: str, unit: str) -> str:
    """``91.607`` and ``%`` as ``91.607 %``, joined by a no-break space."""
    return f"{text}\u00a0{unit}" if unit and text != DASH else text


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 seed``, ``30 seeds``."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def listing(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def interval(spread: Spread) -> str:
    """``0.02 (95 % interval −0.05 to 0.09)``."""
    return f"{number(float(spread.mean))} (95 % interval {number(float(spread.low))} to {number(float(spread.high))})"


def verdict(study: Study, evaluations: int) -> str:
    """Which method stands best after so many evaluations, as far as the seeds allow to say so.

    A method is called better than another only where the 95 % interval of their paired difference excludes zero.
    """
    ranked = _ranked(study, evaluations)
    head = f"After {count(evaluations, 'evaluation')}"
    if len(ranked) < 2:
        return ""
    first, spread = ranked[0]
    quantity = "mean regret" if study.optimum is not None else "mean best value"
    best = "lowest" if study.smaller_is_better else "highest"
    lead = f"{head}, {first.label} has the {best} {quantity}, {with_unit(number(float(spread.mean)), study.unit)}"
    clear: list[str] = []
    unclear: list[str] = []
    unpaired: list[str] = []
    for series, _ in ranked[1:]:
        difference = differences(study, series, first, evaluations)
        if difference is None:
            unpaired.append(series.label)
        elif float(difference.low) * float(difference.high) > 0.0:
            clear.append(series.label)
        else:
            unclear.append(f"{series.label} (difference {interval(difference)})")
    return ". ".join([lead, *_clauses(first.label, clear, unclear, unpaired)]) + "."


def _clauses(first: str, clear: Sequence[str], unclear: Sequence[str], unpaired: Sequence[str]) -> list[str]:
    clauses = []
    if clear:
        word = "interval excludes" if len(clear) == 1 else "intervals exclude"
        clauses.append(f"It is better than {listing(clear)}: the 95 % {word} zero")
    if unclear:
        word = "interval includes" if len(unclear) == 1 else "intervals include"
        clauses.append(f"It can not be told apart from {listing(unclear)}: the {word} zero")
    if unpaired:
        clauses.append(f"Nothing can be said against {listing(unpaired)}: fewer than two seeds in common")
    return clauses


def _ranked(study: Study, evaluations: int) -> list[tuple[Series, Spread]]:
    entries = [(series, summarise(series, evaluations)) for series in study.series]
    known = [entry for entry in entries if entry[1].n > 0]
    sign = 1.0 if study.smaller_is_better else -1.0
    return sorted(known, key=lambda entry: sign * float(entry[1].mean))
