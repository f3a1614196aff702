import itertools
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlso.spaces import EdgeCellSpace, Roles, get_space
from crlso.spaces.canonical import certificate
from tests.spaces import networks
from tests.spaces.data import data_file

FIVE = EdgeCellSpace("five", nodes=5, operations=["none", "skip_connect", "conv", "conv2", "max_pool"])
PLAIN = EdgeCellSpace("plain", nodes=6, operations=["conv", "none"])


@pytest.fixture(scope="module")
def space():
    return get_space("nasbench201")


@pytest.fixture(scope="module")
def cells(space):
    return np.concatenate(list(space.enumerate()))


@pytest.mark.parametrize(("rule", "classes"), [("code", 15_625), ("official", 6_466), ("exact", 5_260)])
def test_published_counts(space, cells, rule, classes):
    assert len(np.unique(space.class_keys(cells, rule))) == classes
    assert len(np.unique(space.canonical(cells, rule), axis=0)) == classes


def test_the_two_rules_disagree_both_ways(space, cells):
    exact, official = (
        np.unique(space.class_keys(cells, rule), return_inverse=True)[1] for rule in ("exact", "official")
    )
    pairs = np.unique(np.stack([exact, official]), axis=1)
    assert (np.bincount(pairs[1]) > 1).sum() == 430  # official classes that mix networks
    assert (np.bincount(pairs[0]) > 1).sum() == 688  # networks that the official rule splits


def official_name(text):
    """The published rule, from the text of a cell as the official package reads it."""
    from nas_201_api import NASBench201API

    nodes = ["0"]
    for incoming in NASBench201API.str2lists(text):
        names = []
        for operation, source in incoming:
            if operation == "none" or nodes[source] == "#":
                names.append("#")
            else:
                names.append(
                    nodes[source] if operation == "skip_connect" else f"({nodes[source]})@{operation}"
                )
        nodes.append("+".join(sorted(names)))
    return nodes[-1]


def test_official_rule_on_all_cells(space, cells):
    _, found = np.unique(space.class_keys(cells, "official"), return_inverse=True)
    assert len(set(zip(found, map(official_name, map(space.format, cells)), strict=True))) == 6_466


def test_official_classes_of_the_published_table(space):
    table = pd.read_parquet(data_file("nasbench201/nasbench201.parquet"))
    codes = np.array([space.parse(text) for text in table["arch_str"]])
    _, found = np.unique(space.class_keys(codes, "official"), return_inverse=True)
    assert table["isomorph_id"].nunique() == len(set(zip(found, table["isomorph_id"], strict=True))) == 6_466


def test_representative_is_the_smallest_member(space, cells):
    for rule in ("official", "exact"):
        smallest = {}
        for code, key in zip(map(tuple, cells.tolist()), space.class_keys(cells, rule), strict=True):
            smallest[key] = min(smallest.get(key, code), code)
        found = space.canonical(cells, rule)
        keys = space.class_keys(cells, rule)
        assert all(smallest[key] == tuple(code) for key, code in zip(keys, found.tolist(), strict=True))


def test_different_classes_are_different_networks(space, cells):
    representatives = np.unique(space.canonical(cells), axis=0)
    alike = defaultdict(list)  # isomorphic networks have equal outlines: others need no comparison
    for code in representatives:
        graph = networks.network(space, code)
        alike[networks.outline(graph)].append(graph)
    pairs = [pair for group in alike.values() for pair in itertools.combinations(group, 2)]
    assert not any(networks.matcher(*pair).is_isomorphic() for pair in pairs)


@pytest.mark.parametrize("which", ["nasbench201", "five"])
def test_one_class_is_one_network_and_one_function(which):
    space = get_space("nasbench201") if which == "nasbench201" else FIVE
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5))
    for first, second in pairs_of_a_class(space, rng, 300):
        left, right = networks.network(space, first), networks.network(space, second)
        match = networks.matcher(left, right)
        assert match.is_isomorphic()
        # Weights follow the isomorphism; edges outside the network get other weights on either side.
        weights, others = rng.normal(size=(2, len(space.edges), 5, 5))
        for node, image in match.mapping.items():
            for slot in right.nodes[image]["slots"]:
                others[slot] = weights[left.nodes[node]["slots"][0]]
        outputs = networks.run(space, first, weights, x), networks.run(space, second, others, x)
        np.testing.assert_allclose(*outputs, rtol=1e-9, atol=1e-9)


def pairs_of_a_class(space, rng, wanted):
    """Pairs of different codes with equal exact keys."""
    codes = np.unique(space.sample(20_000, rng), axis=0)
    keys = space.class_keys(codes)
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    connected = same[space.connected(codes[order[same]])]
    chosen = rng.permutation(connected)[:wanted]
    assert len(chosen) == wanted
    return zip(codes[order[chosen]], codes[order[chosen + 1]], strict=True)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([FIVE, PLAIN]), st.integers(0, 2**32 - 1))
def test_equal_keys_mean_isomorphic_networks(space, seed):
    """Random pairs, half of them one renumbering of nodes apart where the cell allows it."""
    rng = np.random.default_rng(seed)
    first = space.sample(1, rng)[0]
    second = renumbered(space, first, rng)
    if rng.random() < 0.5:
        place = rng.integers(len(second))
        second[place] = rng.integers(len(space.operations))
    graphs = [networks.network(space, code) for code in (first, second)]
    same = space.class_keys(first)[0] == space.class_keys(second)[0]
    assert same == networks.matcher(*graphs).is_isomorphic()


def renumbered(space, code, rng):
    """The same cell with its inner nodes in another order, if no edge then leads backwards."""
    for _ in range(20):
        place = [0, *(1 + rng.permutation(space.nodes - 2)), space.nodes - 1]
        moved = {
            (place[source], place[node]): value
            for (source, node), value in zip(space.edges, code, strict=True)
        }
        backward = {value for (source, node), value in moved.items() if source > node}
        if all(space.operations[value] in space.roles.zero for value in backward):
            zero = space.operations.index("none")
            return np.array([moved.get(edge, zero) for edge in space.edges])
    return code.copy()


def test_symmetric_networks_get_one_certificate():
    """Two unconnected pairs conv -> conv: refinement alone leaves them tied, whatever their order."""
    operations = [((0, ((0, 1),)), (0, ((0, 1),)), (0, ((1, 1),)), (0, ((2, 1),)))]
    operations.append(((0, ((0, 1),)), (0, ((1, 1),)), (0, ((0, 1),)), (0, ((3, 1),))))
    outputs = [((3, 1), (4, 1)), ((2, 1), (4, 1))]
    first, second = (certificate(pair) for pair in zip(operations, outputs, strict=True))
    assert first == second
    # One pair with both second operations instead: other network, same local pictures of the first ones.
    assert (
        certificate((((0, ((0, 1),)), (0, ((0, 1),)), (0, ((1, 1),)), (0, ((1, 1),))), outputs[0])) != first
    )


def test_shared_weights_differ_from_two_operations():
    space = EdgeCellSpace("s", nodes=3, operations=["none", "skip_connect", "conv", "max_pool"])
    shared = space.parse("|conv~0|+|conv~0|skip_connect~1|")  # conv + conv: two of them, whatever the node
    doubled = space.parse("|skip_connect~0|+|conv~0|conv~1|")
    assert space.class_keys(shared) == space.class_keys(doubled)
    four = EdgeCellSpace("t", nodes=4, operations=space.operations)
    once = four.parse("|conv~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|")
    twice = four.parse("|conv~0|+|conv~0|none~1|+|none~0|skip_connect~1|skip_connect~2|")
    assert four.class_keys(once) != four.class_keys(twice)  # 2 conv(x) against conv(x) + conv'(x)
    assert four.class_keys(once, "official") == four.class_keys(twice, "official")
    pools = [four.parse(four.format(code).replace("conv", "max_pool")) for code in (once, twice)]
    assert four.class_keys(pools[0]) == four.class_keys(pools[1])  # pools have no weights to differ in


def test_roles_decide_what_is_merged():
    names = ["zero", "id", "conv", "blur"]
    named = EdgeCellSpace(
        "n", nodes=4, operations=names, roles=Roles(zero=("zero",), identity=("id",), pure=("blur",))
    )
    usual = EdgeCellSpace("u", nodes=4, operations=["none", "skip_connect", "conv", "max_pool"])
    codes = np.concatenate(list(usual.enumerate()))
    np.testing.assert_array_equal(named.class_keys(codes), usual.class_keys(codes))


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("crlso.spaces.canonical._MEMORY", 50)
    space, fresh = get_space("nasbench201"), get_space("nasbench201")
    codes = space.sample(500, np.random.default_rng(0))
    parts = [space.class_keys(part) for part in np.split(codes, 10)]
    np.testing.assert_array_equal(np.concatenate(parts), fresh.class_keys(codes))
