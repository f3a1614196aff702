"""What the commands of `crlso bench` share: printing of tables, numbers and groups of metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks import TableEvaluator

BETTER = {"max": "larger", "min": "smaller"}
UNVERIFIED = (
    "unverified: no checksum and no published digest vouches for the file; a damaged one would not be noticed"
)
_SINGLE = re.compile(r"(.+)/((?:seed|run|member)\d+)")


@dataclass(frozen=True)
class MetricGroup:
    """A metric with those that are the same number of single trainings.

    Attributes:
        name: The metric; of a group without a mean, the first single one.
        singles: Names of the single ones by what sets them apart (``seed777``).
    """

    name: str
    singles: dict[str, str]


def metric_groups(names: Iterable[str]) -> list[MetricGroup]:
    """Metrics in their order, ``NAME/seed777`` and the like put under ``NAME`` where that is one too."""
    listed = list(names)
    groups = {name: MetricGroup(name, {}) for name in listed}
    for name in listed:
        if (match := _SINGLE.fullmatch(name)) and match[1] in groups:
            groups[match[1]].singles[match[2]] = name
            del groups[name]
    return list(groups.values())


def space_name(declaration: Any) -> str:
    """Name of a declared or built-in space."""
    return str(declaration.get("name", declaration["space"]))


def number(value: Any) -> str:
    """A number as text; nothing for a missing one."""
    return "" if value is None else f"{value:.6g}"


def missing(table: TableEvaluator, metric: str) -> int:
    """How many architectures have no value."""
    import numpy as np

    return int(np.isnan(table.column(metric)).sum())


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table on stdout; as wide as it needs to be where stdout is no terminal, so that nothing is cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1000)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, title in enumerate(titles):
        # Names stand in the first column: in two pieces they could not be copied.
        table.add_column(title, justify="right" if i in right else "left", overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: names may hold square brackets
    console.print(table)
