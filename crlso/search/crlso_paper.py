"""CR-LSO as published (Rao et al., IEEE TNNLS 2022) and released, with the gradient's sign mended."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.errors import UserError
from crlso.latent.predictor import Epochs
from crlso.latent.projection import project_2d
from crlso.protocols import CODE_DTYPE, Codes, FloatArray, SearchSpace
from crlso.search.crlso_paper_model import (
    BETAS,
    PaperModel,
    PaperTrainingSettings,
    RawScale,
    obtain,
    untrained,
)
from crlso.search.rng import rng_state, set_rng_state
from crlso.threads import threads

BLOCK: Final = 32
"""Tries that are worked out together; the first unseen one counts, as if they had been made one by one."""
MAP_POINTS: Final = 3000
"""Random architectures in the picture of the latent space."""


@dataclass(frozen=True)
class CRLSOPaperSettings(PaperTrainingSettings):
    """Settings of the search; the defaults here are the release's, those of the training are shortened.

    Attributes:
        start: Random labels before the model is trained.
        sign: ``corrected`` descends the predicted loss; ``released`` ascends it, as the released code does.
        gradient: ``off``: only the noise moves the latent points.
        models: Folder where trained models are kept and looked up, so that runs that differ only in the
            search share one; ``None``: every run trains its own.
        top: Best labelled latent points that are moved in a round, one proposal each.
        noise: Standard deviation of the noise on them, in every dimension.
        eta: Step size of the first try, and what it grows by with every further one.
        tries: Tries before a random architecture takes the proposal's place (the release tries for ever).
        tune_epochs: Passes over the labels in which the ICNN is refitted before every round.
        tune_batch: Labels a step.
        tune_learning_rate: Of Adam, cosine to a tenth.
        tune_weight_decay: L2 penalty.
        latent_noise: Standard deviation of noise on the latent points in refitting.
        label_noise: The same on the targets, in units of ``1 - accuracy``.
    """

    start: int = 300
    sign: Literal["corrected", "released"] = "corrected"
    gradient: bool = True
    models: str | None = None
    top: int = 10
    noise: float = 0.5
    eta: float = 0.2
    tries: int = 256
    tune_epochs: int = 50
    tune_batch: int = 32
    tune_learning_rate: float = 1e-4
    tune_weight_decay: float = 1e-5
    latent_noise: float = 0.05
    label_noise: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start < 2:
            raise UserError(f"start must be 2 or more for a model to be fitted, got {self.start}")
        for name in ("top", "tries", "tune_batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("noise", "eta", "latent_noise", "label_noise", "tune_epochs", "tune_weight_decay"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.tune_learning_rate <= 0:
            raise UserError(f"tune_learning_rate must be positive, got {self.tune_learning_rate}")


@dataclass(frozen=True)
class Moves:
    """A block of tries from one latent point.

    Attributes:
        points: ``[m, k]`` where they end.
        rises: ``[m]`` by how much the predicted loss rises along each gradient step; zero without a gradient.
    """

    points: Tensor
    rises: Tensor


@final
class CRLSOPaper:
    """The published procedure.

    1. ``start`` random labels (the release takes the first records of its data file). A graph network fitted
       to them gives pseudo-labels for all other architectures of the space, or for a sample of a large one.
       (In the release the labelled ones get the network's output too; here they keep their labels.)
    2. G-VAE and one ICNN are trained jointly on all of them, with target ``1 - accuracy``; where values are
       no accuracies see :class:`~crlso.search.crlso_paper_model.RawScale`. Then encoder and decoder are
       frozen.
    3. Every round, the ICNN alone is refitted to the labels, from where it stands. The best ``top`` labelled
       latent points get noise and one gradient step each and are decoded; what was seen before is tried again
       with new noise and a larger step. The *moved* point, not the re-encoded proposal, is kept with the new
       label, so the labelled points drift away from where the encoder puts their architectures.

    Departures. The sign of the gradient (``sign``). The ICNN is convex at all times by construction
    (:class:`~crlso.latent.icnn.ConvexHeads`, hidden units ELU); the release clamps weights after each step,
    so its first pass is not convex and half of each matrix is zero. Encoder and decoder are this project's:
    they see the direction of edges and have no heads for what a code does not contain. "Seen" is an exact
    class of identical networks, not a text. Tries are bounded. Failed evaluations are left out of all fits.

    Shortened training, so that a model on NAS-Bench-201 costs less than a CPU minute: 35 epochs instead of
    200, width 64 (decoder 128) instead of 256, learning rate 2e-3 instead of 1e-4 with 5 % warm-up, decoupled
    weight decay; the predictor 50 epochs at 1e-3 instead of 200 at 1e-4. An epoch is as many batches as make
    a pass, each drawn without replacement, not one permutation. The constants of the search are the
    release's. What its noise of 0.5 does depends on the scale of the latent space, which the KL divergence
    shrinks for as long as the training lasts, since posterior noise of 0.01 does not hold against it. After
    the shortened training the mean latent norm is about 1.1 beside a noise of norm 2; the release's schedule
    (width 256, learning rate 1e-4), followed for 3,000 of its 12,200 steps, stood at 3.4 nats, norm 2.6, and
    fell as the inverse square of the steps, which leads to the same 0.7 nats at its end.
    """

    def __init__(self, space: SearchSpace, *, seed: int, settings: CRLSOPaperSettings) -> None:
        self.space = space
        self.settings = settings
        self._seed = seed
        self._rng = np.random.default_rng([seed, 1])
        self._codes: Codes = np.zeros((0, len(space.cardinalities)), CODE_DTYPE)
        self._values: FloatArray = np.zeros(0)
        self._trained: PaperModel | None = None
        # One latent point per told architecture, once there is a model.
        self._latents = torch.zeros(0, settings.latent_dim)
        self._queue: list[tuple[list[int], Tensor]] = []
        """Proposals of this round still to be made: code and moved point."""
        self._asked: list[tuple[list[int], Tensor]] = []
        """Proposals of this round that were made and not yet told."""
        self._curves: dict[str, list[float]] = {
            name: [] for name in ("tuning", "tries", "steps_that_rose", "random_proposals")
        }

    @threads()
    def ask(self, n: int) -> Codes:
        """The next proposals: random ones at the start, then rounds of the latent search."""
        known = int(np.isfinite(self._values).sum())
        if len(self._values) < self.settings.start or known < 2:
            return self.space.sample(1, self._rng)
        if self._trained is None:
            self._train()
        if not self._queue:
            self._round()
        proposed, self._queue = self._queue[:n], self._queue[n:]
        self._asked += proposed
        return np.asarray([code for code, _ in proposed], dtype=CODE_DTYPE)

    @threads()
    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Takes the first objective; it is kept with the point that its proposal was decoded from."""
        self._codes = np.concatenate([self._codes, codes])
        self._values = np.concatenate([self._values, values[:, 0]])
        if self._trained is not None:
            self._latents = torch.cat([self._latents, *(self._point(code) for code in codes)])

    def _point(self, code: NDArray[np.int16]) -> Tensor:
        """``[1, k]``: the moved point of a proposal, or the encoded mean of what was not proposed."""
        for index, (proposed, point) in enumerate(self._asked):
            if proposed == code.tolist():
                del self._asked[index]
                return point[None]
        return self._model.model.encode(code[None])

    @property
    def _model(self) -> PaperModel:
        if self._trained is None:
            raise RuntimeError("the model is not trained yet")
        return self._trained

    def _train(self) -> None:
        known = np.isfinite(self._values)
        folder = None if self.settings.models is None else Path(self.settings.models)
        self._trained = obtain(
            self.space,
            self._codes[known],
            self._values[known],
            self.settings,
            seed=self._seed,
            folder=folder,
        )
        self._latents = self._trained.model.encode(self._codes)

    def _round(self) -> None:
        self._asked = []
        self._curves["tuning"].append(self._tune())
        known = np.isfinite(self._values)
        order = np.argsort(-np.where(known, self._values, -np.inf), kind="stable")
        best = order[: min(self.settings.top, int(known.sum()))]
        seen = set(self.space.class_keys(self._codes).tolist())
        tries: list[int] = []
        rises: list[float | None] = []
        for point in self._latents[torch.from_numpy(best)]:
            code, moved, tried, rise = self._propose(point, seen)
            seen.update(self.space.class_keys(code).tolist())
            self._queue.append((code[0].tolist(), moved))
            tries.append(tried)
            rises.append(rise)
        self._curves["tries"].append(float(np.mean(tries)))
        self._curves["steps_that_rose"].append(sum(rise is not None and rise > 0 for rise in rises))
        self._curves["random_proposals"].append(rises.count(None))

    def _tune(self) -> float:
        """Refits the ICNN to the labels, nothing else; returns the mean squared error of the last epoch."""
        settings, heads = self.settings, self._model.model.heads
        known = np.flatnonzero(np.isfinite(self._values))
        points = self._latents[torch.from_numpy(known)]
        targets = torch.from_numpy(self._model.scale.loss(self._values[known])).float()

        def loss(chosen: NDArray[np.int64]) -> Tensor:
            index = torch.from_numpy(chosen)
            noisy = points[index] + settings.latent_noise * self._normal(len(chosen), points.shape[1])
            wanted = targets[index] + settings.label_noise * self._normal(len(chosen))
            predicted: Tensor = heads(noisy)[0]
            return (predicted - wanted).square().mean()

        epochs = Epochs(
            settings.tune_epochs,
            settings.tune_batch,
            settings.tune_learning_rate,
            settings.tune_weight_decay,
            BETAS,
        )
        return (epochs.minimise(heads.parameters(), loss, len(known), self._rng) or [float("nan")])[-1]

    def _normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self._rng.standard_normal(shape, dtype=np.float32))

    def _propose(self, point: Tensor, seen: set[int]) -> tuple[Codes, Tensor, int, float | None]:
        """An architecture of an unseen class near a point ``[k]``.

        Returns:
            Code ``[1, d]``, moved point ``[k]``, number of tries, rise of the predicted loss along the
            step; ``None`` where a random architecture took its place.
        """
        for first in range(0, self.settings.tries, BLOCK):
            number = np.arange(first, min(first + BLOCK, self.settings.tries))
            moves = self.move(point, number)
            codes = self.space.repair(self._model.model.decode(moves.points))
            for index, key in enumerate(self.space.class_keys(codes).tolist()):
                if key not in seen:
                    rise = float(moves.rises[index])
                    return codes[index : index + 1], moves.points[index], first + index + 1, rise
        code = self.space.sample(1, self._rng)
        return code, self._model.model.encode(code)[0], self.settings.tries, None

    def move(self, point: Tensor, number: NDArray[np.int64]) -> Moves:
        """Noise and one gradient step, for tries of the given numbers (from 0) at a point ``[k]``."""
        settings = self.settings
        start = point + settings.noise * self._normal(len(number), len(point))
        if not settings.gradient:
            return Moves(start, torch.zeros(len(number)))
        heads = self._model.model.heads
        start.requires_grad_()
        before = heads(start)[0]
        (gradient,) = torch.autograd.grad(before.sum(), start)
        direction = -gradient if settings.sign == "corrected" else gradient
        eta = torch.from_numpy(settings.eta * (1.0 + number)).float()
        with torch.no_grad():
            moved = start.detach() + eta[:, None] * direction
            return Moves(moved, heads(moved)[0] - before.detach())

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next proposal depends on, and the curves."""
        trained = self._trained
        return {
            "seed": self._seed,
            "rng": rng_state(self._rng),
            "codes": self._codes,
            "values": self._values,
            "latents": self._latents.clone(),
            "queue": [(list(code), point.clone()) for code, point in self._queue],
            "asked": [(list(code), point.clone()) for code, point in self._asked],
            "curves": copy.deepcopy(self._curves),
            "trained": None
            if trained is None
            else {
                "weights": {name: value.clone() for name, value in trained.model.state_dict().items()},
                "scale": [trained.scale.best, trained.scale.unit],
                "curves": {name: list(values) for name, values in trained.curves.items()},
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken; neither trains nor reads a kept model."""
        self._seed = state["seed"]
        set_rng_state(self._rng, state["rng"])
        self._codes = np.asarray(state["codes"], dtype=CODE_DTYPE)
        self._values = np.asarray(state["values"], dtype=np.float64)
        self._latents = state["latents"].clone()
        self._queue = [(list(code), point.clone()) for code, point in state["queue"]]
        self._asked = [(list(code), point.clone()) for code, point in state["asked"]]
        self._curves = copy.deepcopy(dict(state["curves"]))
        trained = state["trained"]
        if trained is None:
            self._trained = None
            return
        model = untrained(self.space, self.settings, seed=self._seed)
        model.load_state_dict(trained["weights"])
        self._trained = PaperModel(model, RawScale(*trained["scale"]), trained["curves"])

    @threads()
    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """The latent space and the search's path in two dimensions, and curves; nothing before the training.

        ``trial_latent`` holds the moved points, as the search sees them. Curves: of the training (tenths of
        it; ``predictor`` by epoch), then by round ``tuning`` (mean squared error after refitting), ``tries``
        (mean number per proposal), ``steps_that_rose`` (accepted gradient steps along which the predicted
        loss rose: 0 if all is well, all of them with the released sign) and ``random_proposals`` (made
        because no try gave anything unseen).
        """
        if self._trained is None:
            return {}
        model = self._trained.model
        members = np.unique(self.space.sample(MAP_POINTS, np.random.default_rng(self._seed)), axis=0)
        space, path = project_2d(model.encode(members), self._latents)
        arrays: dict[str, NDArray[Any]] = {
            "space_codes": members,
            "space_latent": space,
            "space_predicted": self._trained.scale.value(model.predict(members)[0].double().numpy()),
            "trial_latent": path,
        }
        curves = {**self._trained.curves, **self._curves}
        return arrays | {f"curve/{name}": np.asarray(values) for name, values in curves.items()}
