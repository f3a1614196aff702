"""AnalogNAS-Bench against connections of the cells, another training of them, and records of the package."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks import TableEvaluator, load
from benchmarks.analog_nasbench import PREFIX, TABLE
from benchmarks.testing import EvaluatorContract
from crlso.protocols import Evaluator
from tests.benchmarks.test_nasbench201 import connected

if TABLE.needs():
    pytest.skip(TABLE.needs(), allow_module_level=True)


@pytest.fixture(scope="module")
def analog(_own_folders: None) -> TableEvaluator:
    return load("analog_nasbench")


class TestContract(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, analog: TableEvaluator) -> Evaluator:
        return analog


def test_exactly_the_disconnected_cells_are_at_chance(analog: TableEvaluator) -> None:
    cut = np.array([not connected(code) for code in analog.codes])
    assert cut.sum() == 341
    np.testing.assert_array_equal(analog.column(f"{PREFIX}/digital") == 10.0, cut)


def test_agrees_with_the_other_training_of_the_cells(
    analog: TableEvaluator, nasbench201: TableEvaluator
) -> None:
    other = nasbench201.evaluate(analog.codes, metrics=["cifar10/valid_accuracy@200"]).iloc[:, 0]
    assert 0.98 < spearmanr(other, analog.column(f"{PREFIX}/digital")).statistic < 0.99


def test_the_best_cell(analog: TableEvaluator) -> None:
    digital = analog.column(f"{PREFIX}/digital")
    assert "".join(map(str, analog.codes[digital.argmax()])) == "333123"
    assert digital.max() == pytest.approx(94.066, abs=5e-4)


def test_values_of_one_record(analog: TableEvaluator) -> None:
    """The first of the file, key (0, 0, 0, 0, 0, 0): six skip connections; as the package prints it."""
    values = analog.evaluate(np.ones((1, 6), dtype=np.int16), metrics=list(analog.metrics)).iloc[0]
    expected = {
        "digital": 60.7836,
        "ptq": 59.2256,
        "qat": 37.5616,
        "analog_noisy": 10.0,
        "analog_trained": 57.49,
        "analog_noisy_60s": 10.0,
        "analog_noisy_60s_std": 0.0,
        "analog_trained_60s": 87.4944,
        "analog_trained_60s_std": 0.3806,
        "analog_trained_1h": 53.79,
        "analog_trained_1h_std": 2.82,
        "analog_trained_1d": 50.43,
        "analog_trained_1d_std": 3.18,
        "analog_trained_30d": 46.86,
        "analog_trained_30d_std": 3.4,
    }
    for name, value in expected.items():
        assert values[f"{PREFIX}/{name}"] == pytest.approx(value, abs=1e-9), name


def test_analog_hardware_costs_accuracy_and_drift_costs_more(analog: TableEvaluator) -> None:
    names = ("digital", "analog_trained", "analog_trained_1d", "analog_trained_30d")
    medians = [float(np.median(analog.column(f"{PREFIX}/{name}"))) for name in names]
    assert medians == sorted(medians, reverse=True)
    assert np.median(analog.column(f"{PREFIX}/analog_noisy")) < medians[1]


def test_the_mean_is_over_25_passes_with_random_crops(analog: TableEvaluator) -> None:
    """Else the accuracy of a digital network on 10,000 images would be a multiple of 0.01 %."""
    digital = analog.column(f"{PREFIX}/digital")
    assert np.mean(np.abs(2500 * digital - np.round(2500 * digital)) < 1e-6) > 0.999
    assert np.mean(np.abs(100 * digital - np.round(100 * digital)) < 1e-6) < 0.07


def test_no_name_is_also_one_of_nasbench201(analog: TableEvaluator, nasbench201: TableEvaluator) -> None:
    assert not set(analog.metrics) & set(nasbench201.metrics)
    assert all(name.startswith("analog/") for name in analog.metrics)
