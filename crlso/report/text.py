"""Numbers and words of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "−"
DASH = "–"
THIN_SPACE = "\u202f"
NO_BREAK_SPACE = "\u00a0"


def number(value: float | None, decimals: int = 3) -> str:
    """A number with fixed decimals, thin spaces for thousands and a true minus; an en dash for "unknown".

    Exact zero is ``0``; what only rounds to zero is ``<0.001``, so that the two can be told apart.
    """
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0.0:
        return "0"
    smallest = 10.0**-decimals
    if 0.0 < value < 0.5 * smallest:
        return f"<{smallest:.{decimals}f}"
    return f"{value:,.{decimals}f}".replace(",", THIN_SPACE).replace("-", MINUS)


def short(value: float | None) -> str:
    """A number with about five significant digits, without trailing zeros (for metrics of any size)."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0.0 or 1e-3 <= abs(value) < 1e7:
        text = f"{value:,.{significant_decimals(value)}f}".replace(",", THIN_SPACE)
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return text.replace("-", MINUS)
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa}e{int(exponent)}".replace("-", MINUS)


def significant_decimals(value: float) -> int:
    """Decimals that show about five significant digits of a number."""
    if value == 0.0 or not math.isfinite(value):
        return 0
    return min(9, max(0, 4 - math.floor(math.log10(abs(value)))))


def decimals_for(largest: float) -> int:
    """Decimals for numbers up to ``largest``: three, fewer for thousands, more where all are below one."""
    if not math.isfinite(largest) or largest <= 0.0:
        return 3
    return min(9, max(0, 3 - math.floor(min(0.0, math.log10(largest)))) if largest < 1e3 else 1)


def with_unit(text: str, unit: str) -> str:
    """``91.607`` and ``%`` as ``91.607 %``, joined by a no-break space."""
    return f"{text}{NO_BREAK_SPACE}{unit}" if unit and text != DASH else text


def count(n: int, one: str, several: str = "") -> str:
    """``1 seed``, ``30 seeds``; ``several`` where the plural is not made with an s."""
    return f"{n} {one if n == 1 else several or one + 's'}"


def listing(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def whole_numbers(numbers: Sequence[int]) -> str:
    """``0–29, 1000``: three or more without a gap as a range, shortened when long."""
    ranges: list[list[int]] = []
    for value in sorted(set(numbers)):
        if ranges and value == ranges[-1][-1] + 1:
            ranges[-1].append(value)
        else:
            ranges.append([value])
    words = []
    for found in ranges:
        words += [f"{found[0]}{DASH}{found[-1]}"] if len(found) > 2 else [str(value) for value in found]
    return ", ".join(words) if len(words) <= 6 else f"{', '.join(words[:6])}, …"
