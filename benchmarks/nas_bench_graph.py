"""NAS-Bench-Graph: all 26,206 graph neural networks of its space on nine graph data sets.

Qin et al., "NAS-Bench-Graph: Benchmarking Graph Neural Architecture Search" (NeurIPS 2022). The numbers come
with the PyPI package ``nas-bench-graph`` 1.4.0 (extra ``graph``), which has means over three trainings and no
learning curves. The table holds one form of every network, the benchmark's own representative.

The package's example of a search is driven by ``perf``, which is the *test* performance; here it is called
so.
Importing this module imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from benchmarks.packaged import PackagedTable, plain_data
from crlso.protocols import Codes, FloatArray, Metric
from crlso.spaces.nas_bench_graph import nas_bench_graph

NAME = "nas_bench_graph"

FILES: Mapping[str, str] = MappingProxyType(
    {
        "cora": "5e69b2f9bb08d8927d9ffd4921f8494a3cea349c9c3a461334cb9dc9e11701a8",
        "citeseer": "99c7f79b73372636305bf73fb32a58b63c57bd1871a152dd62ec72d984c8c50f",
        "pubmed": "10b4dcf6cfd3a24f6059f7d541a4a872960b4adac0b3dba26abed1bb9a3d904d",
        "cs": "71ae8469930517160b024f52db6000a4897f1aff5d765beb27bb60952ed5bd31",
        "physics": "1e309bafee0b832c8b84fa3c039c36992bc0a910238b128f26b7e9190d7f2aea",
        "photo": "5511b4dc3f63fa988792177227db7901290fb9b27fc6c02e3036b29e134ed6df",
        "computers": "fdb3dc0cf405d62322f0ab9614b2083c2a5e6576c2f43e4f2214be64bc62b1b3",
        "arxiv": "7ee21a7653297a806c0ed1be3efe6ecc06acc84e48e942da0bfde0e5d287debe",
        "proteins": "b9e7fb0902bda44fec32c948e5fde822fb22d38d674c52e43ace5197378f2d21",
    }
)
"""For each data set the SHA-256 of its file, ``DATASET.bench``."""

_GRAPHS = {
    "cora": "Cora",
    "citeseer": "CiteSeer",
    "pubmed": "PubMed",
    "cs": "Coauthor-CS",
    "physics": "Coauthor-Physics",
    "photo": "Amazon-Photo",
    "computers": "Amazon-Computers",
    "arxiv": "ogbn-arxiv",
    "proteins": "ogbn-proteins",
}
_FIELDS = {"valid_perf": "valid", "perf": "test"}
_PARTIAL = {"proteins": "; missing for all but the 2,021 networks without gat, gin, cheb and graph"}


def _convert(files: Mapping[str, bytes]) -> tuple[Codes, Mapping[str, FloatArray]]:
    records = {dataset: plain_data(files, f"{dataset}.bench") for dataset in FILES}
    hashes = list(records["cora"])
    columns: dict[str, FloatArray] = {}
    for dataset, cells in records.items():
        found = [cells.get(number, {}) for number in hashes]
        for metric, field in zip(_metrics(dataset), (*_FIELDS, "latency", "para"), strict=True):
            columns[metric.name] = np.array([cell.get(field, np.nan) for cell in found])
        columns[f"{dataset}/latency"] *= 1e3
    return nas_bench_graph().from_hashes(hashes), columns


def _metrics(dataset: str) -> list[Metric]:
    """Validation, test, latency and size, in this order."""
    where, missing = f"{_GRAPHS[dataset]}: ", _PARTIAL.get(dataset, "")
    quantity, words = ("roc_auc", "ROC-AUC") if dataset == "proteins" else ("accuracy", "accuracy")
    return [
        *(
            Metric(
                f"{dataset}/{split}_{quantity}",
                "max",
                "fraction",
                f"{where}{words} on the {nodes} nodes, mean of three trainings, as published{missing}",
            )
            for split, nodes in (("valid", "validation"), ("test", "test"))
        ),
        Metric(
            f"{dataset}/latency",
            "min",
            "ms",
            f"{where}latency as published, taken to be in seconds (the publisher states no unit){missing}",
        ),
        Metric(f"{dataset}/params", "min", "M", f"{where}weights of the network, as published{missing}"),
    ]


METRICS: tuple[Metric, ...] = tuple(metric for dataset in FILES for metric in _metrics(dataset))
"""All columns of the table, in its order."""

TABLE = PackagedTable(
    name=NAME,
    description="NAS-Bench-Graph, all networks: validation and test performance on nine graph data sets",
    space=NAME,
    rows=26_206,
    metrics=METRICS,
    package="nas-bench-graph",
    version="1.4.0",
    folder="nas_bench_graph/light",
    files=MappingProxyType({f"{dataset}.bench": digest for dataset, digest in FILES.items()}),
    convert=_convert,
    importer="crlso.nas_bench_graph/1",
    extra="graph",
)
"""The table as a built-in one."""
