"""A finished benchmark table as an evaluator: columns of numbers, looked up by code.

Importing this module imports neither torch nor pandas (pandas comes with the first answer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.columns import FileColumns
from benchmarks.lookup import CodeIndex
from crlso.errors import UnknownNameError, UserError
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, Metric, SearchSpace

if TYPE_CHECKING:
    import pandas as pd

# Up to this bound on a space's size its architectures are counted, to see whether a table holds them all.
_COUNT_LIMIT = 1 << 20
_FEW = 64  # curves of fewer architectures are read row by row


@dataclass(frozen=True)
class Curve:
    """What one array per architecture is.

    Attributes:
        name: As a metric's name: data set, split, epochs, and ``/seed777`` for the training that it is of.
        length: Numbers per architecture, one per epoch, the first after the first epoch.
        unit: Unit of the numbers.
        description: What exactly they are, in words.
    """

    name: str
    length: int
    unit: str
    description: str


@final
class TableEvaluator:
    """Looks architectures up in a table (implements :class:`crlso.protocols.Evaluator`).

    A table may hold the whole space or a part of it, and any value may be missing (NaN). Nothing is computed,
    interpolated or substituted: an architecture outside the table is an error.

    Args:
        name: Name of the table, for messages and logs.
        space: The space that the codes belong to.
        codes: ``[n, d]`` architectures, each once, all inside the space's cardinalities.
        columns: For each metric ``[n]`` numbers, in the order of ``codes``. The columns of a file
            (:class:`benchmarks.columns.FileColumns`) are read when they are first asked for.
        metrics: What each column is; the same names as ``columns``.
        fingerprint: What pins the table down (checksums, versions).
        curves: What arrays over epochs there are.
        curve_columns: For each of them ``[n, length]`` numbers, read when asked for and not kept.

    Raises:
        UserError: No rows, an architecture twice, or columns that do not fit.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        codes: Codes,
        columns: Mapping[str, FloatArray],
        metrics: Mapping[str, Metric],
        *,
        fingerprint: Mapping[str, str] | None = None,
        curves: Mapping[str, Curve] | None = None,
        curve_columns: Mapping[str, FloatArray] | None = None,
    ) -> None:
        codes = np.ascontiguousarray(codes, dtype=CODE_DTYPE)
        if len(codes) == 0:
            raise UserError(f"table {name!r} has no rows")
        if set(columns) != set(metrics):
            odd = sorted(set(columns) ^ set(metrics))
            raise UserError(f"table {name!r}: columns and metrics differ in {', '.join(odd)}")
        self._name = name
        self._space = space
        self._codes = codes
        self._codes.setflags(write=False)
        self._index = CodeIndex(space.cardinalities, codes)
        self._metrics = MappingProxyType({key: metrics[key] for key in metrics})
        self._source = columns
        self._columns: dict[str, FloatArray] = {}
        self._curves = MappingProxyType(dict(curves or {}))
        self._curve_columns = curve_columns or {}
        if set(self._curves) != set(self._curve_columns):
            odd = sorted(set(self._curves) ^ set(self._curve_columns))
            raise UserError(f"table {name!r}: curves and their columns differ in {', '.join(odd)}")
        if not isinstance(columns, FileColumns):
            for key in metrics:
                self.column(key)
        self._support = None if _is_whole(space, len(codes)) else self._codes
        self._fingerprint = MappingProxyType({"table": name, **(fingerprint or {})})

    def __repr__(self) -> str:
        size = f"{len(self)} rows, {len(self._metrics)} metrics"
        return f"TableEvaluator({self._name!r}, {self._space.name}, {size})"

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def name(self) -> str:
        """Name of the table."""
        return self._name

    @property
    def space(self) -> SearchSpace:
        """The space that the codes belong to."""
        return self._space

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What each column is, in the table's order."""
        return self._metrics

    @property
    def support(self) -> Codes | None:
        """``[n, d]`` the architectures of a partial table; ``None`` where the table holds the whole space."""
        return self._support

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What pins the answers down."""
        return self._fingerprint

    @property
    def codes(self) -> Codes:
        """``[n, d]`` all architectures of the table, in its own order (read-only)."""
        return self._codes

    def column(self, metric: str) -> FloatArray:
        """``[n]`` all values of a metric, in the order of :attr:`codes` (read-only).

        Raises:
            UnknownNameError: The table has no such metric.
        """
        if metric not in self._columns:
            if metric not in self._metrics:
                raise UnknownNameError("metric", metric, self._metrics)
            column = np.array(self._source[metric], dtype=np.float64)
            if column.shape != (len(self),):
                raise UserError(
                    f"table {self._name!r}: column {metric!r} has shape {column.shape}, not ({len(self)},)"
                )
            column.setflags(write=False)
            self._columns[metric] = column
        return self._columns[metric]

    @property
    def curves(self) -> Mapping[str, Curve]:
        """What arrays over epochs the table holds, in its order; empty for most tables."""
        return self._curves

    def curve(self, name: str, codes: Codes | None = None) -> FloatArray:
        """``[n, length]`` a learning curve of each code, by default of all of :attr:`codes`.

        NaN where the benchmark has no number: an architecture that was not trained with this seed, or an
        epoch at which the split was not measured. Nothing is substituted.

        Raises:
            UnknownNameError: The table has no such curve.
            UserError: An architecture that the table does not hold.
        """
        if name not in self._curves:
            raise UnknownNameError("curve", name, self._curves)
        if codes is None:
            return self._whole_curve(name)
        rows = self._known_rows(codes)
        if isinstance(self._curve_columns, FileColumns) and len(rows) < _FEW:
            found = [self._curve_columns.row(name, int(row)) for row in rows]
            return np.array(found, dtype=np.float64).reshape(len(rows), self._curves[name].length)
        return self._whole_curve(name)[rows]

    def _whole_curve(self, name: str) -> FloatArray:
        values = self._curve_columns[name]
        if values.shape != (len(self), self._curves[name].length):
            raise UserError(f"table {self._name!r}: curve {name!r} has shape {values.shape}")
        return values

    def rows(self, codes: NDArray[np.integer]) -> NDArray[np.intp]:
        """``[n]`` row of each code ``[n, d]`` in :attr:`codes`; -1 where the table does not hold it.

        Raises:
            UserError: Not an integer array ``[n, d]``.
        """
        return self._index.find(codes)

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        """Look codes ``[n, d]`` up: ``n`` rows, one float64 column per metric, in the order asked.

        ``rng`` is not used: a table always gives the same answer.

        Raises:
            UnknownNameError: A metric that the table does not have.
            UserError: An architecture that the table does not hold.
        """
        del rng
        import pandas as pd  # costs 0.3 s and 70 MB, not needed to load and inspect a table

        columns = [self.column(metric) for metric in metrics]
        rows = self._known_rows(codes)
        values = np.empty((len(columns), len(rows)), dtype=np.float64)
        for out, column in zip(values, columns, strict=True):
            np.take(column, rows, out=out)
        return pd.DataFrame(values.T, columns=list(metrics), copy=False)

    def _known_rows(self, codes: Codes) -> NDArray[np.intp]:
        """``[n]`` rows of codes that the table must hold."""
        rows = self.rows(codes)
        missing = np.flatnonzero(rows < 0)
        if missing.size:
            first = int(missing[0])
            raise UserError(
                f"table {self._name!r} does not hold {self._describe(np.asarray(codes)[first])}"
                f" (row {first} of {len(rows)} asked, {missing.size} unknown;"
                f" the table holds {len(self)} architectures of {self._space.name})"
            )
        return rows

    def optimum(self, metric: str) -> float | None:
        """Best value of a metric (largest or smallest by its direction); ``None`` where all are missing.

        Raises:
            UnknownNameError: The table has no such metric.
        """
        column = self.column(metric)
        known = column[~np.isnan(column)]
        if known.size == 0:
            return None
        return float(known.max() if self._metrics[metric].direction == "max" else known.min())

    def rank(self, metric: str, value: float) -> tuple[int, int]:
        """Place of a value among all known ones, and their number; 1 is the best, equal ones share it.

        Raises:
            UnknownNameError: The table has no such metric.
        """
        scores = self._metrics_sign(metric) * self.column(metric)
        known = scores[~np.isnan(scores)]
        better = int(np.count_nonzero(known > self._metrics_sign(metric) * value))
        return better + 1, int(known.size)

    def _metrics_sign(self, metric: str) -> float:
        self.column(metric)  # refuses unknown names
        return self._metrics[metric].sign

    def _describe(self, code: NDArray[np.integer]) -> str:
        inside = all(0 <= int(v) < c for v, c in zip(code, self._space.cardinalities, strict=True))
        if inside and bool(self._space.is_valid(np.asarray(code, dtype=CODE_DTYPE)[None])[0]):
            return repr(self._space.format(np.asarray(code, dtype=CODE_DTYPE)))
        return f"code {[int(v) for v in code]}, which is no architecture of the space"


def _is_whole(space: SearchSpace, rows: int) -> bool:
    """Whether a table of so many different valid architectures must be the whole space."""
    if rows >= space.size:
        return True
    if space.size > _COUNT_LIMIT:
        return False
    return rows == sum(len(chunk) for chunk in space.enumerate())
