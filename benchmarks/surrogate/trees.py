"""Ensembles of boosted trees, evaluated with numpy.

A library of boosters is not needed for this: a tree is an array of comparisons. So files of any version of
the libraries give the same numbers here, and no native code reads bytes from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.surrogate.nb301 import FEATURES, feature_vectors
from crlso.protocols import Codes, FloatArray

_CELLS = 1 << 21  # pairs of architecture and tree that are worked on at once
_TYPES = {"feature": "<i2", "threshold": "<f8", "left": "<i4", "right": "<i4", "value": "<f8"}


@dataclass(frozen=True)
class Forest:
    """The trees of one booster. All nodes of all trees stand in one list.

    Attributes:
        feature: ``[nodes]`` the feature that is compared; 0 at a leaf.
        threshold: ``[nodes]`` a value up to this one goes left.
        left: ``[nodes]`` the next node; at a leaf the leaf itself.
        right: ``[nodes]`` likewise.
        value: ``[nodes]`` what a leaf adds.
        roots: ``[trees]`` in the order in which they are summed.
        base: What is added to the sum of the leaves.
        single: Whether features and sums have single precision, as in XGBoost; LightGBM has double.
    """

    feature: NDArray[np.int16]
    threshold: FloatArray
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: FloatArray
    roots: NDArray[np.int32]
    base: float
    single: bool

    def levelled(self) -> Forest:
        """The same trees without unused nodes, the roots first and every node before its children.

        Raises:
            ValueError: Not trees: a node with two parents, a link or a feature that does not exist, a number
                that is not finite.
        """
        nodes = len(self.feature)
        order = [self.roots]
        seen = len(self.roots)
        level = self.roots
        for links in (self.roots, self.left, self.right):
            if links.size and not (int(links.min()) >= 0 and int(links.max()) < nodes):
                raise ValueError("a link to a node that does not exist")
        while level.size:
            inner = level[self.left[level] != level]
            level = np.concatenate([self.left[inner], self.right[inner]])
            seen += len(level)
            if seen > nodes:
                raise ValueError("a node that is reached in two ways")
            order.append(level)
        chosen = np.concatenate(order)
        place = np.full(nodes, -1, dtype=np.int32)
        place[chosen] = np.arange(len(chosen), dtype=np.int32)
        if not np.array_equal(chosen[place[chosen]], chosen) or len(np.unique(chosen)) != len(chosen):
            raise ValueError("a node that is reached in two ways")
        feature = self.feature[chosen]
        if feature.size and not (int(feature.min()) >= 0 and int(feature.max()) < FEATURES):
            raise ValueError(f"a comparison of a feature that is none of the {FEATURES}")
        threshold, value = self.threshold[chosen], self.value[chosen]
        if not (np.isfinite(threshold).all() and np.isfinite(value).all() and np.isfinite(self.base)):
            raise ValueError("a number that is not finite")
        roots = np.arange(len(self.roots), dtype=np.int32)
        left, right = place[self.left[chosen]], place[self.right[chosen]]
        return Forest(feature, threshold, left, right, value, roots, self.base, self.single)

    def predict(self, vectors: FloatArray) -> FloatArray:
        """``[n]`` for feature vectors ``[n, 56]``, summed as the library does, tree by tree."""
        kind = np.float32 if self.single else np.float64
        values = vectors.astype(kind).astype(np.float64)
        found = np.empty(len(values))
        step = max(1, _CELLS // max(1, len(self.roots)))
        for start in range(0, len(values), step):
            part = values[start : start + step]
            rows = np.arange(len(part))[:, None]
            at = np.broadcast_to(self.roots, (len(part), len(self.roots)))
            while True:
                goes_left = part[rows, self.feature[at]] <= self.threshold[at]
                below = np.where(goes_left, self.left[at], self.right[at])
                if np.array_equal(below, at):
                    break
                at = below
            # cumsum adds one after the other; sum would add pairwise.
            sums = np.cumsum(self.value[at], axis=1, dtype=kind)
            last = sums[:, -1] if sums.shape[1] else np.zeros(len(part), dtype=kind)
            found[start : start + step] = np.add(last, self.base, dtype=kind)
        return found


@final
@dataclass(frozen=True)
class TreeEnsemble:
    """An ensemble of boosters over NAS-Bench-301's features (a ``Predictor``).

    Attributes:
        members: The boosters.
    """

    KIND: ClassVar[str] = "nb301-trees"

    members: tuple[Forest, ...]

    def predict(self, codes: Codes) -> FloatArray:
        """``[1 + members, n]``: the members' mean, then each member."""
        vectors = feature_vectors(codes)
        each = np.stack([member.predict(vectors) for member in self.members])
        return np.concatenate([self._rows(each).mean(axis=1)[None], each])

    def noise(self, predicted: FloatArray) -> FloatArray:
        """``[n]`` standard deviation of the members, as in the official package."""
        deviation: FloatArray = self._rows(predicted[1:]).std(axis=1).astype(np.float64)
        return deviation

    def _rows(self, each: FloatArray) -> NDArray[np.floating[Any]]:
        """``[n, members]`` in the precision in which the official package averages."""
        kind = np.float32 if self.members[0].single else np.float64
        return np.ascontiguousarray(each.T, dtype=kind)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What the file holds of it."""
        arrays: dict[str, NDArray[Any]] = {
            name: np.concatenate([getattr(member, name) for member in self.members]).astype(kind)
            for name, kind in _TYPES.items()
        }
        arrays["nodes"] = np.array([len(member.feature) for member in self.members], dtype="<i8")
        arrays["trees"] = np.array([len(member.roots) for member in self.members], dtype="<i8")
        arrays["base"] = np.array([member.base for member in self.members], dtype="<f8")
        arrays["single"] = np.array([member.single for member in self.members], dtype="<i8")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], count: int) -> TreeEnsemble:
        """What :meth:`to_arrays` gave, of so many members.

        Raises:
            KeyError, ValueError, IndexError: Not such arrays.
        """
        for name, kind in (*_TYPES.items(), ("nodes", "<i8"), ("trees", "<i8"), ("base", "<f8")):
            if arrays[name].ndim != 1 or arrays[name].dtype != np.dtype(kind):
                raise ValueError(f"array {name!r} is not a list of {kind}")
        nodes, trees = arrays["nodes"], arrays["trees"]
        if not (len(nodes) == len(trees) == len(arrays["base"]) == len(arrays["single"]) == count > 0):
            raise ValueError("the arrays are of different numbers of members")
        if (nodes < 0).any() or (trees < 0).any() or (trees > nodes).any():
            raise ValueError("impossible numbers of nodes and trees")
        if any(len(arrays[name]) != int(nodes.sum()) for name in _TYPES):
            raise ValueError("the arrays are of different numbers of nodes")
        ends = np.cumsum(nodes)
        members = []
        for i, (end, size) in enumerate(zip(ends, nodes, strict=True)):
            part = {name: arrays[name][end - size : end] for name in _TYPES}
            roots = np.arange(trees[i], dtype=np.int32)
            base, single = float(arrays["base"][i]), bool(arrays["single"][i])
            members.append(Forest(**part, roots=roots, base=base, single=single).levelled())
        if len({member.single for member in members}) != 1:
            raise ValueError("members of different precision")
        return cls(tuple(members))
