import numpy as np
import pytest

from crlso.errors import ArchitectureError, UserError
from crlso.spaces import Subset, get_space


@pytest.fixture
def toy():
    return get_space("toy64")


def test_members_are_sorted_and_single(toy):
    subset = Subset(toy, [[3, 2, 1], [0, 0, 1], [3, 2, 1]])
    assert subset.size == 2
    np.testing.assert_array_equal(subset.members, [[0, 0, 1], [3, 2, 1]])
    np.testing.assert_array_equal(np.concatenate(list(subset.enumerate())), subset.members)


def test_neighbors_are_the_nearest_members(toy):
    subset = Subset(toy, [[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    np.testing.assert_array_equal(subset.neighbors([0, 0, 0]), [[0, 1, 1], [1, 0, 1]])  # two edits away
    np.testing.assert_array_equal(subset.neighbors([1, 1, 1]), [[0, 1, 1], [1, 0, 1]])  # one edit
    np.testing.assert_array_equal(
        subset.neighbors([0, 0, 1]), [[0, 0, 0], [0, 1, 1], [1, 0, 1]]
    )  # of a stranger
    assert Subset(toy, [[0, 0, 0]]).neighbors([0, 0, 0]).shape == (0, 3)


def test_repair_is_the_nearest_member_by_brute_force():
    space = get_space("nasbench201")
    rng = np.random.default_rng(0)
    subset = Subset(space, space.sample(300, rng))
    codes = space.sample(2000, rng)
    distance = (codes[:, None] != subset.members[None]).sum(axis=2)
    np.testing.assert_array_equal(subset.repair(codes), subset.members[distance.argmin(axis=1)])


def test_samples_are_uniform_over_members(toy):
    subset = Subset(toy, [[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    values, counts = np.unique(subset.sample(3000, np.random.default_rng(0))[:, 0], return_counts=True)
    assert values.tolist() == [0, 1, 2]
    assert np.abs(counts - 1000).max() < 130


def test_representatives_are_members(toy):
    members = [
        toy.parse("nor_conv_1x1/skip_connect/skip_connect"),
        toy.parse("skip_connect/nor_conv_1x1/skip_connect"),
    ]
    subset = Subset(toy, members)
    stranger = toy.parse("skip_connect/skip_connect/nor_conv_1x1")
    np.testing.assert_array_equal(subset.canonical(stranger), [members[1]])
    with pytest.raises(
        ArchitectureError, match="code 0 equals none of the 2 listed architectures of 'toy64'"
    ):
        subset.canonical(toy.parse("nor_conv_3x3/skip_connect/skip_connect"))


def test_strangers_are_refused(toy):
    subset = Subset(toy, [[0, 0, 0]])
    with pytest.raises(ArchitectureError, match="is not among the 1 listed architectures of 'toy64'"):
        subset.parse("nor_conv_3x3/skip_connect/skip_connect")
    assert subset.space is toy


def test_what_can_not_be_a_subset(toy):
    with pytest.raises(UserError, match="one architecture or more"):
        Subset(toy, np.zeros((0, 3), dtype=int))
    with pytest.raises(ArchitectureError, match="entry 2 of code 0 is 4"):
        Subset(toy, [[0, 0, 4]])
    with pytest.raises(ArchitectureError, match="code 0 is not a valid architecture of 'nasbench101'"):
        Subset(get_space("nasbench101"), np.zeros((1, 26), dtype=int))
