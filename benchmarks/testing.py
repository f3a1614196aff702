"""The contract of evaluators as a test class, for ours and for anyone's own. Needs pytest."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from crlso.errors import UnknownNameError, UserError
from crlso.protocols import CODE_DTYPE, Codes, Evaluator, Metric

_SAMPLES = 200


class EvaluatorContract:
    """What every evaluator of looked-up or computed values keeps to.

    Subclass it in a test module, with a name that begins with ``Test``, and override the fixture
    ``evaluator``; ``all_missing`` may name architectures that have no value in any metric.

    Example::

        class TestMyTable(EvaluatorContract):
            @pytest.fixture
            def evaluator(self):
                return benchmarks.load("my_table.parquet")
    """

    @pytest.fixture
    def evaluator(self) -> Evaluator:
        """The evaluator under test."""
        raise NotImplementedError("override the fixture `evaluator`")

    @pytest.fixture
    def all_missing(self, evaluator: Evaluator) -> Codes:
        """``[n, d]`` supported architectures without any value; by default none."""
        return np.empty((0, len(evaluator.space.cardinalities)), dtype=CODE_DTYPE)

    @pytest.fixture
    def codes(self, evaluator: Evaluator) -> Codes:
        """``[n, d]`` architectures that the evaluator must answer for, some of them more than once."""
        rng = np.random.default_rng(0)
        if evaluator.support is None:
            return evaluator.space.sample(_SAMPLES, rng)
        return evaluator.support[rng.integers(len(evaluator.support), size=_SAMPLES)]

    def test_is_an_evaluator(self, evaluator: Evaluator) -> None:
        """It has the parts of the protocol, and a name."""
        assert isinstance(evaluator, Evaluator)
        assert evaluator.name

    def test_metrics_say_what_they_are(self, evaluator: Evaluator) -> None:
        """There is one or more, each under its own name, with direction and description."""
        assert evaluator.metrics
        for name, metric in evaluator.metrics.items():
            assert isinstance(metric, Metric)
            assert metric.name == name
            assert metric.direction in {"max", "min"}
            assert metric.description

    def test_support_is_valid_and_without_repetition(self, evaluator: Evaluator) -> None:
        """All supported architectures belong to the space, each once."""
        support = evaluator.support
        if support is None:
            return
        assert support.shape == (len(support), len(evaluator.space.cardinalities))
        assert evaluator.space.is_valid(support).all()
        assert len(np.unique(support, axis=0)) == len(support) > 0

    def test_answers_one_row_per_code_in_the_order_asked(self, evaluator: Evaluator, codes: Codes) -> None:
        """Rows follow the codes, columns the metrics, all of them float64."""
        names = list(evaluator.metrics)[::-1]
        answer = evaluator.evaluate(codes, metrics=names)
        assert list(answer.columns) == names
        assert list(answer.index) == list(range(len(codes)))
        assert all(dtype == np.float64 for dtype in answer.dtypes)
        alone = [evaluator.evaluate(code[None], metrics=names).to_numpy()[0] for code in codes[:20]]
        np.testing.assert_array_equal(answer.to_numpy()[:20], alone)

    def test_each_metric_alone_gives_the_same_values(self, evaluator: Evaluator, codes: Codes) -> None:
        """An answer does not depend on what else is asked."""
        together = evaluator.evaluate(codes, metrics=list(evaluator.metrics))
        for name in evaluator.metrics:
            np.testing.assert_array_equal(evaluator.evaluate(codes, metrics=[name])[name], together[name])

    def test_takes_any_integer_type_and_leaves_codes_alone(self, evaluator: Evaluator, codes: Codes) -> None:
        """Wider integers and non-contiguous arrays are codes too; what was handed in is unchanged."""
        names = list(evaluator.metrics)
        before = codes.copy()
        expected = evaluator.evaluate(codes, metrics=names).to_numpy()
        others: list[Any] = [codes.astype(np.int64), np.asfortranarray(codes)]
        for same in others:
            np.testing.assert_array_equal(evaluator.evaluate(same, metrics=names).to_numpy(), expected)
        np.testing.assert_array_equal(codes, before)

    def test_an_answer_may_be_changed_without_harm(self, evaluator: Evaluator, codes: Codes) -> None:
        """What a caller does to its answer does not reach the next one."""
        names = list(evaluator.metrics)
        answer = evaluator.evaluate(codes, metrics=names)
        before = answer.to_numpy().copy()
        answer.iloc[:, :] = -1.0
        np.testing.assert_array_equal(evaluator.evaluate(codes, metrics=names).to_numpy(), before)

    def test_no_codes_and_no_metrics_are_fine(self, evaluator: Evaluator, codes: Codes) -> None:
        """Empty questions have empty answers."""
        names = list(evaluator.metrics)
        assert evaluator.evaluate(codes[:0], metrics=names).shape == (0, len(names))
        assert evaluator.evaluate(codes[:3], metrics=[]).shape == (3, 0)

    def test_an_unknown_metric_is_refused_and_the_known_are_listed(
        self, evaluator: Evaluator, codes: Codes
    ) -> None:
        """Nothing is substituted for a metric that does not exist."""
        for ask in (
            lambda: evaluator.evaluate(codes, metrics=["no such metric"]),
            lambda: evaluator.optimum("no such metric"),
        ):
            with pytest.raises(UnknownNameError) as caught:
                ask()
            assert "no such metric" in str(caught.value)
            assert all(name in str(caught.value) for name in evaluator.metrics)

    def test_codes_outside_the_support_are_refused(self, evaluator: Evaluator, codes: Codes) -> None:
        """An entry out of range, a wrong shape, and an architecture that is not supported."""
        names = list(evaluator.metrics)[:1]
        high = codes[:2].copy()
        high[1, 0] = evaluator.space.cardinalities[0]
        low = codes[:2].copy()
        low[1, -1] = -1
        outside_all: list[Any] = [high, low, codes[:, 1:], codes[0], codes.astype(np.float64)]
        for wrong in outside_all:
            with pytest.raises(UserError):
                evaluator.evaluate(wrong, metrics=names)
        if evaluator.support is None:
            return
        members = {code.tobytes() for code in evaluator.support}
        drawn = evaluator.space.sample(10_000, np.random.default_rng(1))
        outside = next((code for code in drawn if code.tobytes() not in members), None)
        if outside is not None:
            with pytest.raises(UserError) as caught:
                evaluator.evaluate(np.stack([codes[0], outside]), metrics=names)
            assert evaluator.space.format(outside) in str(caught.value)

    def test_the_optimum_is_reached_and_not_beaten(self, evaluator: Evaluator, codes: Codes) -> None:
        """No value is better; where all supported architectures can be asked, one has it."""
        names = list(evaluator.metrics)
        asked = codes if evaluator.support is None else evaluator.support
        if evaluator.support is None and evaluator.space.size <= 1 << 20:
            asked = np.concatenate(list(evaluator.space.enumerate()))
        answer = evaluator.evaluate(asked, metrics=names)
        for name, metric in evaluator.metrics.items():
            optimum = evaluator.optimum(name)
            values = metric.sign * answer[name].to_numpy()
            known = values[~np.isnan(values)]
            if optimum is None:
                continue
            assert math.isfinite(optimum)
            assert known.max() <= metric.sign * optimum
            if asked is not codes:
                assert known.max() == metric.sign * optimum

    def test_missing_values_are_nan(self, evaluator: Evaluator, all_missing: Codes) -> None:
        """An architecture without values is answered with NaN, not refused and not made up."""
        assert np.isnan(evaluator.evaluate(all_missing, metrics=list(evaluator.metrics)).to_numpy()).all()

    def test_the_fingerprint_is_plain_text(self, evaluator: Evaluator) -> None:
        """It goes into the settings of a run."""
        fingerprint = dict(evaluator.fingerprint)
        assert fingerprint
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in fingerprint.items())
        assert json.loads(json.dumps(fingerprint)) == fingerprint
