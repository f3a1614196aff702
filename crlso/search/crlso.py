"""CR-LSO, our variant: a latent space of neighbourhoods, posterior samples, their minima inside the data."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crlso.errors import UserError
from crlso.latent.descent import DescentSettings, TrustRegion, descend
from crlso.latent.model import LatentModel, ModelSettings
from crlso.latent.projection import project_2d
from crlso.latent.quadratics import QuadraticPosterior, Quadratics
from crlso.latent.training import Labels, Trainer, TrainingSettings
from crlso.protocols import Code, Codes, FloatArray, Goal, Keys, SearchSpace
from crlso.search.observations import Observations, Representatives
from crlso.search.rounds import Rounds
from crlso.spaces.neighbourhoods import Coordinates, WeisfeilerLehman
from crlso.targets import TargetKind, losses
from crlso.threads import threads

LABELLED_BATCH = 256
"""Labels in a step of a round, at most; all of them up to this number."""

MAP_POINTS = 3000
"""Architectures drawn for the report's map of the latent space."""

LANDMARK_NODES: Final = 2**20
"""Nodes of all landmarks together, at most: they are in memory at the same time."""

FEW_CODES: Final = 4
"""A space with up to so many codes for each landmark is enumerated."""

GOLDEN: Final = 5**0.5 / 2 - 0.5
"""Golden ratio, less 1."""

HeadKind = Literal["quadratic", "linear", "icnn"]

SHARES: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {"quadratic": (0.0, 0.3, 1.0), "linear": (0.0,)}
)
"""Weights of quadratic functions that are tried."""

NOISES: Final = (1e-3, 1e-2, 5e-2)
"""Variances of the noise that are tried, as multiples of the kernel's."""

WEIGHTS: Final = (0.0, 0.3, 1.0, 3.0)
"""Weights that are tried of what another task says."""

LINE: Final = (0.25, 0.5, 0.75, 1.0)
"""Where on the way from a start to a minimum architectures are decoded."""


@dataclass(frozen=True)
class CRLSOSettings:
    """Settings of the search.

    Attributes:
        head: What is fitted to the performance: ``quadratic`` or ``linear`` functions of latent points with
            an exact posterior, or an ensemble of input-convex networks (``icnn``).
        initial: Random architectures before the first model.
        round: Architectures proposed from one trained model.
        explore: How many of them are drawn at random instead, so that a region that all heads think badly of
            is looked at again.
        coldest: The least that a drawn function has of its distance from the mean function; 1 would be the
            posterior's own draws (not with ``icnn``).
        hottest: The most of it. One function after the other lies elsewhere between the two.
        pretrain_steps: Steps of the G-VAE on unlabelled architectures before the first labels are used.
        round_steps: Steps in every round, encoder, decoder and input-convex heads together; 0: the latent
            space stays as pre-trained (not with ``icnn``).
        similarity: Weight of the similarity of neighbourhoods, see
            :class:`~crlso.latent.training.TrainingSettings`.
        landmarks: Architectures, at most, by whose neighbourhoods latent points are placed; fewer of them where
            graphs have many nodes.
        anchored: Whether latent points lie there from the start and the encoder's messages learn what is
            added; otherwise they have to learn all of it.
        unlabelled: Unlabelled architectures in a step of a round.
        learning_rate: Of pre-training; a round uses the same.
        beta: Weight of the KL divergence.
        performance: Weight of the regression of the performance.
        target: What the heads predict: ``rank`` (normal scores of the ranks) or ``raw`` (1 - accuracy).
        heads: Input-convex heads; each is fitted to its own random weighting of the labels.
        starts: Points each head's descent starts from; half of them the best evaluated, half random ones.
        descent_steps: Steps of each descent.
        quantile: Share of the data that the trust region holds.
        beam: Codes decoded from each end point.
        candidates: Decoded architectures of a round that are encoded again and compared, the likeliest ones.
        edits: Neighbours in the space, at most, of each drawn function's best decoded architecture that are
            compared too (not with ``icnn``).
        latent_dim: Dimension of the latent space.
        width: Width of the encoder.
        layers: Rounds of messages in the encoder.
        head_width: Units of a head's hidden layer.
        head_layers: Hidden layers of a head.
        head_rank: Rank of a head's quadratic term.
        noise: Posterior noise at which the heads are trained, in units of its own deviation.
        label_noise: Deviation of the noise that each head's targets get in each round, in target units.
        weight_decay: Of all matrices.
    """

    head: HeadKind = "quadratic"
    initial: int = 5
    round: int = 1
    explore: int = 0
    coldest: float = 0.3
    hottest: float = 0.7
    pretrain_steps: int = 400
    round_steps: int = 0
    similarity: float = 100.0
    landmarks: int = 20_000
    anchored: bool = True
    unlabelled: int = 128
    learning_rate: float = 1e-2
    beta: float = 0.0005
    performance: float = 3.0
    target: TargetKind = "rank"
    heads: int = 8
    starts: int = 16
    descent_steps: int = 40
    quantile: float = 0.95
    beam: int = 16
    candidates: int = 1000
    edits: int = 64
    latent_dim: int = 128
    width: int = 64
    layers: int = 3
    head_width: int = 32
    head_layers: int = 1
    head_rank: int = 8
    noise: float = 1.0
    label_noise: float = 0.3
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("initial", "round", "heads", "starts", "beam", "candidates", "unlabelled", "landmarks"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.initial < 2:
            raise UserError(f"initial must be 2 or more for a model to rank them, got {self.initial}")
        if not 0 <= self.explore <= self.round:
            raise UserError(f"explore must lie between 0 and round ({self.round}), got {self.explore}")
        for name in (
            "pretrain_steps",
            "round_steps",
            "edits",
            "descent_steps",
            "noise",
            "label_noise",
            "weight_decay",
            "similarity",
        ):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.coldest <= self.hottest:
            raise UserError(f"coldest must lie between 0 and hottest ({self.hottest}), got {self.coldest}")
        if self.head == "icnn" and not self.round_steps:
            raise UserError("head=icnn learns in every round: round_steps must be 1 or more, got 0")
        if not 0 < self.quantile <= 1:
            raise UserError(f"quantile must lie in (0, 1], got {self.quantile}")


def latent_points(
    space: SearchSpace, representatives: Representatives, settings: CRLSOSettings
) -> Coordinates:
    """Where latent points should be: the principal coordinates of the similarity of neighbourhoods.

    Landmarks are different networks, so that a network with many codes does not count more; all of them
    where the space has not many more codes than that. They do not depend on a search's seed.
    """
    count = max(1, min(settings.landmarks, LANDMARK_NODES // space.positions))
    if space.size <= FEW_CODES * count:
        codes = np.concatenate(list(space.enumerate()))
    else:
        codes = space.sample(count, np.random.default_rng(0))
    _, first = np.unique(space.class_keys(codes), return_index=True)
    landmarks = representatives(codes[np.sort(first)])
    return Coordinates(WeisfeilerLehman(space), landmarks, settings.latent_dim)


def latent_model(
    space: SearchSpace, settings: CRLSOSettings, *, seed: int, wanted: Coordinates
) -> LatentModel:
    """The latent space of a search before any training."""
    sizes = ModelSettings(
        latent_dim=settings.latent_dim,
        width=settings.width,
        layers=settings.layers,
        heads=settings.heads,
        head_width=settings.head_width,
        head_layers=settings.head_layers,
        head_rank=settings.head_rank,
    )
    return LatentModel(space, sizes, seed=seed, anchor=wanted if settings.anchored else None)


def latent_trainer(
    model: LatentModel,
    representatives: Representatives,
    settings: CRLSOSettings,
    *,
    seed: int,
    wanted: Coordinates,
) -> Trainer:
    """Trains that latent space, on random architectures and, if asked to, on labels."""
    training = TrainingSettings(
        steps=settings.round_steps,
        batch=settings.unlabelled,
        labelled_batch=LABELLED_BATCH,
        learning_rate=settings.learning_rate,
        beta=settings.beta,
        performance=settings.performance,
        noise=settings.noise,
        weight_decay=settings.weight_decay,
        similarity=settings.similarity,
    )
    return Trainer(
        model,
        lambda n, rng: representatives(model.space.sample(n, rng)),
        training,
        seed=seed,
        wanted=wanted if settings.similarity else None,
    )


@final
class CRLSO:
    """Convex latent search (see docs/architecture.md for the picture).

    1. A few random architectures; a G-VAE pre-trained on unlabelled ones, whose latent products are to be the
       similarity of their neighbourhoods: the kernel that a Gaussian process on graphs would have, at no
       evaluation's cost.
    2. Every round, functions are drawn from the posterior of a Bayesian regression on linear and quadratic
       functions of latent points (:class:`~crlso.latent.quadratics.QuadraticPosterior`).
    3. Each one's minimum in the ball that holds the data is exact: there it is the minimum of a convex
       function that is nowhere above it (:meth:`~crlso.latent.quadratics.Quadratics.minima`).
    4. Architectures are decoded at these minima and on the lines to them (most likely codes first) and
       re-encoded; each function proposes its best unasked one: Thompson sampling.

    With ``head="icnn"`` labels re-train encoder, decoder and an ensemble of input-convex networks in every
    round instead; each sees its own exponential weights on the labels (Bayesian bootstrap, Rubin 1981) and
    its own noise on their targets, and is descended step by step (:func:`crlso.latent.descent.descend`).

    With several objectives each function of a round is one of the posterior of its own scalarisation
    (:class:`~crlso.search.observations.Observations`), with weights drawn uniformly.

    Departures from the paper (Rao et al., TNNLS 2022): no pseudo-labels for the whole space, ranks instead of
    accuracies, a posterior instead of noise, minima instead of single gradient steps of the wrong sign.
    """

    def __init__(
        self, space: SearchSpace, *, seed: int, settings: CRLSOSettings, goal: Goal | None = None
    ) -> None:
        self.space = space
        self._goal = goal or Goal()
        self.settings = settings
        rng = np.random.default_rng([seed, 1])
        self._rounds = Rounds(space, rng=rng, initial=settings.initial, goal=self._goal)
        self._representatives = Representatives(space)
        self._seed = seed
        wanted = latent_points(space, self._representatives, settings)
        self._model = latent_model(space, settings, seed=seed, wanted=wanted)
        self._trainer = latent_trainer(self._model, self._representatives, settings, seed=seed, wanted=wanted)
        self._pretrained = False
        self._trained_on = 0
        self._source: tuple[Codes, FloatArray] | None = None

    def warm_start(self, codes: Codes, values: FloatArray) -> None:
        """Begins with what another task says of some architectures, instead of random ones.

        The first round is drawn from the posterior of the other task; from then on its mean is the function
        that the one sought is expected to be like (:class:`~crlso.latent.quadratics.QuadraticPosterior`).

        Args:
            codes: ``[n, d]``.
            values: ``[n]``, larger is better; failed ones (NaN) count like the worst of the others.

        Raises:
            UserError: The heads are input-convex networks, which have no posterior to begin with.
        """
        if self.settings.head == "icnn":
            raise UserError("head=icnn takes no warm start; heads that do: quadratic, linear")
        seen = Observations(self.space)
        seen.add(codes, values[:, None])
        self._source = self._representatives(codes), losses(seen.values(), self.settings.target)
        self._rounds.initial = 0

    @threads()
    def ask(self, n: int) -> Codes:
        """The next proposals; trains a model whenever the queue of the last round has run out."""
        return self._rounds.ask(n, self._propose)

    def tell(self, codes: Codes, values: FloatArray) -> None:
        """Takes the values of evaluated proposals; failed ones count like the worst of the others."""
        self._rounds.tell(codes, values)

    def _labels(self) -> Labels:
        seen = self._rounds.seen
        weights = self._rounds.rng.exponential(size=(self.settings.heads, len(seen)))
        objectives = self._weights(self.settings.heads)
        targets = np.stack([losses(seen.values(shares), self.settings.target) for shares in objectives])
        noise = self._rounds.rng.standard_normal((self.settings.heads, len(seen)))
        codes = self._representatives(self._rounds.seen.codes)
        return Labels(codes, targets + self.settings.label_noise * noise, weights)

    def _propose(self) -> Codes:
        """One round: train, find minima, decode, pick; plus the random share."""
        settings, seen, rng = self.settings, self._rounds.seen, self._rounds.rng
        if settings.explore == settings.round:
            return self.space.sample(settings.round, rng)
        if not self._pretrained:
            self._trainer.run(settings.pretrain_steps, None)
            self._pretrained = True
        if settings.round_steps and self._trained_on < len(seen):
            # Only new labels are worth a training: at the end of an exhausted space there are none.
            curves = self._trainer.run(settings.round_steps, self._labels())
            self._rounds.note(
                reconstruction=curves.reconstruction[-1],
                kl=curves.kl[-1],
                performance=curves.performance[-1],
            )
            self._trained_on = len(seen)
        known = self._model.encode(self._representatives(seen.codes))
        background = self._model.encode(self._representatives(self.space.sample(256, rng)))
        region = TrustRegion.of(torch.cat([background, known]), quantile=settings.quantile)
        chosen = (
            self._descended(self._starts(known, background, None), region)
            if settings.head == "icnn"
            else self._sampled(known, background, region)
        )
        return self._rounds.filled(chosen, settings.round)

    def _starts(self, known: Tensor, background: Tensor, weights: FloatArray | None) -> Tensor:
        """Where descents and lines begin: half of them the best evaluated, the others random ones."""
        count = self.settings.starts
        return torch.cat([known[self._rounds.seen.order(weights)[: count // 2]], background])[:count]

    def _weights(self, count: int) -> FloatArray:
        """``[count, objectives]``: weights of objectives for each function, uniform on the simplex."""
        return self._rounds.rng.dirichlet(np.ones(self._goal.objectives), size=count)

    def _sampled(self, known: Tensor, background: Tensor, region: TrustRegion) -> Codes:
        """Thompson sampling: the best candidates of functions drawn from the posterior.

        With several objectives every function has weights of its own.
        """
        settings = self.settings
        # Evenly over the range, whatever is proposed at a time: multiples of the golden ratio.
        turns = len(self._rounds.seen) + np.arange(settings.round - settings.explore)
        spreads = settings.coldest + (settings.hottest - settings.coldest) * (turns * GOLDEN % 1.0)
        several = self._goal.objectives > 1
        objectives = self._weights(len(spreads)) if several else np.ones((1, 1))
        parts = np.split(spreads, len(objectives))
        drawn, points, posteriors = [], [], []
        for weights, part in zip(objectives, parts, strict=True):
            posterior = self._posterior(known, weights)
            functions = posterior.sample(part, self._rounds.rng)
            minima = functions.minima(region).points.float()
            starts = self._starts(known, background, weights)
            lines = [starts + share * (end - starts) for end in minima for share in LINE]
            drawn.append(functions)
            points += [minima, *lines]
            posteriors.append(posterior)
        decoded, keys = self._candidates(self._decoded(torch.cat(points)))
        latents = self._model.encode(decoded)
        best = [decoded[row] for row in self._pick(_predicted(drawn, latents), keys)] if len(decoded) else []
        edited, edited_keys = self._candidates(self._edited(best), known=keys)
        candidates, keys = np.concatenate([decoded, edited]), np.concatenate([keys, edited_keys])
        latents = torch.cat([latents, self._model.encode(edited)])
        # No architecture in the ball is predicted to be better than the bound: how near is the best known?
        everywhere = torch.cat([known, latents])
        means = [posterior.mean() for posterior in posteriors]
        gaps = [float(mean(everywhere).min() - mean.minima(region).values[0]) for mean in means]
        shares = [posterior.fitted.choice.share for posterior in posteriors]
        self._rounds.note(certificate_gap=float(np.mean(gaps)), quadratic_share=float(np.mean(shares)))
        if not len(candidates):
            return candidates
        return candidates[self._pick(_predicted(drawn, latents), keys)]

    def _posterior(self, known: Tensor, weights: FloatArray | None = None) -> QuadraticPosterior:
        targets = losses(self._rounds.seen.values(weights), self.settings.target)
        shares = SHARES[self.settings.head]
        if self._source is None:
            return QuadraticPosterior(known, targets, shares=shares, noises=NOISES)
        codes, others = self._source
        source = QuadraticPosterior(self._model.encode(codes), others, shares=shares, noises=NOISES)
        if not len(known):
            return source
        return QuadraticPosterior(
            known, targets, shares=shares, noises=NOISES, similar=source.mean(), weights=WEIGHTS
        )

    def _descended(self, starts: Tensor, region: TrustRegion) -> Codes:
        """The best candidates of the ends of all heads' descents."""
        settings, model = self.settings, self._model
        descent = descend(
            model.heads,
            starts.expand(settings.heads, -1, -1),
            region,
            neighbour_distance=self._neighbour_distance(),
            settings=DescentSettings(steps=settings.descent_steps),
        )
        self._rounds.note(accepted_steps=descent.accepted, descent_distance=descent.distance)
        candidates, keys = self._candidates(self._decoded(descent.points.reshape(-1, settings.latent_dim)))
        if not len(candidates):
            return candidates
        predicted = model.predict(candidates).numpy()
        return candidates[self._pick(predicted[self._rounds.rng.permutation(settings.heads)], keys)]

    def _decoded(self, points: Tensor) -> Codes:
        """``[n, d]``: the likeliest code of every point, then the second one of every point, and so on."""
        decoded = self._model.decode_beam(points, self.settings.beam)
        return decoded.swapaxes(0, 1).reshape(-1, decoded.shape[-1])

    def _edited(self, codes: Sequence[Code]) -> Codes:
        """``[n, d]``: what is one edit away from some architectures, drawn at random where it is too many."""
        found = [self._rounds.seen.codes[:0]]
        for code in codes:
            near = self.space.neighbors(code)
            found.append(near[self._rounds.rng.permutation(len(near))[: self.settings.edits]])
        return np.concatenate(found)

    def _candidates(self, codes: Codes, known: Keys | None = None) -> tuple[Codes, Keys]:
        """The first unasked codes, each class once, without those known, and the keys of their classes."""
        if not len(codes):
            return codes, np.zeros(0, np.uint64)
        codes = self._representatives(_first_of_each(codes))
        keys = self.space.class_keys(codes)
        _, first = np.unique(keys, return_index=True)
        first = np.sort(first)
        old = self._rounds.seen.keys if known is None else np.concatenate([self._rounds.seen.keys, known])
        first = first[~np.isin(keys[first], old)][: self.settings.candidates]
        return codes[first], keys[first]

    def _pick(self, predicted: FloatArray, keys: Keys) -> list[int]:
        """For one function after the other, its best candidate of a class not yet picked."""
        taken: list[int] = []
        for turn in range(self.settings.round - self.settings.explore):
            free = ~np.isin(keys, keys[taken])
            if not free.any():
                break
            scores = np.where(free, predicted[turn % len(predicted)], np.inf)
            taken.append(int(np.argmin(scores)))
        return taken

    def _neighbour_distance(self, count: int = 8) -> float:
        codes = self.space.sample(count, self._rounds.rng)
        distances = []
        for code in codes:
            near = self.space.neighbors(code)
            near = near[self._rounds.rng.permutation(len(near))[:8]]
            latents = self._model.encode(np.concatenate([code[None], near]))
            distances.append((latents[1:] - latents[0]).norm(dim=1))
        return max(float(torch.cat(distances).median()), 1e-6)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next proposal depends on."""
        return {
            "rounds": self._rounds.state_dict(),
            "pretrained": self._pretrained,
            "trained_on": self._trained_on,
            "model": copy.deepcopy(self._model.state_dict()),
            "trainer": self._trainer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken."""
        self._rounds.load_state_dict(state["rounds"])
        self._pretrained = state["pretrained"]
        self._trained_on = state["trained_on"]
        self._model.load_state_dict(state["model"])
        self._trainer.load_state_dict(state["trainer"])

    @threads()
    def diagnostics(self) -> Mapping[str, NDArray[Any]]:
        """The latent space and the search's path in two dimensions, and the curves over rounds."""
        if not len(self._rounds.seen):
            return {}
        members = np.unique(self.space.sample(MAP_POINTS, np.random.default_rng(self._seed)), axis=0)
        latents = self._model.encode(self._representatives(members))
        known = self._model.encode(self._representatives(self._rounds.seen.codes))
        flat, path = project_2d(latents, known)
        if self.settings.head == "icnn":
            predicted = self._model.heads(latents).mean(0).detach()
        else:
            predicted = self._posterior(known).mean()(latents)[0]
        arrays: dict[str, NDArray[Any]] = {
            "space_codes": members,
            "space_latent": flat,
            "space_predicted": -predicted.numpy(),
            "trial_latent": path,
        }
        return arrays | self._rounds.diagnostics()


def _first_of_each(codes: Codes) -> Codes:
    """Distinct rows in the order in which they come first."""
    _, first = np.unique(codes, axis=0, return_index=True)
    return codes[np.sort(first)]


def _predicted(functions: Sequence[Quadratics], latents: Tensor) -> FloatArray:
    """``[functions, n]`` values at ``[n, k]`` points."""
    predicted: FloatArray = torch.cat([some(latents) for some in functions]).numpy()
    return predicted
