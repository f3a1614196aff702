"""The public contract of evaluators over the embedded table, imported tables, and tables with holes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import TableEvaluator
from benchmarks.importing import ImportOptions, import_table
from benchmarks.testing import EvaluatorContract
from crlso.protocols import Codes, Evaluator, Metric, SearchSpace
from crlso.spaces import get_space
from tests.benchmarks.samples import random_table, write_csv


@pytest.fixture
def toy() -> SearchSpace:
    return get_space("toy64")


class TestNASBench201(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, nasbench201: TableEvaluator) -> Evaluator:
        return nasbench201


class TestImportedWhole(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, toy: SearchSpace, tmp_path: Path) -> Evaluator:
        codes = np.concatenate(list(toy.enumerate()))
        file = write_csv(tmp_path / "whole.csv", toy, codes, random_table(len(codes)))
        table = import_table(file, toy).table
        assert table.support is None
        return table


class TestImportedPart(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, tmp_path: Path) -> Evaluator:
        space = get_space("nasbench201")
        codes = np.unique(space.sample(150, np.random.default_rng(3)), axis=0)[::-1]
        file = write_csv(tmp_path / "part.csv", space, codes, random_table(len(codes)))
        table = import_table(file, space).table
        np.testing.assert_array_equal(table.support, codes)
        return table


class TestLargeSpace(EvaluatorContract):
    """A space whose ranks are too many for a dense look-up."""

    @pytest.fixture
    def evaluator(self) -> Evaluator:
        space = get_space("fxdarts")
        codes = np.unique(space.sample(300, np.random.default_rng(4)), axis=0)
        columns = random_table(len(codes))
        metrics = {name: Metric(name, "max", "", "random") for name in columns}
        return TableEvaluator("large", space, codes, columns, metrics)


class TestAllMissingRow(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, toy: SearchSpace, tmp_path: Path) -> Evaluator:
        codes = np.concatenate(list(toy.enumerate()))[:20]
        columns = random_table(len(codes))
        columns["never"] = np.full(len(codes), np.nan)
        for values in columns.values():
            values[[3, 7]] = np.nan
        file = write_csv(tmp_path / "holes.csv", toy, codes, columns)
        table = import_table(file, toy, options=ImportOptions(allow_missing=True)).table
        assert table.optimum("never") is None
        return table

    @pytest.fixture
    def all_missing(self, evaluator: TableEvaluator) -> Codes:
        return evaluator.codes[[3, 7]]
