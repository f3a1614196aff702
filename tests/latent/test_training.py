"""Joint training: its terms against other computations, bitwise repetition, and that it learns."""

from __future__ import annotations

import io
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crlso.errors import UserError
from crlso.latent import Labels, LatentModel, ModelSettings, Trainer, TrainingSettings
from crlso.latent.training import gaussian_kl
from crlso.protocols import Codes
from crlso.runs.checkpoint import dump_state, parse_state
from crlso.spaces import get_space
from tests.latent.small import SMALL, all_codes, small_model, thin_spaces

SPACES = thin_spaces()
HEADS = SMALL.heads


def some_labels(name: str = "toy64", n: int = 12, *, seed: int = 0) -> Labels:
    rng = np.random.default_rng(seed)
    codes = np.unique(SPACES[name].sample(10 * n, rng), axis=0)
    codes = codes[rng.permutation(len(codes))[:n]]
    return Labels(codes, rng.standard_normal(n), rng.exponential(size=(HEADS, n)))


def make_trainer(name: str = "toy64", *, seed: int = 0, settings: TrainingSettings | None = None) -> Trainer:
    space = SPACES[name]
    settings = settings or TrainingSettings(batch=8)
    return Trainer(small_model(space, seed=seed), space.sample, settings, seed=seed)


def weights_of(model: LatentModel) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[key], second[key]) for key in first)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 5), k=st.integers(1, 6))
def test_kl_equals_torch_distributions(seed: int, n: int, k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, n, k, generator=generator, dtype=torch.float64) * 3
    posterior = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected, rtol=1e-12, atol=1e-12)


def test_learns_to_reconstruct() -> None:
    space = get_space("toy64")
    codes = all_codes(space)
    model = LatentModel(space, ModelSettings(latent_dim=8, width=24, layers=2, heads=1), seed=0)

    def share() -> float:
        return float((model.decode(model.encode(codes)) == codes).all(axis=1).mean())

    before = share()
    trainer = Trainer(model, space.sample, TrainingSettings(batch=64, learning_rate=5e-3, beta=0.01), seed=0)
    curves = trainer.run(200, None)
    assert before < 0.3
    assert share() == 1.0
    assert curves.reconstruction[-1] < 0.1 < 1 < curves.reconstruction[0]


def test_learns_to_predict() -> None:
    space = SPACES["nasbench201"]
    rng = np.random.default_rng(0)
    codes = np.unique(space.sample(80, rng), axis=0)
    truth = (codes - 2.0) @ np.arange(1, 7) / 10
    labels = Labels(codes[::2], truth[::2], np.ones((HEADS, len(codes[::2]))))
    trainer = make_trainer("nasbench201", settings=TrainingSettings(batch=16, learning_rate=1e-2))
    curves = trainer.run(120, labels)
    assert curves.performance[-1] < 0.1 * curves.performance[0]
    predicted = trainer.model.predict(codes[1::2]).numpy()
    for head in predicted:
        assert np.corrcoef(head, truth[1::2])[0, 1] > 0.8


def test_a_seed_decides_all_weights() -> None:
    labels = some_labels()
    trained = []
    for seed, noise in ((1, 0), (1, 99), (2, 0)):
        torch.manual_seed(noise)  # the global generator plays no part
        trainer = make_trainer(seed=seed)
        curves = trainer.run(6, labels)
        trained.append((weights_of(trainer.model), curves))
    assert same(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]
    assert not same(trained[0][0], trained[2][0])


def test_the_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    make_trainer().run(3, some_labels())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("done", [0, 1, 4])
def test_goes_on_bit_for_bit(done: int) -> None:
    labels = some_labels(n=20)
    settings = TrainingSettings(batch=8, labelled_batch=10)
    first = make_trainer(settings=settings)
    first.run(done, labels)
    saved = parse_state(
        io.BytesIO(dump_state({"model": first.model.state_dict(), "trainer": first.state_dict()}))
    )
    curves = first.run(5, labels)
    second = make_trainer(seed=77, settings=settings)
    second.model.load_state_dict(saved["model"])
    second.load_state_dict(saved["trainer"])
    assert second.run(5, labels) == curves
    assert same(weights_of(first.model), weights_of(second.model))


def gradients(labels: Labels, *, noise: float = 1.0, batch: int = 256) -> dict[str, torch.Tensor]:
    """Gradients of one step, without clipping."""
    settings = TrainingSettings(batch=8, clip=1e12, noise=noise, labelled_batch=batch)
    trainer = make_trainer(settings=settings)
    trainer.step(labels)
    return {
        name: parameter.grad.clone()
        for name, parameter in trainer.model.named_parameters()
        if parameter.grad is not None
    }


def test_a_label_of_weight_zero_has_no_influence() -> None:
    labels = some_labels()
    weights = labels.weights.copy()
    weights[0, 3] = 0
    changed = labels.losses.copy()
    changed[3] += 10
    before = gradients(Labels(labels.codes, labels.losses, weights))
    after = gradients(Labels(labels.codes, changed, weights))
    of_heads = [name for name in before if name.startswith("heads.")]
    assert len(of_heads) >= 6
    for name in of_heads:
        assert torch.equal(before[name][0], after[name][0])
    for head in range(1, HEADS):
        assert any(not torch.equal(before[name][head], after[name][head]) for name in of_heads)


def test_weights_count_relative_to_each_other() -> None:
    labels = some_labels()
    scaled = labels.weights * np.array([1.0, 8.0, 0.25])[:, None]
    before, after = gradients(labels), gradients(Labels(labels.codes, labels.losses, scaled))
    for name in before:
        torch.testing.assert_close(before[name], after[name], rtol=1e-4, atol=1e-6)


def test_targets_for_all_heads_and_for_each() -> None:
    labels = some_labels()
    each = Labels(labels.codes, np.tile(labels.losses, (HEADS, 1)), labels.weights)
    before, after = gradients(labels), gradients(each)
    assert all(torch.equal(before[name], after[name]) for name in before)
    other = each.losses.copy()
    other[2] += 1
    moved = gradients(Labels(labels.codes, other, labels.weights))
    for name in (name for name in before if name.startswith("heads.")):
        assert torch.equal(before[name][:2], moved[name][:2])
        assert not torch.equal(before[name][2], moved[name][2])


def test_each_head_learns_its_own_targets() -> None:
    labels = some_labels("nasbench201", 40)
    opposite = np.stack([labels.losses, -labels.losses, np.zeros(40)])
    trainer = make_trainer("nasbench201", settings=TrainingSettings(batch=4, learning_rate=1e-2, noise=0))
    trainer.run(200, Labels(labels.codes, opposite, np.ones((HEADS, 40))))
    predicted = trainer.model.predict(labels.codes).numpy()
    assert np.corrcoef(predicted[0], labels.losses)[0, 1] > 0.5
    assert np.corrcoef(predicted[1], labels.losses)[0, 1] < -0.5
    assert predicted[2].std() < 0.5


def test_the_terms_are_what_they_say() -> None:
    labels = some_labels()
    fixed = all_codes(SPACES["toy64"])[10:14]
    model = small_model(SPACES["toy64"])
    predicted = model.predict(labels.codes).double().numpy()
    with torch.no_grad():
        mean = model.posterior(np.concatenate([labels.codes, fixed]))[0]
        decoded = model.decoder(mean)
        # Without variance the noise plays no part.
        model.encoder.log_variance.weight.zero_()
        model.encoder.log_variance.bias.fill_(-1e9)

    def unlabelled(n: int, rng: np.random.Generator) -> Codes:
        assert n == 4
        return fixed

    trainer = Trainer(model, unlabelled, TrainingSettings(batch=4, noise=0), seed=0)
    expected = 0.0
    for row, code in enumerate(np.concatenate([labels.codes, fixed])):
        for i, c in enumerate(SPACES["toy64"].cardinalities):
            entry = torch.distributions.Categorical(logits=decoded[row, i, :c])
            expected -= float(entry.log_prob(torch.tensor(int(code[i])))) / (len(labels.codes) + 4)
    squares = (predicted - labels.losses) ** 2
    error = np.mean([np.average(squares[head], weights=labels.weights[head]) for head in range(HEADS)])
    reconstruction, kl, performance = trainer.step(labels)
    assert reconstruction == pytest.approx(expected, rel=2e-3)  # the variance is e^-10, not 0
    assert performance == pytest.approx(error, rel=1e-5)
    deviation = math.exp(-5)
    by_hand = 0.5 * (mean.square() + deviation**2 - 1 + 10).sum(1).mean()
    assert kl == pytest.approx(float(by_hand), rel=1e-5)


def test_a_batch_of_labels_keeps_label_weight_and_target_together() -> None:
    n = 20
    codes = some_labels("nasbench201", n).codes
    model = small_model(SPACES["nasbench201"])
    predicted = model.predict(codes).double().numpy()
    targets = predicted + 0.1 * np.arange(n)
    weights = np.ones((HEADS, n))
    settings = TrainingSettings(batch=1, labelled_batch=5, noise=0, learning_rate=1e-12, weight_decay=0)
    trainer = Trainer(model, SPACES["nasbench201"].sample, settings, seed=0)
    errors = [trainer.step(Labels(codes, targets, weights))[2] for _ in range(100)]
    # The error of label i is (i / 10)^2: a mean over 5 of them, over many batches the mean over all.
    squares = (0.1 * np.arange(n)) ** 2
    assert np.mean(errors) == pytest.approx(squares.mean(), rel=0.2)
    assert min(errors) >= squares[:5].mean() - 1e-6
    assert max(errors) <= squares[-5:].mean() + 1e-6
    assert len(set(errors)) > 50


def test_the_learning_rate_warms_up_and_cools_down() -> None:
    trainer = make_trainer()
    rates: list[float] = []
    texts: list[str] = []

    def advance(step: int, text: str) -> None:
        assert step == len(rates) + 1
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        texts.append(text)

    trainer.run(100, None, advance=advance)
    peak = trainer.settings.learning_rate
    np.testing.assert_allclose(rates[:4], peak * np.array([0.2, 0.4, 0.6, 0.8]))
    assert max(rates) <= peak
    assert max(rates) > 0.95 * peak
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[5:]))
    assert rates[-1] == pytest.approx(0.01 * peak)
    assert all("nats" in text for text in texts)


@pytest.mark.parametrize(("steps", "points"), [(0, 0), (1, 1), (7, 7), (10, 10), (25, 10)])
def test_curves_are_means_over_tenths(steps: int, points: int) -> None:
    curves = make_trainer().run(steps, some_labels())
    assert len(curves.reconstruction) == len(curves.kl) == len(curves.performance) == points
    if steps in (7, 10):
        trainer = make_trainer()
        single: list[float] = []
        trainer.run(steps, some_labels(), advance=lambda step, text: single.append(float(text.split()[1])))
        np.testing.assert_allclose(curves.reconstruction, single, atol=1e-3)


@pytest.mark.parametrize("name", SPACES)
def test_trains_on_every_space(name: str) -> None:
    trainer = make_trainer(name)
    curves = trainer.run(2, some_labels(name, 6))
    assert all(math.isfinite(x) for x in (*curves.reconstruction, *curves.kl, *curves.performance))
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())


def test_trains_without_unlabelled_architectures() -> None:
    trainer = make_trainer(settings=TrainingSettings(batch=0))
    curves = trainer.run(3, some_labels())
    assert all(math.isfinite(x) for x in curves.performance)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": -1}, {"batch": -1}, {"labelled_batch": -1}, {"learning_rate": 0.0}, {"beta": -1.0}],
)
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        TrainingSettings(**wrong)


def test_heads_alone_learn_where_the_latent_space_stays() -> None:
    space = SPACES["nasbench201"]
    codes = np.unique(space.sample(40, np.random.default_rng(0)), axis=0)
    truth = (codes - 2.0) @ np.arange(1, 7) / 10
    labels = Labels(codes, truth, np.ones((HEADS, len(codes))))
    settings = TrainingSettings(batch=16, labelled_batch=30, learning_rate=1e-2, noise=0.0)
    trainer = make_trainer("nasbench201", settings=settings)
    trainer.run(100, None)
    latents, before = trainer.model.encode(codes), weights_of(trainer.model)
    first = trainer.fit_heads(1, labels)
    last = trainer.fit_heads(150, labels)
    assert last < 0.5 * first
    after = weights_of(trainer.model)
    for name, value in before.items():
        assert torch.equal(value, after[name]) != name.startswith("heads."), name
    assert torch.equal(trainer.model.encode(codes), latents)
    # What it says is the error that was left.
    error = (trainer.model.predict(codes).numpy() - truth) ** 2
    assert error.mean() == pytest.approx(last, rel=0.3)
    assert trainer.fit_heads(0, labels) == 0.0


def test_heads_alone_are_trained_as_they_are_with_the_rest() -> None:
    """One step of either kind from the same state changes the heads alike, where nothing else can differ."""
    labels = some_labels()
    settings = TrainingSettings(batch=0, noise=0.0, clip=1e9)
    alone, together = (make_trainer(settings=settings) for _ in range(2))
    alone.fit_heads(1, labels)
    together.run(1, labels)
    theirs = weights_of(together.model)
    for name, value in weights_of(alone.model).items():
        if name.startswith("heads."):
            torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-7)
