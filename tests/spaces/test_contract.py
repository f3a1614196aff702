"""The contract of crlso.spaces.testing over every space, and over a subset of each."""

import numpy as np
import pytest

from crlso.spaces import ChoiceChain, EdgeCellSpace, Subset, get_space
from crlso.spaces.fxdarts import FreeTopologySpace
from crlso.spaces.testing import SpaceContract


class TestNASBench201(SpaceContract):
    rules = ("code", "exact", "official")
    all_valid = True
    wrong_texts = ("", "|", "|nor_conv_3x3~0|", "|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|")

    @pytest.fixture
    def space(self):
        return get_space("nasbench201")


class TestThreeNodes(SpaceContract):
    rules = ("code", "exact", "official")
    all_valid = True

    @pytest.fixture
    def space(self):
        return EdgeCellSpace("three", nodes=3, operations=["none", "skip_connect", "conv", "max_pool_3x3"])


class TestFiveNodes(SpaceContract):
    rules = ("code", "exact", "official")
    all_valid = True

    @pytest.fixture
    def space(self):
        return EdgeCellSpace("five", nodes=5, operations=["none", "skip_connect", "conv"])


class TestTooLargeForRepresentatives(SpaceContract):
    rules = ("code", "exact", "official")
    all_valid = True
    representatives = False

    @pytest.fixture
    def space(self):
        return EdgeCellSpace("five5", nodes=5, operations=["none", "skip_connect", "conv", "pool", "conv2"])


class TestToy64(SpaceContract):
    all_valid = True

    @pytest.fixture
    def space(self):
        return get_space("toy64")


class TestUnevenChain(SpaceContract):
    all_valid = True

    @pytest.fixture
    def space(self):
        return ChoiceChain("uneven", [["a", "none"], ["b", "skip_connect", "a"], ["c"], ["a", "b", "d", "e"]])


class TestNATSSize(SpaceContract):
    all_valid = True
    wrong_texts = ("", ":", "8:8:8:8", "8:8:8:8:8:8", "8:8:8:8:12", "8/8/8/8/8")

    @pytest.fixture
    def space(self):
        return get_space("nats_size")


class TestNASBench101(SpaceContract):
    rules = ("code", "exact", "official")

    @pytest.fixture
    def space(self):
        return get_space("nasbench101")


class TestNASBenchGraph(SpaceContract):
    rules = ("code", "exact", "official")
    wrong_texts = ("", "Arch", "Arch([0, 0, 0, 0], ['skip', 'skip', 'skip', 'skip'])", "[0, 0, 0, 0]")

    @pytest.fixture
    def space(self):
        return get_space("nas_bench_graph")


class TestDARTS(SpaceContract):
    all_valid = True

    @pytest.fixture
    def space(self):
        return get_space("darts")


class TestFXDARTS(SpaceContract):
    samples = 20

    @pytest.fixture
    def space(self):
        return get_space("fxdarts")


class TestSmallFreeTopology(SpaceContract):
    @pytest.fixture
    def space(self):
        return FreeTopologySpace("small", cells=3, nodes=1, operations=["conv", "skip_connect"])


class SubsetContract(SpaceContract):
    one_edit = False
    members = 150


class TestSubsetOfNASBench201(SubsetContract):
    rules = ("code", "exact", "official")

    @pytest.fixture
    def space(self):
        space = get_space("nasbench201")
        return Subset(space, space.sample(self.members, np.random.default_rng(0)))


class TestSubsetOfToy64(SubsetContract):
    @pytest.fixture
    def space(self):
        space = get_space("toy64")
        return Subset(space, space.sample(20, np.random.default_rng(0)))


class TestSubsetOfNASBench101(SubsetContract):
    rules = ("code", "exact", "official")

    @pytest.fixture
    def space(self):
        space = get_space("nasbench101")
        return Subset(space, space.sample(self.members, np.random.default_rng(0)))


class TestSubsetOfDARTS(SubsetContract):
    samples = 30

    @pytest.fixture
    def space(self):
        space = get_space("darts")
        return Subset(space, space.sample(40, np.random.default_rng(0)))


class TestSubsetOfFXDARTS(SubsetContract):
    samples = 20

    @pytest.fixture
    def space(self):
        space = get_space("fxdarts")
        return Subset(space, space.sample(30, np.random.default_rng(0)))


class TestSubsetOfFiveNodes(SubsetContract):
    rules = ("code", "exact", "official")

    @pytest.fixture
    def space(self):
        space = EdgeCellSpace("five", nodes=5, operations=["none", "skip_connect", "conv"])
        return Subset(space, space.sample(self.members, np.random.default_rng(0)))
