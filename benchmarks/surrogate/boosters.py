"""Boosters of XGBoost and LightGBM as arrays, without the libraries.

XGBoost: the binary format of versions up to 1.2 (``src/learner.cc``, ``src/gbm/gbtree_model.h`` and
``include/xgboost/tree_model.h`` of version 1.2), which its newest versions no longer read. LightGBM: the
model text, versions 2 to 4 of it (``src/io/tree.cpp``). Only what regression with plain trees writes is read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.surrogate.trees import Forest
from crlso.formats.errors import FormatError

_XGBOOST_NODE = np.dtype(
    [("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("index", "<u4"), ("value", "<f4")]
)
_LEARNER, _GBTREE, _TREE, _STATISTICS = 136, 160, 148, 16  # bytes
_REGRESSIONS = ("reg:squarederror", "reg:linear")
_MEMORY = b"CONFIG-offset:"  # what Booster.__getstate__ of versions 1.0 to 1.2 puts in front
_LONGEST_NAME = 64

_CATEGORICAL, _MISSING = 1, 0b1100  # bits of LightGBM's decision_type
_MISSING_ZERO = 0b0100


def xgboost_forest(data: bytes) -> Forest:
    """The trees of a booster in the binary format.

    Raises:
        FormatError: Damaged, or not a regression with plain trees.
    """
    if data.startswith(b"{"):
        raise FormatError("a booster of XGBoost 2 or later; the published files are in the older binary form")
    reader = _Bytes(data)
    if data.startswith(_MEMORY):
        reader.take(len(_MEMORY) + 8)
    if reader.data[reader.place : reader.place + 4] == b"binf":
        reader.take(4)
    base, features, classes = struct.unpack_from("<fIi", reader.take(_LEARNER))
    objective, kind = reader.name(), reader.name()
    if objective not in _REGRESSIONS or kind != "gbtree" or classes > 1:
        raise FormatError(f"a booster of kind {kind!r} for {objective!r}; only regression with trees is read")
    count, _, _, _, _, outputs, vector = struct.unpack_from("<iiiiqii", reader.take(_GBTREE))
    if count < 0 or outputs > 1 or vector > 1:
        raise FormatError("a booster with several outputs")
    parts: list[NDArray[np.void]] = []
    for _ in range(count):
        _, nodes, _, _, _, vector = struct.unpack_from("<iiiiii", reader.take(_TREE))
        if nodes < 1 or vector > 1:
            raise FormatError("a damaged tree")
        parts.append(np.frombuffer(reader.take(nodes * _XGBOOST_NODE.itemsize), _XGBOOST_NODE))
        reader.take(nodes * _STATISTICS)
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    reader.take(4 * count)
    roots = (np.cumsum(sizes) - sizes).astype(np.int32)
    nodes = np.concatenate([np.empty(0, _XGBOOST_NODE), *parts])
    first = np.repeat(roots, sizes)
    last = first + np.repeat(sizes, sizes) - 1
    place = np.arange(len(nodes), dtype=np.int32)
    leaf = nodes["left"] == -1
    links = []
    for side in ("left", "right"):
        linked = np.where(leaf, place, nodes[side].astype(np.int64) + first)
        if ((linked < first) | (linked > last)).any():
            raise FormatError("a tree with a link to nowhere")
        links.append(linked.astype(np.int32))
    index = np.where(leaf, 0, nodes["index"] & 0x7FFFFFFF)  # the highest bit is for missing values
    if (index >= features).any() and count:
        raise FormatError("a tree that compares a feature that does not exist")
    # "Less than" among single-precision numbers is "up to the number before".
    with np.errstate(invalid="ignore", over="ignore"):
        threshold = np.where(leaf, 0, np.nextafter(nodes["value"], np.float32(-np.inf))).astype(np.float64)
    return _checked(
        Forest(
            feature=np.minimum(index, 1 << 14).astype(np.int16),
            threshold=threshold,
            left=links[0],
            right=links[1],
            value=np.where(leaf, nodes["value"], 0).astype(np.float64),
            roots=roots,
            base=float(base),
            single=True,
        )
    )


def lightgbm_forest(text: str, trees: int | None = None) -> Forest:
    """The trees of a booster in the model text, or the first ``trees`` of them.

    Raises:
        FormatError: Damaged, or not a regression with plain trees.
    """
    head, *blocks = text.split("\n\nTree=")
    facts = _fields(head)
    if not head.startswith("tree\n") or facts.get("version") not in ("v2", "v3", "v4"):
        raise FormatError("not a LightGBM model text of version 2, 3 or 4")
    if facts.get("objective") != "regression" or "average_output" in facts:
        raise FormatError(
            f"a LightGBM model for {facts.get('objective', 'nothing')[:40]!r}; only regression is read"
        )
    if facts.get("num_class") != "1" or facts.get("num_tree_per_iteration") != "1":
        raise FormatError("a LightGBM model with several outputs")
    if not blocks or "end of trees" not in blocks[-1]:
        raise FormatError("a LightGBM model text that was cut off")
    # Each tree's size in bytes is stated, which tells whether a tree is missing.
    if len(facts.get("tree_sizes", "").split()) != len(blocks):
        raise FormatError("a LightGBM model text with another number of trees than it states")
    chosen = blocks if trees is None else blocks[:trees]
    found = [_lightgbm_tree(_fields(block.split("\n\n", 1)[0])) for block in chosen]
    sizes = np.array([len(tree["value"]) for tree in found], dtype=np.int64)
    roots = np.cumsum(sizes) - sizes
    joined = {
        name: np.concatenate([np.empty(0), *(tree[name] for tree in found)])
        for name in ("feature", "threshold", "left", "right", "value")
    }
    shift = np.repeat(roots, sizes)
    return _checked(
        Forest(
            feature=joined["feature"].astype(np.int16),
            threshold=joined["threshold"],
            left=(joined["left"] + shift).astype(np.int32),
            right=(joined["right"] + shift).astype(np.int32),
            value=joined["value"],
            roots=roots.astype(np.int32),
            base=0.0,
            single=False,
        )
    )


def _lightgbm_tree(fields: Mapping[str, str]) -> dict[str, NDArray[np.float64]]:
    """One tree: its inner nodes, then its leaves."""
    leaves = int(_numbers(fields, "num_leaves", 1)[0])
    if leaves < 1 or fields.get("num_cat") != "0" or fields.get("is_linear", "0") != "0":
        raise FormatError("a LightGBM tree with categories or linear leaves, which is not read")
    inner = leaves - 1
    value = _numbers(fields, "leaf_value", leaves)
    itself = np.arange(inner, inner + leaves, dtype=np.float64)
    decisions = _numbers(fields, "decision_type", inner).astype(np.int64)
    if ((decisions & _CATEGORICAL) != 0).any() or ((decisions & _MISSING) == _MISSING_ZERO).any():
        raise FormatError("a LightGBM tree that treats zeros as missing, or categories; it is not read")
    links = {}
    for side in ("left", "right"):
        child = _numbers(fields, f"{side}_child", inner)
        child = np.where(child >= 0, child, inner + (-child - 1))  # ~leaf
        if ((child < 0) | (child >= inner + leaves)).any():
            raise FormatError("a tree with a link to nowhere")
        links[side] = np.concatenate([child, itself])
    none = np.zeros(leaves)
    feature = _numbers(fields, "split_feature", inner)
    if ((feature < 0) | (feature >= 1 << 14)).any():
        raise FormatError("a tree that compares a feature that does not exist")
    return {
        "feature": np.concatenate([feature, none]),
        "threshold": np.concatenate([_numbers(fields, "threshold", inner), none]),
        "value": np.concatenate([np.zeros(inner), value]),
        **links,
    }


def _checked(forest: Forest) -> Forest:
    try:
        return forest.levelled()
    except ValueError as error:
        raise FormatError(f"damaged trees: {error}") from error


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.split("\n"))
    return {key: value for key, _, value in pairs}


def _numbers(fields: Mapping[str, str], name: str, count: int) -> NDArray[np.float64]:
    if count == 0:
        return np.zeros(0)
    words = fields.get(name, "").split()
    if len(words) != count:
        raise FormatError(f"a LightGBM tree with {len(words)} numbers in {name}, not {count}")
    try:
        found = np.array([float(word) for word in words])
    except ValueError as error:
        raise FormatError(f"a LightGBM tree with something else than numbers in {name}") from error
    if not np.isfinite(found).all() or (name not in ("threshold", "leaf_value") and (found % 1).any()):
        raise FormatError(f"a LightGBM tree with impossible numbers in {name}")
    return found


class _Bytes:
    """Reads on through bytes; a length is never taken on trust."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def take(self, count: int) -> bytes:
        found = self.data[self.place : self.place + count]
        if len(found) < count:
            raise FormatError("the booster's data end too early")
        self.place += count
        return found

    def name(self) -> str:
        (length,) = struct.unpack("<Q", self.take(8))
        if length > _LONGEST_NAME:
            raise FormatError("a booster with a name of impossible length")
        return self.take(length).decode("latin-1")
