"""What the published procedure does, step by step, and that the ablation arms share one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import crlso.search.crlso_paper_model as paper_model
from crlso.errors import UserError
from crlso.latent.predictor import GraphPredictor
from crlso.latent.training import Labels, Trainer
from crlso.protocols import Codes, FloatArray, SearchSpace
from crlso.search import make_method
from crlso.search.crlso_paper import CRLSOPaper, CRLSOPaperSettings
from crlso.search.crlso_paper_model import PaperTrainingSettings, RawScale
from crlso.search.testing import run, through_file
from crlso.spaces import EdgeCellSpace, Subset, get_space

SMALL: dict[str, Any] = {
    "start": 20,
    "width": 12,
    "layers": 1,
    "head_width": 16,
    "head_layers": 2,
    "epochs": 12,
    "batch": 64,
    "learning_rate": 1e-2,
    "predictor_width": 12,
    "predictor_layers": 1,
    "predictor_epochs": 5,
    "predictor_learning_rate": 1e-2,
    "tune_epochs": 2,
    "tries": 64,
    "top": 4,
}
ARMS: list[dict[str, Any]] = [{"sign": "corrected"}, {"sign": "released"}, {"gradient": "off"}]


@pytest.fixture
def space() -> SearchSpace:
    """3 nodes and 6 operations: 216 architectures."""
    operations = ["none", "skip_connect", "a", "b", "c", "d"]
    return EdgeCellSpace("small", nodes=3, operations=operations)


def accuracy(codes: Codes) -> FloatArray:
    """``[n, 1]``: percent, best at the largest entries."""
    value: FloatArray = 20.0 + codes.sum(1, keepdims=True) * 5.0
    return value


def told(space: SearchSpace, evaluations: int, *, seed: int = 0, **settings: Any) -> CRLSOPaper:
    """A search that was told so many evaluations."""
    method = make_method("crlso-paper", space, seed=seed, settings=SMALL | settings)
    assert isinstance(method, CRLSOPaper)
    run(method, space, evaluations, value=lambda number, codes: accuracy(codes))
    return method


def proposals(space: SearchSpace, evaluations: int, *, seed: int = 0, **settings: Any) -> Codes:
    """What a search proposes."""
    method = make_method("crlso-paper", space, seed=seed, settings=SMALL | settings)
    return run(method, space, evaluations, value=lambda number, codes: accuracy(codes))


def weights(method: CRLSOPaper, part: str) -> dict[str, torch.Tensor]:
    """Copies of the weights of encoder, decoder or heads."""
    stored = method.state_dict()["trained"]["weights"]
    return {name: value for name, value in stored.items() if name.startswith(part)}


@pytest.mark.parametrize(("arm", "direction"), list(zip(ARMS, (-1, 1, 0), strict=True)))
def test_direction_of_a_step(space: SearchSpace, arm: dict[str, Any], direction: int) -> None:
    """A small step lowers the predicted loss; with the released sign it raises it; off is noise alone."""
    method = told(space, 21, eta=1e-3, **arm)
    rises = method.move(torch.full((16,), 0.3), np.arange(32)).rises
    assert torch.equal(torch.sign(rises), torch.full((32,), float(direction)))


def test_arms_differ_by_the_step_alone(space: SearchSpace) -> None:
    """Same noise in all arms; the step is eta times the gradient, eta growing with every try."""
    corrected, released, off = (told(space, 20, **arm) for arm in ARMS)
    for method in (corrected, released, off):
        method._train()
    point = torch.zeros(16)
    down, up, still = (method.move(point, np.arange(8)).points for method in (corrected, released, off))
    torch.testing.assert_close(down - still, still - up)
    start = still.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(corrected._model.model.heads(start).sum(), start)
    eta = 0.2 * torch.arange(1.0, 9.0)[:, None]
    torch.testing.assert_close(still - down, eta * gradient, atol=1e-6, rtol=1e-4)


def test_noise_is_as_large_as_stated(space: SearchSpace) -> None:
    """Half a unit in every dimension, whatever the latent space's own scale."""
    points = told(space, 21, gradient="off").move(torch.ones(16), np.arange(2000)).points
    torch.testing.assert_close(points.mean(0), torch.ones(16), atol=0.06, rtol=0)
    torch.testing.assert_close(points.std(0), torch.full((16,), 0.5), atol=0.06, rtol=0)


def test_encoder_and_decoder_are_frozen(space: SearchSpace) -> None:
    """From the first round on only the ICNN changes."""
    method = told(space, 21)
    encoder, decoder, heads = (weights(method, part) for part in ("encoder", "decoder", "heads"))
    run(method, space, 12, past=method._codes, value=lambda number, codes: accuracy(codes))
    for part, before in (("encoder", encoder), ("decoder", decoder)):
        after = weights(method, part)
        assert before
        assert all(torch.equal(after[name], value) for name, value in before.items())
    assert any(not torch.equal(weights(method, "heads")[name], value) for name, value in heads.items())


def test_rounds_start_from_the_best_and_keep_the_moved_points(space: SearchSpace) -> None:
    """Without noise and gradient every proposal would be seen; with noise the moved point is what is kept."""
    method = told(space, 20)
    code = method.ask(1)
    ((asked, point),) = method._asked
    assert asked == code[0].tolist()
    method.tell(code, accuracy(code))
    assert torch.equal(method._latents[-1], point)
    assert not torch.equal(method._latents[-1], method._model.model.encode(code)[0])
    np.testing.assert_array_equal(space.repair(method._model.model.decode(point[None])), code)
    stranger = space.sample(1, np.random.default_rng(8))
    method.tell(stranger, accuracy(stranger))
    assert torch.equal(method._latents[-1], method._model.model.encode(stranger)[0])


def test_proposals_of_a_round_are_new_and_each_once(space: SearchSpace) -> None:
    method = told(space, 20)
    codes = np.concatenate([method.ask(1) for _ in range(SMALL["top"])])
    keys = space.class_keys(codes)
    assert len(set(keys.tolist())) == SMALL["top"]
    assert not np.isin(keys, space.class_keys(method._codes)).any()


def test_pseudo_labels_are_for_the_unlabelled_only(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labelled architectures are trained on their labels, all others on the predictor's output."""
    seen: list[Labels] = []
    train = Trainer.run

    def note(self: Trainer, steps: int, labels: Labels | None, **options: Any) -> Any:
        assert labels is not None
        seen.append(labels)
        return train(self, steps, labels, **options)

    monkeypatch.setattr(Trainer, "run", note)
    monkeypatch.setattr(GraphPredictor, "predict", lambda self, codes: np.full(len(codes), 7.0))
    method = told(space, 21)
    (labels,) = seen
    np.testing.assert_array_equal(labels.codes[:20], method._codes[:20])
    np.testing.assert_allclose(labels.losses[:20], 1 - accuracy(method._codes[:20])[:, 0] / 100)
    np.testing.assert_array_equal(labels.losses[20:], 7.0)
    everything = np.concatenate(list(space.enumerate()))
    np.testing.assert_array_equal(np.unique(labels.codes, axis=0), np.unique(everything, axis=0))
    assert len(labels.codes) == len(everything)


def test_predictor_learns_its_labels_and_generalises(space: SearchSpace) -> None:
    everything = np.random.default_rng(0).permutation(np.concatenate(list(space.enumerate())))
    losses = 1 - accuracy(everything)[:, 0] / 100
    settings = PaperTrainingSettings(predictor_width=24, predictor_layers=2, predictor_epochs=40)
    guessed, curve = paper_model.pseudo_labels(
        space, everything[:200], losses[:200], everything[200:], settings, seed=0
    )
    assert curve[-1] < 0.05 * curve[0]
    assert np.corrcoef(guessed, losses[200:])[0, 1] > 0.9


def test_no_value_of_an_unasked_architecture_matters(space: SearchSpace) -> None:
    """Two objectives that agree on what was asked lead to the same proposals."""
    first = proposals(space, 30)
    asked = {tuple(code) for code in first.tolist()}

    def elsewhere_different(number: int, codes: Codes) -> FloatArray:
        known = np.array([tuple(code) in asked for code in codes.tolist()])
        return np.where(known[:, None], accuracy(codes), 99.0)

    method = make_method("crlso-paper", space, seed=0, settings=SMALL)
    np.testing.assert_array_equal(run(method, space, 30, value=elsewhere_different), first)


def test_arms_share_a_kept_model(space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One training for three arms; what is proposed does not depend on where the model came from."""
    alone = [proposals(space, 30, **arm) for arm in ARMS]
    trainings = []
    train = paper_model.train

    def count(*arguments: Any, **options: Any) -> Any:
        trainings.append(1)
        return train(*arguments, **options)

    monkeypatch.setattr(paper_model, "train", count)
    shared = [proposals(space, 30, models=str(tmp_path), **arm) for arm in ARMS]
    assert len(trainings) == 1
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(shared[0], shared[1])
    proposals(space, 22, models=str(tmp_path), seed=1)
    proposals(space, 22, models=str(tmp_path), epochs=1)
    assert len(trainings) == 3
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("done", [19, 20, 21, 26])
def test_resumes_bit_for_bit(space: SearchSpace, done: int) -> None:
    """Before, at and after the training, and in the middle of a round; the diagnostics are the same too."""
    method = told(space, done)
    past = method._codes
    resumed = make_method("crlso-paper", space, seed=0, settings=SMALL)
    resumed.load_state_dict(through_file(method.state_dict()))
    rest = 32 - done

    def go_on(one: Any) -> Codes:
        return run(one, space, rest, past=past, value=lambda number, codes: accuracy(codes))

    np.testing.assert_array_equal(go_on(resumed), go_on(method))
    left, right = method.diagnostics(), resumed.diagnostics()
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(right[name], array, err_msg=name)


def test_diagnostics_show_space_path_and_curves(space: SearchSpace) -> None:
    assert told(space, 20).diagnostics() == {}
    arrays = told(space, 29, eta=1e-3).diagnostics()
    count = len(arrays["space_codes"])
    assert arrays["space_latent"].shape == (count, 2)
    assert arrays["space_predicted"].shape == (count,)
    assert arrays["trial_latent"].shape == (29, 2)
    # Predictions are in percent, as the values are.
    truth = accuracy(arrays["space_codes"])[:, 0]
    assert np.abs(arrays["space_predicted"] - truth).mean() < 20
    assert len(arrays["curve/predictor"]) == SMALL["predictor_epochs"]
    assert len(arrays["curve/tuning"]) == len(arrays["curve/tries"]) == 3
    np.testing.assert_array_equal(arrays["curve/steps_that_rose"], 0)
    released = told(space, 29, eta=1e-3, sign="released").diagnostics()
    by_step = SMALL["top"] - released["curve/random_proposals"]
    np.testing.assert_array_equal(released["curve/steps_that_rose"], by_step)
    assert by_step.sum() > 0


def test_failures_are_left_out_of_all_fits(space: SearchSpace) -> None:
    """Neither the model nor the rounds see a failed evaluation, but it counts as seen."""

    def value(number: int, codes: Codes) -> FloatArray:
        return np.full((1, 1), np.nan) if number % 3 == 0 else accuracy(codes)

    method = make_method("crlso-paper", space, seed=0, settings=SMALL)
    assert isinstance(method, CRLSOPaper)
    run(method, space, 30, value=value)
    assert np.isfinite(method.diagnostics()["curve/tuning"]).all()
    assert all(np.isfinite(value.numpy()).all() for value in weights(method, "heads").values())


def test_gives_up_trying_in_an_exhausted_neighbourhood(space: SearchSpace) -> None:
    """Where every try decodes to what was seen, a random architecture takes the place."""
    method = told(space, 21, tries=40)
    everything = set(space.class_keys(np.concatenate(list(space.enumerate()))).tolist())
    code, point, tries, rise = method._propose(torch.zeros(16), everything)
    assert space.is_valid(code).all()
    assert torch.equal(point, method._model.model.encode(code)[0])
    assert (tries, rise) == (40, None)


def test_searches_a_part_of_a_space(space: SearchSpace, tmp_path: Path) -> None:
    """Over a partial table only its members are trained on and proposed, and models are kept apart."""
    members = np.unique(space.sample(80, np.random.default_rng(0)), axis=0)
    subset = Subset(space, members)
    proposed = proposals(subset, 40, models=str(tmp_path))
    assert {tuple(code) for code in proposed.tolist()} <= {tuple(code) for code in members.tolist()}
    np.testing.assert_array_equal(proposals(subset, 40), proposed)


def test_samples_a_large_space() -> None:
    space = get_space("fxdarts")
    method = make_method(
        "crlso-paper", space, seed=0, settings=SMALL | {"sample": 100, "epochs": 1, "tries": 4}
    )
    proposed = run(method, space, 24)
    assert space.is_valid(proposed).all()


@pytest.mark.parametrize(
    ("values", "losses"),
    [
        ([10.0, 90.0, 91.6], [0.9, 0.1, 0.084]),
        ([0.1, 0.916], [0.9, 0.084]),
        ([-3.0, -1.0, -2.0], [1.0, 0.0, 0.5]),
        ([250.0, 250.0], [0.0, 0.0]),
    ],
)
def test_scale_of_the_target(values: list[float], losses: list[float]) -> None:
    """Percent and fractions give ``1 - accuracy``; anything else is spread over [0, 1]."""
    scale = RawScale.of(np.array(values))
    np.testing.assert_allclose(scale.loss(np.array(values)), losses, atol=1e-12)
    np.testing.assert_allclose(scale.value(np.array(losses)), values)


def test_loss_weights_are_the_releases_converted(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means over entries and dimensions there, sums here: d / 16 times the KL weight, d times the fit."""
    built: list[Any] = []
    start: Callable[..., None] = Trainer.__init__

    def note(self: Trainer, model: Any, unlabelled: Any, settings: Any, *, seed: int) -> None:
        built.append(settings)
        start(self, model, unlabelled, settings, seed=seed)

    monkeypatch.setattr(Trainer, "__init__", note)
    told(space, 21)
    (settings,) = built
    assert settings.beta == pytest.approx(0.005 * 3 / 16)
    assert settings.performance == pytest.approx(3.0)
    assert (settings.noise, settings.posterior_noise) == (0.01, 0.01)


def test_released_constants_are_the_defaults() -> None:
    """The brief of the release, NAS-Bench-201; what is shortened is not in this list."""
    settings = dataclasses.asdict(CRLSOPaperSettings())
    released = {
        "start": 300,
        "latent_dim": 16,
        "layers": 3,
        "head_width": 128,
        "head_layers": 4,
        "batch": 256,
        "kl": 0.005,
        "posterior_noise": 0.01,
        "weight_decay": 3e-5,
        "predictor_width": 64,
        "predictor_layers": 4,
        "predictor_batch": 32,
        "top": 10,
        "noise": 0.5,
        "eta": 0.2,
        "tune_epochs": 50,
        "tune_batch": 32,
        "tune_learning_rate": 1e-4,
        "tune_weight_decay": 1e-5,
        "latent_noise": 0.05,
        "label_noise": 0.01,
    }
    assert {name: settings[name] for name in released} == released


@pytest.mark.parametrize(
    ("name", "value"),
    [("start", 1), ("noise", -0.5), ("epochs", -1), ("tries", 0), ("sign", "up"), ("learning_rate", 0.0)],
)
def test_refuses_settings_without_sense(space: SearchSpace, name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        make_method("crlso-paper", space, seed=0, settings={name: value})
