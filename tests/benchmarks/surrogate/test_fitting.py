"""Our surrogate: its arithmetic, what is measured, and its files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.optimize import check_grad
from scipy.stats import spearmanr

import benchmarks
from benchmarks import TableEvaluator
from benchmarks.catalog import new_path, user_path
from benchmarks.importing import ImportOptions, import_table
from benchmarks.store import Header
from benchmarks.surrogate import quadratic
from benchmarks.surrogate.baselines import fit_kernel_ridge, fit_ridge
from benchmarks.surrogate.evaluator import SurrogateEvaluator, code_noise
from benchmarks.surrogate.features import features, one_hot
from benchmarks.surrogate.fitting import Check, FitOptions, Fitted, _split, fit_surrogate
from benchmarks.surrogate.quadratic import fit_quadratic
from benchmarks.surrogate.storage import SUFFIX, _digest, read_surrogate
from benchmarks.testing import EvaluatorContract
from crlso import runs
from crlso.errors import TableError, UnknownNameError, UserError
from crlso.protocols import Codes, Evaluator, FloatArray, Metric, SearchSpace
from crlso.spaces import get_space
from tests.spaces.data import data_file

ACCURACY = "cifar10/valid_accuracy@200"
SMALL = FitOptions(held_out=200, train=300)


def table_of(space: SearchSpace, codes: Codes, values: FloatArray) -> TableEvaluator:
    metric = Metric("value", "max", "%", "made up")
    return TableEvaluator("made", space, codes, {"value": values}, {"value": metric})


def sample(n: int, seed: int = 0) -> tuple[SearchSpace, Codes]:
    space = get_space("darts")
    return space, np.unique(space.sample(n, np.random.default_rng(seed)), axis=0)


@pytest.fixture(scope="module")
def fitted(nasbench201: TableEvaluator, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    path = tmp_path_factory.mktemp("fitted") / f"mine{SUFFIX}"
    return fit_surrogate(nasbench201, ACCURACY, path, name="mine", options=SMALL)


@pytest.fixture
def file(fitted: Fitted, nasbench201: TableEvaluator, tmp_path: Path) -> Path:
    """A file of the surrogate that a test may damage."""
    path = tmp_path / f"copy{SUFFIX}"
    options = replace(SMALL, baselines=False)
    fit_surrogate(nasbench201, ACCURACY, path, name="mine", options=options)
    return path


class TestSurrogate(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, fitted: Fitted) -> Evaluator:
        return fitted.evaluator


def test_the_quadratic_form_is_the_mean_of_the_gaussian_process() -> None:
    space, codes = sample(150)
    found = features(space, codes)
    labels = found.values @ np.random.default_rng(1).normal(size=len(found.limits))
    form, weights = fit_quadratic(found, labels, rng=np.random.default_rng(2))
    asked = features(space, space.sample(50, np.random.default_rng(3)))
    # The same model in its other form: kernels between architectures.
    centre, deviation = found.values.mean(axis=0), found.values.std(axis=0)
    varied = deviation > 0
    sizes = np.bincount(found.groups[varied], minlength=len(found.names))
    scale = np.sqrt(weights.groups / np.maximum(sizes, 1))[found.groups][varied] / np.maximum(
        deviation[varied], 0.05
    )
    first, second = ((x.values[:, varied] - centre[varied]) * scale for x in (found, asked))

    def kernel(a: FloatArray, b: FloatArray) -> FloatArray:
        inner: FloatArray = a @ b.T
        return inner + weights.products * inner**2

    targets = (labels - labels.mean()) / labels.std()
    duals = np.linalg.solve(kernel(first, first) + weights.noise * np.eye(len(first)), targets)
    expected = labels.mean() + labels.std() * kernel(second, first) @ duals
    np.testing.assert_allclose(form.predict(asked.values), expected, atol=1e-6 * labels.std())


def test_the_gradient_of_the_evidence() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(12, 3)) for _ in range(2)]
    grams, targets = [part @ part.T for part in parts], rng.normal(size=12)

    def value(at: FloatArray) -> float:
        return quadratic._negative_evidence(np.exp(at), grams, targets)[0]

    def slope(at: FloatArray) -> FloatArray:
        return quadratic._negative_evidence(np.exp(at), grams, targets)[1]

    assert check_grad(value, slope, np.array([0.3, -0.5, -1.0, -0.7])) < 1e-5


def test_baselines_are_the_textbook_regressions() -> None:
    space, codes = sample(120)
    labels = one_hot(space, codes)[:, 3:40].sum(axis=1) + np.random.default_rng(1).normal(size=len(codes))
    asked = space.sample(30, np.random.default_rng(2))
    x, z = one_hot(space, codes).astype(float), one_hot(space, asked).astype(float)
    found = fit_ridge(space, codes, labels, np.random.default_rng(0))(asked)
    centred = x - x.mean(axis=0)

    def ridge(penalty: float, rows: slice | np.ndarray, ask: FloatArray) -> FloatArray:
        a, targets = centred[rows], (labels - labels.mean())[rows]
        weights = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ targets)
        predicted: FloatArray = labels.mean() + ask @ weights
        return predicted

    # The penalty that a brute-force search over left-out rows finds is the one that was chosen.
    penalties = np.logspace(-3, 4, 22)
    rows = np.arange(len(x))
    errors = []
    for penalty in penalties:
        left_out = [ridge(penalty, rows != i, centred[[i]])[0] - labels[i] for i in rows]
        errors.append(np.mean(np.square(left_out)))
    best = float(penalties[np.argmin(errors)])
    np.testing.assert_allclose(found, ridge(best, slice(None), z - x.mean(axis=0)), rtol=1e-8)
    kernel = fit_kernel_ridge(space, codes, labels, np.random.default_rng(0))
    assert spearmanr(kernel(codes), labels).statistic > 0.5
    np.testing.assert_allclose(kernel(asked[:3]), kernel(asked)[:3], rtol=1e-12)


def test_a_quadratic_function_is_found_and_noise_is_not(tmp_path: Path) -> None:
    space, codes = sample(700)
    values = features(space, codes).values
    rng = np.random.default_rng(0)
    chosen = rng.choice(150, 6, replace=False)
    signal = values[:, chosen] @ rng.normal(size=6) + 2 * values[:, chosen[0]] * values[:, chosen[1]]
    options = FitOptions(held_out=200, splits=2)
    good = fit_surrogate(table_of(space, codes, signal), "value", tmp_path / "a", name="a", options=options)
    assert min(good.quality[0].r2) > 0.85
    # A measurement that sees what it was fitted to would find something here.
    nothing = rng.normal(size=len(codes))
    bad = fit_surrogate(table_of(space, codes, nothing), "value", tmp_path / "b", name="b", options=options)
    for quality in bad.quality:
        assert max(quality.r2) < 0.1
        assert max(map(abs, quality.spearman)) < 0.25


def test_one_of_each_held_out_network_is_measured_and_none_is_fitted(nasbench201: TableEvaluator) -> None:
    keys = nasbench201.space.class_keys(nasbench201.codes)
    train, test = _split(keys, FitOptions(held_out=0.2, train=20_000), np.random.default_rng(0))
    assert not set(keys[train]) & set(keys[test])
    assert len(test) == len(set(keys[test])) == 1052  # a fifth of the 5,260 different networks
    assert set(keys[train]) | set(keys[test]) == set(keys)
    assert len(train) == len(keys) - np.isin(keys, keys[test]).sum()
    train, test = _split(np.arange(1000).astype(np.uint64), SMALL, np.random.default_rng(0))
    assert (len(train), len(test)) == (300, 200)


def test_what_the_surrogate_says_of_itself(fitted: Fitted, nasbench201: TableEvaluator) -> None:
    name = f"surrogate:{ACCURACY}"
    assert list(fitted.evaluator.metrics) == [name, *(f"{name}/noisy/seed{i}" for i in range(3))]
    metric = fitted.evaluator.metrics[name]
    assert "a surrogate's prediction, not a measurement" in metric.description
    assert "NAS-Bench-301" not in metric.description + fitted.header.description
    assert (metric.direction, metric.unit) == ("max", "%")
    quality = fitted.quality[0]
    assert f"Spearman {quality.spearman[0]:.4f}, R2 {quality.r2[0]:.4f}" in metric.description
    assert [each["model"] for each in fitted.header.details["quality"]] == [
        "surrogate",
        "ridge, one-hot",
        "Gaussian kernel ridge, one-hot",
    ]
    # What it states is what it does on what was held out.
    keys = nasbench201.space.class_keys(nasbench201.codes)
    rows = _split(keys, SMALL, np.random.default_rng([0, 0]))[1]
    truth = nasbench201.column(ACCURACY)[rows]
    predicted = fitted.evaluator.evaluate(nasbench201.codes[rows], metrics=[name])[name].to_numpy()
    assert len(rows) == quality.n
    assert spearmanr(predicted, truth).statistic == pytest.approx(quality.spearman[0], abs=1e-9)
    assert np.mean((predicted - truth) ** 2) ** 0.5 == pytest.approx(quality.rmse[0])
    assert 1 - np.mean((predicted - truth) ** 2) / truth.var() == pytest.approx(quality.r2[0])
    assert dict(fitted.evaluator.fingerprint)["fitted table"] == "nasbench201"


def test_noise_has_the_size_of_the_error_and_depends_on_code_and_seed(fitted: Fitted) -> None:
    codes = fitted.evaluator.space.sample(3000, np.random.default_rng(0))
    names = list(fitted.evaluator.metrics)
    answer = fitted.evaluator.evaluate(codes, metrics=names)
    noise = [answer[name] - answer[names[0]] for name in names[1:]]
    for each in noise:
        assert each.std() == pytest.approx(fitted.quality[0].rmse[0], rel=0.1)
        assert abs(each.mean()) < 4 * each.std() / len(codes) ** 0.5
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.1
    drawn = code_noise(np.unique(codes, axis=0), 7)
    assert spearmanr(drawn[1:], drawn[:-1]).statistic == pytest.approx(0, abs=0.1)


def test_the_same_options_give_the_same_file(file: Path, nasbench201: TableEvaluator, tmp_path: Path) -> None:
    again = tmp_path / "again"
    options = replace(SMALL, baselines=False)
    fit_surrogate(nasbench201, ACCURACY, again, name="mine", options=options)
    assert again.read_bytes() == file.read_bytes()
    fit_surrogate(nasbench201, ACCURACY, again, name="mine", options=replace(options, seed=1))
    assert again.read_bytes() != file.read_bytes()


def test_it_is_found_by_name_and_searched(nasbench201: TableEvaluator, tmp_path: Path) -> None:
    options = replace(SMALL, baselines=False)
    fit_surrogate(nasbench201, ACCURACY, new_path("mine", SUFFIX), name="mine", options=options)
    assert "mine" in benchmarks.available()
    loaded = benchmarks.load("mine")
    assert isinstance(loaded, SurrogateEvaluator)
    metric = f"surrogate:{ACCURACY}"
    for method in ("random", "local", "evolution"):
        result = runs.search(loaded, metric=metric, method=method, budget=20, out=tmp_path / method)
        assert len(result.trials) == 20
    assert loaded.fingerprint["sha256"] in (tmp_path / "local" / "config.yaml").read_text()
    with pytest.raises(TableError, match="is a surrogate; this needs a table"):
        benchmarks.load_table("mine")
    with pytest.raises(TableError, match="exists already"):
        new_path("mine", SUFFIX)
    with pytest.raises(TableError, match=r"is the name of .* already"):
        new_path("mine", force=True)


def test_bad_requests_are_refused(nasbench201: TableEvaluator, tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(UnknownNameError, match="'accuracy'"):
        fit_surrogate(nasbench201, "accuracy", path, name="x")
    space, codes = sample(100)
    with pytest.raises(UserError, match="all labels are the same"):
        fit_surrogate(table_of(space, codes, np.ones(100)), "value", path, name="x", options=FitOptions(0.3))
    with pytest.raises(UserError, match="give 90 to fit on and 10 to measure on"):
        fit_surrogate(table_of(space, codes, np.arange(100.0)), "value", path, name="x")
    other = table_of(space, codes, np.arange(100.0))
    with pytest.raises(UserError, match="over darts, not nasbench201"):
        fit_surrogate(nasbench201, ACCURACY, path, name="x", checks=[Check(other, "value")])
    for wrong in ({"held_out": 0}, {"held_out": 10.5}, {"train": 5}, {"splits": 0}, {"seed": -1}):
        with pytest.raises(UserError):
            FitOptions(**wrong)  # type: ignore[arg-type]
    assert not path.exists()


def test_missing_values_are_not_fitted(tmp_path: Path) -> None:
    space, codes = sample(200)
    values = features(space, codes).values[:, 5] + np.arange(200.0)
    values[:50] = np.nan
    options = FitOptions(held_out=30, baselines=False)
    made = fit_surrogate(table_of(space, codes, values), "value", tmp_path / "x", name="x", options=options)
    assert made.header.details["train"] == 120


def test_damaged_files_are_refused(file: Path) -> None:
    good = file.read_bytes()
    for content in (b"", good[:7], good[: len(good) // 2], good[:-1], b"\xff" * 100, good + b"x"):
        file.write_bytes(content)
        with pytest.raises(TableError, match="damaged"):
            read_surrogate(file)
    rng = np.random.default_rng(0)
    for _ in range(500):
        data = bytearray(good)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(data))
        with pytest.raises(TableError) as caught:
            read_surrogate(file)
        assert "\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(TableError, match="there is no surrogate file"):
        read_surrogate(file)
    save_file({"linear": np.zeros(3)}, file)
    with pytest.raises(TableError, match="is not a surrogate of ours"):
        read_surrogate(file)


def test_files_that_lie_with_a_right_checksum_are_refused(file: Path) -> None:
    header, arrays = read_surrogate(file)[1], load_file(file)

    def check(head: Header, changed: dict[str, np.ndarray], reason: str) -> None:
        data = head.to_json()
        entry = json.dumps({"header": data.decode(), "sha256": _digest(data, changed)})
        save_file(changed, file, {"crlso.surrogate": entry})
        with pytest.raises(TableError, match=reason):
            read_surrogate(file)

    nan = arrays["products"].copy()
    nan[0, 0] = np.nan
    check(header, arrays | {"products": nan}, "finite numbers")
    check(header, arrays | {"linear": arrays["linear"][:-1]}, "'linear'")
    check(header, {"linear": arrays["linear"]}, "damaged")
    check(replace(header, details={"kind": "other"}), arrays, "not known")
    check(replace(header, details={"kind": "nb301-trees"}), arrays, "not known")
    check(replace(header, space={"space": "nowhere"}), arrays, "damaged")
    check(replace(header, details={**header.details, "features": "features/0"}), arrays, "fit it again")


@pytest.mark.slow
def test_it_beats_the_baselines_on_darts(tmp_path: Path) -> None:
    """9,000 of 10,000 genotypes (labels: NAS-Bench-301's XGBoost surrogate v0.9), and 214 trained ones."""
    space = get_space("darts")
    labelled = import_table(
        data_file("darts/darts_nb301_surrogate10000.csv.gz"),
        space,
        name="labelled",
        options=ImportOptions(metrics=["nb301_xgb_v0.9_noisy_val_acc"]),
    ).table
    trained = import_table(data_file("darts/darts_random214.csv"), space, name="trained").table
    fitted = fit_surrogate(
        labelled,
        "nb301_xgb_v0.9_noisy_val_acc",
        tmp_path / "darts",
        name="darts",
        options=FitOptions(held_out=1000, seed=5),
        checks=[Check(trained, "cifar10_test_acc600_best_epoch")],
    )
    ours, ridge, kernel, *checks = fitted.quality
    assert ours.n == 1000
    assert ours.spearman[0] > 0.975
    assert 1 - ours.r2[0] < 0.7 * (1 - kernel.r2[0]) < 0.7 * (1 - ridge.r2[0])
    assert [check.n for check in checks] == [214] * 3
    assert checks[0].spearman[0] > max(0.55, checks[1].spearman[0])
    assert user_path("labelled").exists()
