"""Colours: one palette that people with any colour vision can tell apart (Okabe and Ito, 2008)."""

from __future__ import annotations

METHOD_COLORS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#8C6D00", "#3A9BD1", "#44505C")
"""Lines of methods, in order; taken again from the start, with another dash, when they run out."""

METHOD_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

OPERATION_COLORS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#8C6D00", "#3A9BD1", "#B5485D", "#5B5BA5")
"""Operations of a space, in the order of its vocabulary, ``none`` left out."""

INK = "#1f2a37"
MUTED = "#52606d"
DEAD = "#9aa5b1"
GRID = "#e4e7eb"
ACCENT = "#D55E00"


def method_style(index: int) -> tuple[str, str]:
    """Colour and dash of the ``index``-th method; the dash tells methods apart in black and white."""
    return METHOD_COLORS[index % len(METHOD_COLORS)], METHOD_DASHES[index % len(METHOD_DASHES)]


def translucent(color: str, alpha: float) -> str:
    """``#rrggbb`` as ``rgba(r, g, b, alpha)``."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha:g})"


def tint(color: str, share: float) -> str:
    """A colour mixed with white; ``share`` 0 is white, 1 the colour itself."""
    parts = (round(255 - (255 - int(color[i : i + 2], 16)) * share) for i in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in parts)
