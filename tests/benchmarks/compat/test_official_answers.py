"""Every answer of the official packages, on real records, equals ours to the last bit."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nas_201_api
import nats_bench
import numpy as np
import pytest

from benchmarks.compat import MisleadingAnswerWarning, NASBench201API, create
from benchmarks.compat.nasbench201 import NAS_BENCH_201_API_VERSION
from benchmarks.compat.nats_bench import NATS_BENCH_API_VERSIONs, version
from benchmarks.importers import import_official
from crlso.errors import TableError
from tests.benchmarks.compat.official import (
    NUMBERS,
    RECORDS,
    made_records,
    made_sizes,
    nasbench201_file,
    nats_file,
    official_nasbench201,
    official_nats,
    records,
    same,
    write_nats_file,
    write_nats_folder,
    write_pth,
    write_pth_folder,
)
from tests.spaces.data import data_file

DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
SPLITS = {
    "cifar10-valid": ("train", "x-valid", "ori-test"),
    "cifar10": ("train", "ori-test"),
    "cifar100": ("train", "x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("train", "x-valid", "x-test", "ori-test"),
}
WRITERS = {
    ("nats", "file"): write_nats_file,
    ("sizes", "file"): write_nats_file,
    ("sizes", "folder"): write_nats_folder,
    ("pth", "zip"): write_pth,
    ("pth", "legacy"): partial(write_pth, zipped=False),
    ("pth", "folder"): write_pth_folder,
}
ENDINGS = {
    ("nats", "file"): ".pickle.pbz2",
    ("sizes", "file"): ".pickle.pbz2",
    ("pth", "zip"): ".pth",
    ("pth", "legacy"): ".pth",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder for the tables of this module."""
    path = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRLSO_DATA_HOME", str(path))
        yield path


@dataclass(frozen=True)
class Pair:
    """Ours and theirs, of the same records.

    Attributes:
        ours: Our view.
        theirs: The official package.
        hps: Names of the training schedules.
    """

    ours: Any
    theirs: Any
    hps: tuple[str, ...] = ("12", "200")


@pytest.fixture(
    scope="module",
    params=[
        "real nats folder",
        "real nats file",
        "real pth zip",
        "real pth legacy",
        "real pth folder",
        "made nats file",
        "made pth zip",
        "made sizes folder",
        "made sizes file",
    ],
)
def pair(request: pytest.FixtureRequest, folder: Path) -> Pair:
    """For every form in which real records come; and for made ones with fewer seeds, and of other sizes."""
    kind = str(request.param)
    origin, family, form = kind.split()
    content = made_sizes() if family == "sizes" else records() if origin == "real" else made_records()
    table = folder / f"{kind.replace(' ', '_')}.parquet"
    if kind == "real nats folder":
        source = data_file(RECORDS)
    else:
        source = WRITERS[family, form](folder / f"{table.stem}{ENDINGS.get((family, form), '')}", *content)
    import_official(source, name=table.stem)
    if family == "pth":
        return Pair(NASBench201API(table, verbose=False), official_nasbench201(nasbench201_file(*content)))
    if family == "sizes":
        theirs = official_nats(nats_file(*content), "sss")
        return Pair(create(table, "sss", verbose=False), theirs, ("01", "12", "90"))
    return Pair(create(table, "tss", verbose=False), official_nats(nats_file(*content)))


def both(pair: Pair | tuple[Any, Any], ask: Callable[[Any], Any]) -> None:
    """Ask both with the same random numbers; where theirs refuses, ours does too, with an error of its kind.

    The older package also refuses by ``assert``, and by a ``NameError`` where its messages have a slip.
    """
    ours, theirs = (pair.ours, pair.theirs) if isinstance(pair, Pair) else pair
    random.seed(7)
    try:
        expected = ask(theirs)
    except (ValueError, KeyError, AssertionError, NameError) as error:
        random.seed(7)
        kind = type(error) if isinstance(error, ValueError | KeyError) else ValueError
        with pytest.raises(kind) as refused:
            ask(ours)
        assert isinstance(refused.value, TableError)
        return
    random.seed(7)
    same(ask(ours), expected)


def without_comment(info: dict[str, Any]) -> dict[str, Any]:
    """NATS-Bench's text about the answer is not repeated word for word."""
    assert (info.pop("comment", None) is None) or isinstance(info, dict)
    return info


def test_architectures(pair: Pair) -> None:
    ours, theirs = pair.ours, pair.theirs
    assert len(ours) == len(theirs) == (32_768 if "90" in pair.hps else 15_625)
    assert ours.meta_archs == theirs.meta_archs
    assert [ours[i] for i in range(0, len(ours), 97)] == [theirs[i] for i in range(0, len(ours), 97)]
    assert sorted(ours.evaluated_indexes) == sorted(theirs.evaluated_indexes)
    for arch in (5, theirs.arch(5), "nonsense", -1, len(theirs)):
        both(pair, lambda api, arch=arch: api.query_index_by_arch(arch))
    both(pair, lambda api: api.arch(len(theirs)))
    both(pair, lambda api: [api.random() for _ in range(50)])
    assert set(ours.avaliable_hps) == set(theirs.avaliable_hps)


@pytest.mark.parametrize("dataset", DATASETS)
def test_more_info(pair: Pair, dataset: str) -> None:
    epochs = (None, 0, 1, 5, 10, 11, 12, 57, 88, 89, 90, 198, 199, 200, -1)
    seeds = (True, False, 111, 777, 888, 999, 5, np.int64(777))
    for hp, number, iepoch, which in itertools.product(pair.hps, NUMBERS, epochs, seeds):
        both(
            pair,
            lambda api, n=number, i=iepoch, h=hp, w=which: without_comment(
                api.get_more_info(n, dataset, iepoch=i, hp=h, is_random=w)
            ),
        )


def test_more_info_of_defaults_and_texts(pair: Pair) -> None:
    for number in NUMBERS:
        both(pair, lambda api, n=number: without_comment(api.get_more_info(n, "cifar10-valid")))
        both(
            pair,
            lambda api, n=number: without_comment(
                api.get_more_info(api.arch(n), "cifar100", hp=int(pair.hps[-1]))
            ),
        )
    both(pair, lambda api: api.get_more_info(3, "cifar100"))
    both(pair, lambda api: api.get_more_info(0, "cifar1000"))
    both(pair, lambda api: api.get_more_info(0, "cifar100", hp="91"))


def test_costs_configurations_and_statistics(pair: Pair) -> None:
    for number, dataset, hp in itertools.product(NUMBERS, DATASETS, pair.hps):
        both(pair, lambda api, n=number, d=dataset, h=hp: api.get_cost_info(n, d, h))
        both(pair, lambda api, n=number, d=dataset, h=hp: api.get_latency(n, d, h))
        both(pair, lambda api, n=number, d=dataset: api.get_net_config(n, d))
        both(pair, lambda api, n=number, d=dataset, h=hp: api.get_net_param(n, d, None, h))
    for number, dataset in itertools.product((5, 11), ("cifar10", "svhn")):  # 5 has no results
        both(pair, lambda api, n=number, d=dataset: api.get_net_config(n, d))
        both(pair, lambda api, n=number, d=dataset: api.get_net_param(n, d, 1, pair.hps[-1]))
        both(pair, lambda api, n=number, d=dataset: api.get_cost_info(n, d, pair.hps[-1]))
    for hp in pair.hps:
        both(pair, lambda api, h=hp: api.statistics("svhn", h))
        if isinstance(pair.theirs.evaluated_indexes, set):  # the older package counts over all and fails
            for dataset in DATASETS:
                assert pair.ours.statistics(dataset, hp) == pair.theirs.statistics(dataset, hp)


def test_trainings(pair: Pair) -> None:
    for number, hp in itertools.product(NUMBERS, pair.hps):
        ours, theirs = (api.query_meta_info_by_index(number, hp) for api in (pair.ours, pair.theirs))
        assert (ours.arch_index, ours.arch_str) == (theirs.arch_index, theirs.arch_str)
        same(ours.dataset_seed, theirs.dataset_seed)
        assert ours.get_dataset_names() == theirs.get_dataset_names()
        assert ours.get_total_epoch() == theirs.get_total_epoch()
        assert repr(ours) == repr(theirs)
        assert ours.arch_idx_str() == theirs.arch_idx_str() == f"{number:06d}"
        for dataset in (*DATASETS, "nope", 5):
            both((ours, theirs), lambda results, d=dataset: results.get_total_epoch(d))
            for seed in (777, 1):
                both((ours, theirs), lambda results, d=dataset, s=seed: results.get_net_param(d, s))
        same_state(ours, theirs)
        assert set(ours.all_results) == set(theirs.all_results)
        for dataset in DATASETS:
            compare_dataset(ours, theirs, dataset, int(hp))
        for key, theirs_one in theirs.all_results.items():
            compare_training(ours.query(*key), theirs_one)


def same_state(ours: Any, theirs: Any) -> None:
    """The same content, of which nothing leads back into the view."""
    found, expected = ours.state_dict(), theirs.state_dict()
    for state in (found, expected):
        state["all_results"] = {
            key: one | {"eval_names": sorted(one["eval_names"])} for key, one in state["all_results"].items()
        }
    same(found, expected)
    found["dataset_seed"].clear()
    next(iter(found["all_results"].values()))["arch_config"].clear()
    assert ours.dataset_seed == theirs.dataset_seed
    same(
        next(iter(ours.all_results.values())).arch_config, next(iter(theirs.all_results.values())).arch_config
    )


def compare_dataset(ours: Any, theirs: Any, dataset: str, epochs: int) -> None:
    assert ours.get_dataset_seeds(dataset) == theirs.get_dataset_seeds(dataset)
    same(ours.get_latency(dataset), theirs.get_latency(dataset))
    same(ours.get_compute_costs(dataset), theirs.get_compute_costs(dataset))
    for split, iepoch in itertools.product(SPLITS[dataset], (None, 0, 7, epochs - 1)):
        for which in (
            False,
            True,
            1,
            np.int64(777),
            np.True_,
            777.0,
            "777",
            *ours.get_dataset_seeds(dataset),
        ):
            both(
                (ours, theirs),
                lambda results, s=split, i=iepoch, w=which: results.get_metrics(dataset, s, i, w),
            )


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
    if isinstance(theirs, nats_bench.ResultsCount):
        for iepoch in (0, theirs.epochs - 1, theirs.epochs, -1):
            both((ours, theirs), lambda result, i=iepoch: result.judge_valid(i))
    for iepoch in (None, 0, 3, theirs.epochs - 1, theirs.epochs, -1):
        both((ours, theirs), lambda result, i=iepoch: result.get_train(i))
        for split in ("valid", "x-valid", "x-test", "ori-test"):
            both((ours, theirs), lambda result, i=iepoch, s=split: result.get_eval(s, i))
    same(ours.get_config(None), theirs.get_config(None))
    same(ours.get_config(len), theirs.get_config(len))
    assert repr(ours).split(", seed")[0] == repr(theirs).split(", seed")[0]


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120", "cifar10-valid"])
def test_simulated_trainings_cost_the_same(pair: Pair, dataset: str) -> None:
    for api in (pair.ours, pair.theirs):
        api.reset_time()
    for hp, number, count in itertools.product(pair.hps, NUMBERS, (True, False, True)):
        both(
            pair,
            lambda api, n=number, h=hp, c=count: api.simulate_train_eval(n, dataset, hp=h, account_time=c),
        )
    assert pair.ours.used_time == pair.theirs.used_time


def test_a_substituted_test_accuracy_is_said(pair: Pair) -> None:
    if not isinstance(pair.theirs.evaluated_indexes, set):
        pytest.skip("the older package has no epochs in simulations")
    if pair.hps[-1] == "200":  # validation sets were measured after the last epoch alone
        for dataset in ("cifar100", "ImageNet16-120"):
            with pytest.warns(MisleadingAnswerWarning, match="validation and test images together"):
                both(pair, lambda api, d=dataset: api.simulate_train_eval(11, d, iepoch=50, hp="200"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both(pair, lambda api: api.simulate_train_eval(11, "cifar10", iepoch=50, hp=pair.hps[-1]))
        both(pair, lambda api: api.simulate_train_eval(11, "cifar100", iepoch=5, hp="12"))


@pytest.mark.parametrize("newer", [True, False], ids=["NATS-Bench", "NAS-Bench-201"])
def test_costs_that_differ_between_seeds(folder: Path, *, newer: bool) -> None:
    """The newer package takes those of seed 888; the older one means them, which is of no network."""
    archs, states = made_records()
    for number, seed in ((0, 999), (11, 999), (284, 777)):
        states[number]["200"]["all_results"]["cifar100", seed]["params"] = np.float64(7)
    if newer:
        import_official(write_nats_file(folder / "differing.pickle.pbz2", archs, states), name="newer")
        pair = Pair(create("newer", "tss", verbose=False), official_nats(nats_file(archs, states)))
    else:
        import_official(write_pth(folder / "differing.pth", archs, states), name="older")
        theirs = official_nasbench201(nasbench201_file(archs, states))
        pair = Pair(NASBench201API("older", verbose=False), theirs)
    for number in NUMBERS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            both(pair, lambda api, n=number: api.get_cost_info(n, "cifar100", "200"))
        said = [w for w in caught if issubclass(w.category, MisleadingAnswerWarning)]
        assert len(said) == (0 if newer or number == 284 else 1)
        assert all("params of architecture" in str(w.message) for w in said)
    if not newer:
        with pytest.warns(MisleadingAnswerWarning) as warned:
            pair.ours.query_by_arch(pair.ours.arch(0), "200")  # many calls deep
        assert {Path(each.filename) for each in warned} == {Path(__file__)}


def test_descriptions(pair: Pair) -> None:
    for number, hp in itertools.product(NUMBERS, pair.hps):
        both(pair, lambda api, n=number, h=hp: api.query_info_str_by_arch(n, h))
        both(pair, lambda api, n=number, h=hp: api.query_by_arch(api.arch(n), h))


def test_one_of_a_training_set(pair: Pair) -> None:
    for number, hp in itertools.product(NUMBERS, pair.hps):
        mine, other = (api.query_by_index(number, "cifar100", hp) for api in (pair.ours, pair.theirs))
        assert set(mine) == set(other)
        assert mine
        for seed in mine:
            same(mine[seed].get_eval("x-test"), other[seed].get_eval("x-test"))
    both(pair, lambda api: api.query_by_index(11, "svhn", pair.hps[-1]))
    both(pair, lambda api: api.query_by_index(12, None, pair.hps[-1]))


def test_best(pair: Pair) -> None:
    theirs = pair.theirs
    limits = {"flop_max": 100.0, "param_max": 0.5}
    names = list(limits) if isinstance(theirs.evaluated_indexes, set) else ["FLOP_max", "Param_max"]
    splits = [
        *itertools.product(("cifar10", "cifar100", "ImageNet16-120"), ("train", "valid", "test")),
        ("cifar10-valid", "x-valid"),
        ("cifar10-valid", "valid"),
        ("cifar10-valid", "test"),
        ("cifar100", "ori-test"),
        ("svhn", "test"),
    ]
    for hp, (dataset, split) in itertools.product(pair.hps, splits):
        both(pair, lambda api, d=dataset, s=split, h=hp: api.find_best(d, s, hp=h))
        for name, limit in zip(names, limits.values(), strict=True):
            both(
                pair,
                lambda api, d=dataset, s=split, h=hp, k=name, v=limit: api.find_best(d, s, hp=h, **{k: v}),
            )


def test_what_the_api_says_of_itself(pair: Pair) -> None:
    assert NATS_BENCH_API_VERSIONs == nats_bench.NATS_BENCH_API_VERSIONs
    assert version() == nats_bench.version()
    assert NAS_BENCH_201_API_VERSION == nas_201_api.NAS_BENCH_201_API_VERSION
    if not isinstance(pair.theirs.evaluated_indexes, set):
        with pytest.raises(NameError):  # why ours has no such method
            pair.theirs.query_meta_info_by_index(11).show()
        return
    names = (
        "search_space_name full_train_epochs full_epochs_in_paper is_size is_topology archive_dir fast_mode"
    )
    for name in names.split():
        found, expected = getattr(pair.ours, name), getattr(pair.theirs, name)
        assert (type(found), found) == (type(expected), expected), name


def test_texts_of_architectures(pair: Pair) -> None:
    ours, theirs = pair.ours, pair.theirs
    if "90" in pair.hps:
        pytest.skip("sizes have no such texts")
    for number in range(0, 15_625, 501):
        arch = theirs.arch(number)
        assert ours.str2lists(arch) == theirs.str2lists(arch)
        same(ours.str2matrix(arch), theirs.str2matrix(arch))
        if isinstance(theirs.evaluated_indexes, set):
            assert ours.get_unique_str(number) == theirs.get_unique_str(number)


def test_show_prints_all_lines(pair: Pair) -> None:
    printed = []
    for api in (pair.ours, pair.theirs):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            api.show(11)
        printed.append([line for line in out.getvalue().splitlines() if "=" in line])
    assert printed[0] == printed[1]
    assert len(printed[0]) == 8 * len(pair.hps)


def test_a_table_is_not_an_official_file(folder: Path) -> None:
    with pytest.raises(TableError, match=r"there is no file .*x\.pth"):
        NASBench201API(str(folder / "x.pth"))
    (folder / "x.pth").write_bytes(b"")
    with pytest.raises(TableError, match=r"convert it once with: crlso bench import .*x\.pth"):
        NASBench201API(str(folder / "x.pth"))
    with pytest.raises(TableError, match="built-in table 'nasbench201' has no single trainings with curves"):
        NASBench201API("nasbench201")
    with pytest.raises(TableError, match="not imported from NAS-Bench-201"):
        create(_other_table(folder), "tss")


def _other_table(folder: Path) -> Path:
    from benchmarks import nasbench201

    path = folder / "other.parquet"
    nasbench201.TABLE.build(path)
    return path
