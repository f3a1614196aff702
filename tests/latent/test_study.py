"""Studies of a latent space: what is trained on, what is held out, what is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import pytest

from crlso.errors import UserError
from crlso.latent import ModelSettings, TrainingSettings, load
from crlso.latent.study import StudySettings, architectures, save_study, train_latent
from crlso.protocols import Codes, Metric, SearchSpace
from crlso.spaces import EdgeCellSpace, get_space
from tests.latent.small import all_codes

SPACE = EdgeCellSpace("study", nodes=4, operations=["none", "skip_connect", "conv"])
MODEL = ModelSettings(latent_dim=6, width=12, layers=1, heads=2, head_width=6)
TRAINING = TrainingSettings(steps=20, batch=16, learning_rate=1e-2)


@final
class SumBench:
    """Sum of the entries, as a score and as a loss; a tenth of all architectures fail."""

    name = "sum"
    space: SearchSpace = SPACE
    metrics: Mapping[str, Metric] = {
        "score": Metric("score", "max", "", "sum of the entries"),
        "loss": Metric("loss", "min", "", "its negative"),
    }
    fingerprint: Mapping[str, str] = {}

    def __init__(self, support: Codes | None = None) -> None:
        self.support = support
        self.asked: list[Codes] = []

    def evaluate(
        self, codes: Codes, *, metrics: Sequence[str], rng: np.random.Generator | None = None
    ) -> pd.DataFrame:
        self.asked.append(codes)
        total = codes.sum(1).astype(float)
        total[(codes @ 3 ** np.arange(6)) % 10 == 0] = math.nan
        return pd.DataFrame({name: total if name == "score" else -total for name in metrics})

    def optimum(self, metric: str) -> float | None:
        return None


def study(bench: SumBench | None = None, metric: str | None = None, **settings: Any) -> Any:
    return train_latent(
        SPACE,
        evaluator=bench,
        metric=metric,
        settings=StudySettings(**settings),
        model=MODEL,
        training=TRAINING,
    )


def test_labels_are_drawn_from_training_classes_only() -> None:
    bench = SumBench()
    result = study(bench, "score", labels=100, held_out=0.2)
    labelled, held_out = bench.asked
    assert len(labelled) == 100
    assert 80 < result.labels < 100  # without the failed ones
    keys = SPACE.class_keys(labelled), SPACE.class_keys(held_out)
    assert not np.isin(*keys).any()
    assert len(np.unique(keys[1])) == round(0.2 * len(np.unique(SPACE.class_keys(all_codes(SPACE)))))
    assert result.quality.held_out == len(held_out)
    assert result.cpu_seconds > 0


def test_the_direction_of_the_metric_does_not_matter() -> None:
    first, second = (study(SumBench(), metric, labels=100) for metric in ("score", "loss"))
    assert first.quality == second.quality
    assert first.quality.spearman > 0.3


def test_without_labels_the_heads_stay_as_they_are() -> None:
    result = study()
    assert result.labels == 0
    assert result.quality.spearman is None
    assert result.curves.performance == [0.0] * 10
    assert study(SumBench(), "score", labels=0).quality.spearman is None


def test_a_partial_table_is_all_there_is() -> None:
    support = all_codes(SPACE)[::9]
    bench = SumBench(support)
    result = study(bench, "score", labels=1000)
    known = {tuple(code) for code in support.tolist()}
    assert all(tuple(code) in known for codes in bench.asked for code in codes.tolist())
    assert sum(map(len, bench.asked)) == len(support)
    assert result.quality.held_out < len(support)


def test_a_seed_decides_the_study() -> None:
    first, again, other = (study(SumBench(), "score", labels=50, seed=seed) for seed in (1, 1, 2))
    assert first.quality == again.quality
    assert first.convexity == again.convexity
    assert first.quality != other.quality


def test_large_spaces_are_sampled() -> None:
    rng = np.random.default_rng(0)
    assert len(architectures(SPACE, limit=729, rng=rng)) == 729
    some = architectures(SPACE, limit=728, rng=rng)
    assert len(some) < 728
    assert len(np.unique(some, axis=0)) == len(some)
    large = architectures(get_space("fxdarts"), limit=50, rng=rng)
    assert 1 <= len(large) <= 50


def test_progress_is_told() -> None:
    steps: list[int] = []
    train_latent(SPACE, model=MODEL, training=TRAINING, advance=lambda step, text: steps.append(step))
    assert steps == list(range(1, 21))


def test_saved_studies_keep_their_figures(tmp_path: Path) -> None:
    result = study(SumBench(), "score", labels=50)
    save_study(result, tmp_path, facts={"bench": "sum"})
    model, facts = load(tmp_path)
    assert facts["bench"] == "sum"
    assert facts["labels"] == result.labels
    assert facts["quality"]["reconstruction_mean"] == result.quality.reconstruction_mean
    assert facts["convexity"]["worst_violation"] == result.convexity.worst_violation
    assert len(facts["curves"]["kl"]) == 10
    codes = all_codes(SPACE)[:9]
    np.testing.assert_array_equal(model.predict(codes).numpy(), result.model.predict(codes).numpy())
    # Strict JSON: no NaN, no Infinity.
    json.loads((tmp_path / "model.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"held_out": 0.0}, "between 0 and 1"),
        ({"held_out": 1.0}, "between 0 and 1"),
        ({"labels": -1}, "labels must be 0 or more"),
        ({"sample": 3}, "sample 10 or more"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        study(**wrong)


def test_a_space_of_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="too few classes"):
        train_latent(EdgeCellSpace("one", nodes=2, operations=["conv"]))
