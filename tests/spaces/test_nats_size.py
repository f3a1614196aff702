import itertools

import numpy as np
import pytest

from crlso.errors import UnknownNameError
from crlso.spaces import get_space
from crlso.spaces.nats_size import flops, parameters


@pytest.fixture(scope="module")
def space():
    return get_space("nats_size")


def test_all_texts_in_the_official_order(space):
    """The official list counts the last layer fastest, in steps of 8 channels."""
    official = [":".join(map(str, widths)) for widths in itertools.product(range(8, 65, 8), repeat=5)]
    assert len(official) == 32_768 == space.size
    codes = np.concatenate(list(space.enumerate()))
    assert [space.format(code) for code in codes] == official
    np.testing.assert_array_equal([space.parse(text) for text in official], codes)
    assert official[11] == "8:8:8:16:32"  # as the official records 11 and 284 say
    assert official[284] == "8:8:40:32:40"


def test_all_are_different_networks(space):
    codes = np.concatenate(list(space.enumerate()))
    assert len(np.unique(space.class_keys(codes))) == len(codes)


# The official records 000000, 000011 and 000284 (v1.0): params and flop of each data set.
@pytest.mark.parametrize(
    ("text", "dataset", "weights", "operations"),
    [
        ("8:8:8:8:8", "cifar10", 0.011714, 4.481114),
        ("8:8:8:8:8", "cifar100", 0.012524, 4.481924),
        ("8:8:8:8:8", "imagenet16", 0.012704, 1.121336),
        ("8:8:8:16:32", "cifar10", 0.049202, 6.84065),
        ("8:8:8:16:32", "cifar100", 0.052172, 6.84362),
        ("8:8:8:16:32", "imagenet16", 0.052832, 1.71404),
        ("8:8:40:32:40", "cifar10", 0.144834, 21.827994),
        ("8:8:40:32:40", "cifar100", 0.148524, 21.831684),
        ("8:8:40:32:40", "imagenet16", 0.149344, 5.461816),
    ],
)
def test_costs_of_official_records(space, text, dataset, weights, operations):
    assert parameters(space.parse(text), dataset)[0] == pytest.approx(weights, abs=1e-9)
    assert flops(space.parse(text), dataset)[0] == pytest.approx(operations, abs=1e-9)


def test_costs_know_three_data_sets(space):
    for cost in (parameters, flops):
        with pytest.raises(
            UnknownNameError, match="unknown data set 'mnist'; known: cifar10, cifar100, imagenet16"
        ):
            cost(space.parse("8:8:8:8:8"), "mnist")
