"""The three real NATS-Bench records against an independent table of all 15,625 cells."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.importers import import_official
from benchmarks.table import TableEvaluator
from tests.spaces.data import data_file

NUMBERS = (0, 11, 284)
RESULT = re.compile(
    r"(?P<data>\w+?)_(?P<what>\w+?)_(?P<kind>acc|loss)(?P<epochs>12|200)(?P<rest>|_mean|_seed\d+)"
)
COST = re.compile(
    r"(?P<data>cifar10|cifar100|imagenet16)_(?P<what>params|params_formula|flops_formula|train_time200_s)"
)


def metric(column: str) -> tuple[str, float] | None:
    """Our name for a column of the independent table, its unit in ours; ``None``: not a metric."""
    if found := RESULT.fullmatch(column):
        data = found["data"].replace("cifar10train25k", "cifar10-valid")
        kind = {"acc": "accuracy", "loss": "loss"}[found["kind"]]
        seed = found["rest"].replace("_", "/") if "seed" in found["rest"] else ""
        return f"{data}/{found['what']}_{kind}@{found['epochs']}{seed}", 1.0
    if found := COST.fullmatch(column):
        if found["what"].startswith("train_time"):  # cifar10: of the network trained on half of the images
            return f"{found['data']}/train_time@200".replace("cifar10/", "cifar10-valid/"), 1.0
        return f"{found['data']}/{found['what'].removesuffix('_formula')}", 1e-6
    return None


@pytest.fixture(scope="module")
def independent() -> pd.DataFrame:
    return pd.read_parquet(data_file("nasbench201/nasbench201.parquet")).set_index("index").loc[list(NUMBERS)]


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableEvaluator:
    monkeypatch.setenv("CRLSO_DATA_HOME", str(tmp_path))
    return import_official(data_file("nasbench201/nats_records"), name="records")


def test_every_number_of_the_three_cells(imported: TableEvaluator, independent: pd.DataFrame) -> None:
    codes = np.array([imported.space.parse(arch) for arch in independent.arch_str])
    names = {column: found for column in independent.columns if (found := metric(column))}
    assert len(names) == 38
    ours = imported.evaluate(codes, metrics=sorted({name for name, _ in names.values()}))
    for column, (name, unit) in names.items():
        expected = independent[column].to_numpy(np.float64) * unit
        np.testing.assert_allclose(ours[name], expected, rtol=1e-9, atol=6e-7, err_msg=f"{column}: {name}")


def test_their_seeds(imported: TableEvaluator, independent: pd.DataFrame) -> None:
    codes = np.array([imported.space.parse(arch) for arch in independent.arch_str])
    single = [name for name in imported.metrics if name.startswith("cifar10/valid_accuracy@200/seed")]
    assert single == [f"cifar10/valid_accuracy@200/seed{seed}" for seed in (777, 888, 999)]
    found = imported.evaluate(codes, metrics=single).notna().sum(axis=1)
    assert list(found) == list(independent.n_seeds_200)
