"""NAS-Bench-Graph's table against the numbers that its own package reads."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import TableEvaluator, load
from benchmarks.nas_bench_graph import FILES, TABLE
from benchmarks.testing import EvaluatorContract
from crlso.protocols import Codes, Evaluator
from crlso.spaces import get_space

if TABLE.needs():
    pytest.skip(TABLE.needs(), allow_module_level=True)

FIELDS = {"valid_accuracy": "valid_perf", "test_accuracy": "perf", "latency": "latency", "params": "para"}


@pytest.fixture(scope="module")
def graph(_own_folders: None) -> TableEvaluator:
    return load("nas_bench_graph")


class TestContract(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, graph: TableEvaluator) -> Evaluator:
        return graph


@pytest.mark.parametrize("dataset", FILES)
def test_every_number_is_the_packages(graph: TableEvaluator, dataset: str) -> None:
    """All architectures that the package lists, looked up in its data by its own hash."""
    from nas_bench_graph import all_archs, gnn_list, light_read

    official = light_read(dataset)
    archs = [arch for arch in all_archs() if arch.valid_hash() in official]
    assert len(archs) == len(official)
    codes = np.array([[*arch.link, *map(gnn_list.index, arch.ops)] for arch in archs], dtype=np.int16)
    records = [official[arch.valid_hash()] for arch in archs]
    assert all(set(record) == set(FIELDS.values()) for record in records)
    for quantity, field in FIELDS.items():
        name = f"{dataset}/{quantity.replace('accuracy', 'roc_auc') if dataset == 'proteins' else quantity}"
        found = graph.evaluate(codes, metrics=[name]).iloc[:, 0]
        expected = np.array([record[field] for record in records])
        np.testing.assert_array_equal(found, expected * 1000 if quantity == "latency" else expected)
        known = ~np.isnan(graph.column(name))
        assert known.sum() == len(archs)


def test_proteins_has_the_networks_of_five_operations(graph: TableEvaluator) -> None:
    """Those that the package lists as ``gnn_list_proteins``; nothing is filled in for the others."""
    from nas_bench_graph.architecture import gnn_list_proteins

    allowed = [graph.space.operations.index(name) for name in gnn_list_proteins]
    inside = np.isin(graph.codes[:, 4:], allowed).all(axis=1)
    assert inside.sum() == 2_021
    np.testing.assert_array_equal(~np.isnan(graph.column("proteins/test_roc_auc")), inside)


def test_holds_each_network_once(graph: TableEvaluator) -> None:
    """The representatives, so that each code of the space has its row through ``canonical``."""
    space = get_space("nas_bench_graph")
    everything: Codes = np.concatenate(list(space.enumerate()))
    rows = graph.rows(space.canonical(everything))
    assert (rows >= 0).all()
    assert len(np.unique(rows)) == len(graph) == 26_206


def test_validation_and_test_are_told_apart(graph: TableEvaluator) -> None:
    """On 500 validation nodes, three trainings: multiples of 1/1500 (Cora); test nodes: of 1/3000."""
    for name, parts in {"cora/valid_accuracy": 1500, "cora/test_accuracy": 3000}.items():
        counts = graph.column(name) * parts
        np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)
    assert (graph.column("cora/test_accuracy") * 1500 % 1 > 0.4).any()
