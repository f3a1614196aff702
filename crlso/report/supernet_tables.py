"""Tables of a supernet run: its searches, their cost, real trainings of the derived cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crlso.protocols import FloatArray
from crlso.report.palette import INK, method_style
from crlso.report.statistics import spread
from crlso.report.supernet_reading import SupernetRun, SupernetSearch
from crlso.report.supernet_summary import cpu_seconds, deviation, outcomes, table_best
from crlso.report.tables import Table, TableCell, TableRow
from crlso.report.text import DASH, number

MEAN = "mean ± sd"


def supernet_tables(run: SupernetRun) -> tuple[Table, ...]:
    """All tables that have something in them."""
    made = (searches_table(run), cost_table(run), real_table(run))
    return tuple(table for table in made if table is not None)


def searches_table(run: SupernetRun) -> Table | None:
    """What each search found, beside the random networks of its own."""
    results = [search.result for search in run.searches]
    if not any(results):
        return None
    derived, random_mean, random_best = outcomes(run)
    valid = _column([np.nan if result is None else result.valid_accuracy for result in results])
    shared = _column([np.nan if result is None else result.shared_valid_accuracy for result in results])
    params = _column([np.nan if result is None else result.params for result in results])
    flops = _column([np.nan if result is None else result.flops for result in results])
    columns = [
        ("test (%)", derived, 2),
        ("validation (%)", valid, 2),
        ("random, mean (%)", random_mean, 2),
        ("random search (%)", random_best, 2),
        ("supernet (%)", shared, 2),
        ("weights (M)", params, 3),
        ("MACs (M)", flops, 2),
    ]
    details = {}
    for row, result in enumerate(results):
        if result is not None and result.random is not None:
            spread_text = number(result.random.deviation, 2)
            details[row, "random, mean (%)"] = f"± {spread_text} over {result.random.n}"
    return _table(
        run,
        "What the searches found",
        columns,
        "Test and validation: accuracy of the derived network, trained from scratch. Random: networks drawn "
        "from the space and trained alike, with the standard deviation over them; random search: the one of "
        "them with the best validation accuracy. Supernet: validation accuracy of the shared weights at the "
        "end. MACs: multiply-accumulate operations for one image. The last row is over searches.",
        details,
    )


def cost_table(run: SupernetRun) -> Table | None:
    """Time of each search, whole and per epoch."""
    if not any(search.epochs for search in run.searches):
        return None
    epochs = _column([len(search.epochs) for search in run.searches])
    own = cpu_seconds(run)
    seconds = _column(
        [
            sum(epoch.seconds for epoch in search.epochs) if search.epochs else np.nan
            for search in run.searches
        ]
    )
    counted = np.where(epochs > 0, epochs, np.nan)
    columns = [
        ("epochs", epochs, 0),
        ("CPU s", own, 1),
        ("s", seconds, 1),
        ("CPU s per epoch", own / counted, 2),
        ("s per epoch", seconds / counted, 2),
    ]
    return _table(
        run,
        "Cost of the searches",
        columns,
        "The trainings from scratch afterwards are not counted here.",
        {},
    )


def real_table(run: SupernetRun) -> Table | None:
    """What a table of real trainings says of the derived cells, one row per metric."""
    results = [search.result for search in run.searches]
    names = list(dict.fromkeys(name for result in results if result for name in result.table_values))
    if not names:
        return None
    several = len(results) > 1
    rows = []
    for name in names:
        entries = [result.table_values.get(name) if result else None for result in results]
        values = _column([np.nan if entry is None else entry.value for entry in entries])
        cells = [TableCell(number(float(value), 2)) for value in values]
        cells += [_mean(values, 2)] if several else []
        rows.append(TableRow(name, INK, (*cells, TableCell(number(table_best(run, name), 2)))))
    head = [f"seed {search.seed}" for search in run.searches] + ([MEAN] if several else [])
    table = next(result.table for result in results if result and result.table_values)
    return Table(
        f"Real trainings of the derived cells in {table} (%)",
        ("metric", *head, "best of the table"),
        tuple(rows),
        "The search did not see these values.",
    )


def _table(
    run: SupernetRun,
    caption: str,
    columns: Sequence[tuple[str, FloatArray, int]],
    note: str,
    details: dict[tuple[int, str], str],
) -> Table:
    """One row per search and their mean; columns are name, values, decimals."""
    rows = []
    for row, search in enumerate(run.searches):
        cells = tuple(
            TableCell(number(float(values[row]), decimals), details.get((row, name), ""))
            for name, values, decimals in columns
        )
        rows.append(TableRow(_label(search), method_style(row)[0], cells))
    if len(run.searches) > 1:
        cells = tuple(_mean(values, decimals) for _, values, decimals in columns)
        rows.append(TableRow(MEAN, INK, cells))
    return Table(caption, ("search", *(name for name, _, _ in columns)), tuple(rows), note)


def _label(search: SupernetSearch) -> str:
    return f"seed {search.seed}"


def _column(values: Sequence[float]) -> FloatArray:
    return np.array(values, dtype=np.float64)


def _mean(values: FloatArray, decimals: int) -> TableCell:
    about = spread(values)
    if about.n == 0:
        return TableCell(DASH)
    text = number(float(about.mean), decimals)
    return TableCell(f"{text} ± {number(deviation(about), decimals)}" if about.n > 1 else text, strong=True)
