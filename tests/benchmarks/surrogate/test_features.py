"""Features of DARTS cells against the cells' pairs, walked one by one."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

from benchmarks.surrogate.features import features, one_hot
from crlso.spaces import get_space
from crlso.spaces.genotype import OPERATIONS, Pair, cells_from_code


def expected_cell(pairs: list[Pair]) -> list[int]:
    into = {2 + i // 2: pairs[i : i + 2] for i in range(0, 8, 2)}

    def best(node: int, choose: object, step: object) -> int:
        if node < 2:
            return 0
        return choose(best(source, choose, step) + step(name) for name, source in into[node])  # type: ignore[operator]

    longest = [best(node, max, lambda _: 1) for node in range(2, 6)]
    shortest = [best(node, min, lambda _: 1) for node in range(2, 6)]
    deepest = [best(node, max, lambda name: int("conv" in name)) for node in range(2, 6)]
    counts, on_input = Counter(name for name, _ in pairs), Counter(name for name, s in pairs if s < 2)
    taken = Counter(source for _, source in pairs)
    return [
        *(counts[name] for name in OPERATIONS),
        *(on_input[name] for name in OPERATIONS),
        *longest,
        *shortest,
        *deepest,
        *(taken[node] for node in range(6)),
        sum(longest),
        sum(deepest),
        max(longest),
        sum(on_input.values()),
    ]


def test_darts_features_are_those_of_the_pairs() -> None:
    space = get_space("darts")
    codes = space.sample(100, np.random.default_rng(0))
    found = features(space, codes)
    groups = {name: found.values[:, found.groups == i] for i, name in enumerate(found.names)}
    for row, code in enumerate(codes):
        cells = cells_from_code(code)
        assert groups["cells"][row].tolist() == [*expected_cell(cells[0]), *expected_cell(cells[1])]
        edges, paths = [], []
        for pairs in cells:
            named = {(i // 2, source): name for i, (name, source) in enumerate(pairs)}
            for node in range(4):
                for source in range(node + 2):
                    edges += [int(named.get((node, source)) == name) for name in OPERATIONS]
            inner = [(name, source - 2) for name, source in pairs if source >= 2]
            follows = Counter((before, name) for name, s in inner for before, _ in pairs[2 * s : 2 * s + 2])
            paths += [follows[first, second] for first in OPERATIONS for second in OPERATIONS]
        assert groups["edges"][row].tolist() == edges
        assert groups["paths"][row].tolist() == paths


def test_features_stay_inside_their_limits_in_every_kind_of_space() -> None:
    for name in ("darts", "nasbench201", "nasbench101", "nats_size", "fxdarts", "toy64"):
        space = get_space(name)
        codes = space.sample(200, np.random.default_rng(1))
        found = features(space, codes)
        assert found.values.shape == (200, len(found.groups)) == (200, len(found.limits))
        assert (found.values >= 0).all()
        assert (found.values <= found.limits).all()
        assert (found.values % 1 == 0).all()
        alone = np.concatenate([features(space, code[None]).values for code in codes[:5]])
        np.testing.assert_array_equal(alone, found.values[:5])
        entries = sum(cardinality > 1 for cardinality in space.cardinalities)
        np.testing.assert_array_equal(one_hot(space, codes).sum(axis=1), entries)


def test_paths_of_edge_cells_are_those_walked_one_by_one() -> None:
    space = get_space("nasbench201")
    codes = space.sample(50, np.random.default_rng(0))
    found = features(space, codes)
    paths = found.values[:, found.groups == found.names.index("paths")]
    ways = [(0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)]
    for row, code in enumerate(codes):
        on_edge = dict(zip(space.edges, code.tolist(), strict=True))
        assert paths[row].sum() == len(ways)
        for other, code_2 in enumerate(codes):
            edges_2 = dict(zip(space.edges, code_2.tolist(), strict=True))
            shared = sum(all(on_edge[e] == edges_2[e] for e in pairwise(way)) for way in ways)
            assert paths[row] @ paths[other] == shared
