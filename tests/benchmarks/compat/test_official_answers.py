"""Every answer of the official packages, on real records, equals ours to the last bit."""

from __future__ import annotations

import bz2
import contextlib
import io
import itertools
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.compat import MisleadingAnswerWarning, NASBench201API, create
from benchmarks.importers import import_official
from crlso.errors import TableError
from tests.benchmarks.compat.official import (
    NUMBERS,
    RECORDS,
    nasbench201_file,
    nats_file,
    official_nasbench201,
    official_nats,
    same,
)
from tests.spaces.data import data_file

DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
SPLITS = {
    "cifar10-valid": ("train", "x-valid", "ori-test"),
    "cifar10": ("train", "ori-test"),
    "cifar100": ("train", "x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("train", "x-valid", "x-test", "ori-test"),
}
Pair = tuple[Any, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder for the tables of this module."""
    path = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRLSO_DATA_HOME", str(path))
        yield path


@pytest.fixture(scope="module", params=["nats folder", "nats file", "pth zip", "pth legacy", "pth folder"])
def pair(request: pytest.FixtureRequest, folder: Path) -> Pair:
    """Ours and theirs, for every form in which the records come."""
    kind = str(request.param)
    table = folder / f"{kind.replace(' ', '_')}.parquet"
    if kind == "nats folder":
        import_official(data_file(RECORDS), name=table.stem)
    elif kind == "nats file":
        source = folder / "made.pickle.pbz2"
        source.write_bytes(bz2.compress(pickle.dumps(nats_file(), protocol=4)))
        import_official(source, name=table.stem)
    elif kind == "pth folder":
        source = folder / "archive"
        source.mkdir()
        for number, record in nasbench201_file()["arch2infos"].items():
            torch.save(record, source / f"{number:06d}-FULL.pth")
        import_official(source, name=table.stem)
    else:
        source = folder / f"made_{kind[4:]}.pth"
        torch.save(nasbench201_file(), source, _use_new_zipfile_serialization=kind == "pth zip")
        import_official(source, name=table.stem)
    if kind.startswith("nats"):
        return create(table, "tss", verbose=False), official_nats(nats_file())
    return NASBench201API(table, verbose=False), official_nasbench201(nasbench201_file())


def both(pair: Pair, ask: Callable[[Any], Any]) -> None:
    """Ask both with the same random numbers; where theirs refuses, ours does too."""
    ours, theirs = pair
    random.seed(7)
    try:
        expected = ask(theirs)
    except (ValueError, KeyError, AssertionError):
        random.seed(7)
        with pytest.raises((ValueError, KeyError)):
            ask(ours)
        return
    random.seed(7)
    same(ask(ours), expected)


def without_comment(info: dict[str, Any]) -> dict[str, Any]:
    """NATS-Bench's text about the answer is not repeated word for word."""
    assert (info.pop("comment", None) is None) or isinstance(info, dict)
    return info


def test_architectures(pair: Pair) -> None:
    ours, theirs = pair
    assert len(ours) == len(theirs) == 15_625
    assert ours.meta_archs == theirs.meta_archs
    assert [ours[i] for i in range(0, 15_625, 97)] == [theirs[i] for i in range(0, 15_625, 97)]
    assert sorted(ours.evaluated_indexes) == sorted(theirs.evaluated_indexes)
    for arch in (5, theirs.arch(5), "nonsense", -1, 15_625):
        both(pair, lambda api, arch=arch: api.query_index_by_arch(arch))
    both(pair, lambda api: api.arch(15_625))
    both(pair, lambda api: [api.random() for _ in range(50)])
    assert set(ours.avaliable_hps) == set(theirs.avaliable_hps)


@pytest.mark.parametrize("hp", ["12", "200"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_more_info(pair: Pair, dataset: str, hp: str) -> None:
    epochs = (None, 0, 1, 5, 10, 11, 12, 57, 198, 199, 200, -1)
    for number, iepoch, which in itertools.product(NUMBERS, epochs, (True, False, 111, 777, 888, 999, 5)):
        both(
            pair,
            lambda api, n=number, i=iepoch, w=which: without_comment(
                api.get_more_info(n, dataset, iepoch=i, hp=hp, is_random=w)
            ),
        )


def test_more_info_of_defaults_and_texts(pair: Pair) -> None:
    for number in NUMBERS:
        both(pair, lambda api, n=number: without_comment(api.get_more_info(n, "cifar10-valid")))
        both(pair, lambda api, n=number: without_comment(api.get_more_info(api.arch(n), "cifar100", hp=200)))
    both(pair, lambda api: api.get_more_info(3, "cifar100"))
    both(pair, lambda api: api.get_more_info(0, "cifar1000"))
    both(pair, lambda api: api.get_more_info(0, "cifar100", hp="90"))


@pytest.mark.parametrize("hp", ["12", "200"])
def test_costs_configurations_and_statistics(pair: Pair, hp: str) -> None:
    for number, dataset in itertools.product(NUMBERS, DATASETS):
        both(pair, lambda api, n=number, d=dataset: api.get_cost_info(n, d, hp))
        both(pair, lambda api, n=number, d=dataset: api.get_latency(n, d, hp))
        both(pair, lambda api, n=number, d=dataset: api.get_net_config(n, d))
        both(pair, lambda api, n=number, d=dataset: api.get_net_param(n, d, None, hp))
    both(pair, lambda api: api.statistics("svhn", hp))
    ours, theirs = pair
    if isinstance(theirs.evaluated_indexes, set):  # the older package counts over all 15,625 and fails
        for dataset in DATASETS:
            assert ours.statistics(dataset, hp) == theirs.statistics(dataset, hp)


@pytest.mark.parametrize("hp", ["12", "200"])
def test_trainings(pair: Pair, hp: str) -> None:
    for number in NUMBERS:
        ours, theirs = (api.query_meta_info_by_index(number, hp) for api in pair)
        assert (ours.arch_index, ours.arch_str) == (theirs.arch_index, theirs.arch_str)
        same(ours.dataset_seed, theirs.dataset_seed)
        assert ours.get_dataset_names() == theirs.get_dataset_names()
        assert ours.get_total_epoch() == theirs.get_total_epoch()
        assert repr(ours) == repr(theirs)
        assert set(ours.all_results) == set(theirs.all_results)
        for dataset in DATASETS:
            assert ours.get_dataset_seeds(dataset) == theirs.get_dataset_seeds(dataset)
            same(ours.get_latency(dataset), theirs.get_latency(dataset))
            same(ours.get_compute_costs(dataset), theirs.get_compute_costs(dataset))
            for split, iepoch in itertools.product(SPLITS[dataset], (None, 0, 7, int(hp) - 1)):
                for which in (False, True, *ours.get_dataset_seeds(dataset)):
                    both(
                        (ours, theirs),
                        lambda results, d=dataset, s=split, i=iepoch, w=which: results.get_metrics(
                            d, s, i, w
                        ),
                    )
        for key, theirs_one in theirs.all_results.items():
            compare_training(ours.query(*key), theirs_one)


def compare_training(ours: Any, theirs: Any) -> None:
    fields = (
        "name seed epochs params flop latency arch_config train_acc1es train_acc5es train_losses train_times"
    )
    for name in (*fields.split(), "eval_acc1es", "eval_losses", "eval_times", "eval_names", "net_state_dict"):
        found, expected = getattr(ours, name), getattr(theirs, name)
        same(
            sorted(found) if name == "eval_names" else found,
            sorted(expected) if name == "eval_names" else expected,
        )
    same(ours.get_times(), theirs.get_times())
    assert ours.get_latency() == theirs.get_latency()
    assert sorted(ours.get_eval_set()) == sorted(theirs.get_eval_set())
    for iepoch in (None, 0, 3, theirs.epochs - 1, theirs.epochs, -1):
        both((ours, theirs), lambda result, i=iepoch: result.get_train(i))
        for split in ("valid", "x-valid", "x-test", "ori-test"):
            both((ours, theirs), lambda result, i=iepoch, s=split: result.get_eval(s, i))
    same(ours.get_config(None), theirs.get_config(None))
    same(ours.get_config(len), theirs.get_config(len))
    assert repr(ours).split(", seed")[0] == repr(theirs).split(", seed")[0]


@pytest.mark.parametrize("hp", ["12", "200"])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120", "cifar10-valid"])
def test_simulated_trainings_cost_the_same(pair: Pair, dataset: str, hp: str) -> None:
    for api in pair:
        api.reset_time()
    for number, count in itertools.product(NUMBERS, (True, False, True)):
        both(
            pair,
            lambda api, n=number, c=count: api.simulate_train_eval(n, dataset, hp=hp, account_time=c),
        )
    assert pair[0].used_time == pair[1].used_time


def test_a_substituted_test_accuracy_is_said(pair: Pair) -> None:
    if not isinstance(pair[1].evaluated_indexes, set):
        pytest.skip("the older package has no epochs in simulations")
    for dataset, hp in itertools.product(("cifar100", "ImageNet16-120"), ("200",)):
        with pytest.warns(MisleadingAnswerWarning, match="validation and test images together"):
            both(pair, lambda api, d=dataset, h=hp: api.simulate_train_eval(11, d, iepoch=50, hp=h))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both(pair, lambda api: api.simulate_train_eval(11, "cifar10", iepoch=50, hp="200"))
        both(pair, lambda api: api.simulate_train_eval(11, "cifar100", iepoch=5, hp="12"))


@pytest.mark.parametrize("hp", ["12", "200"])
def test_descriptions(pair: Pair, hp: str) -> None:
    for number in NUMBERS:
        both(pair, lambda api, n=number: api.query_info_str_by_arch(n, hp))
        both(pair, lambda api, n=number: api.query_by_arch(api.arch(n), hp))


def test_one_of_a_training_set(pair: Pair) -> None:
    ours, theirs = pair
    mine, other = ours.query_by_index(11, "cifar100", "200"), theirs.query_by_index(11, "cifar100", "200")
    assert set(mine) == set(other) == {777, 888, 999}
    same(mine[888].get_eval("x-test"), other[888].get_eval("x-test"))
    both(pair, lambda api: api.query_by_index(11, "svhn", "200"))
    both(pair, lambda api: api.query_by_index(12, None, "200"))


@pytest.mark.parametrize("hp", ["12", "200"])
def test_best(pair: Pair, hp: str) -> None:
    _, theirs = pair
    limits = {"flop_max": 100.0, "param_max": 0.5}
    names = list(limits) if isinstance(theirs.evaluated_indexes, set) else ["FLOP_max", "Param_max"]
    for dataset, split in [
        *itertools.product(("cifar10", "cifar100", "ImageNet16-120"), ("train", "valid", "test")),
        ("cifar10-valid", "x-valid"),
        ("cifar100", "ori-test"),
    ]:
        both(pair, lambda api, d=dataset, s=split: api.find_best(d, s, hp=hp))
        for name, limit in zip(names, limits.values(), strict=True):
            both(pair, lambda api, d=dataset, s=split, k=name, v=limit: api.find_best(d, s, hp=hp, **{k: v}))


def test_texts_of_architectures(pair: Pair) -> None:
    ours, theirs = pair
    for number in range(0, 15_625, 501):
        arch = theirs.arch(number)
        assert ours.str2lists(arch) == theirs.str2lists(arch)
        same(ours.str2matrix(arch), theirs.str2matrix(arch))
        if isinstance(theirs.evaluated_indexes, set):
            assert ours.get_unique_str(number) == theirs.get_unique_str(number)


def test_show_prints_all_lines(pair: Pair) -> None:
    printed = []
    for api in pair:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            api.show(11)
        printed.append([line for line in out.getvalue().splitlines() if "=" in line])
    assert printed[0] == printed[1]
    assert len(printed[0]) == 16


def test_a_table_is_not_an_official_file(folder: Path) -> None:
    with pytest.raises(TableError, match=r"convert it once with: crlso bench import x\.pth"):
        NASBench201API("x.pth")
    with pytest.raises(TableError, match="not imported from NAS-Bench-201"):
        create(_other_table(folder), "tss")


def _other_table(folder: Path) -> Path:
    from benchmarks import nasbench201

    path = folder / "other.parquet"
    nasbench201.TABLE.build(path)
    return path
