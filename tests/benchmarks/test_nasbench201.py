"""The embedded table against published facts and the official data."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from benchmarks import TableEvaluator
from benchmarks import nasbench201 as nb201

DATASETS = ("cifar10", "cifar100", "imagenet16")
OPTIMA = {"cifar10": (91.607, "333132"), "cifar100": (73.493, "333133"), "imagenet16": (46.733, "322133")}
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def accuracy(dataset: str) -> str:
    return f"{dataset}/valid_accuracy@200"


def connected(code: np.ndarray) -> bool:
    graph = nx.DiGraph([edge for edge, operation in zip(EDGES, code, strict=True) if operation != 0])
    return {0, 3} <= set(graph) and nx.has_path(graph, 0, 3)


@pytest.mark.parametrize("dataset", DATASETS)
def test_optima_stand_at_their_published_cells(nasbench201: TableEvaluator, dataset: str) -> None:
    best, digits = OPTIMA[dataset]
    assert nasbench201.optimum(accuracy(dataset)) == pytest.approx(best, abs=5e-4)
    code = np.array([[int(digit) for digit in digits]])
    assert nasbench201.evaluate(code, metrics=[accuracy(dataset)]).iloc[0, 0] == nasbench201.optimum(
        accuracy(dataset)
    )


def test_disconnected_cells_are_at_chance(nasbench201: TableEvaluator) -> None:
    cut = np.array([not connected(code) for code in nasbench201.codes])
    assert cut.sum() == 341
    for dataset, classes in (("cifar10", 10), ("cifar100", 100), ("imagenet16", 120)):
        values = nasbench201.column(accuracy(dataset))
        chance = 100 / classes
        assert np.abs(values[cut] - chance).max() < 0.35 * chance
        # One connected cell failed to train on ImageNet16-120; all others are far above chance.
        assert np.sum(values[~cut] < 1.35 * chance) == (1 if dataset == "imagenet16" else 0)


def test_holds_the_whole_space_once(nasbench201: TableEvaluator) -> None:
    assert len(nasbench201) == 15_625 == nasbench201.space.size
    assert nasbench201.support is None
    assert len(np.unique(nasbench201.codes, axis=0)) == 15_625


def test_first_rows_are_those_of_the_official_index(nasbench201: TableEvaluator) -> None:
    digits = ["".join(map(str, code)) for code in nasbench201.codes[:5]]
    assert digits == ["421211", "334131", "433444", "410001", "112112"]


def test_means_are_over_the_seeds_that_were_trained(nasbench201: TableEvaluator) -> None:
    for dataset in DATASETS:
        seeds = np.column_stack([nasbench201.column(f"{accuracy(dataset)}/seed{i}") for i in range(3)])
        assert np.isnan(seeds).sum(axis=0).tolist() == [0, 0, 7_456]
        np.testing.assert_allclose(
            np.nanmean(seeds, axis=1), nasbench201.column(accuracy(dataset)), rtol=1e-12
        )


def test_formula_parameters_equal_the_stored_ones_of_some_seed(nasbench201: TableEvaluator) -> None:
    for dataset, (file, _) in nb201.SOURCES.items():
        with (nb201.TABLE.source_folder() / file).open("rb") as content:
            records = pickle.load(content)
        stored = [record["model_size"] for record in records.values()]
        ours = nasbench201.column(f"{dataset}/params")
        assert all(
            min(abs(value - s) for s in sizes) < 1e-9 for value, sizes in zip(ours, stored, strict=True)
        )


def test_equals_the_official_data(nasbench201: TableEvaluator) -> None:
    folder = os.environ.get("CRLSO_DATA")
    if not folder or not (path := Path(folder) / "nasbench201" / "nasbench201.parquet").is_file():
        pytest.skip("$CRLSO_DATA/nasbench201/nasbench201.parquet is not here")
    import pandas as pd

    official = pd.read_parquet(path)
    codes = np.array([nasbench201.space.parse(text) for text in official["arch_str"]])
    values = nasbench201.evaluate(codes, metrics=list(nasbench201.metrics))
    for i, seed in enumerate((777, 888, 999)):
        np.testing.assert_allclose(
            values[f"cifar10/valid_accuracy@200/seed{i}"],
            official[f"cifar10_valid_acc200_seed{seed}"],
            atol=1e-6,
        )
    # The package has CIFAR-10 exactly. Of the other two it has another evaluation of the same networks, which
    # differs in about 1 % of the cells, nearly always by one image (of 5,000 and 3,000) in one seed.
    for dataset, share, largest in (
        ("cifar10", 1.0, 1e-6),
        ("cifar100", 0.98, 0.0101),
        ("imagenet16", 0.99, 0.084),
    ):
        gap = np.abs(values[accuracy(dataset)] - official[f"{dataset}_valid_acc200_mean"])
        assert gap.max() <= largest
        assert np.mean(gap < 1e-6) >= share
        np.testing.assert_allclose(
            values[f"{dataset}/flops"] * 1e6, official[f"{dataset}_flops_formula"], atol=0.5
        )
        np.testing.assert_allclose(
            values[f"{dataset}/train_time@200"], official[f"{dataset}_train_time200_s"]
        )
    np.testing.assert_allclose(values["cifar10/params"] * 1e6, official["cifar10_params_formula"], atol=0.5)


PROBE = """
import time, sys
start = time.process_time()
import benchmarks
table = benchmarks.load("nasbench201")
seconds = time.process_time() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(peak.split()[1]) / 1024, "torch" in sys.modules, "pandas" in sys.modules, len(table))
"""


def probe() -> tuple[float, float, str, str, str]:
    answer = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    seconds, megabytes, torch, pandas, rows = answer.stdout.split()
    return float(seconds), float(megabytes), torch, pandas, rows


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_loads_fast_and_small_without_torch(nasbench201: TableEvaluator) -> None:
    runs = [probe() for _ in range(3)]
    assert all(run[2:] == ("False", "False", "15625") for run in runs)
    assert min(run[0] for run in runs) < 0.5  # CPU seconds; the best of three, as the machine may be busy
    assert max(run[1] for run in runs) < 180  # MB


def test_a_million_queries_take_less_than_a_second(nasbench201: TableEvaluator) -> None:
    codes = nasbench201.space.sample(1_000_000, np.random.default_rng(0))
    metric = accuracy("cifar100")
    nasbench201.evaluate(codes[:1], metrics=[metric])  # imports pandas
    start = time.process_time()
    answer = nasbench201.evaluate(codes, metrics=[metric])
    seconds = time.process_time() - start
    assert seconds < 1
    known = {
        code.tobytes(): value
        for code, value in zip(nasbench201.codes, nasbench201.column(metric), strict=True)
    }
    some = np.random.default_rng(1).integers(len(codes), size=2_000)
    assert [known[codes[i].tobytes()] for i in some] == answer[metric].to_numpy()[some].tolist()
