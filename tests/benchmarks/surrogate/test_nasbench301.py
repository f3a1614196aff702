"""NAS-Bench-301's ensembles, against answers of the official package.

``nb301_official.zip`` holds ensembles that the official package (nasbench301 0.3, ConfigSpace 0.4.12, XGBoost
1.2.0, LightGBM 2.3.1, Python 3.7) saved in its own layout, what its API answered, and the script that made
both. The boosters are small and not the published ones, which can not be redistributed here.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmarks
from benchmarks.importers import import_official
from benchmarks.importers.nasbench301 import ALLOWED
from benchmarks.surrogate.boosters import lightgbm_forest, xgboost_forest
from benchmarks.surrogate.nb301 import feature_vectors
from benchmarks.testing import EvaluatorContract
from crlso.errors import TableError, UserError
from crlso.protocols import Codes, Evaluator
from crlso.spaces.darts import DARTSSpace

ENSEMBLES = {"xgb": "xgb_v1.0", "lgb_runtime": "lgb_runtime_v1.0"}
MAIN = {"xgb": "nb301-xgb-v1.0/valid_accuracy", "lgb_runtime": "nb301-lgb-v1.0/runtime"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nb301")
    zipfile.ZipFile(Path(__file__).with_name("nb301_official.zip")).extractall(folder)
    return folder


@pytest.fixture
def official(files: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files / "official.json").read_text())
    return found


@pytest.fixture
def codes(official: dict[str, Any]) -> Codes:
    return np.array([DARTSSpace().parse(text) for text in official["genotypes"]])


@pytest.fixture
def copy(files: Path, tmp_path: Path) -> Path:
    """An ensemble of XGBoost that a test may damage."""
    return Path(shutil.copytree(files / "nb_models_1.0" / "xgb_v1.0", tmp_path / "xgb_v1.0"))


class TestXGBoost(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, files: Path) -> Evaluator:
        return import_official(files / "nb_models_1.0" / "xgb_v1.0")


class TestLightGBM(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, files: Path) -> Evaluator:
        return import_official(files / "nb_models_1.0" / "lgb_runtime_v1.0")


def test_features_are_those_of_configspace(official: dict[str, Any], codes: Codes) -> None:
    expected = np.array(official["features"])
    np.testing.assert_allclose(feature_vectors(codes[: len(expected)]), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_predictions_are_those_of_the_official_package(
    files: Path, official: dict[str, Any], codes: Codes, kind: str
) -> None:
    evaluator = import_official(files / "nb_models_1.0" / ENSEMBLES[kind])
    answer = evaluator.evaluate(codes, metrics=list(evaluator.metrics))
    main = MAIN[kind]
    for member in official[kind][0]["members"]:
        expected = [row["members"][member] for row in official[kind]]
        np.testing.assert_array_equal(answer[f"{main}/member{member}"], expected)
    # XGBoost's mean is of single precision, and the official order of members that of the file system.
    tolerance = 3 * np.spacing(np.float32(95)) if kind == "xgb" else 0
    np.testing.assert_allclose(answer[main], [row["mean"] for row in official[kind]], rtol=0, atol=tolerance)
    deviations = np.array([row["std"] for row in official[kind]])
    noise = answer[f"{main}/noisy/seed0"] - answer[main]
    assert (np.abs(noise) < 5 * deviations + 1e-12).all()
    assert np.std(noise / deviations) == pytest.approx(1, abs=0.5)


def test_what_the_names_say(files: Path) -> None:
    evaluator = import_official(files / "nb_models_1.0" / "lgb_runtime_v1.0")
    assert evaluator.name == "nb301-lgb-runtime-v1.0"
    assert list(evaluator.metrics) == [
        MAIN["lgb_runtime"],
        *(f"{MAIN['lgb_runtime']}/member{i}" for i in (0, 1)),
        *(f"{MAIN['lgb_runtime']}/noisy/seed{i}" for i in (0, 1, 2)),
    ]
    metric = evaluator.metrics[MAIN["lgb_runtime"]]
    assert (metric.direction, metric.unit) == ("min", "s")
    assert "predicted, not trained" in metric.description
    assert benchmarks.load(evaluator.name).fingerprint == evaluator.fingerprint


def test_trees_after_the_best_iteration_are_left_out(files: Path) -> None:
    from crlso.formats.pickles import read_pickle

    with (files / "nb_models_1.0" / "lgb_runtime_v1.0" / "0" / "surrogate_model.model").open("rb") as file:
        state = read_pickle(file, allowed=ALLOWED).state  # type: ignore[attr-defined]
    whole, first = lightgbm_forest(state["handle"]), lightgbm_forest(state["handle"], 5)
    assert len(whole.roots) == state["best_iteration"] > 5 == len(first.roots)
    vectors = feature_vectors(DARTSSpace().sample(20, np.random.default_rng(0)))
    assert not np.allclose(whole.predict(vectors), first.predict(vectors))


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_code_in_a_pickle_is_refused_and_not_run(copy: Path, tmp_path: Path) -> None:
    for content in (pickle.dumps(Evil(tmp_path / "ran")), pickle.dumps({"handle": Evil(tmp_path / "ran")})):
        (copy / "1" / "surrogate_model.model").write_bytes(content)
        with pytest.raises(TableError, match=r"mkdir, which is not data; refused, nothing was run"):
            import_official(copy)
    assert not (tmp_path / "ran").exists()
    assert "nb301-xgb-v1.0" not in benchmarks.available()


def test_wrong_files_are_refused_in_one_line(copy: Path, files: Path, tmp_path: Path) -> None:
    model = copy / "0" / "surrogate_model.model"
    good = model.read_bytes()
    other = (files / "nb_models_1.0/lgb_runtime_v1.0/0/surrogate_model.model").read_bytes()
    for content, reason in (
        (b"", "too early"),
        (good[:-200], "too early"),
        (pickle.dumps({"a": 1}, 3), "holds no booster"),
        (other, "no booster of xgb"),
        (good.replace(b"reg:squarederror", b"reg:squaredlogxx"), "only regression with trees"),
        (good.replace(b"CONFIG-offset:", b"CONFIG-0ffset:"), "booster"),
    ):
        model.write_bytes(content)
        with pytest.raises(TableError) as caught:
            import_official(copy)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
    model.write_bytes(good)
    (copy / "2" / "model_config.json").write_text('{"model": "gnn_gin"}')
    with pytest.raises(TableError, match="gnn_gin, xgb"):
        import_official(copy)
    with pytest.raises(TableError, match=r"import one of .*lgb_runtime_v1.0, .*xgb_v1.0"):
        import_official(files / "nb_models_1.0")
    unnamed = shutil.copytree(files / "nb_models_1.0" / "xgb_v1.0", tmp_path / "mine")
    with pytest.raises(TableError, match=r"name it as it was, such as xgb_v1\.0"):
        import_official(Path(unnamed))


@pytest.mark.parametrize("kind", ["xgb_v1.0", "lgb_runtime_v1.0"])
def test_mutated_boosters_neither_crash_nor_hang(files: Path, kind: str) -> None:
    """The official format has no checksum, so another number may come out; nothing worse may."""
    from crlso.formats.pickles import read_pickle

    with (files / "nb_models_1.0" / kind / "0" / "surrogate_model.model").open("rb") as file:
        handle = read_pickle(file, allowed=ALLOWED).state["handle"]  # type: ignore[attr-defined]
    text = isinstance(handle, str)
    good = handle.encode() if isinstance(handle, str) else handle
    vectors = feature_vectors(DARTSSpace().sample(3, np.random.default_rng(0)))
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(500):
        data = bytearray(good)
        for place in rng.integers(len(data) * 8, size=rng.integers(1, 4)):
            data[place // 8] ^= 1 << (place % 8)
        if rng.random() < 0.2:
            del data[rng.integers(len(data)) :]
        try:
            with np.errstate(over="ignore"):
                forest = lightgbm_forest(data.decode("latin-1")) if text else xgboost_forest(bytes(data))
                assert forest.predict(vectors).shape == (3,)
        except UserError:
            refused += 1
    assert 50 < refused < 500


def test_mutated_pickles_are_refused_or_read(files: Path) -> None:
    from crlso.formats.pickles import read_pickle

    good = (files / "nb_models_1.0" / "xgb_v1.0" / "0" / "surrogate_model.model").read_bytes()
    ends = [*range(200), *range(len(good) - 1000, len(good))]  # what is not the booster's own bytes
    rng = np.random.default_rng(2)
    refused = 0
    for place in rng.choice(ends, 500):
        data = bytearray(good)
        data[place] = rng.integers(256)
        try:
            read_pickle(io.BytesIO(bytes(data)), allowed=ALLOWED)
        except UserError:
            refused += 1
    assert refused > 50
